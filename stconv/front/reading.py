"""Data as a person holds them: a Dataset, an array, paths; and the keywords for reading them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from stconv.errors import ConfigError

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
    start: str
    step: str
    dims: Sequence[str] | str
    names: Sequence[str] | str
    components: Sequence[str]
    fill_gaps: int
    snap_times: bool
    accumulated: Mapping[str, str]
    sources: Sequence[Any]


def grid_spec(reading: Mapping[str, Any]) -> GridSpec:
    """Make the options for reading from keywords.

    Raises:
        ConfigError: A keyword is unknown, or its value is invalid.
    """
    import difflib

    from stconv.datasets.source.grid_spec import GridSpec

    known = [field.name for field in fields(GridSpec)]
    for name in reading:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean `{close[0]}`?" if close else ""
            raise ConfigError(
                f"There is no keyword `{name}`.{hint} Those for reading are {', '.join(known)}."
            )
    return GridSpec(**{name: _plain(name, value) for name, value in reading.items()})


def _plain(name: str, value: Any) -> Any:
    """Lists and dictionaries as a configuration holds them; words may stand in one text."""
    if name in {"dims", "names", "components"} and isinstance(value, str):
        return re.findall(r"[^\s,()]+", value)
    if isinstance(value, Mapping):
        return {str(key): list(v) if isinstance(v, tuple) else v for key, v in value.items()}
    return list(value) if isinstance(value, tuple) else value


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
