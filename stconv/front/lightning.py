"""The commands of Lightning on a configuration, as the command line runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stconv.front.scores import Scores


@dataclass(frozen=True)
class Done:
    """The results of a command, for the process that shows them.

    Attributes:
        scores: Scores of `test`.
        report: Its report page, unless the configuration has no logger.
        forecast_file: File that `predict` has written.
    """

    scores: Scores | None = None
    report: Path | None = None
    forecast_file: Path | None = None


def run_command(command: str, argv: Sequence[str], say: Callable[[str], None]) -> Done:
    """Run a command, with the seed, threads and logging of its configuration for the whole process.

    Args:
        command: pretrain, fit, validate, test or predict.
        argv: Command line words after the command.
        say: Takes each remark on the way.

    Raises:
        ConfigError: A key or value of the configuration is invalid.
        StconvError: Any other error that a user can correct.
    """
    from stconv.experiments.running import run_experiment
    from stconv.tracking.callbacks import run_logger
    from stconv.tracking.run_layout import VERIFICATION

    done = run_experiment(command, list(argv), say=say)
    if command == "predict":
        return Done(forecast_file=done.forecast_file)
    result = done.model.verification if command == "test" and done.trainer.is_global_zero else None
    if result is None:
        return Done()
    logger = run_logger(done.trainer)
    folder = Path(done.trainer.default_root_dir if logger is None else logger.log_dir, VERIFICATION)
    scores = Scores(result, folder)
    return Done(scores, None if logger is None else scores.report)
