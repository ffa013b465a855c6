"""Fields of a GRIB file that cfgrib leaves out of its dataset, with no more than a line in its log."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from stconv.datasets.source.attributes import SourceWarning

LOGGER = "cfgrib.dataset"
"""Logger of cfgrib to which `build_dataset_components` reports."""


class _Skipped(logging.Filter):
    """Collects the names of skipped variables in place of their log records."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep a record unless it reports a skipped variable."""
        if not str(record.msg).startswith("skipping variable"):
            return True
        name = record.args[-1] if isinstance(record.args, tuple) and record.args else record.getMessage()
        self.names.append(str(name))
        return False


@contextmanager
def tell_of_skipped(source: str) -> Iterator[None]:
    """Warn of the variables that cfgrib skips while a file is opened, and how to read them.

    cfgrib keeps the variables that share one set of times, steps and levels with the first, such as analyses
    of the temperature, and skips forecasts of rain next to them.

    Args:
        source: File, for messages.
    """
    skipped, logger = _Skipped(), logging.getLogger(LOGGER)
    logger.addFilter(skipped)
    try:
        yield
    finally:
        logger.removeFilter(skipped)
    if skipped.names:
        names = list(dict.fromkeys(skipped.names))
        warnings.warn(
            f"{source}: {', '.join(names)} {'is' if len(names) == 1 else 'are'} left out, with other times, "
            "steps or levels than the variables before. To read one alone, select it: "
            f"`--select shortName={names[0]}`.",
            SourceWarning,
            stacklevel=3,
        )
