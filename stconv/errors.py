"""The exception tree. A message says what was expected, what was found, where, and what to do.

The code of a class identifies it outside of Python, and stays the same if the class is renamed.
"""

from __future__ import annotations

from typing import ClassVar


class StconvError(Exception):
    """Base of every error that a user can cause and correct.

    Remedy: Read the message: it says what to do.
    """

    code: ClassVar[str] = "stconv"


class ConfigError(StconvError):
    """A configuration names something unknown or contradicts itself.

    Remedy: Correct the key, option or keyword that the message names; the reference lists all keys with
    examples.
    """

    code = "config"


class DataError(StconvError):
    """A data source cannot be used as it is.

    Remedy: Look at the data with `stconv inspect`, and describe what they do not say themselves by
    options.
    """

    code = "data"


class FileError(DataError):
    """A file is missing, truncated, unreadable, or of an unknown format.

    Remedy: Check the path; copy or download the file again if it is cut short or damaged.
    """

    code = "file"


class ConnectionLostError(FileError):
    """A source on the network stopped answering, or never answered.

    Remedy: Check the address and the network, and run the same again.
    """

    code = "connection-lost"


class GridError(DataError):
    """The spatial axes of a data source cannot be interpreted, or differ from the expected ones.

    Remedy: Name the coordinates (`lat`, `lon`, or `y`, `x`), choose one level with `select`, or bring the
    data onto the grid of the model.
    """

    code = "grid"


class VariableError(DataError):
    """A variable is missing, ambiguous, or has unexpected dimensions.

    Remedy: Name a variable that the data have; `stconv inspect` lists them.
    """

    code = "variable"


class UnitsError(DataError):
    """The units of a variable differ from the expected ones.

    Remedy: Convert with `units`, or let a forecast convert with `convert_units`; correct a wrong
    attribute in the file.
    """

    code = "units"


class TimeAxisError(DataError):
    """The time axis cannot be decoded, or has duplicates, gaps or an irregular step.

    Remedy: State `time_units`, `calendar` or `time`; move nearly regular times with `snap_times`; sort,
    or remove duplicates.
    """

    code = "time-axis"


class MissingValuesError(DataError):
    """Values are missing where none, or fewer, are allowed.

    Remedy: State the `valid_range` of values that mark missing ones; set `impute`; raise
    `allowed_missing_share` for a forecast.
    """

    code = "missing-values"


class WindowError(DataError):
    """A period is too short for the requested windows, or a window specification is impossible.

    Remedy: Use fewer input steps or leads, a longer series, or `fill_gaps`.
    """

    code = "window"


class SplitError(DataError):
    """Training, validation and test periods are empty, overlap, or lie outside the series.

    Remedy: Move the dates or fractions so that every period holds at least one window, or set `purge`.
    """

    code = "split"


class LeakError(DataError):
    """A forecast depends on values after its reference time.

    Remedy: Remove the input that holds a future value, or make the network causal.
    """

    code = "leak"


class RecipeError(DataError):
    """A recipe is unknown or malformed, or a downloaded file does not have the stated hash.

    Remedy: Choose a name of `stconv data list`; download a damaged file again.
    """

    code = "recipe"


class ShapeError(StconvError):
    """A tensor does not have the expected shape or type.

    Remedy: Give a tensor or array of the shape in the message: (batch, channel, time, lat, lon), float32.
    """

    code = "shape"


class BundleError(StconvError):
    """A bundle is missing, incomplete, tampered with, or of an unknown version.

    Remedy: Copy the whole folder again, or export the run again; install the stconv that wrote it.
    """

    code = "bundle"


class TrackingError(StconvError):
    """A run, a registered model or an alias cannot be found, or the tracking server refuses a request.

    Remedy: Check MLFLOW_TRACKING_URI, and names and ids with `stconv compare` or `stconv.runs()`.
    """

    code = "tracking"


class SkillGateError(StconvError):
    """A model is not promoted because it does not beat the required references.

    Remedy: Train a better model; `force` promotes all the same, and is recorded.
    """

    code = "skill-gate"


class ServiceError(StconvError):
    """The service cannot start or cannot answer: port in use, no model, worker stopped.

    Remedy: Read the last words of the service in the message; choose a free port, or wait and ask again.
    """

    code = "service"


class ClusterError(StconvError):
    """The workers of a computation cannot be reached, or were lost before it was complete.

    Remedy: Start the workers again, with fewer workers or more memory each, and run the same command: what is
    complete stays.
    """

    code = "cluster"


BY_CODE = {
    kind.code: kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, StconvError)
}
"""Exception classes by code."""
URN = "urn:stconv:problem"
"""Prefix of the `type` of the service's problem documents; a colon and the code follow."""
