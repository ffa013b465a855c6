"""Checks of an installation and its machine, each with a remedy: `stconv doctor`."""

from stconv.diagnosis.diagnose import diagnose
from stconv.diagnosis.finding import Finding, State

__all__ = ["Finding", "State", "diagnose"]
