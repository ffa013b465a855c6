"""The check that names and units can be written as UTF-8, which would otherwise fail far from its cause."""

from __future__ import annotations

import xarray as xr

from stconv.datasets.source.units import shown
from stconv.errors import UnitsError, VariableError


def refuse_unwritable(ds: xr.Dataset, source: str) -> None:
    """Check that the names of variables and dimensions, and units, can be encoded in UTF-8.

    Args:
        ds: Any dataset.
        source: File or dataset, for messages.

    Raises:
        VariableError: A name cannot be written.
        UnitsError: The units of a variable cannot be written.
    """
    for name in (*ds.variables, *ds.dims):
        if not _writable(str(name)):
            raise VariableError(
                f"{source}: the name '{shown(str(name))}' contains a lone surrogate, which cannot be "
                "written. Rename the variable or dimension."
            )
    for name, variable in ds.variables.items():
        for key in ("units", "calendar"):
            text = variable.attrs.get(key, "")
            if isinstance(text, str) and not _writable(text):
                raise UnitsError(
                    f"{source}: the {key} of '{name}', '{shown(text)}', contains a lone surrogate, which "
                    "cannot be written. Correct the attribute."
                )


def _writable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
