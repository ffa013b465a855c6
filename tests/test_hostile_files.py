"""Files as they come: each is either understood rightly or refused with the reason and the remedy."""

import cftime
import netCDF4
import numpy as np
import pytest
import xarray as xr

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.inspection.baselines import baseline_errors
from stconv.datasets.inspection.inspect import describe
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.windows import WindowSpec
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.grid import open_series
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.netcdf_classic import announced
from stconv.datasets.source.time_axis import text, time_step, whole_seconds
from stconv.datasets.source.time_decoding import decode_times
from stconv.datasets.source.units import linear_conversion
from stconv.errors import DataError, FileError, GridError, TimeAxisError, UnitsError, VariableError

N = 80
FIELD = (280 + 10 * np.random.default_rng(0).normal(size=(N, 5, 6))).astype(np.float32)
DAYS = np.datetime64("2001-01-01", "ns") + np.arange(N) * np.timedelta64(1, "D")


def series(values=FIELD, time=DAYS, units=None, **attrs):
    """A plain file; `time` with `units` is written as it stands, in units that CF may not know."""
    lat, lon = 40.0 + np.arange(values.shape[1]), 5.0 + np.arange(values.shape[2])
    ds = xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values, {"units": "K", **attrs})}, {"lat": lat, "lon": lon}
    )
    ds["time"] = ("time", time, {} if units is None else {"units": units})
    return ds


def written(folder, ds, **options):
    ds.to_netcdf(folder / "a.nc", **options)
    return folder / "a.nc"


def trained_on(path, grid=None, mask_channel=False):
    """A data module after set-up: everything between a file and the first training step."""
    data = GridDataModule(
        SourceSettings(str(path), grid=grid or GridSpec()),
        PreparationSettings(("t2m",), mask_channel=mask_channel),
        WindowSettings(t_in=3, leads=2),
    )
    data.setup()
    return data


DECODED = {
    "months since": (np.arange(N), "months since 1990-01-01", "1990-01-01", "1990-02-01", "1month"),
    "middle of the month": (
        np.arange(N) + 0.5,
        "months since 1990-01-01",
        "1990-01-16T12",
        "1990-02-15",
        "1month",
    ),
    "years since": (np.arange(N), "years since 1900-01-01", "1900-01-01", "1901-01-01", "1year"),
    "absolute day": (
        20010101.0 + 0.25 * np.arange(4),
        "day as %Y%m%d.%f",
        "2001-01-01",
        "2001-01-01T06",
        "6h",
    ),
    "absolute month": (
        np.array([200111, 200112, 200201]),
        "month as %Y%m.%f",
        "2001-11-01",
        "2001-12-01",
        "1month",
    ),
    "digits": (np.array([20010227, 20010228, 20010301]), None, "2001-02-27", "2001-02-28", "1d"),
    "digits with hours": (
        np.array([2001022721, 2001022722, 2001022723]),
        None,
        "2001-02-27T21",
        "2001-02-27T22",
        "1h",
    ),
    "text": (
        np.array(["2001-01-01 00:00:00", "2001-01-01 06:00:00"], dtype=object),
        None,
        "2001-01-01",
        "2001-01-01T06",
        "6h",
    ),
    "WRF": (
        np.array([b"2001-01-01_00:00:00", b"2001-01-01_03:00:00"]),
        None,
        "2001-01-01",
        "2001-01-01T03",
        "3h",
    ),
}


@pytest.mark.parametrize("case", DECODED)
def test_times_that_people_read_are_decoded(tmp_path, case):
    values, units, first, second, step = DECODED[case]
    ds, _ = open_series(written(tmp_path, series(FIELD[: len(values)], values, units)))
    assert list(ds.time.values[:2]) == [np.datetime64(first, "ns"), np.datetime64(second, "ns")]
    assert time_step(ds.time.values).label == step


def test_times_decode_in_their_calendar():
    found = decode_times(np.array([0, 1, 2]), "months since 2000-01-30", "noleap")
    assert [text(time) for time in found] == ["2000-01-30T00:00", "2000-02-28T00:00", "2000-03-30T00:00"]
    found = decode_times(np.array([20000230.5]), "day as %Y%m%d.%f", "360_day")
    assert found[0] == cftime.datetime(2000, 2, 30, 12, calendar="360_day")


@pytest.mark.parametrize(
    ("values", "units"),
    [
        (np.array([0.0, 0.3]), "months since 1990-01-01"),
        (np.array([200101.5]), "month as %Y%m.%f"),
        (np.array([20011301]), None),
        (np.array([1.0, np.nan]), "months since 1990-01-01"),
        (np.array(["january", "2001-02-01"], dtype=object), None),
        (np.arange(3), None),
        (1900 + np.arange(3), None),
    ],
)
def test_what_means_no_time_for_sure_is_not_guessed(tmp_path, values, units):
    assert decode_times(values, units, "standard") is None
    with pytest.raises(TimeAxisError, match=r"cannot be decoded|no time axis found"):
        open_series(written(tmp_path, series(FIELD[: len(values)], values, units)))


def test_jitter_of_floating_point_times_is_rounded_away(tmp_path):
    noise = np.random.default_rng(1).integers(-900, 900, N) * np.timedelta64(1, "us")
    days = {"time": {"units": "days since 1900-01-01", "dtype": "f8"}}
    ds, _ = open_series(written(tmp_path, series(time=DAYS + noise), encoding=days))
    np.testing.assert_array_equal(ds.time.values, DAYS)
    late = np.array([cftime.datetime(2000, 2, 30, 23, 59, 59, 999_990, calendar="360_day")])
    assert whole_seconds(late)[0] == cftime.datetime(2000, 3, 1, calendar="360_day")


@pytest.mark.parametrize(
    "calendar", ["proleptic_gregorian", "julian", "all_leap", "366_day", "365_day", "360_day"]
)
def test_calendars_are_trained_on(tmp_path, calendar):
    times = cftime.num2date(np.arange(N), "days since 2000-02-20", calendar=calendar)
    data = trained_on(written(tmp_path, series(time=times)))
    assert data.series.step.label == "1d"
    assert not data.series.breaks
    assert text(data.series.times[9])[:10] == ("2000-03-01" if calendar == "365_day" else "2000-02-29")


@pytest.mark.parametrize("sentinel", [-999.0, -9999.0, 1e20, 99999.0, -32768.0])
def test_undeclared_sentinels_are_refused_until_the_range_is_stated(tmp_path, sentinel):
    values = FIELD.copy()
    values[::7, 2, 3] = sentinel
    path = written(tmp_path, series(values), encoding={"t2m": {"_FillValue": None}})
    found, _ = describe(path)
    assert any("undeclared missing value" in sentence for sentence in found.advice)
    with pytest.raises(
        DataError,
        match=r"looks like an undeclared missing value.* `grid: \{valid_range: \{t2m: \[LOW, HIGH\]\}\}`",
    ):
        trained_on(path)
    data = trained_on(path, grid=GridSpec(valid_range={"t2m": [100, 400]}))
    assert np.isnan(data.series.values).sum() == len(values[::7])
    kept = trained_on(path, grid=GridSpec(valid_range={"t2m": [-1e30, 1e30]}))
    assert (kept.series.values == np.float32(sentinel)).any()


def test_a_value_that_is_one_of_many_is_no_sentinel(tmp_path):
    pressure = np.linspace(95_000, 99_999, FIELD.size).astype(np.float32).reshape(FIELD.shape)
    assert trained_on(written(tmp_path, series(pressure))).series.values.max() == 99_999


@pytest.mark.parametrize(
    ("dtype", "fill"), [("f4", 9.96921e36), ("f8", 9.96921e36), ("i2", -32767), ("i4", -2147483647)]
)
def test_what_was_never_written_is_missing(tmp_path, dtype, fill):
    """The NetCDF library fills with its default value, and no attribute says so."""
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        for name, values in (("time", np.arange(20.0)), ("lat", np.arange(3.0)), ("lon", np.arange(4.0))):
            file.createDimension(name, len(values))
            file.createVariable(name, "f8", (name,))[:] = values
        file["time"].units = "days since 2001-01-01"
        rain = file.createVariable("t2m", dtype, ("time", "lat", "lon"))
        rain.set_auto_mask(False)
        rain[:10] = 3
        assert rain[15, 0, 0] == pytest.approx(fill)
    ds, _ = open_series(tmp_path / "a.nc")
    assert (ds.t2m.values[:10] == 3).all()
    assert np.isnan(ds.t2m.values[10:]).all()


@pytest.mark.parametrize("packed", [False, True])
def test_values_outside_a_declared_range_are_missing(tmp_path, packed):
    values = np.round(FIELD)
    values[3], values[5] = 150, 400
    encoding = {"dtype": "i2", "scale_factor": 0.5, "add_offset": 200.0, "_FillValue": -1} if packed else {}
    limits = np.array([0, 400], "i2") if packed else np.array([200, 400], "f4")
    ds, _ = open_series(written(tmp_path, series(values, valid_range=limits), encoding={"t2m": encoding}))
    assert np.isnan(ds.t2m.values[3]).all()
    np.testing.assert_array_equal(np.delete(ds.t2m.values, 3, axis=0), np.delete(values, 3, axis=0))
    raw, _ = open_series(tmp_path / "a.nc", GridSpec(valid_range={"t2m": [None, None]}))
    np.testing.assert_array_equal(raw.t2m.values, values)


def test_small_numbers_are_no_constants(tmp_path):
    data = trained_on(written(tmp_path, series(FIELD * np.float32(1e-12))))
    seen = data.preparation.inputs(next(iter(data.train_dataloader())))
    assert 0.5 < float(seen.std()) < 2


def test_infinite_values_are_named_by_inspect_and_refused(tmp_path):
    values = FIELD.copy()
    values[4, 2, 1] = np.inf
    path = written(tmp_path, series(values))
    assert any("is infinite in 0.042 %" in sentence for sentence in describe(path)[0].advice)
    with pytest.raises(DataError, match="is infinite at time 2001-01-05"):
        trained_on(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("step", [4, -3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_infinite_value_counts_as_missing_in_the_errors_to_beat(dtype, step):
    """In the training period, from which the climatology is, and in the test period."""
    values = np.stack([FIELD.astype(dtype)] * 2)
    values[:, step, 2, 1] = np.inf, np.nan
    infinite, missing = (baseline_errors(series(x)["t2m"], WindowSpec.consecutive(3, 2)) for x in values)
    assert np.isfinite(missing).all()
    assert infinite == missing


def test_eighty_percent_missing_is_trained_on(tmp_path):
    values = np.where(np.random.default_rng(2).random(FIELD.shape) < 0.8, np.nan, FIELD)
    data = trained_on(written(tmp_path, series(values)), mask_channel=True)
    batch = next(iter(data.train_dataloader()))
    target, weight = data.preparation.targets(batch)
    assert np.isfinite(data.preparation.inputs(batch)).all()
    np.testing.assert_array_equal(weight > 0, np.isfinite(batch["targets"]))
    assert np.isfinite(target).all()


def test_wrf_repeats_its_grid_at_each_time(tmp_path):
    y, x = np.mgrid[0:5, 0:6]
    dims = ("Time", "south_north", "west_east")
    stamps = np.array([f"{str(day)[:10]}_00:00:00" for day in DAYS], dtype="S19")
    fields = {"T2": FIELD, "XLAT": np.tile(40 + y + 0.1 * x, (N, 1, 1)), "XLONG": np.tile(5 + x, (N, 1, 1))}
    ds = xr.Dataset({name: (dims, values) for name, values in fields.items()} | {"Times": ("Time", stamps)})
    found, _ = open_series(written(tmp_path, ds))
    assert list(found.data_vars) == ["T2"]
    np.testing.assert_array_equal(found.XLAT.values, 40 + y + 0.1 * x)
    np.testing.assert_array_equal(found.time.values, DAYS)
    ds["XLAT"][-1] += 1
    with pytest.raises(GridError, match="'XLAT' changes with time"):
        open_series(written(tmp_path, ds))


@pytest.mark.parametrize("file_format", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
@pytest.mark.parametrize("unlimited", [None, "time"])
def test_classic_files_are_as_long_as_their_header_says(tmp_path, file_format, unlimited):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w", format=file_format) as file:
        file.title = "odd length"
        for name, values in (("time", np.arange(N)), ("lat", np.arange(5.0)), ("lon", np.arange(6.0))):
            file.createDimension(name, None if name == unlimited else len(values))
            file.createVariable(name, "f8", (name,))[:] = values
        file["time"].units = "days since 2001-01-01"
        file.createVariable("flag", "i1", ("time",))[:] = 1
        file.createVariable("t2m", "f4", ("time", "lat", "lon"))[:] = FIELD
    whole = path.stat().st_size
    assert whole - 4 < announced(path).n_bytes <= whole
    np.testing.assert_array_equal(open_series(path)[0].t2m.values, FIELD)
    for size in (whole - 4, whole // 2, 100):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(FileError, match=r"a\.nc' is truncated"):
            open_series(path)


def test_a_classic_file_with_more_steps_than_its_header_declares_is_told(tmp_path):
    path = tmp_path / "a.nc"
    times = ("time", np.arange(N), {"units": "days since 2001-01-01"})
    ds = xr.Dataset(
        {"t2m": (("time", "lat", "lon"), FIELD)},
        {"time": times, "lat": np.arange(5.0), "lon": np.arange(6.0)},
    )
    ds.to_netcdf(path, format="NETCDF3_CLASSIC", unlimited_dims=["time"])
    content = path.read_bytes()
    path.write_bytes(content[:4] + (N - 10).to_bytes(4, "big") + content[8:])
    told = f"the header declares {N - 10} steps .* the file is long enough for 10 more, which are not read"
    with pytest.warns(SourceWarning, match=told):
        found, _ = open_series(path)
    np.testing.assert_array_equal(found.t2m.values, FIELD[:-10])
    path.write_bytes(content[:4] + b"\xff" * 4 + content[8:])
    with pytest.raises(FileError, match="was written as a stream: its header does not state the number of"):
        open_series(path)


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (b"\xfd7zXZ\0", "is xz-compressed; .*`unxz FILE`"),
        (b"\x0e\x03\x13\x01", "is HDF 4; .*h4toh5convert"),
        (b"II*\0", "is a TIFF; .*gdal_translate"),
        (b'{"version": 1, "refs": {}}', "is JSON, and holds no references of kerchunk; .*Give NetCDF"),
    ],
)
def test_other_formats_are_named_with_a_remedy(tmp_path, start, told):
    (tmp_path / "a.nc").write_bytes(start + b"x" * 600)
    with pytest.raises(FileError, match=told):
        open_series(tmp_path / "a.nc")


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (["20010101", "20010102", "20010103"], "2001-01-01T00:00"),
        (["2001010106", "2001010112", "2001010118"], "2001-01-01T06:00"),
        (["2001-01-01T00:00+02:00", "2001-01-01T06:00+02:00"], "2000-12-31T22:00"),
        (["2001-01-01 00:00:00-0330", "2001-01-01 06:00:00-0330"], "2001-01-01T03:30"),
    ],
)
def test_dates_as_text(texts, first):
    assert text(decode_times(np.array(texts), None, "standard")[0]) == first


def test_a_longitude_that_is_a_fill_value_is_refused(tmp_path):
    lon = np.arange(6.0)
    lon[3] = 1e20
    coords = {"time": DAYS, "lat": np.arange(5.0), "lon": ("lon", lon, {"units": "degrees_east"})}
    ds = xr.Dataset({"t2m": (("time", "lat", "lon"), FIELD)}, coords)
    with pytest.raises(
        GridError, match=r"longitude 'lon' is expected within \[-720, 720\] degrees, found 0 to 1e"
    ):
        open_series(written(tmp_path, ds))


def test_a_file_of_zeros_is_told_from_other_formats(tmp_path):
    (tmp_path / "a.nc").write_bytes(bytes(1000))
    with pytest.raises(
        FileError, match=r"begins with zeros, as an interrupted download .* Download it again"
    ):
        open_series(tmp_path / "a.nc")


REFUSED = {
    "groups": (lambda ds: ds, {"group": "data"}, FileError, "holds its variables in groups: data"),
    "repeated": (
        lambda ds: ds.isel(time=[0, 1, 1, 2]),
        {},
        TimeAxisError,
        "2001-01-02T00:00 at positions 1, 2",
    ),
    "descending": (
        lambda ds: ds.isel(time=slice(None, None, -1)),
        {},
        TimeAxisError,
        "expected increasing times; 2001-03-21",
    ),
    "no step at all": (
        lambda ds: ds.isel(time=[0, 9, 20, 33, 41, 48, 59]),
        {},
        TimeAxisError,
        "expected one time step",
    ),
    "levels": (
        lambda ds: xr.concat([ds, ds], xr.IndexVariable("level", [500, 850])),
        {},
        VariableError,
        "level: 500, 850",
    ),
    "one row": (lambda ds: ds.isel(lat=0), {}, GridError, "no axis for latitude or rows"),
    "empty": (lambda ds: ds.isel(time=slice(0, 0)), {}, TimeAxisError, r"time \(0: empty\)"),
    "no field": (lambda ds: ds[["time"]], {}, GridError, "no axis for latitude"),
    "infinite axis": (
        lambda ds: ds.assign_coords(lon=[5, 6, np.inf, 8, 9, 10]),
        {},
        GridError,
        "is expected to be finite",
    ),
    "repeated row": (
        lambda ds: ds.assign_coords(lat=[40, 41, 41, 42, 43]),
        {},
        GridError,
        "not monotonic: 41 at index 1",
    ),
    "no latitude": (lambda ds: ds.assign_coords(lat=ds.lat * 3), {}, GridError, r"within \[-90, 90\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_understood_is_refused_with_a_remedy(tmp_path, case):
    change, options, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        open_series(written(tmp_path, change(series()), **options))


ACCEPTED = {
    "axes in any order": lambda ds: ds.transpose("lon", "time", "lat"),
    "one cell": lambda ds: ds.isel(lat=[0], lon=[0]),
    "a single level": lambda ds: ds.expand_dims(level=[850], axis=1),
    "a single member": lambda ds: ds.expand_dims("number"),
    "integers": lambda ds: ds.assign(t2m=ds.t2m.astype("i4").assign_attrs(units="K")),
    "flags beside": lambda ds: ds.assign(
        flag=(("time", "lat", "lon"), np.full(FIELD.shape, b"x", dtype="S1"))
    ),
    "words beside": lambda ds: ds.assign(
        word=(("time", "lat", "lon"), np.full(FIELD.shape, "w", dtype=object))
    ),
    "names beyond ASCII": lambda ds: ds.assign_coords(lat=ds.lat.assign_attrs(units="degrees_north")).rename(
        lat="Größe"
    ),
    "units of a duration": lambda ds: ds.assign(t2m=ds.t2m.assign_attrs(units="days")),
    "a gap": lambda ds: ds.isel(time=[*range(30), *range(37, N)]),
    "the pole": lambda ds: ds.assign_coords(lat=[86, 87, 88, 89, 90.0000001]),
    "across the seam": lambda ds: ds.assign_coords(lon=[357, 358, 359, 0, 1, 2]),
    "more than a turn on": lambda ds: ds.assign_coords(lon=np.linspace(350, 420, 6)),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_odd_and_clear_files_are_trained_on(tmp_path, case):
    expected = ACCEPTED[case](series())
    data = trained_on(written(tmp_path, expected))
    batch = next(iter(data.train_dataloader()))
    seen = data.preparation.inputs(batch)
    assert np.isfinite(seen).all()
    assert data.series.values.mean() == pytest.approx(float(expected.t2m.mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("found", "wanted", "factor"),
    [
        ("kg m-2", "mm", 1.0),
        ("mm", "kg m-2", 1.0),
        ("kg m-2 s-1", "mm day-1", 86_400.0),
        ("m", "kg m-2", 1000.0),
        ("mm hour-1", "kg m-2 s-1", 1 / 3600),
        ("Pa", "hPa", 0.01),
    ],
)
def test_water_is_a_mass_per_area_or_a_depth(found, wanted, factor):
    assert linear_conversion(found, wanted, "rain", "a.nc") == (pytest.approx(factor), 0.0)


def test_other_masses_are_no_depths():
    with pytest.raises(UnitsError, match="measure different quantities"):
        linear_conversion("kg", "mm", "rain", "a.nc")
