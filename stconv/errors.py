"""The exception tree. A message says what was expected, what was found, where, and what to do.

The code of a class is what it is called outside of Python; it stays if the class gets another name.
"""

from __future__ import annotations

from typing import ClassVar


class StconvError(Exception):
    """Base of every error a user can cause and mend."""

    code: ClassVar[str] = "stconv"


class ConfigError(StconvError):
    """A configuration names something unknown or contradicts itself."""

    code = "config"


class DataError(StconvError):
    """A data source can not be used as it is."""

    code = "data"


class FileError(DataError):
    """A file is missing, truncated, unreadable, or of an unknown format."""

    code = "file"


class GridError(DataError):
    """The spatial axes of a data source can not be understood, or differ from those expected."""

    code = "grid"


class VariableError(DataError):
    """A variable is missing, ambiguous, or has dimensions that are not understood."""

    code = "variable"


class UnitsError(DataError):
    """The units of a variable disagree with those expected."""

    code = "units"


class TimeAxisError(DataError):
    """The time axis does not decode, has duplicates or gaps, or an irregular step."""

    code = "time-axis"


class MissingValuesError(DataError):
    """Values are missing where none, or fewer, are allowed."""

    code = "missing-values"


class WindowError(DataError):
    """A period is too short for the windows asked for, or a window specification is impossible."""

    code = "window"


class SplitError(DataError):
    """Training, validation and test periods are empty, overlap, or lie outside the series."""

    code = "split"


class LeakError(DataError):
    """A forecast knows what it is to forecast."""

    code = "leak"


class RecipeError(DataError):
    """A recipe is unknown or malformed, or what it fetched does not have the stated hash."""

    code = "recipe"


class ShapeError(StconvError):
    """A tensor has not the shape that a contract states."""

    code = "shape"


class BundleError(StconvError):
    """A bundle is missing, incomplete, tampered with, or of an unknown version."""

    code = "bundle"


class TrackingError(StconvError):
    """A run, a registered model or an alias can not be found, or the tracking server refused."""

    code = "tracking"


class SkillGateError(StconvError):
    """A model was not promoted because it does not beat what it has to beat."""

    code = "skill-gate"


class ServiceError(StconvError):
    """The service can not start or can not answer: port in use, no model, worker gone."""

    code = "service"


BY_CODE = {
    kind.code: kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, StconvError)
}
"""The classes by code."""
URN = "urn:stconv:problem"
"""The `type` of a problem document of the service begins with this; the code follows after a colon."""
