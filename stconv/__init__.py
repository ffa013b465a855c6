"""From a gridded time series to a verified forecast that answers over HTTP."""

# First of all: the libraries of ecCodes bring a SQLite that is too old for MLflow, and who comes first wins.
import sqlite3  # noqa: F401
from importlib.metadata import version

__version__ = version("stconv")
