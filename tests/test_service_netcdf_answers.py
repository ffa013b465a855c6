"""Small forecasts are NetCDF classic, others NetCDF 4; both say the same."""

import io

import cftime
import netCDF4
import numpy as np
import pytest
import xarray as xr

from service.formats.answers import CLASSIC_BYTES, to_netcdf
from service.formats.classic import to_classic
from stconv.client.transport import opened


def forecast(cells=4, **attrs):
    values = np.arange(3 * cells, dtype="f4").reshape(3, cells)
    values[1, 2] = np.nan
    lead = np.arange(1, 4)
    reference = np.datetime64("2020-02-28T18:00", "ns")
    return xr.Dataset(
        {
            "t2m": (("lead", "x"), values, {"units": "K", "ancillary_variables": "t2m_lower_80"}),
            "t2m_lower_80": (("lead", "x"), values - 1, {"units": "K"}),
        },
        {
            "lead": ("lead", 6 * lead, {"units": "hours"}),
            "time": ("lead", reference + lead * np.timedelta64(6, "h"), {"standard_name": "time"}),
            "x": ("x", np.linspace(-8.0, 7.5, cells), {"units": "degrees_east"}),
            "forecast_reference_time": ((), reference),
        },
        {"title": "Prévision à 6 h", "input_missing_share": 0.25, "members": 3, "levels": [500.0, 850.0]}
        | attrs,
    )


def netcdf4_of(ds):
    return xr.load_dataset(bytes(ds.to_netcdf(engine="netcdf4")))


def test_classic_says_what_netcdf4_says():
    ds = forecast()
    body = to_netcdf(ds)
    assert body.startswith(b"CDF\x02")
    for found in (xr.load_dataset(body), xr.load_dataset(io.BytesIO(body), engine="scipy"), opened(body)):
        xr.testing.assert_identical(found, netcdf4_of(ds))
        assert found["t2m"].dtype == np.float32
        assert found["x"].dtype == np.float64
        assert type(found.attrs["input_missing_share"]) is np.float64
        assert set(found.coords) == {"lead", "time", "x", "forecast_reference_time"}


def test_the_format_does_not_depend_on_the_byte_order():
    """A classic file gives big-endian numbers and attributes, NetCDF 4 usually little-endian ones."""
    ds = forecast(a=np.float32(0.5), b=np.array([1.5, 2.5]), c=np.int32(7))
    swapped = ds.copy()
    for variable in (*swapped.variables.values(), swapped):
        variable.attrs = {
            key: value.astype(value.dtype.newbyteorder("S"))
            if isinstance(value, np.ndarray | np.generic)
            else value
            for key, value in variable.attrs.items()
        }
    for name in ("t2m", "x", "lead"):
        order = ds[name].dtype.newbyteorder("S")
        swapped[name] = (
            swapped[name].astype(order) if name == "t2m" else (name, ds[name].values.astype(order))
        )
    assert swapped["t2m"].dtype.byteorder == ">"
    body = to_netcdf(swapped.assign_attrs(swapped.attrs))
    assert body.startswith(b"CDF\x02")
    xr.testing.assert_equal(xr.load_dataset(body), netcdf4_of(ds))


def test_classic_is_read_by_netcdf_c():
    with netCDF4.Dataset("memory", memory=to_netcdf(forecast())) as file:
        assert file.data_model == "NETCDF3_64BIT_OFFSET"
        assert file.title == "Prévision à 6 h"
        assert file["time"].units == "hours since 2020-02-29 00:00:00"
        assert file["time"][:].tolist() == [0, 6, 12]
        assert file["t2m"].coordinates.split() == ["forecast_reference_time", "time"]
        assert file["t2m"][1].mask.tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("step", "units"), [("3D", "days"), ("90m", "minutes"), ("45s", "seconds"), ("0s", "days")]
)
def test_times_count_the_largest_unit_that_is_exact(step, units):
    times = np.datetime64("1900-01-01", "ns") + np.arange(3) * np.timedelta64(int(step[:-1]), step[-1])
    ds = forecast().assign_coords(time=("lead", times))
    found = xr.load_dataset(to_netcdf(ds), decode_times=False)
    assert found["time"].attrs["units"] == f"{units} since 1900-01-01 00:00:00"
    np.testing.assert_array_equal(xr.load_dataset(to_netcdf(ds))["time"], times)


def other_calendar(ds):
    days = [cftime.Datetime360Day(2020, 2, day) for day in (28, 29, 30)]
    return ds.assign_coords(time=("lead", days), forecast_reference_time=days[0])


@pytest.mark.parametrize(
    "change",
    [
        other_calendar,
        lambda ds: ds.assign_coords(name=("x", ["a", "b", "c", "d"])),
        lambda ds: ds.assign_coords(lead=ds["lead"] * 10**10),
        lambda ds: ds.assign_coords(time=ds["time"] + np.timedelta64(1, "ns")),
        lambda ds: ds.assign_coords(time=("lead", [np.datetime64("NaT", "ns"), *ds["time"].values[1:]])),
        lambda ds: ds.assign_attrs(number=2**40),
        lambda ds: ds.assign_attrs(names=["a", "b"]),
        lambda ds: ds.rename(t2m="température"),
        lambda ds: forecast(cells=100_000),
    ],
    ids=["calendar", "text", "wide", "nanoseconds", "no time", "wide attribute", "texts", "name", "large"],
)
def test_what_classic_cannot_hold_is_netcdf4(change):
    ds = change(forecast())
    assert to_classic(ds) is None or ds.nbytes > CLASSIC_BYTES
    body = to_netcdf(ds)
    assert body.startswith(b"\x89HDF")
    xr.testing.assert_equal(opened(body), netcdf4_of(ds))
