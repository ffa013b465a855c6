"""An input that is a forecast is refused, one that only looks like it is not."""

import numpy as np
import pytest
import xarray as xr

from stconv.errors import DataError
from stconv.forecast.observations import refuse_forecast

HOURS = np.array([6, 12, 18], dtype="timedelta64[h]")


def made(reference="2020-01-01", lead=HOURS, **attrs):
    """Fields of one forecast as cfgrib gives them: reference time, steps, and valid times."""
    reference = np.asarray(reference, dtype="datetime64[ns]")
    return xr.Dataset(
        {"t2m": ("step", np.zeros(lead.size))},
        {
            "time": ((), reference, {"standard_name": "forecast_reference_time"}),
            "step": ("step", lead.astype("timedelta64[ns]"), {"standard_name": "forecast_period"}),
            "valid_time": ("step", reference + lead, {"standard_name": "time"}),
        },
        attrs,
    )


def test_forecast_of_any_model():
    with pytest.raises(DataError, match=r"is a forecast \(with one reference time and 3 leads after it\)"):
        refuse_forecast(made())


@pytest.mark.parametrize("kind", ["decoded", "stored"])
def test_forecast_of_stconv_under_any_names(kind):
    """Renamed and cut: the attributes still say it."""
    ds = xr.Dataset({"t2m": ("time", np.zeros(3))}, attrs={"bundle_sha256": "ab", "model_name": "air"})
    with pytest.raises(DataError, match=r"made by stconv with the model air\), expected observations"):
        refuse_forecast(ds if kind == "decoded" else xr.Dataset(ds.variables, attrs=ds.attrs))


def test_stored_leads_are_numbers():
    ds = made().assign_coords(
        step=("step", [6, 12, 18], {"standard_name": "forecast_period", "units": "hours"})
    )
    with pytest.raises(DataError, match="3 leads"):
        refuse_forecast(ds)


@pytest.mark.parametrize(
    "ds",
    [
        xr.Dataset({"t2m": ("time", np.zeros(3))}, {"time": np.arange(3).astype("datetime64[h]")}),
        made(lead=np.array([0], dtype="timedelta64[h]")),
        made(lead=np.array([6], dtype="timedelta64[h]")),
        made(leads_known="3 of 3"),
        made().drop_vars("time"),
        made().assign_coords(step=("step", ["a", "b", "c"], {"standard_name": "forecast_period"})),
    ],
    ids=["plain", "analysis", "one step", "observed fields of the service", "no reference", "steps as text"],
)
def test_observations_pass(ds):
    refuse_forecast(ds)


def test_steps_of_forecasts_pass_where_the_model_was_trained_on_them():
    refuse_forecast(made(), steps_are_data=True)
