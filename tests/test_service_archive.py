"""A server whose data source grows: stored forecasts, Zarr over HTTP, live verification."""

import os
import re
import shutil
import time
from dataclasses import replace

import httpx
import numpy as np
import pytest
import xarray as xr

from waiting import until

pytestmark = pytest.mark.filterwarnings("ignore::stconv.forecast.TrainingRangeWarning")  # of random fields
FIRST, KEEP, BACKFILL = 35, 6, 4
NAMES = ["20200108T180000Z", "20200109T000000Z", "20200109T060000Z", "20200109T120000Z"]
NAMES_WITH_GAPS = ["20200110T000000Z", "20200110T060000Z", "20200110T120000Z"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("growing")


def write(made, place, ds, name="analysis.nc"):
    """As a careful writer does: beside, then renamed."""
    fresh = place / f".{name}"
    fresh.write_bytes(made.as_netcdf(ds))
    os.replace(fresh, place / name)


def start(made, service_bundle, place):
    return made.Server(
        *("--model", str(service_bundle), "--data", str(place / "*.nc"), "--state", str(place / "state")),
        watch_seconds="0.2",
        archive_backfill=str(BACKFILL),
        archive_keep=str(KEEP),
        minimum_skill="0.999",
        minimum_cases="3",
    )


@pytest.fixture(scope="module")
def server(made, service_bundle, place):
    write(made, place, made.fields().isel(time=slice(0, FIRST)))
    server = start(made, service_bundle, place)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def at_first(server):
    """What the server said of `FIRST` frames, by path."""
    with server.client() as client:
        until(lambda: client.get("/v1/verification").json()["cases"] == 3)
        return {path: client.get(path).json() for path in ("/v1/forecasts", "/v1/verification")}


@pytest.fixture(scope="module")
def client(server, at_first, made, place):
    """A client of the server when one more frame has come in, and its forecast is stored and verified."""
    write(made, place, made.fields().isel(time=slice(0, FIRST + 1)))
    with server.client() as client:
        until(lambda: client.get("/v1/verification").json()["cases"] == 4)
        until(lambda: len(client.get("/v1/forecasts").json()["forecasts"]) == 5)
        yield client


@pytest.fixture(scope="module")
def filled(made, service_bundle, tmp_path_factory):
    """A client of another server whose source grew so much that old forecasts went; and its folder."""
    place = tmp_path_factory.mktemp("filled")
    write(made, place, made.fields().isel(time=slice(0, FIRST)))
    server = start(made, service_bundle, place)
    try:
        with server.client() as client:
            until(lambda: client.get("/v1/verification").json()["cases"] == 3)
            write(made, place, made.fields())
            until(lambda: client.get("/v1/verification").json()["cases"] == 8)
            until(lambda: client.get("/v1/forecasts").json()["forecasts"][-1]["name"] == "20200110T180000Z")
            yield client, place
    finally:
        server.kill()


def expected_scores(library, ds, names, newest):
    """RMSE of the model and of persistence by lead, in plain NumPy, from the file and the library alone."""
    values, weight = ds["t2m"].values.astype(float), np.cos(np.deg2rad(ds["latitude"].values))[:, None]
    stamps = [str(t)[:19].replace("-", "").replace(":", "") + "Z" for t in ds["time"].values]
    squares, weights = np.zeros((2, 2)), np.zeros(2)
    for name in names:
        i = stamps.index(name)
        forecast = library.forecast(ds.isel(time=slice(0, i + 1)))["t2m"].values
        for lead in (1, 2):
            if i + lead > newest:
                continue
            truth = values[i + lead]
            known = np.isfinite(truth) * weight
            weights[lead - 1] += known.sum()
            for row, field in enumerate((forecast[lead - 1], values[i])):
                squares[row, lead - 1] += (known * np.nan_to_num(field - truth) ** 2).sum()
    return np.sqrt(squares / weights)


def test_past_and_new_forecasts_are_stored_and_verified(at_first, client, library, made):
    listed = at_first["/v1/forecasts"]["forecasts"]
    assert [entry["name"] for entry in listed] == NAMES
    assert listed[0]["made_when_truth_was_known"] == 1
    assert listed[-1]["made_when_truth_was_known"] == 0
    scores, ds = at_first["/v1/verification"]["variables"]["t2m"], made.fields()
    assert scores["cases"] == [3, 2]
    model, persistence = expected_scores(library, ds, NAMES, FIRST - 1)
    np.testing.assert_allclose(scores["rmse"]["model"], model, rtol=1e-5)
    np.testing.assert_allclose(scores["rmse"]["persistence"], persistence, rtol=1e-5)
    np.testing.assert_allclose(scores["skill"]["persistence"], 1 - model / persistence, rtol=1e-4)

    found = client.get("/v1/verification").json()
    assert found["variables"]["t2m"]["cases"] == [4, 3]
    model, persistence = expected_scores(library, ds, NAMES, FIRST)
    np.testing.assert_allclose(found["variables"]["t2m"]["rmse"]["model"], model, rtol=1e-5)
    assert found["lead_labels"] == ["6 h", "12 h"]
    assert len(client.get("/v1/forecasts").json()["forecasts"]) == 5


def test_drop_below_the_level_is_in_the_metrics(client):
    below = client.get("/v1/verification").json()["below"]
    assert {(entry["variable"], entry["lead"]) for entry in below} == {("t2m", 1), ("t2m", 2)}
    text = client.get("/metrics").text
    assert 'stconv_live_skill_below_minimum{lead="1",model="air",variable="t2m"} 1.0' in text
    assert 'stconv_live_cases{lead="1",model="air",variable="t2m"} 4.0' in text
    assert 'stconv_stored_forecasts{model="air"} 5.0' in text
    newest = client.get("/v1/forecasts").json()["forecasts"][-1]["reference_time"]
    seconds = (np.datetime64(newest.removesuffix("Z")) - np.datetime64("1970")) / np.timedelta64(1, "s")
    shown = re.search(r'stconv_newest_forecast_time_seconds\{model="air"\} (\S+)', text)
    assert float(shown[1]) == seconds
    assert 'stconv_frame_step_seconds{model="air"} 21600.0' in text


def test_climatology_is_that_of_the_training_period(client, library, made):
    """The sum of cosines, written out, at the valid times of lead 1."""
    harmonics = library.preparation.harmonics
    coefficients, ds = harmonics.coefficients.numpy()[:, 0].astype(float), made.fields()
    values = ds["t2m"].sortby("latitude").values.astype(float)
    weight = np.cos(np.deg2rad(np.sort(ds["latitude"].values)))[:, None]
    squares = weights = 0.0
    for i in range(FIRST - 3, FIRST + 1):
        when = ds["time"].values[i]
        day = (when - when.astype("datetime64[D]")) / np.timedelta64(1, "D")
        year = (when - np.datetime64("2020-01-01", "ns")) / np.timedelta64(366, "D")
        climatology = sum(
            c * np.cos(2 * np.pi * (j * day + k * year) - q * np.pi / 2)
            for (j, k, q), c in zip(harmonics.terms, coefficients, strict=True)
        )
        known = np.isfinite(values[i]) * weight
        squares += (known * np.nan_to_num(climatology - values[i]) ** 2).sum()
        weights += known.sum()
    found = client.get("/v1/verification").json()["variables"]["t2m"]["rmse"]["climatology"][0]
    assert found == pytest.approx(np.sqrt(squares / weights), rel=1e-4)


def test_a_stored_forecast_is_what_the_library_forecast(client, library, made):
    expected = library.forecast(made.fields().isel(time=slice(0, 34)))
    for name in ("20200109T060000Z", "2020-01-09T06:00:00Z", "2020-01-09T06:00"):
        answer = client.get(f"/v1/forecasts/{name}", headers={"Accept": "application/x-netcdf"})
        found = xr.load_dataset(answer.content)
        xr.testing.assert_allclose(found, expected)
    assert answer.headers["stconv-reference-time"] == "2020-01-09T06:00:00"
    assert client.get(f"/v1/forecasts/{name}", headers={"Accept": "image/png"}).content[1:4] == b"PNG"


def test_truth_beside_it_is_null_where_not_yet_known(client, made):
    ds = made.fields()
    newest = client.get("/v1/forecasts").json()["forecasts"][-2]["name"]
    found = client.get(f"/v1/forecasts/{newest}/truth").json()
    values = np.array(found["variables"]["t2m"]["values"], float)
    np.testing.assert_array_equal(values[0].astype("f4"), ds["t2m"].values[FIRST])
    assert np.isnan(values[1]).all()
    assert found["attributes"]["leads_known"] == "1 of 2"


def test_xarray_opens_the_archive_over_http(client, library, made, server):
    listed = client.get("/zarr/air").json()
    one = xr.open_zarr(f"{server.url}{listed['forecasts'][0]['href']}").load()
    xr.testing.assert_allclose(one, library.forecast(made.fields().isel(time=slice(0, 32))))
    whole = xr.open_zarr(f"{server.url}{listed['all']}")
    assert whole["t2m"].dims == ("forecast_reference_time", "lead", "latitude", "longitude")
    assert whole["t2m"].shape == (5, 2, 8, 10)
    for i, entry in enumerate(listed["forecasts"]):
        alone = xr.open_zarr(f"{server.url}{entry['href']}")
        np.testing.assert_array_equal(whole["t2m"][i], alone["t2m"])
        np.testing.assert_array_equal(whole["time"][i], alone["time"])
        assert whole["forecast_reference_time"].values[i] == alone["forecast_reference_time"].values
    tree = xr.open_datatree(f"{server.url}/zarr/air", engine="zarr")
    assert set(tree.children) == {entry["name"] for entry in listed["forecasts"]}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/zarr/air/{NAMES[0]}/zarr.json", 200),
        ("HEAD", f"/zarr/air/{NAMES[0]}/zarr.json", 200),
        ("GET", f"/zarr/air/{NAMES[0]}/t2m/c/1/0/0", 200),
        ("GET", f"/zarr/air/{NAMES[0]}/t2m/c/2/0/0", 404),
        ("GET", f"/zarr/air/{NAMES[0]}--{NAMES[2]}/t2m/zarr.json", 200),
        ("GET", f"/zarr/air/{NAMES[0]}--{NAMES[2]}/t2m/c/2/1/0/0", 200),
        ("GET", f"/zarr/air/{NAMES[0]}--{NAMES[2]}/t2m/c/3/1/0/0", 404),
        ("GET", f"/zarr/air/{NAMES[0]}--{NAMES[2]}/t2m/c/-1/1/0/0", 404),
        ("GET", f"/zarr/air/{NAMES[2]}--{NAMES[0]}/zarr.json", 404),
        ("GET", f"/zarr/air/{NAMES[0]}/%2e%2e/scores.nc", 404),
        ("GET", f"/zarr/air/{NAMES[0]}/..%2fscores.nc", 404),
        ("GET", "/zarr/air/%2e%2e/scores.nc", 404),
        ("GET", "/zarr/air/19990101T000000Z/zarr.json", 404),
        ("GET", "/zarr/sea/19990101T000000Z/zarr.json", 404),
        ("PUT", f"/zarr/air/{NAMES[0]}/zarr.json", 405),
        ("DELETE", f"/zarr/air/{NAMES[0]}/zarr.json", 405),
    ],
)
def test_zarr_reads_keys_of_a_table_and_nothing_else(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status, answer.text
    assert (answer.content == b"") == (method == "HEAD")


def test_old_forecasts_go_and_say_so(filled):
    client, _ = filled
    names = [entry["name"] for entry in client.get("/v1/forecasts").json()["forecasts"]]
    assert len(names) == KEEP
    assert NAMES[0] not in names
    gone = client.get(f"/zarr/air/{NAMES[0]}/zarr.json")
    assert gone.status_code == 410, "not 404: Zarr would read a missing chunk as fill value"
    assert "because of its age" in gone.json()["detail"]
    unknown = client.get("/v1/forecasts/noon")
    assert unknown.status_code == 404
    assert "forecasts: 6, from 2020-01-09T12:00:00Z to 2020-01-10T18:00:00Z" in unknown.json()["detail"]


def test_a_new_server_knows_what_was_stored(filled, made, service_bundle, tmp_path):
    client, place = filled
    before = client.get("/v1/verification").json()
    shutil.copytree(place / "state", tmp_path / "state")
    write(made, tmp_path, made.fields())
    second = start(made, service_bundle, tmp_path)
    try:
        with second.client() as other:
            until(lambda: other.get("/v1/verification").json()["cases"])
            again = other.get("/v1/verification").json()
            assert again["variables"] == before["variables"], "also of forecasts that are no longer stored"
    finally:
        second.kill()


class Alone:
    """The archivist of a model without a server."""

    def __init__(self, forecaster, folder, path):
        from service.model.archiving import Archivist
        from service.model.source import Source
        from service.wire.model_messages import UpdateArchive

        self.archivist = Archivist(forecaster, Source([path], forecaster))
        self.request = UpdateArchive("air", str(folder), BACKFILL, keep=50, keep_days=None, cases=50)

    def step(self):
        return self.archivist.step(self.request)

    def rest(self):
        while (answer := self.step()).more:
            pass
        return answer


def stored_names(answer):
    return sorted(name.removesuffix(".zarr") for name in os.listdir(answer.folder) if name.endswith(".zarr"))


def test_the_period_the_model_was_fitted_to_does_not_count(library, made, tmp_path, monkeypatch):
    """Of the forecasts from frames 36 to 38, whose truth is known, one is of times after frame 38."""
    write(made, tmp_path, made.fields())
    assert Alone(library, tmp_path / "a", tmp_path / "analysis.nc").rest().verification["cases"] == 3
    ends = {"train": "2020-01-08T00:00:00", "val": "2020-01-10T12:00:00"}
    counts = {"start": "2020-01-01T00:00:00", "n_steps": 2, "n_windows": 1}
    periods = {name: {"end": end, **counts} for name, end in ends.items()}
    monkeypatch.setitem(library.bundle.spec, "data", {"periods": periods})
    found = Alone(library, tmp_path / "b", tmp_path / "analysis.nc").rest().verification
    assert found["cases"] == 1
    assert found["first_reference_time"] == "2020-01-10T12:00:00Z"
    assert found["fitted_until"] == "2020-01-10T12:00:00"


def test_a_source_that_is_being_written_is_left_alone(library, made, tmp_path):
    write(made, tmp_path, made.fields().isel(time=slice(0, FIRST)))
    alone = Alone(library, tmp_path / "state", tmp_path / "analysis.nc")
    alone.rest()
    assert alone.step().verification is None, "nothing new"
    write(made, tmp_path, made.fields().isel(time=slice(0, FIRST + 1)))
    answer = alone.step()
    assert not answer.more
    assert len(stored_names(answer)) == BACKFILL, "the file changed since the last look"
    assert alone.step().more
    assert len(stored_names(answer)) == BACKFILL + 1


def test_a_reference_time_whose_input_is_refused_is_passed_over(library, made, tmp_path):
    """Frame 36 lacks values that were always there: no forecast from 36, 37 and 38, which need it.

    The first four to be stored are those from 35 and from 39 to 41.
    """
    broken = made.fields(42)
    broken["t2m"][36, 2:] = np.nan
    write(made, tmp_path, broken)
    answer = Alone(library, tmp_path / "state", tmp_path / "analysis.nc").rest()
    names = ["20200109T180000Z", "20200110T180000Z", "20200111T000000Z", "20200111T060000Z"]
    assert stored_names(answer) == names


def test_persistence_of_a_source_with_gaps_is_the_newest_value_that_the_window_knows(
    library, made, tmp_path, monkeypatch
):
    """As in a test of the model; a cell without any value in the window is left out for all."""
    monkeypatch.setattr(library.expected, "contract", replace(library.contract, allowed_missing_share=1.0))
    ds = made.fields().sortby("latitude")
    values = ds["t2m"].values
    values[np.random.default_rng(1).random(values.shape) < 0.4] = np.nan
    write(made, tmp_path, ds)
    found = Alone(library, tmp_path / "state", tmp_path / "analysis.nc").rest().verification
    squares, weights, weight = np.zeros((2, 2)), np.zeros(2), np.cos(np.deg2rad(ds["latitude"].values))
    n_filled = 0
    for name in NAMES_WITH_GAPS:
        stamps = np.datetime_as_string(ds["time"].values, unit="s")
        i = [t.replace("-", "").replace(":", "") + "Z" for t in stamps].index(name)
        forecast = library.forecast(ds.isel(time=slice(0, i + 1)))["t2m"].values
        for row, column in np.ndindex(values.shape[1:]):
            known = [v for v in values[i - 2 : i + 1, row, column] if np.isfinite(v)]
            for lead in (1, 2):
                if i + lead >= len(values) or np.isnan(values[i + lead, row, column]) or not known:
                    continue
                n_filled += np.isnan(values[i, row, column])
                weights[lead - 1] += weight[row]
                for k, field in enumerate((forecast[lead - 1, row, column], known[-1])):
                    squares[k, lead - 1] += weight[row] * (field - values[i + lead, row, column]) ** 2
    assert n_filled > 50, "cells whose newest value is older than the newest frame"
    model, persistence = np.sqrt(squares / weights)
    rmse = found["variables"]["t2m"]["rmse"]
    np.testing.assert_allclose(rmse["persistence"], persistence, rtol=1e-5)
    np.testing.assert_allclose(rmse["model"], model, rtol=1e-5)


def test_pruning_counts_all_versions_and_removes_broken_writes(tmp_path):
    from service.archive.stores import prune, stored

    for i, (version, name) in enumerate([("a", "1"), ("a", "2"), ("b", "3"), ("b", "4"), ("b", "5")]):
        path = tmp_path / version / f"2020010{name}T000000Z.zarr"
        path.mkdir(parents=True)
        os.utime(path, (1e9 + 86_400 * i, 1e9 + 86_400 * i))
    (tmp_path / "b" / ".broken.zarr.7").mkdir()
    (tmp_path / "a" / "scores.nc").touch()
    prune(tmp_path / "b", keep=2, days=None)
    assert list(stored(tmp_path / "b")) == ["20200104T000000Z", "20200105T000000Z"]
    assert not (tmp_path / "a").exists(), "with its scores"
    assert not (tmp_path / "b" / ".broken.zarr.7").exists()
    prune(tmp_path / "b", keep=2, days=(time.time() - 1e9) / 86_400 - 3.5)
    assert list(stored(tmp_path / "b")) == ["20200105T000000Z"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("20141231T180000Z", "20141231T180000Z"),
        ("2014-12-31T18:00:00Z", "20141231T180000Z"),
        ("2014-12-31T18:00:00+00:00", "20141231T180000Z"),
        ("2014-12-31 18", "20141231T180000Z"),
        ("2014-12-31", None),
        ("../x", None),
        ("20141231T180000Z/..", None),
        ("2014-12-31T18:00:00+01:00", None),
    ],
)
def test_names_of_reference_times(text, name):
    from service.archive.stores import find_name

    assert find_name(text) == name


def test_without_data_nothing_is_stored(service_server, service_bundle):
    server = service_server.Server("--model", str(service_bundle))
    try:
        for path in ("/v1/forecasts", "/v1/verification", "/zarr/air"):
            answer = httpx.get(f"{server.url}{path}")
            assert answer.status_code == 404
            assert "--data" in answer.json()["detail"]
    finally:
        server.kill()
