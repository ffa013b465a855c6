"""The first words of `stconv serve`: requests that the served model answers."""

from types import SimpleNamespace

import pytest

from service.launch import Served
from stconv.cli.serve import _introduce


@pytest.mark.parametrize(
    ("geographic", "route"),
    [(True, "/v1/forecast?latitude=LAT&longitude=LON"), (False, "/v1/forecasts/latest")],
)
def test_a_grid_without_latitude_and_longitude_is_asked_for_its_whole_field(geographic, route, capsys):
    schema = {
        "variables": [{"name": "t", "units": "K"}],
        "step": {"label": "6 h"},
        "frames": {"count": 5},
    }
    worker = SimpleNamespace(version="1", schema=schema, facts=SimpleNamespace(geographic=geographic))
    _introduce(Served("http://127.0.0.1:8000", {"air": worker}, needs_keys=False, has_data=True))
    said = capsys.readouterr().out
    assert "Serving air, version 1: t (K); 5 frames of 6 h in." in said
    assert f"  curl 'http://127.0.0.1:8000{route}'" in said
