"""Answers have a price, which every route compares with the limits before any work; no server is needed."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from service.app import create_app
from service.archive.table import StoredForecast
from service.http.streaming import Spool
from service.routes.prices import check_stored
from service.settings import Settings
from service.wire.model_facts import ModelFacts, Target
from service.wire.model_messages import Document

LAT, LON = [36.0, 40.0, 44.0, 48.0, 52.0], [-8.0, -4.0, 0.0, 4.0]
FACTS = ModelFacts(
    sha256="0" * 64,
    leads=2,
    rolls_out=True,
    step="6h",
    step_seconds=21600,
    calendar="standard",
    geographic=True,
    rows=tuple(LAT),
    columns=tuple(LON),
    targets=(Target("t2m", "K"),),
    bands=("_lower_80", "_upper_80"),
)
SHAPES = {"t2m": [2, 5, 4], "t2m_lower_80": [2, 5, 4], "t2m_upper_80": [2, 5, 4]}
"""20 cells x 2 leads x 3 variables: 120 values."""


def stored_forecast():
    arrays = {
        name: {"shape": shape, "dimension_names": ["lead", "lat", "lon"]} for name, shape in SHAPES.items()
    }
    period = {"standard_name": "forecast_period"}
    arrays |= {"lead": {"shape": [2], "dimension_names": ["lead"], "attributes": period}}
    arrays |= {"area": {"shape": [500, 400], "dimension_names": ["lat", "lon"]}}
    metadata = {"attributes": {}, "consolidated_metadata": {"metadata": arrays}}
    return StoredForecast("v", "20200101T000000Z", Path("nowhere"), metadata, {}, "")


class Worker:
    """A model that counts the requests it gets."""

    name, version, facts, ready = "air", "1", FACTS, True

    def __init__(self):
        self.asked = 0

    def require_room(self):
        pass

    async def ask(self, request):
        self.asked += 1
        return Document(b"{}", "application/json", {})


def get(path, accept="*/*", **limits):
    """Ask an application that has no process behind it: the status, and the requests to the model."""
    worker, stored = Worker(), SimpleNamespace(by_name={}, get=lambda name: stored_forecast())
    app = create_app(Settings(data=["analysis.nc"], **limits))
    app.state.spool = Spool(Path("nowhere"), 1)
    app.state.workers, app.state.stored = {"air": worker}, {"air": stored}

    async def run():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, headers={"Accept": accept})

    return asyncio.run(run()), worker.asked


TIME = "20200101T000000Z"
TRIANGLE = "POLYGON((-9 35, 1 35, -9 45, -9 35))"
"""Its box holds 3 rows (36, 40, 44) and 3 columns (-8, -4, 0)."""


@pytest.mark.parametrize(
    ("path", "accept", "values"),
    [
        ("/v1/forecasts/latest", "application/json", 120),
        ("/v1/forecasts/latest?bands=false", "application/json", 40),
        ("/v1/forecasts/latest?variables=t2m,t2m", "application/json", 40),
        (f"/v1/forecasts/{TIME}", "application/json", 120),
        (f"/v1/forecasts/{TIME}", "application/prs.coverage+json", 120),
        (f"/v1/forecasts/{TIME}?variables=t2m", "application/json", 40),
        (f"/v1/forecasts/{TIME}/truth", "application/json", 120),
        ("/edr/collections/air/cube?bbox=-180,-90,180,90", "*/*", 120),
        ("/edr/collections/air/cube?bbox=-5,39,1,49&parameter-name=t2m", "*/*", 2 * 6),
        (f"/edr/collections/air/area?coords={TRIANGLE}", "*/*", 2 * 9 * 3),
        ("/edr/collections/air/position?coords=POINT(0 40)&steps=10", "*/*", 10 * 3),
        ("/edr/collections/air/position?coords=MULTIPOINT(0 40,4 40)", "*/*", 2 * 2 * 3),
        (f"/edr/collections/air/instances/{TIME}/cube?bbox=-180,-90,180,90", "*/*", 120),
        (f"/edr/collections/air/instances/{TIME}/area?coords={TRIANGLE}", "*/*", 2 * 9 * 3),
    ],
)
def test_text_is_refused_before_work_if_it_has_one_value_too_many(path, accept, values):
    answer, asked = get(path, accept, max_text_values=values - 1)
    assert (answer.status_code, asked) == (413, 0)
    assert (answer.json()["values"], answer.json()["limit"]) == (values, values - 1)
    answer, asked = get(path, accept, max_text_values=values)
    assert (answer.status_code, asked) == (200, 1)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/forecast?latitude=40&longitude=0&steps=10",
        "/v1/forecasts/latest?steps=10",
        "/edr/collections/air/position?coords=POINT(0 40)&steps=10",
        "/edr/collections/air/cube?bbox=0,40,0,40&steps=10",
    ],
)
def test_what_is_computed_counts_even_if_one_cell_is_answered(path):
    answer, asked = get(path, "application/x-netcdf, */*;q=0.5", max_output_values=599)
    assert (answer.status_code, asked) == (413, 0)
    assert answer.json()["values"] == 10 * 20 * 3
    assert get(path, max_output_values=600)[1] == 1


def test_a_stored_forecast_counts_its_fields_only():
    check_stored(stored_forecast(), Settings(max_output_values=120), "application/x-netcdf")


def test_leads_that_a_model_cannot_reach_are_refused(monkeypatch):
    monkeypatch.setattr(Worker, "facts", replace(FACTS, rolls_out=False))
    answer, asked = get("/v1/forecast?latitude=40&longitude=0&steps=3")
    assert (answer.status_code, asked) == (422, 0)
    assert "air forecasts 2 and cannot be rolled out" in answer.json()["detail"]
