"""Data as a person holds them: a Dataset, an array, paths; and the keywords for reading them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from stconv.errors import ConfigError
from stconv.front.section import plain
from stconv.front.value_types import check_types

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from stconv.datasets.source.grid_spec import GridSpec

    Data = xr.Dataset | xr.DataArray | np.ndarray | str | Path | Sequence[str | Path]


class Reading(TypedDict, total=False):
    """Keywords for data that do not describe themselves; `GridSpec` explains each."""

    time: str
    lat: str
    lon: str
    y: str
    x: str
    select: Mapping[str, Any]
    valid_range: Mapping[str, Sequence[float | None]]
    units: Mapping[str, str]
    engine: str
    group: str
    time_units: str
    calendar: str
    start: str | date | np.datetime64
    step: str | timedelta | np.timedelta64
    dims: Sequence[str] | str
    names: Sequence[str] | str
    components: Sequence[str]
    fill_gaps: int
    snap_times: bool
    accumulated: Mapping[str, str]
    sources: Sequence[Any]


def grid_spec(reading: Mapping[str, Any], function: Callable[..., Any]) -> GridSpec:
    """Make the options for reading from keywords.

    Args:
        reading: Keywords of a function of the front door that are not its own.
        function: The function, whose own keywords belong into the message.

    Raises:
        ConfigError: A keyword is unknown, or its value is invalid.
    """
    import difflib
    import inspect

    from stconv.datasets.source.grid_spec import GridSpec

    known = [field.name for field in fields(GridSpec)]
    for name in reading:
        if name not in known:
            own = [own for own in inspect.signature(function).parameters if own not in ("self", "reading")]
            close = difflib.get_close_matches(name, [*own, *known], n=1)
            hint = f" Did you mean `{close[0]}`?" if close else ""
            raise ConfigError(
                f"There is no keyword `{name}`.{hint} `{function.__name__}` has {', '.join(own)}; those for "
                f"reading are {', '.join(known)}."
            )
    values = {name: _plain(name, value) for name, value in reading.items()}
    check_types(GridSpec, values)
    return GridSpec(**values)


def _plain(name: str, value: Any) -> Any:
    """A value as a configuration holds it; words may stand in one text, and times may be objects."""
    import numpy as np
    import pandas as pd

    if name in {"dims", "names", "components"} and isinstance(value, str):
        return re.findall(r"[^\s,()]+", value)
    if name == "step" and isinstance(value, timedelta | np.timedelta64):
        return _step_text(value)
    if name == "start" and isinstance(value, date | np.datetime64):
        return pd.Timestamp(value).isoformat()
    return plain(value)


def _step_text(step: timedelta | np.timedelta64) -> str:
    """A time step as `GridSpec.step` writes it."""
    import pandas as pd

    minutes = pd.Timedelta(step) / pd.Timedelta("1min")
    if minutes != int(minutes):
        raise ConfigError(f"step is {step}; expected whole minutes, such as 6h, 1d or 10min.")
    return f"{int(minutes)}min"


def names_of(names: Sequence[str] | str | None, keyword: str) -> list[str] | None:
    """Return names of variables as a list; None stands for a default.

    Raises:
        ConfigError: They are no names, or none at all.
    """
    if names is None:
        return None
    found = [names] if isinstance(names, str) else names
    if not isinstance(found, Sequence) or not found or not all(isinstance(name, str) for name in found):
        raise ConfigError(f'{keyword} is {names!r}; expected names of variables, such as ["t2m"].')
    return list(found)


def source_of(data: Data, spec: GridSpec) -> xr.Dataset | list[str]:
    """Return data as a Dataset or as paths.

    Args:
        data: A Dataset, a DataArray, an array of NumPy, or paths, patterns and Zarr stores.
        spec: Describes an array.

    Raises:
        ConfigError: The data are something else.
        DataError: The array cannot be understood as a series.
    """
    import numpy as np
    import xarray as xr

    if isinstance(data, xr.Dataset):
        return data
    if isinstance(data, xr.DataArray):
        return data.to_dataset(name=str(data.name or "field"))
    if isinstance(data, np.ndarray):
        from stconv.datasets.source.arrays import dataset_of

        return dataset_of({"field": data}, spec, "the array")
    if isinstance(data, str | Path):
        return [str(data)]
    if isinstance(data, Sequence) and data and all(isinstance(path, str | Path) for path in data):
        return [str(path) for path in data]
    kind = type(data).__name__
    raise ConfigError(
        "Data are expected as an xarray Dataset or DataArray, a NumPy array, or the path of a file, a "
        "pattern "
        f"or a Zarr store; found {kind}. Convert it, for example with `xarray.Dataset`."
    )
