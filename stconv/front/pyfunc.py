"""The flavor `python_function` of a registered version: MLflow loads and asks it; no pickle is read.

`mlflow.pyfunc.load_model("models:/air@champion").predict(ds)` returns a Dataset. A question in JSON, as
`mlflow models predict` asks it, gets plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stconv.errors import DataError
from stconv.front.model import Model, load

if TYPE_CHECKING:
    import xarray as xr

FILE = "file"
"""Key of a question that names a file."""


class Predictor:
    """A bundle behind MLflow's interface.

    Args:
        model: Loaded model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Forecast from the newest window.

        Args:
            data: A Dataset, or paths, for a Dataset as answer. Or JSON values, for plain values as answer:
                {"file": PATH}, a table with a column `file`, or the fields themselves in the form of the
                service: {"time": [...], "latitude": [...], "longitude": [...], "variables": {"t2m":
                {"units": "K", "values": [[[...]]]}}}.
            params: Options of `Model.forecast`, such as {"steps": 10}.

        Raises:
            DataError: The data do not fit the model; the message says why.
        """
        options = dict(params or {})
        asked = _mapping(data)
        if asked is None:
            return self.model.forecast(data, **options)
        source = str(_scalar(asked[FILE])) if FILE in asked else fields_of(asked)
        return plain_forecast(self.model.forecast(source, **options))


def _load_pyfunc(path: str) -> Predictor:
    """Load the bundle of a version; MLflow calls this function by its name."""
    return Predictor(load(path))


def fields_of(asked: Mapping[str, Any]) -> xr.Dataset:
    """Make a Dataset of a question in JSON, in the form that the service takes.

    Raises:
        DataError: The values are no fields.
    """
    import numpy as np
    import xarray as xr

    variables = _scalar(asked.get("variables"))
    if not isinstance(variables, Mapping) or "time" not in asked:
        raise DataError(
            f"The question has the keys {', '.join(asked)}; expected `{FILE}`, the path of a NetCDF file "
            "or Zarr "
            "store, or `time`, `latitude`, `longitude` (or `y`, `x`) and `variables`."
        )
    rows, columns = ("latitude", "longitude") if "latitude" in asked else ("y", "x")
    try:
        coords = {
            "time": np.asarray(asked["time"], "datetime64[ns]"),
            **{dim: np.asarray(asked[dim], float) for dim in (rows, columns) if dim in asked},
        }
        fields = {
            name: (
                ("time", rows, columns),
                np.asarray(variable["values"], np.float32),
                {"units": variable["units"]} if "units" in variable else {},
            )
            for name, variable in variables.items()
        }
        return xr.Dataset(fields, coords)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"The fields of the question are not understood: {error}.") from error


def plain_forecast(forecast: xr.Dataset) -> dict[str, Any]:
    """Return a forecast as JSON values; missing values are null."""
    import numpy as np

    def plain(values: np.ndarray) -> Any:
        if values.dtype.kind == "f":
            return np.where(np.isfinite(values), values.astype(object), np.array(None)).tolist()
        return values.astype(str).tolist() if values.dtype.kind in "MO" else values.tolist()

    return {
        "model": {name: forecast.attrs[f"model_{name}"] for name in ("name", "version")},
        "coordinates": {str(name): plain(forecast[name].values) for name in forecast.coords},
        "variables": {
            str(name): {
                "dimensions": list(map(str, field.dims)),
                "units": str(field.attrs.get("units", "")),
                "values": plain(field.values),
            }
            for name, field in forecast.data_vars.items()
        },
    }


def _mapping(data: Any) -> Mapping[str, Any] | None:
    """The question as a mapping, if it came as JSON or as a table."""
    import xarray as xr

    if isinstance(data, xr.Dataset):
        return None
    if isinstance(data, Mapping):
        return data
    if hasattr(data, "to_dict") and FILE in getattr(data, "columns", ()):
        return {FILE: data[FILE].tolist()}
    return None


def _scalar(value: Any) -> Any:
    """The value itself, where MLflow or a table has wrapped it in an array or a list of one."""
    while hasattr(value, "tolist") or (isinstance(value, list) and len(value) == 1):
        value = value.tolist() if hasattr(value, "tolist") else value[0]
    return value
