"""restore(canonicalize(x)) equals x, for files laid out in any way."""

import cftime
import numpy as np
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from stconv.datasets.source.grid import canonicalize, restore
from stconv.datasets.source.origin import Origin

CALENDARS = ("standard", "noleap", "360_day", "julian", "all_leap", "proleptic_gregorian")


@st.composite
def sources(draw):
    """A dataset with its axes in any order and direction, either longitude convention, any calendar."""
    n_time, n_lat, n_lon = (draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(1, 7)))
    lat = np.round(np.linspace(-60, 70, n_lat), 3)[:: draw(st.sampled_from([1, -1]))]
    start, step = (
        draw(st.sampled_from([-180.0, -170.0, 0.0, 10.0, 170.0, 350.0])),
        draw(st.sampled_from([5.0, 20.0])),
    )
    lon = start + step * np.arange(n_lon)
    if draw(st.booleans()):
        lon = np.where(lon >= 360, lon - 360, lon)
    calendar, hours = draw(st.sampled_from(CALENDARS)), draw(st.sampled_from([1, 6, 24]))
    times = cftime.num2date(hours * np.arange(n_time), "hours since 2001-02-25", calendar=calendar)
    if calendar in ("standard", "proleptic_gregorian") and draw(st.booleans()):
        times = np.datetime64("2001-02-25", "ns") + hours * np.arange(n_time) * np.timedelta64(1, "h")
    names = draw(st.sampled_from([("time", "lat", "lon"), ("valid_time", "latitude", "longitude")]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.normal(280, 10, (n_time, n_lat, n_lon)).astype(np.float32)
    values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = np.nan
    ds = xr.Dataset(
        {"t": (names, values, {"units": "K", "long_name": "air"})},
        dict(zip(names, (times, lat, lon), strict=True)),
    )
    ds[names[1]].attrs["units"], ds[names[2]].attrs["units"] = "degrees_north", "degrees_east"
    if draw(st.booleans()):
        ds = ds.expand_dims(height=[2.0])
    return ds.transpose(*draw(st.permutations([str(dim) for dim in ds.t.dims])))


@settings(max_examples=60)
@given(sources())
def test_restore_undoes_canonicalize(ds):
    canonical, origin = canonicalize(ds)
    lat, lon = canonical.lat.values, canonical.lon.values
    assert (np.diff(lat) > 0).all()
    assert (np.diff(lon) > 0).all()
    assert -180 <= lon[0] < 180
    again = restore(canonical, Origin.from_json(origin.to_json()))
    assert again.t.dims == ds.t.dims
    np.testing.assert_array_equal(again.t.values, ds.t.values)
    for dim in ds.t.dims:
        np.testing.assert_array_equal(again[dim].values, ds[dim].values)
    assert again.t.attrs == ds.t.attrs


@settings(max_examples=60)
@given(sources(), st.data())
def test_each_value_keeps_its_place(ds, data):
    """A value is found at its time, latitude and longitude, whatever the layout."""
    canonical, _ = canonicalize(ds)
    time, lat, lon = (
        ("valid_time", "latitude", "longitude") if "valid_time" in ds.dims else ("time", "lat", "lon")
    )
    i, j, k = (data.draw(st.integers(0, ds.sizes[dim] - 1)) for dim in (time, lat, lon))
    expected = ds.t.isel({time: i, lat: j, lon: k}).values.item()
    turns = (canonical.lon.values - ds[lon].values[k]) % 360
    column = int(np.flatnonzero(np.isclose(turns, 0) | np.isclose(turns, 360))[0])
    row = int(np.flatnonzero(canonical.lat.values == ds[lat].values[j])[0])
    np.testing.assert_array_equal(canonical.t.values[i, row, column], expected)
