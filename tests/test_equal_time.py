"""The comparison of networks at equal time: what it says about curves that are there."""

import csv
import json
from pathlib import Path

import pytest

from benchmarks.equal_time import run, summary
from stconv.models import REGISTRY


def write(folder: Path, network: str, errors: list[float], seed: int = 0) -> Path:
    curve = [{"minutes": float(i), "rmse": error, "steps": 10 * i} for i, error in enumerate(errors)]
    result = {"series": "air", "network": network, "seed": seed, "budget": 3.0, "weights": 7, "curve": curve}
    file = folder / f"air_{network}_3{f'_seed{seed}' if seed else ''}.json"
    file.write_text(json.dumps(result))
    return file


def test_the_time_to_the_best_rivals_error_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write(tmp_path, "unet_2d", [9, 4, 3, 2])
    write(tmp_path, "unet_mixed", [9, 5, 2, 1])  # at 2 from minute 2 on
    write(tmp_path, "simvp", [9, 9, 8, 8])
    summary(tmp_path)
    first, second, third = capsys.readouterr().out.splitlines()
    assert "unet_mixed" in first
    assert first.endswith("best rival's error after 2.00 min")
    assert "unet_2d" in second
    assert second.endswith("best rival's error not reached")
    assert "simvp" in third
    rows = list(csv.DictReader((tmp_path / "curves.csv").open()))
    assert len(rows) == 12
    assert {row["series"] for row in rows} == {"air"}
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_rivals_are_from_the_same_seed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write(tmp_path, "unet_2d", [9, 4, 3])
    write(tmp_path, "unet_mixed", [9, 5, 4])
    write(tmp_path, "unet_2d", [9, 7, 6], seed=1)
    write(tmp_path, "unet_mixed", [9, 6, 5], seed=1)  # at 6 from minute 1 on
    summary(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:4] for line in lines] == [
        ["unet_2d", "seed", "0"], ["unet_mixed", "seed", "0"],
        ["unet_mixed", "seed", "1"], ["unet_2d", "seed", "1"],
    ]  # fmt: skip
    assert [line.split("error ")[-1] for line in lines] == [
        "after 1.00 min", "not reached", "after 1.00 min", "not reached",
    ]  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
def test_a_curve_that_is_there_is_not_measured_again(tmp_path: Path, seed: int) -> None:
    file = write(tmp_path, "unet_2d", [9, 4], seed)
    before = file.read_text()
    run("air", "unet_2d", 3.0, seed, tmp_path)
    assert file.read_text() == before


def test_every_network_is_registered() -> None:
    from benchmarks.equal_time import NETWORKS, SERIES
    from stconv.resources import configs_dir

    for kind, settings in NETWORKS.values():
        assert REGISTRY[kind](2, 1, 4, 2, **settings).leads == 2
    assert all((configs_dir() / name).is_file() for name, _ in SERIES.values())
