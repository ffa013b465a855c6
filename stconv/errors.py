"""The exception tree. A message says what was expected, what was found, where, and what to do."""


class StconvError(Exception):
    """Base of every error a user can cause and mend."""


class ConfigError(StconvError):
    """A configuration names something unknown or contradicts itself."""


class DataError(StconvError):
    """A data source can not be used as it is."""


class FileError(DataError):
    """A file is missing, truncated, unreadable, or of an unknown format."""


class GridError(DataError):
    """The spatial axes of a data source can not be understood, or differ from those expected."""


class VariableError(DataError):
    """A variable is missing, ambiguous, or has dimensions that are not understood."""


class UnitsError(DataError):
    """The units of a variable disagree with those expected."""


class TimeAxisError(DataError):
    """The time axis does not decode, has duplicates or gaps, or an irregular step."""


class MissingValuesError(DataError):
    """Values are missing where none, or fewer, are allowed."""


class WindowError(DataError):
    """A period is too short for the windows asked for, or a window specification is impossible."""


class SplitError(DataError):
    """Training, validation and test periods are empty, overlap, or lie outside the series."""


class LeakError(DataError):
    """A forecast knows what it is to forecast."""


class RecipeError(DataError):
    """A recipe is unknown or malformed, or what it fetched does not have the stated hash."""


class ShapeError(StconvError):
    """A tensor has not the shape that a contract states."""


class BundleError(StconvError):
    """A bundle is missing, incomplete, tampered with, or of an unknown version."""


class TrackingError(StconvError):
    """A run, a registered model or an alias can not be found, or the tracking server refused."""


class SkillGateError(StconvError):
    """A model was not promoted because it does not beat what it has to beat."""


class ServiceError(StconvError):
    """The service can not start or can not answer: port in use, no model, worker gone."""
