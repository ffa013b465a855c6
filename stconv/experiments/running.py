"""Running a command of Lightning on an experiment, with errors that name the key and the file."""

from __future__ import annotations

import argparse
import difflib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.errors import ConfigError, StconvError
from stconv.experiments.configuration import modules_of_config
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
        raise ConfigError(_explain(command, argv, str(error))) from error
    except StconvError:
        raise
    except Exception as error:
        cause = _cause_of_ours(error)
        if cause is None:
            raise
        raise cause from error


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
    for flag, value in _options(words):
        if flag in {"-c", "--config"}:
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


def _check_files(argv: list[str]) -> None:
    for flag, value in _options(argv):
        if flag in {"-c", "--config"} and not Path(value).is_file():
            raise ConfigError(
                f"No configuration '{value}'. `stconv configs list` names those that come with stconv, "
                "`stconv configs copy DIR` copies them."
            )


def _options(argv: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for i, word in enumerate(argv):
        if word.startswith("-"):
            flag, has_value, value = word.partition("=")
            pairs.append((flag, value if has_value else argv[i + 1] if i + 1 < len(argv) else ""))
    return pairs


def _explain(command: str, argv: list[str], message: str) -> str:
    """Rephrase an error of the parser, with the key, the file and a likely spelling first."""
    configs = [value for flag, value in _options(argv) if flag in {"-c", "--config"}]
    where = f" in {', '.join(configs)}" if configs else ""
    message = message.strip()
    unknown = re.search(
        r"(?:does not accept option|[Kk]ey) '([\w.]+)'|[Uu]nrecognized arguments: --([\w.]+)", message
    )
    if unknown:
        key = unknown.group(1) or unknown.group(2)
        hint = _closest(key) + _renamed(configs)
        return f"Unknown key '{key}'{where}.{hint} `stconv {command} --help-all` lists all keys."
    return f"The configuration{where} is not understood: {message}{_renamed(configs)}"


def _renamed(configs: list[str]) -> str:
    """Add the explanation of a network whose name formerly belonged to another network."""
    from stconv.models import REGISTRY

    texts = [Path(config).read_text(errors="replace") for config in configs if Path(config).is_file()]
    former = {name: str(getattr(cls, "former", "")) for name, cls in REGISTRY.items()}
    named = [
        said for name, said in former.items() if said and any(f"models.{name}\n" in text for text in texts)
    ]
    return "".join(f" {said}" for said in named)


def _closest(key: str) -> str:
    known = _known_keys()
    close = difflib.get_close_matches(key, known, n=1)
    if not close:
        last = {name.rpartition(".")[2]: name for name in known}
        close = [last[name] for name in difflib.get_close_matches(key.rpartition(".")[2], last, n=1)]
    return f" Did you mean '{close[0]}'?" if close else ""


def _known_keys() -> list[str]:
    import dataclasses
    import inspect

    from pytorch_lightning import Trainer

    from stconv.datasets.datamodule import GridDataModule
    from stconv.datasets.series.splits import SplitSpec
    from stconv.experiments.former_keys import GROUPS
    from stconv.task import ForecastTask

    return [
        f"{group}.{name}"
        for group, cls in (("trainer", Trainer), ("model", ForecastTask), ("data", GridDataModule))
        for name in inspect.signature(cls).parameters
    ] + [
        f"data.{group}.{field.name}"
        for group, kind in {**GROUPS, "split": SplitSpec}.items()
        for field in dataclasses.fields(kind)
    ]
