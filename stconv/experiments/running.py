"""Running a command of Lightning on an experiment, with errors that name the key and the file."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.errors import ConfigError, StconvError
from stconv.experiments.configuration import config_text, modules_of_config
from stconv.experiments.parser_errors import explained
from stconv.experiments.quiet import silence_lightning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytorch_lightning import Callback

    from stconv.experiments.engine import ExperimentCLI


def run_experiment(
    command: str,
    argv: list[str],
    callbacks: Sequence[Callback] = (),
    say: Callable[[str], None] | None = None,
    cli: type[ExperimentCLI] | None = None,
    **options: Any,
) -> ExperimentCLI:
    """Run a command of Lightning, and return its trainer, task and data.

    Args:
        command: pretrain, fit, validate, test or predict.
        argv: Command line words after the command.
        callbacks: Callbacks of the trainer, in addition to those of the configuration.
        say: Takes each remark on the way; None for silence.
        cli: Command line to run instead of that of the command.
        **options: Further arguments of `ExperimentCLI`, or of `cli`.

    Raises:
        ConfigError: A key or value of the configuration is invalid.
        StconvError: Any other error that a user can correct.
    """
    _check_files(argv)
    argv = _with_imports([re.sub(r"^--init-from(?==|$)", "--init_from", word) for word in argv])
    silence_lightning()
    from stconv.experiments.engine import ExperimentCLI, silence
    from stconv.experiments.pretraining import PretrainingCLI

    try:
        if command == "pretrain":
            return PretrainingCLI("fit", argv, callbacks, say or silence, **options)
        return (cli or ExperimentCLI)(command, argv, callbacks, say or silence, **options)
    except argparse.ArgumentError as error:
        raise ConfigError(explained(command, _configs(argv), str(error))) from error
    except StconvError:
        raise
    except Exception as error:
        cause = _cause_of_ours(error)
        if cause is not None:
            raise cause from error
        if _is_of_the_trainer(error):
            raise ConfigError(f"The trainer refuses a setting under `trainer`: {error}") from error
        raise


def _with_imports(argv: list[str]) -> list[str]:
    """Import a user's modules of networks, before the parser needs a network's arguments.

    Returns:
        The words with a single `--import` of all modules named by words and configurations, so that the
        configuration on the run names them too.
    """
    from stconv.models.outside import import_modules, load_entry_points

    words, named = [], []
    given = iter(argv)
    for word in given:
        flag, has_value, value = word.partition("=")
        if flag == "--import":
            named.append(value if has_value else next(given, ""))
        else:
            words.append(word)
    for value in _configs(words):
        named += modules_of_config(Path(value))
    load_entry_points()
    import_modules(named)
    return [*words, "--import", json.dumps(list(dict.fromkeys(named)))] if named else words


def _cause_of_ours(error: BaseException) -> StconvError | None:
    """Find an error of stconv that a library has wrapped in one of its own."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, StconvError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _is_of_the_trainer(error: Exception) -> bool:
    """Whether Lightning's trainer has refused its own arguments."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return place.startswith("pytorch_lightning.trainer.connectors.") and isinstance(error, ValueError)


def _configs(argv: list[str]) -> list[str]:
    return [value for flag, value in _options(argv) if flag in {"-c", "--config"}]


def _check_files(argv: list[str]) -> None:
    for value in _configs(argv):
        if not Path(value).is_file():
            raise ConfigError(
                f"No configuration '{value}'. `stconv configs list` names those that come with stconv, "
                "`stconv configs copy DIR` copies them."
            )
        config_text(Path(value))


def _options(argv: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for i, word in enumerate(argv):
        if word.startswith("-"):
            flag, has_value, value = word.partition("=")
            pairs.append((flag, value if has_value else argv[i + 1] if i + 1 < len(argv) else ""))
    return pairs
