"""`stconv inspect`: statistics, gaps, windows, advice, picture, a first experiment; without torch."""

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import yaml
from matplotlib.dates import ConciseDateFormatter

from stconv.cli import inspect as command
from stconv.datasets.inspection.inspect import describe, plot
from stconv.datasets.inspection.text import description_text
from stconv.datasets.settings import SourceSettings
from stconv.datasets.source import reading
from stconv.datasets.source.grid_spec import GridSpec
from stconv.errors import ConfigError
from stconv.experiments.starter import starter
from stconv.front.remedies import said_in_options


def series(n=600, **values):
    rng = np.random.default_rng(0)
    times = np.datetime64("2001-01-01", "ns") + np.arange(n) * np.timedelta64(1, "h")
    data = {"t": rng.normal(280, 5, (n, 3, 4)).astype("float32")} | values
    return xr.Dataset(
        {name: (("time", "lat", "lon"), field, {"units": "K"}) for name, field in data.items()},
        {"time": times, "lat": [10.0, 20.0, 30.0], "lon": [0.0, 1.0, 2.0, 3.0]},
    )


def call(*argv):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with said_in_options():
        return command.run(parser.parse_args([str(word) for word in argv]))


def test_statistics_by_hand(tmp_path):
    values = np.arange(72, dtype="float32").reshape(6, 3, 4) + 1000
    values[:, 0, 0] = np.nan
    values[2, 1, 1] = np.nan
    values[3, 2, 2] = 0
    series(6, t=values).to_netcdf(tmp_path / "a.nc")
    found, _ = describe(tmp_path / "a.nc", t_in=2, leads=1)
    (t,) = found.variables
    assert t.missing_share == pytest.approx(7 / 72)
    assert t.never_valid_share == pytest.approx(1 / 12)
    assert t.zero_share == pytest.approx(1 / 65)
    assert (t.minimum, t.maximum) == (0, 1071)
    assert t.mean == pytest.approx(np.nanmean(values.astype(float)))
    assert t.standard_deviation == pytest.approx(np.nanstd(values.astype(float)))
    assert found.n_windows == 4
    assert found.memory_bytes == 72 * 4
    assert found.disk_bytes == (tmp_path / "a.nc").stat().st_size


def test_statistics_do_not_depend_on_the_blocks(tmp_path, monkeypatch):
    series().to_netcdf(tmp_path / "a.nc")
    whole, _ = describe(tmp_path / "a.nc")
    monkeypatch.setattr("stconv.datasets.inspection.inspect.PIECE_BYTES", 500)
    blocks, _ = describe(tmp_path / "a.nc")
    assert blocks.variables[0].mean == pytest.approx(whole.variables[0].mean, rel=1e-12)
    assert blocks.variables[0].standard_deviation == pytest.approx(
        whole.variables[0].standard_deviation, rel=1e-9
    )


def test_gaps_cost_windows_and_are_named(tmp_path):
    ds = series(100)
    ds.isel(time=[*range(40), *range(43, 100)]).to_netcdf(tmp_path / "a.nc")
    found, _ = describe(tmp_path / "a.nc", t_in=5, leads=5)
    (gap,) = found.gaps
    assert (gap.after, gap.before, gap.missing_steps) == ("2001-01-02T15:00", "2001-01-02T19:00", 3)
    assert found.n_windows == (40 - 9) + (57 - 9)
    assert found.n_training_windows == 40 - 9  # the training period ends 8 steps after the gap
    assert any("1 gap: no window spans a gap" in sentence for sentence in found.advice)


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (
            lambda v: np.where(v > 290, -9999, v),
            "'t' holds -9999, which looks like an undeclared missing value",
        ),
        (
            lambda v: np.where(v > 290, 1e20, v),
            "'t' holds 1e+20, which looks like an undeclared missing value",
        ),
        (lambda v: np.where(v > 290, -0.1, v), "'t' has only one distinct negative value, -0.1"),
        (lambda v: np.where(v > 290, np.nan, v), "in cells that are valid at other times"),
        (lambda v: np.where(v < 285, 0, v), "is zero: do not judge by RMSE alone"),
        (lambda v: np.where(v < 285, 0, v), "`transforms: {t: log1p}` gives large values less weight"),
        (lambda v: 0 * v + 5, "'t' is constant (5)"),
        (lambda v: 0 * v + np.nan, "'t' holds no valid value."),
    ],
)
def test_advice_on_values(tmp_path, change, advice):
    ds = series()
    ds["t"] = ds.t.copy(data=change(ds.t.values).astype("float32"))
    ds.to_netcdf(tmp_path / "a.nc", encoding={"t": {"_FillValue": None}})
    found, _ = describe(tmp_path / "a.nc")
    assert any(advice in sentence for sentence in found.advice), found.advice


def test_a_sound_file_needs_no_advice(tmp_path):
    series().to_netcdf(tmp_path / "a.nc")
    assert describe(tmp_path / "a.nc")[0].advice == []


def test_advice_on_length_and_units(tmp_path):
    ds = series(60)
    del ds.t.attrs["units"]
    ds.to_netcdf(tmp_path / "a.nc")
    found, _ = describe(tmp_path / "a.nc")
    assert any("training windows are few" in sentence for sentence in found.advice)
    assert any("'t' has no units" in sentence for sentence in found.advice)
    found, _ = describe(tmp_path / "a.nc", t_in=50, leads=50)
    assert found.n_windows == 0
    assert any("No window of 50 + 50 steps fits" in sentence for sentence in found.advice)
    ds.isel(time=[0]).to_netcdf(tmp_path / "one.nc")
    assert any(
        "A single step is not a series" in sentence for sentence in describe(tmp_path / "one.nc")[0].advice
    )


def test_text_and_json_say_the_same(tmp_path, capsys):
    series().to_netcdf(tmp_path / "a.nc")
    assert call(tmp_path / "a.nc", "--t-in", 3, "--leads", 2, "--plot", tmp_path / "p" / "a.png") == 0
    text = capsys.readouterr().out
    assert "600 x, 2001-01-01T00:00 to 2001-01-25T23:00, step 1h, no gaps, calendar standard" in text
    assert "lat: 3 x, 10 to 30, every 10" in text
    assert "windows of 3 steps in, 2 out: 596" in text
    assert (tmp_path / "p" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert call(tmp_path / "a.nc", "--t-in", 3, "--leads", 2, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_windows"], found["step"], found["axes"][0]["spacing"]) == (596, "1h", 10.0)


def test_reading_options_reach_the_door(tmp_path, capsys):
    ds = series()
    level = xr.Variable("level", [500, 850], {"units": "hPa"})
    ds = xr.concat([ds, ds + 1], level).transpose("time", "level", ...).rename(time="when", lat="u", lon="v")
    ds = ds.assign_coords(when=("when", np.arange(600.0)))
    ds.t.attrs["units"] = "K"
    ds.to_netcdf(tmp_path / "a.nc")
    options = ["--time", "when", "--lat", "u", "--lon", "v", "--select", "level=850", "--units", "t=degC"]
    options += [
        "--valid-range",
        "t=,290",
        "--time-units",
        "hours since 1999-01-01",
        "--calendar",
        "noleap",
        "--json",
    ]
    assert call(tmp_path / "a.nc", *options) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["calendar"] == "noleap"
    assert found["first"] == "1999-01-01T00:00"
    (t,) = found["variables"]
    assert t["units"] == "degC"
    assert t["maximum"] <= 290 - 273.15
    assert t["missing_share"] > 0
    for option, message in (
        (["--select", "level"], "--select expects NAME=VALUE"),
        (["--valid-range", "t=1"], "LOW,HIGH"),
    ):
        with pytest.raises(ConfigError, match=message):
            call(tmp_path / "a.nc", *option)


def test_the_first_experiment_is_complete_and_keeps_how_to_read(tmp_path, capsys):
    series().to_netcdf(tmp_path / "a.nc")
    file = tmp_path / "new" / "mine.yaml"
    assert (
        call(tmp_path / "a.nc", "--write-config", file, "--valid-range", "t=200,", "--t-in", 4, "--leads", 3)
        == 0
    )
    assert f"stconv fit --config {file}" in capsys.readouterr().out
    written = yaml.safe_load(file.read_text())
    assert written["data"]["source"]["paths"] == [str(tmp_path / "a.nc")]
    assert written["data"]["preparation"]["inputs"] == ["t"]
    assert written["data"]["source"]["grid"] == {"valid_range": {"t": [200.0, None]}}
    assert written["data"]["window"] == {"t_in": 4, "leads": 3}
    assert "purge" not in written["data"]["split"]
    series(120).to_netcdf(tmp_path / "short.nc")
    call(tmp_path / "short.nc", "--write-config", tmp_path / "short.yaml", "--leads", 3)
    assert yaml.safe_load((tmp_path / "short.yaml").read_text())["data"]["split"]["purge"] == 3
    with pytest.raises(ConfigError, match="exists and is not overwritten"):
        call(tmp_path / "a.nc", "--write-config", file)
    with pytest.raises(ConfigError, match=r"leave no training window of 400 \+ 3 steps"):
        call(tmp_path / "a.nc", "--write-config", tmp_path / "b.yaml", "--t-in", 400, "--leads", 3)


def test_the_real_command_line_accepts_the_first_experiment(tmp_path):
    series().to_netcdf(tmp_path / "a.nc")
    file = tmp_path / "mine.yaml"
    call(tmp_path / "a.nc", "--write-config", file, "--valid-range", "t=200,")
    parse = [sys.executable, "-m", "stconv", "fit", "--config", str(file), "--print_config"]
    done = subprocess.run(parse, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["data"]["source"]["grid"]["valid_range"] == {"t": [200.0, None]}


def test_what_it_does_not_need_is_not_loaded(tmp_path):
    series().to_netcdf(tmp_path / "a.nc")
    code = (
        "import sys, argparse; from stconv.cli import inspect as c; p = argparse.ArgumentParser(); "
        "c.add_arguments(p); c.run(p.parse_args([sys.argv[1]])); "
        "print(*{'torch', 'mlflow', 'pytorch_lightning', 'matplotlib', 'dask.array', 'pint', 'scipy'} "
        "& set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.nc")], capture_output=True, check=True, text=True
    )
    assert done.stderr.strip() == ""


def test_a_large_file_is_read_through_dask_although_xarray_has_not_looked_for_it(tmp_path):
    """The same file as a large one: read chunk by chunk, and described with the same words."""
    series(slp=np.linspace(0, 1, 600 * 12).reshape(600, 3, 4)).to_netcdf(tmp_path / "a.nc")
    code = (
        "import sys; from stconv.duck_arrays import skip_search; skip_search(); "
        "from stconv.datasets.source import grid; grid.MEMORY_BYTES = int(sys.argv[2]); "
        "from stconv.cli.main import main; main(['inspect', sys.argv[1]]); print('dask.array' in sys.modules)"
    )
    small, large = (
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "a.nc"), most],
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for most in ("1000000", "0")
    )
    assert small.endswith("False\n")
    assert large.endswith("True\n")
    assert small.removesuffix("False\n") == large.removesuffix("True\n")


def test_errors_to_beat_by_hand(tmp_path, capsys):
    """A noisy day: persistence over 24 h misses the noise alone, the climatology less."""
    generator = np.random.default_rng(0)
    ds = series(2400)
    hour = np.arange(2400) % 24
    noise = generator.normal(size=(2400, *ds.t.shape[1:]))
    ds["t"] = (ds.t.dims, (300 + 10 * np.cos(2 * np.pi * hour / 24))[:, None, None] + noise)
    ds["t"].attrs["units"] = "K"
    ds.to_netcdf(tmp_path / "a.nc")
    found, canonical = describe(tmp_path / "a.nc", t_in=2, leads=24)
    (t,) = found.variables
    assert len(t.persistence_rmse) == len(t.climatology_rmse) == 24
    np.testing.assert_allclose(t.climatology_rmse, 1.0, atol=0.05)
    np.testing.assert_allclose(t.persistence_rmse[23], np.sqrt(2), atol=0.05)
    test, weight = canonical.t.values, np.cos(np.deg2rad(canonical.lat.values))[:, None]
    references = np.arange(1919, 2400 - 24)
    squares = (test[references + 3] - test[references]) ** 2
    expected = np.sqrt((squares * weight).sum() / (np.ones_like(squares) * weight).sum())
    np.testing.assert_allclose(t.persistence_rmse[2], expected, rtol=1e-5)
    assert call(tmp_path / "a.nc", "--t-in", 2, "--leads", 3) == 0
    assert "RMSE of persistence for t, last 20 %, lead 1 to 3: 2.3" in capsys.readouterr().out


def walk(n=900):
    """A level that wanders in each cell, daily, with one missing value."""
    values = np.random.default_rng(1).normal(size=(n, 3, 4)).cumsum(0)
    values[700, 1, 1] = np.nan
    times = np.datetime64("2001-01-01", "ns") + np.arange(n) * np.timedelta64(1, "D")
    return series(n, t=values.astype("float32")).assign_coords(time=times)


def test_a_level_that_wanders_persists_as_a_value(tmp_path, capsys):
    ds, squares = walk(), []
    values, days = ds["t"].values.astype("f8"), np.arange(900)
    year = (ds["time"].dt.dayofyear.values - 1) / 365.25
    waves = [f(2 * np.pi * k * year) for k in (1, 2) for f in (np.cos, np.sin)]
    for first, last in [(432, 504), (504, 576), (576, 648), (648, 720)]:  # the first 80 %
        columns = np.stack([np.ones(900), *waves], 1)
        cycle = np.empty_like(values)
        for cell in np.ndindex(3, 4):
            seen = np.isfinite(values[:first, *cell])
            fitted = np.linalg.lstsq(columns[:first][seen], values[:first, *cell][seen], rcond=None)[0]
            cycle[:, *cell] = columns @ fitted
        sums = np.zeros(2)
        for newest in days[first - 1 : last - 2]:
            for lead in (1, 2):
                change = values[newest + lead] - values[newest]
                of_cycle = cycle[newest + lead] - cycle[newest]
                sums += np.nansum(change**2), np.nansum((change - of_cycle) ** 2)
        assert sums[0] < sums[1]
        squares.append(sums)
    raw, departure = np.sum(squares, 0)
    found, _ = describe(ds, t_in=2, leads=2)
    assert found.variables[0].persistence_gain == pytest.approx(1 - np.sqrt(raw / departure), rel=0.02)
    ds.to_netcdf(tmp_path / "walk.nc")
    assert call(tmp_path / "walk.nc", "--write-config", tmp_path / "walk.yaml") == 0
    preparation = yaml.safe_load((tmp_path / "walk.yaml").read_text())["data"]["preparation"]
    assert "scaling" not in preparation  # zscore, the default


def test_a_cycle_that_helps_once_keeps_the_climatology():
    year = 9 * np.cos(2 * np.pi * np.arange(900) / 365.25)[:, None, None]
    ds = walk()
    noise = np.random.default_rng(2).normal(size=(900, 3, 4))
    found, _ = describe(ds.assign(t=ds["t"].copy(data=(year + noise).astype("f4"))), t_in=2, leads=5)
    assert found.variables[0].persistence_gain is None


@pytest.mark.parametrize(
    ("name", "lowest", "share", "bounds"),
    [
        ("pickups", 0, 0.3, {"pickups": [0, None]}),
        ("level", 0, 0.01, {}),  # a lowest value that is 0 by chance
        ("level", -1, 0.3, {}),
        ("depth_anomaly", 0, 0.3, {}),
    ],
)
def test_counts_end_at_zero(name, lowest, share, bounds):
    """Many zeros and nothing below them are a bound, of which neither name nor units say a word."""
    values = np.random.default_rng(0).integers(1, 50, (600, 3, 4)).astype("f4")
    values.flat[: round(share * values.size)] = 0
    values[0, 0, 0] = lowest
    ds = series(t=values).rename(t=name)
    ds[name].attrs = {"units": "1"}
    found, _ = describe(ds)
    values = starter(found, SourceSettings(paths=["a.nc"]), "made")
    assert values["data"]["preparation"].get("bounds", {}) == bounds


@pytest.mark.parametrize(("calendar", "label"), [("standard", ""), ("noleap", "step, from 2000-01-01T00:00")])
def test_the_picture_has_dates_where_they_are_dates(calendar, label, tmp_path):
    time = xr.date_range(
        "2000-01-01", periods=40, freq="D", calendar=calendar, use_cftime=calendar != "standard"
    )
    values = np.random.default_rng(0).normal(size=(40, 3, 4)).astype("float32")
    axes = {"time": time, "lat": [1.0, 2, 3], "lon": [1.0, 2, 3, 4]}
    ds = xr.Dataset({"t": (("time", "lat", "lon"), values, {"units": "K", "long_name": "t"})}, axes)
    ds.to_netcdf(tmp_path / "a.nc")
    found, canonical = describe(tmp_path / "a.nc", t_in=2, leads=2)
    _, series = plot(canonical).axes[:2]
    assert series.get_xlabel() == label
    dates = series.xaxis.get_major_formatter()
    assert isinstance(dates, ConciseDateFormatter) == (calendar == "standard")
    if calendar == "standard":
        assert series.lines[0].get_xdata()[-1] == np.datetime64("2000-02-09")
    assert found.variables[0].meaning == ""  # the name again
    assert re.search(r"lead 1 to 2: [\d.]+ [\d.]+ K$", description_text(found), re.M)


def test_persistence_of_a_series_with_holes_is_what_a_window_last_knew(tmp_path):
    ds = series(2400)
    values = np.random.default_rng(0).normal(size=ds.t.shape)
    values[np.random.default_rng(1).random(ds.t.shape) < 0.3] = np.nan
    ds["t"] = (ds.t.dims, values.astype("float32"), {"units": "K"})
    ds.to_netcdf(tmp_path / "a.nc")
    found, canonical = describe(tmp_path / "a.nc", t_in=2, leads=1)
    references = np.arange(1919, 2400 - 1)
    v = canonical.t.values
    newest = np.where(np.isnan(v[references]), v[references - 1], v[references])
    square = canonical.t[references].copy(data=(v[references + 1] - newest) ** 2)
    expected = square.weighted(np.cos(np.deg2rad(canonical.lat))).mean() ** 0.5
    np.testing.assert_allclose(found.variables[0].persistence_rmse, float(expected), rtol=1e-5)


def test_errors_are_those_that_a_test_finds_by_torch(tmp_path):
    """Windows, references, areas and pooling of `inspect` are those of a test, on a series with holes."""
    from stconv.datasets.datamodule import GridDataModule
    from stconv.datasets.preparation.settings import PreparationSettings
    from stconv.datasets.references.baselines import baseline_forecasts
    from stconv.datasets.settings import SourceSettings, WindowSettings
    from stconv.verification import ScoreSums

    ds = series(900)
    values = ds.t.values
    values[np.random.default_rng(1).random(values.shape) < 0.3] = np.nan
    ds = ds.isel(time=np.r_[:800, 803:900])  # and a gap in the test period
    ds.to_netcdf(tmp_path / "a.nc")
    found, _ = describe(tmp_path / "a.nc", t_in=3, leads=2)
    data = GridDataModule(
        SourceSettings(str(tmp_path / "a.nc")), PreparationSettings(("t",)), WindowSettings(t_in=3, leads=2)
    )
    data.setup()
    sums = ScoreSums(["t"], 2, {"t": "K"})
    for batch in data.test_dataloader():
        forecasts = baseline_forecasts(data.preparation, batch)
        forecasts = {"model": forecasts["climatology"], **forecasts}
        sums.add(batch["targets"], forecasts, data.preparation.cell_weight, batch["reference_index"])
    t = found.variables[0]
    np.testing.assert_allclose(t.persistence_rmse, sums.rmse("persistence")[0], rtol=1e-5)
    np.testing.assert_allclose(t.climatology_rmse, sums.rmse("climatology")[0], rtol=1e-5)


def test_errors_of_a_real_file_are_those_published(shared_data):
    """One step ahead on the last 20 %: persistence 2.24 K; climatology 4.28 K where areas do not weigh."""
    found, _ = describe(shared_data / "benchmark" / "ncep_air_temperature.zarr", leads=1)
    (air,) = found.variables
    np.testing.assert_allclose(air.persistence_rmse, 2.24, rtol=0.1)
    assert 3.4 < air.climatology_rmse[0] < 4.28


@pytest.mark.parametrize("fill_gaps", [0, 3])
def test_each_frame_is_read_twice_at_most_and_the_numbers_are_the_same(tmp_path, monkeypatch, fill_gaps):
    ds = series(240).isel(time=np.delete(np.arange(240), [50, 51]))
    ds.to_netcdf(tmp_path / "a.nc", encoding={"t": {"chunksizes": (7, *ds.t.shape[1:])}})
    expected, _ = describe(tmp_path / "a.nc", GridSpec(fill_gaps=fill_gaps))
    assert expected.variables[0].persistence_rmse
    read = np.zeros(ds.sizes["time"], dtype=int)
    original = reading._OnDisk.__getitem__

    def counting(array, key):
        read[key[0]] += 1
        return original(array, key)

    monkeypatch.setattr(reading._OnDisk, "__getitem__", counting)
    monkeypatch.setattr("stconv.datasets.source.grid.MEMORY_BYTES", 100)
    monkeypatch.setattr("stconv.datasets.source.canonical.CHUNK_BYTES", 16 * 4 * ds.t[0].size)
    monkeypatch.setattr("stconv.datasets.inspection.inspect.PIECE_BYTES", 2 * 4 * ds.t[0].size)
    found, lazy = describe(tmp_path / "a.nc", GridSpec(fill_gaps=fill_gaps))
    assert lazy.t.chunks is not None
    assert read.max() <= 2
    assert read.min() >= 1
    ours, theirs = (replace(d.variables[0], mean=0, standard_deviation=0) for d in (found, expected))
    assert ours == theirs
    assert found.variables[0].mean == pytest.approx(expected.variables[0].mean, rel=1e-12)
    assert found.n_windows == expected.n_windows


def counted(n_steps, rows, columns, chunk):
    """A lazy Dataset that no memory could hold, and the number of times that each frame was computed."""
    reads = Counter()

    def block(block_info=None):
        first, last = block_info[None]["array-location"][0]
        reads.update(range(first, last))
        shape = block_info[None]["chunk-shape"]
        return np.broadcast_to(280 + (first % 7) * np.ones((1, 1, 1), "f4"), shape)

    chunks = ((chunk,) * (n_steps // chunk), (rows,), (columns,))
    values = da.map_blocks(block, chunks=chunks, dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    lat, lon = np.linspace(90, -90, rows), np.arange(columns) * 360 / columns
    times = np.datetime64("1979-01-01", "ns") + np.arange(n_steps) * np.timedelta64(6, "h")
    ds = xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values, {"units": "K"})}, {"time": times, "lat": lat, "lon": lon}
    )
    return ds, reads


def test_a_store_of_100_gigabytes_is_read_by_samples(monkeypatch):
    monkeypatch.setattr("stconv.datasets.inspection.inspect.MOST_BYTES", 2**28)
    ds, reads = counted(24_080, 721, 1440, 16)
    assert ds.nbytes > 100e9
    found, _ = describe(ds)
    sampled = found.variables[0].sampled_steps
    assert sampled == 4 * 16  # 266 MB in chunks of 16 frames
    assert sum(reads.values()) < 2 * sampled
    assert {0, 24_079} <= set(reads)  # from the first to the last
    assert found.variables[0].memory_bytes == 4 * ds["t2m"].size
    assert found.variables[0].minimum == 280
    assert f"of t2m are those of {sampled} of 24080 steps, evenly spaced" in " ".join(found.advice)
