"""Provenance of an answer: model, reference time, and remarks on unusual input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr


STATED = (
    "model_name",
    "model_version",
    "bundle_sha256",
    "input_missing_share",
    "input_outside_training_share",
    "input_outside_training_range",
    "older_window",
)
"""Attributes of a forecast; the last two are remarks that are present only if they apply."""


def statement(forecast: xr.Dataset) -> dict[str, Any]:
    """Return the provenance attributes of a forecast as JSON values."""
    return {name: forecast.attrs[name] for name in STATED if name in forecast.attrs}


def forecast_headers(forecast: xr.Dataset) -> dict[str, str]:
    """Return the provenance as HTTP headers, for formats without attributes."""
    # these load xarray, which the server process does without
    from service.formats.answers import nested
    from stconv.forecast.output import reference_of

    attrs = forecast.attrs
    found = {
        "Stconv-Model-Version": attrs.get("model_version"),
        "Stconv-Bundle-Sha256": attrs.get("bundle_sha256"),
        "Stconv-Reference-Time": nested(forecast[reference_of(forecast)]),
        "Stconv-Input-Missing-Share": attrs.get("input_missing_share"),
        "Stconv-Input-Outside-Training-Share": attrs.get("input_outside_training_share"),
    }
    return {name: str(value) for name, value in found.items() if value is not None}
