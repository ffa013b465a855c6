"""From a gridded time series to a verified forecast that answers over HTTP."""

from importlib.metadata import version

__version__ = version("stconv")
