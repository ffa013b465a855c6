"""Messages of Lightning that a user of stconv cannot act on are silenced."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

WARNINGS = (
    r".*LightningCLI's args parameter.*",
    r".*does not have many workers.*",
    r".*tensorboardX.*",
    r".*number of training batches.*smaller than the logging interval.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*loading a checkpoint outside the 'fit' stage.*",  # the stored weights are already averaged
)
"""Patterns of whole warnings."""

REMARKS = (
    *("litlogger", "litmodels", "TPU available", "Restoring states", "Loaded model weights"),
    "to estimate number of stepping batches",
)
"""Words in lines of the log."""


def silence_lightning() -> None:
    """Silence them from now on, in the whole process."""
    for pattern in WARNINGS:
        warnings.filterwarnings("ignore", pattern)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(_is_of_use)


@contextlib.contextmanager
def only_warnings() -> Iterator[None]:
    """Hold back what is logged for information, such as Lightning's words on the seed and on devices."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _is_of_use(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return not any(words in text for words in REMARKS)
