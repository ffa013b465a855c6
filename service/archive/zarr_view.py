"""View of stored forecasts as Zarr 3 groups: one forecast, or many joined along the reference time.

Chunks are not copied: a chunk of the joined group is a chunk of one forecast under another key.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from service.archive.soundness import METADATA, reference_of_arrays
from service.archive.table import (
    ForecastGone,
    StoredForecast,
    StoredForecasts,
    UnknownForecast,
    dimensions,
    per_forecast,
)

BETWEEN = "--"
_UNSHARED = ("history", "title", "made", "made_when_truth_was_known", "older_window")


def find_group(stored: StoredForecasts, text: str) -> list[StoredForecast | None]:
    """Find the forecasts that a part of a URL names: one, or FIRST--LAST; `.VERSION` may follow.

    In a period these are the forecasts of one version. Those on another grid or with other variables than
    the first are left out, and so are forecasts that were made after the last, from frames that came late:
    the content of an address stays. None stands for a forecast that was removed.

    Raises:
        UnknownForecast: The first or the last is not stored.
        ForecastGone: The first or the last was removed.
    """
    times, version = stored.split(text)
    first, between, last = times.partition(BETWEEN)
    if not between:
        return [stored.get(text)]
    return stored.between(first, last, version)


def find_file(forecasts: list[StoredForecast | None], whole: bool, key: str) -> bytes | Path:
    """Return the content of a key: metadata, or the file of a chunk; a key is never joined to a path.

    Args:
        forecasts: Result of `find_group`.
        whole: Whether the forecasts are joined along the reference time.
        key: Key in the Zarr store.

    Raises:
        UnknownForecast: There is no such key.
        ForecastGone: The forecast with this chunk was removed.
    """
    first = forecasts[0]
    assert first is not None
    if not whole:
        found = first.files.get(key)
    elif key == METADATA:
        return json.dumps(joined_metadata(forecasts)).encode()
    else:
        variable, _, rest = key.partition("/")
        arrays = joined_metadata(forecasts)["consolidated_metadata"]["metadata"]
        if variable in arrays and rest == METADATA:
            return json.dumps(arrays[variable]).encode()
        found = _chunk(forecasts, variable, rest)
    if found is None:
        raise UnknownForecast(f"The store has no key {key[:80]!r}.")
    return found


def _chunk(forecasts: list[StoredForecast | None], variable: str, rest: str) -> Path | None:
    first = forecasts[0]
    assert first is not None
    if variable not in first.arrays or not per_forecast(variable, first.arrays):
        return first.files.get(f"{variable}/{rest}")
    letter, _, index = rest.partition("/")
    number, _, inner = index.partition("/")
    if letter != "c" or not number.isdecimal() or len(number) > 6 or int(number) >= len(forecasts):
        return None
    found = forecasts[int(number)]
    if found is None:
        raise ForecastGone("This forecast was removed because of its age.")
    return found.files.get(f"{variable}/c/{inner}" if inner else f"{variable}/c")


def joined_metadata(forecasts: list[StoredForecast | None]) -> dict[str, Any]:
    """Metadata of the joined group; variables that differ get the reference time as their first dimension."""
    last = forecasts[-1]
    assert last is not None
    newest = last.metadata
    reference, arrays = reference_of_arrays(last.arrays), {}
    for name, array in last.arrays.items():
        joined = per_forecast(name, last.arrays)
        arrays[name] = _along_reference(array, reference, len(forecasts)) if joined else array
    attributes = {key: value for key, value in newest["attributes"].items() if key not in _UNSHARED}
    attributes["title"] = f"{len(forecasts)} stored forecasts"
    return newest | {
        "attributes": attributes,
        "consolidated_metadata": newest["consolidated_metadata"] | {"metadata": arrays},
    }


def _along_reference(array: dict[str, Any], reference: str, n: int) -> dict[str, Any]:
    grid = array["chunk_grid"]
    chunks = [1, *grid["configuration"]["chunk_shape"]]
    codecs = [codec for codec in array["codecs"] if codec["name"] != "transpose"]
    return array | {
        "shape": [n, *array["shape"]],
        "chunk_grid": grid | {"configuration": grid["configuration"] | {"chunk_shape": chunks}},
        "dimension_names": [reference, *dimensions(array)],
        "codecs": codecs,
    }


def tree_metadata(stored: StoredForecasts) -> dict[str, Any]:
    """Metadata of the tree of all forecasts of a model, with a group for each.

    A group has the name of its reference time; a forecast that was not the first from its time has that of
    its version too.
    """
    nodes: dict[str, Any] = {}
    for forecast in (*stored.by_name.values(), *stored.earlier):
        name = forecast.name if stored.operational(forecast.name) == forecast.version else forecast.id
        metadata = dict(forecast.metadata)
        inner = metadata.pop("consolidated_metadata")["metadata"]
        nodes[name] = metadata
        nodes |= {f"{name}/{variable}": array for variable, array in inner.items()}
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"title": "Stored forecasts, one group for each reference time"},
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": nodes},
    }
