"""Names and units that can be written: half a surrogate pair cannot, and would fail far from its cause."""

from __future__ import annotations

import xarray as xr

from stconv.datasets.source.units import shown
from stconv.errors import UnitsError, VariableError


def refuse_unwritable(ds: xr.Dataset, source: str) -> None:
    """Hold the names of variables and dimensions, and their units, to text that UTF-8 can hold.

    Args:
        ds: Any dataset.
        source: File or dataset, for messages.

    Raises:
        VariableError: A name cannot be written.
        UnitsError: The units of a variable cannot.
    """
    for name in (*ds.variables, *ds.dims):
        if not _writable(str(name)):
            raise VariableError(
                f"{source}: the name '{shown(str(name))}' holds half a surrogate pair, which no file can "
                "hold. Rename it."
            )
    for name, variable in ds.variables.items():
        for key in ("units", "calendar"):
            text = variable.attrs.get(key, "")
            if isinstance(text, str) and not _writable(text):
                raise UnitsError(
                    f"{source}: the {key} of '{name}', '{shown(text)}', cannot be written: half a surrogate "
                    "pair is no character. Correct the attribute."
                )


def _writable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
