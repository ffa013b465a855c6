"""The exception tree. A message says what was expected, what was found, where, and what to do.

The code of a class identifies it outside of Python, and stays the same if the class is renamed.
"""

from __future__ import annotations

from typing import ClassVar


class StconvError(Exception):
    """Base of every error that a user can cause and correct."""

    code: ClassVar[str] = "stconv"


class ConfigError(StconvError):
    """A configuration names something unknown or contradicts itself."""

    code = "config"


class DataError(StconvError):
    """A data source cannot be used as it is."""

    code = "data"


class FileError(DataError):
    """A file is missing, truncated, unreadable, or of an unknown format."""

    code = "file"


class GridError(DataError):
    """The spatial axes of a data source cannot be interpreted, or differ from the expected ones."""

    code = "grid"


class VariableError(DataError):
    """A variable is missing, ambiguous, or has unexpected dimensions."""

    code = "variable"


class UnitsError(DataError):
    """The units of a variable differ from the expected ones."""

    code = "units"


class TimeAxisError(DataError):
    """The time axis cannot be decoded, or has duplicates, gaps or an irregular step."""

    code = "time-axis"


class MissingValuesError(DataError):
    """Values are missing where none, or fewer, are allowed."""

    code = "missing-values"


class WindowError(DataError):
    """A period is too short for the requested windows, or a window specification is impossible."""

    code = "window"


class SplitError(DataError):
    """Training, validation and test periods are empty, overlap, or lie outside the series."""

    code = "split"


class LeakError(DataError):
    """A forecast depends on values after its reference time."""

    code = "leak"


class RecipeError(DataError):
    """A recipe is unknown or malformed, or a downloaded file does not have the stated hash."""

    code = "recipe"


class ShapeError(StconvError):
    """A tensor does not have the expected shape or type."""

    code = "shape"


class BundleError(StconvError):
    """A bundle is missing, incomplete, tampered with, or of an unknown version."""

    code = "bundle"


class TrackingError(StconvError):
    """A run, a registered model or an alias cannot be found, or the tracking server refuses a request."""

    code = "tracking"


class SkillGateError(StconvError):
    """A model is not promoted because it does not beat the required references."""

    code = "skill-gate"


class ServiceError(StconvError):
    """The service cannot start or cannot answer: port in use, no model, worker stopped."""

    code = "service"


BY_CODE = {
    kind.code: kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, StconvError)
}
"""Exception classes by code."""
URN = "urn:stconv:problem"
"""Prefix of the `type` of the service's problem documents; a colon and the code follow."""
