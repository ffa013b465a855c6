"""Faults of the server's own data: each is passed over and told, and what comes later is forecast."""

import os
import shutil

import httpx
import numpy as np
import pytest
import xarray as xr

from stconv.forecast import TrainingRangeWarning
from waiting import until

KEEP, BACKFILL = 20, 3


def put(made, folder, ds, name):
    """As a careful writer does: beside, then renamed."""
    folder.mkdir(exist_ok=True)
    fresh = folder / f".{name}"
    fresh.write_bytes(made.as_netcdf(ds))
    os.replace(fresh, folder / name)


def frames(made, first, last):
    return made.fields(45).isel(time=slice(first, last))


def start(made, service_bundle, place):
    return made.Server(
        *("--model", str(service_bundle), "--data", str(place / "in"), "--state", str(place / "state")),
        watch_seconds="0.2",
        archive_backfill=str(BACKFILL),
        archive_keep=str(KEEP),
    )


def names(url):
    return [entry["name"] for entry in httpx.get(f"{url}/v1/forecasts").json()["forecasts"]]


def count(url, metric):
    (line,) = [x for x in httpx.get(f"{url}/metrics").text.splitlines() if x.startswith(metric)]
    return float(line.split()[-1])


class Alone:
    """The archivist of a model without a server."""

    def __init__(self, forecaster, place):
        from service.model.archiving import Archivist
        from service.model.source import Source
        from service.wire.model_messages import UpdateArchive

        self.source = Source([place / "in"], forecaster)
        self.archivist = Archivist(forecaster, self.source)
        self.request = UpdateArchive("air", str(place / "state"), BACKFILL, KEEP, keep_days=None, cases=50)

    def rest(self):
        while (answer := self.archivist.step(self.request)).more or answer.verification is None:
            pass  # a change is looked at once more before it is believed
        return answer


def held(answer):
    return sorted(name.removesuffix(".zarr") for name in os.listdir(answer.folder) if name.endswith(".zarr"))


def reference(i):
    return str(np.datetime64("2020-01-01T00") + 6 * i).replace("-", "") + "0000Z"


@pytest.mark.slow
def test_a_damaged_store_is_set_aside_and_made_anew(made, service_bundle, tmp_path):
    put(made, tmp_path / "in", frames(made, 0, 36), "a.nc")
    server = start(made, service_bundle, tmp_path)
    try:
        until(lambda: len(names(server.url)) == BACKFILL)
    finally:
        server.kill()
    _, middle, last = sorted((tmp_path / "state" / "archive").glob("*/*/*.zarr"))
    (last / "zarr.json").write_bytes(b"")
    (middle / "t2m" / "c" / "1" / "0" / "0").unlink()  # a lead that would be read as missing
    server = start(made, service_bundle, tmp_path)
    try:
        until(
            lambda: (
                len(names(server.url)) == BACKFILL and "archive" in httpx.get(f"{server.url}/readyz").json()
            )
        )
        told = httpx.get(f"{server.url}/readyz").json()["archive"]["air"]
        assert any("2020-01-09T18:00:00Z was damaged and set aside" in text for text in told)
        assert not any(str(tmp_path) in text for text in told)
        assert count(server.url, 'stconv_archive_faults{kind="store",model="air"}') == 2
        put(made, tmp_path / "in", frames(made, 36, 38), "b.nc")
        until(lambda: len(names(server.url)) == BACKFILL + 2)
        assert "is set aside: its metadata cannot be read" in server.output
    finally:
        server.kill()


@pytest.mark.parametrize("content", [b"", b"CDF\x01 cut short", b"\x89HDF\r\n\x1a\n" + b"\0" * 50])
def test_a_file_that_cannot_be_read_is_passed_over(made, library, tmp_path, content):
    put(made, tmp_path / "in", frames(made, 0, 36), "a.nc")
    (tmp_path / "in" / "b.nc").write_bytes(content)
    put(made, tmp_path / "in", frames(made, 36, 37), "c.nc")
    alone = Alone(library, tmp_path)
    answer = alone.rest()
    assert held(answer) == [reference(i) for i in (34, 35, 36)]
    assert [(fault.kind, fault.detail) for fault in answer.faults] == [
        ("file", "The file 'b.nc' is passed over.")
    ]
    put(made, tmp_path / "in", frames(made, 37, 38), "b.nc")
    answer = alone.rest()
    assert held(answer)[-1] == reference(37), "delivered again, it is read"
    assert answer.faults == ()


def test_a_file_that_does_not_fit_the_others_is_passed_over(made, library, tmp_path):
    put(made, tmp_path / "in", frames(made, 0, 36), "a.nc")
    put(made, tmp_path / "in", frames(made, 36, 37).isel(latitude=slice(0, 5)), "b.nc")
    answer = Alone(library, tmp_path).rest()
    assert held(answer)[-1] == reference(35)
    assert [fault.detail for fault in answer.faults] == ["The file 'b.nc' is passed over."]


def test_when_no_file_can_be_read_clients_get_503_and_no_path(made, service_bundle, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nc").write_bytes(b"nothing")
    server = start(made, service_bundle, tmp_path)
    try:
        for path in (
            "/v1/forecast?latitude=45&longitude=0",
            "/edr/collections/air/position?coords=POINT(0 45)",
        ):
            answer = httpx.get(f"{server.url}{path}", timeout=60)
            assert answer.status_code == 503, answer.text
            assert answer.json()["detail"] == (
                "The server's own data cannot be used now; the server's log says why."
            )
        until(lambda: "archive" in httpx.get(f"{server.url}/readyz").json())
        assert str(tmp_path) not in httpx.get(f"{server.url}/readyz").text
        put(made, tmp_path / "in", frames(made, 0, 36), "a.nc")
        until(lambda: len(names(server.url)) == BACKFILL)
        assert httpx.get(f"{server.url}/v1/forecast?latitude=45&longitude=0", timeout=60).status_code == 200
        until(lambda: "archive" not in httpx.get(f"{server.url}/readyz").json())
    finally:
        server.kill()


def test_frames_of_the_future_are_passed_over(made, library, tmp_path):
    put(made, tmp_path / "in", frames(made, 0, 36), "a.nc")
    late = frames(made, 36, 40)
    put(made, tmp_path / "in", late.assign_coords(time=late.time + np.timedelta64(28_000, "D")), "wrong.nc")
    alone = Alone(library, tmp_path)
    answer = alone.rest()
    assert held(answer)[-1] == reference(35)
    assert answer.faults[0].kind == "future"
    assert "2096-09-07T00:00 and 3 more lies in the future" in answer.faults[0].detail
    put(made, tmp_path / "in", frames(made, 36, 38), "b.nc")
    assert held(alone.rest())[-2:] == [reference(36), reference(37)]
    assert str(alone.source.open()[0].time.values[-1])[:13] == "2020-01-10T06"


def test_a_store_of_the_future_from_before_is_set_aside(made, library, tmp_path):
    put(made, tmp_path / "in", frames(made, 0, 36), "a.nc")
    answer = Alone(library, tmp_path).rest()
    stored = os.path.join(answer.folder, f"{reference(35)}.zarr")
    shutil.copytree(stored, os.path.join(answer.folder, "20960907T000000Z.zarr"))
    put(made, tmp_path / "in", frames(made, 36, 37), "b.nc")
    assert held(Alone(library, tmp_path).rest())[-1] == reference(36)


def test_a_series_that_runs_ahead_of_the_clock_is_no_fault(made, library):
    from service.model.future import without_future

    ds = frames(made, 0, 8)
    ahead = ds.assign_coords(time=ds.time + np.timedelta64(28_000, "D"))
    assert without_future(ahead, library.step) == (ahead, [])


@pytest.mark.parametrize("between", [False, True])
def test_a_frame_delivered_again_whole_is_forecast(made, library, tmp_path, between):
    put(made, tmp_path / "in", frames(made, 0, 36), "a.nc")
    bad = frames(made, 36, 37)
    bad["t2m"][:, 2:] = np.nan
    put(made, tmp_path / "in", bad, "b.nc")
    alone = Alone(library, tmp_path)
    answer = alone.rest()
    assert held(answer)[-1] == reference(35)
    assert [fault.detail for fault in answer.faults] == ["The input from 2020-01-10T00:00:00Z is refused."]
    if between:  # frames whose window does not need it are forecast first
        put(made, tmp_path / "in", frames(made, 37, 41), "c.nc")
        assert held(alone.rest())[-3:] == [reference(i) for i in (35, 39, 40)]
    put(made, tmp_path / "in", frames(made, 36, 37), "b.nc")
    answer = alone.rest()
    assert held(answer) == [reference(i) for i in range(34, 41 if between else 37)]
    assert answer.faults == ()
    found = xr.open_zarr(os.path.join(answer.folder, f"{reference(36)}.zarr"))
    with pytest.warns(TrainingRangeWarning, match="1 of 234 inputs"):
        expected = library.forecast(frames(made, 0, 37))
    np.testing.assert_allclose(found["t2m"], expected["t2m"], rtol=1e-6)


def test_a_corrected_observation_is_taken_up_in_the_verification(made, library, tmp_path):
    put(made, tmp_path / "in", frames(made, 0, 40), "a.nc")
    wrong = frames(made, 40, 41)
    wrong["t2m"] += 5
    put(made, tmp_path / "in", wrong, "b.nc")
    put(made, tmp_path / "in", frames(made, 41, 42), "c.nc")
    alone = Alone(library, tmp_path)
    before = alone.rest().verification
    put(made, tmp_path / "in", frames(made, 40, 41), "b.nc")
    after = alone.rest().verification
    assert after["cases"] == before["cases"] > 0
    assert after["variables"]["t2m"]["rmse"] != before["variables"]["t2m"]["rmse"]
    (tmp_path / "other").mkdir()
    put(made, tmp_path / "other" / "in", frames(made, 0, 42), "a.nc")
    for name in os.listdir(tmp_path / "state" / "air"):
        shutil.copytree(tmp_path / "state" / "air" / name, tmp_path / "other" / "state" / "air" / name)
    next((tmp_path / "other" / "state").glob("air/*/scores.nc")).unlink()
    fresh = Alone(library, tmp_path / "other").rest()
    assert fresh.verification["variables"] == after["variables"], "as if it had never been wrong"
    assert fresh.newest_frame == "2020-01-11T06:00:00Z"


def test_scores_that_are_damaged_are_begun_anew(made, library, tmp_path):
    put(made, tmp_path / "in", frames(made, 0, 36), "a.nc")
    before = Alone(library, tmp_path).rest()
    (tmp_path / "state" / "air" / os.path.basename(before.folder) / "scores.nc").write_bytes(b"")
    again = Alone(library, tmp_path).rest()
    assert again.verification["variables"] == before.verification["variables"]


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """A power cut after the rename must not find empty files: all are synced, and the folder after it."""
    from stconv.durable import put_in_place

    (tmp_path / "scratch" / "c").mkdir(parents=True)
    for name in ("zarr.json", "c/0"):
        (tmp_path / "scratch" / name).write_bytes(b"x")
    events, sync, rename = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append(os.readlink(f"/proc/self/fd/{fd}")), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("renamed"), rename(a, b)))
    put_in_place(tmp_path / "scratch", tmp_path / "whole")
    at, scratch = events.index("renamed"), str(tmp_path / "scratch")
    assert set(events[:at]) == {scratch, f"{scratch}/c", f"{scratch}/c/0", f"{scratch}/zarr.json"}
    assert events[at + 1 :] == [str(tmp_path)]


def test_a_full_disk_does_not_keep_the_jobs_of_the_last_server_from_being_known(tmp_path, monkeypatch):
    from service.background import job_store

    before = job_store.JobStore(tmp_path, 3600, 10**6)
    before.save(job_store.Job("a", "", "air", 4, "application/json", None, "", "", status="running"))

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job_store, "write_whole", full)
    assert job_store.JobStore(tmp_path, 3600, 10**6).by_id["a"].status == "interrupted"


def test_a_store_that_cannot_be_read_just_now_is_not_called_broken(made, library, tmp_path, monkeypatch):
    """Too many open files, say: nothing is set aside, since a later look may succeed."""
    import pathlib

    from service.archive.soundness import sound_metadata

    put(made, tmp_path / "in", frames(made, 0, 36), "a.nc")
    answer = Alone(library, tmp_path).rest()

    def refuse(self, *rest, **options):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(pathlib.Path, "read_text", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        sound_metadata(pathlib.Path(answer.folder) / f"{reference(35)}.zarr")


def test_an_address_names_the_version_and_a_chunk_is_never_404(made, service_bundle, tmp_path):
    put(made, tmp_path / "in", frames(made, 0, 36), "a.nc")
    server = start(made, service_bundle, tmp_path)
    try:
        until(lambda: len(names(server.url)) == BACKFILL)
        listed = httpx.get(f"{server.url}/zarr/air").json()
        href = listed["forecasts"][0]["href"]
        (version,) = (path.name for path in (tmp_path / "state/archive/air").iterdir() if path.is_dir())
        assert href == f"/zarr/air/{reference(33)}.{version}"
        assert xr.open_zarr(f"{server.url}{href}")["t2m"].shape == (2, 8, 10)
        assert xr.open_zarr(f"{server.url}{listed['all']}")["t2m"].shape == (3, 2, 8, 10)
        for path, status in (
            (f"{href}/t2m/c/0/0/0", 200),
            (f"/zarr/air/{reference(33)}.abc/t2m/c/0/0/0", 410),
            (f"/zarr/air/{reference(3)}/t2m/c/0/0/0", 410),
            (f"/zarr/air/{reference(3)}/zarr.json", 404),
            (f"/zarr/sea/{reference(33)}/t2m/c/0/0/0", 410),
        ):
            assert httpx.get(f"{server.url}{path}").status_code == status, path
        second = made.Server("--model", str(service_bundle), "--state", str(tmp_path / "state"), ready=False)
        assert second.wait() != 0
        assert f"The folder '{tmp_path / 'state'}' is in use by another server." in second.output
    finally:
        server.kill()


def test_bands_of_later_forecasts_follow_the_truth_of_earlier_ones(made, service_bundle, tmp_path):
    """Bands of a hundredth of the spread miss nearly all truths: the next stored forecast has wider ones."""
    from dataclasses import replace

    from service.model.archiving import Archivist
    from service.model.source import Source
    from service.wire.model_messages import UpdateArchive
    from stconv.bundle import Bundle
    from stconv.forecast import Forecaster
    from stconv.forecast.computation import NetworkComputation

    banded = made.with_bands(Bundle.load(service_bundle))
    bundle = replace(banded, bands=replace(banded.bands, quantiles=0.01 * banded.bands.quantiles))
    computation = NetworkComputation(bundle)
    forecaster = Forecaster(bundle, computation=computation)
    put(made, tmp_path / "in", frames(made, 0, 36), "a.nc")
    alone = Alone(forecaster, tmp_path)
    alone.archivist = Archivist(forecaster, Source([tmp_path / "in"], forecaster))
    alone.request = UpdateArchive("air", str(tmp_path / "state"), BACKFILL, KEEP, keep_days=None, cases=50)
    answer = alone.rest()
    put(made, tmp_path / "in", frames(made, 36, 38), "b.nc")
    answer = alone.rest()

    def width(ds):
        return float((ds["t2m_upper_80"] - ds["t2m_lower_80"]).isel({ds["t2m"].dims[-3]: 0}).mean())

    first, *_, last = (xr.open_zarr(f"{answer.folder}/{name}.zarr") for name in held(answer))
    assert width(last) > 1.3 * width(first)
    uploaded = forecaster.forecast(frames(made, 0, 38))
    assert width(last) > 1.3 * width(uploaded), "an upload has the bands of the bundle, as from every door"
    kept = (answer.folder, "widening.json")
    assert os.path.exists(os.path.join(*kept)), "the next start of the server goes on from it"
