"""The provenance that every answer states: model, reference time, and how unusual its input was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.formats.answers import nested

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
"""Attributes of a forecast; the last two are sentences, there only where there is something to say."""


def statement(forecast: xr.Dataset) -> dict[str, Any]:
    """The attributes that say where a forecast comes from, as plain values."""
    return {name: forecast.attrs[name] for name in STATED if name in forecast.attrs}


def forecast_headers(forecast: xr.Dataset) -> dict[str, str]:
    """The same as HTTP headers, for formats that hold no text."""
    attrs = forecast.attrs
    found = {
        "Stconv-Model-Version": attrs.get("model_version"),
        "Stconv-Bundle-Sha256": attrs.get("bundle_sha256"),
        "Stconv-Reference-Time": nested(forecast["forecast_reference_time"]),
        "Stconv-Input-Missing-Share": attrs.get("input_missing_share"),
        "Stconv-Input-Outside-Training-Share": attrs.get("input_outside_training_share"),
    }
    return {name: str(value) for name, value in found.items() if value is not None}
