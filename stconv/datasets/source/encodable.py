"""The checks that names and units can be written, which would otherwise fail far from their cause."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import xarray as xr

from stconv.datasets.source.attributes import kept_names
from stconv.datasets.source.origin import Origin
from stconv.datasets.source.units import shown
from stconv.errors import UnitsError, VariableError

NETCDF_NAME = re.compile(r"[A-Za-z0-9_\x80-\U0010ffff](?:[^\x00-\x1f/\x7f]*[^\x00-\x20/\x7f])?")
"""Names of variables, dimensions and attributes.

Source:
    NetCDF users' guide, permitted characters in NetCDF names.
"""
NETCDF_NAME_BYTES = 256


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


def refuse_names_outside_netcdf(origin: Origin, source: str) -> None:
    """Check that a NetCDF file can hold every name that a forecast takes over from its input.

    Args:
        origin: Former form of the input.
        source: File or dataset, for messages.

    Raises:
        VariableError: Names the variable, dimension or attribute.
    """
    variables = [*origin.fields, *origin.static, *origin.names.values()]
    _refuse(variables, "variable", "", source)
    dims = [*origin.dims.values(), *(dim for field in origin.fields.values() for dim in field.dims)]
    _refuse(dims, "dimension", "", source)
    _refuse(kept_names(origin.attrs), "attribute", " of the file", source)
    _refuse(kept_names(origin.time_attrs), "attribute", " of the time", source)
    attributes = {name: field.attrs for name, field in origin.fields.items()}
    attributes |= {name: entry["attrs"] for name, entry in origin.static.items()}
    for name, attrs in attributes.items():
        _refuse(kept_names(attrs), "attribute", f" of '{name}'", source)


def _refuse(names: Iterable[str], kind: str, owner: str, source: str) -> None:
    for name in names:
        if reason := _objection(name):
            raise VariableError(
                f"{source}: the {kind} {name[:60]!r}{owner} has a name that NetCDF cannot hold: {reason}. "
                f"Rename the {kind}."
            )


def _objection(name: str) -> str:
    """The reason why NetCDF cannot hold a name; empty if it can."""
    if not _writable(name):
        return "it contains a lone surrogate"
    if not NETCDF_NAME.fullmatch(name):
        return (
            "a name begins with a letter, a digit or '_', contains no '/' and no control character, and does "
            "not end with a space"
        )
    if len(name.encode()) > NETCDF_NAME_BYTES:
        return f"it has {len(name.encode())} bytes, and at most {NETCDF_NAME_BYTES} are allowed"
    if unicodedata.normalize("NFC", name) != name:
        return "its accents are separate characters, and NetCDF composes them (Unicode NFC)"
    return ""


def _writable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
