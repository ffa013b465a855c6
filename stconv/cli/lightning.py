"""`stconv fit`, `validate`, `test`, `predict`: Lightning's command line on the task and data of stconv."""

from __future__ import annotations

import argparse
import difflib
import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.compute.allocation import keep_freed_memory
from stconv.errors import ConfigError, StconvError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytorch_lightning import Callback

    from stconv.cli.experiment import ExperimentCLI

HELP = {
    "fit": """\
usage: stconv fit --config FILE [--KEY VALUE ...]

Train the network of a configuration. The run is recorded in MLflow and in runs/EXPERIMENT/RUN: its
configuration, losses, the best and the last checkpoint, and the model as a bundle.

options:
  -c, --config FILE            the experiment; `stconv configs list` names those that come with stconv
  --ckpt_path FILE             resume from this checkpoint (.../last.ckpt), in the same MLflow run
  --init-from BUNDLE           start from the weights of this bundle (folder, runs:/ID, models:/NAME) wherever
                               a layer has the same name and shape; `init_from` in a configuration
  --KEY VALUE                  change one key of the configuration, such as
      --trainer.max_epochs 5       --data.loading.batch_size 32       --seed_everything 1
      --trainer.accelerator cpu    --data.source.paths 'my/*.nc'     --trainer.logger.init_args.run_name trial
  --import MODULE              import this module or .py file first: it registers your own networks
  --print_config               print the complete configuration and stop
  --help-all                   list all keys

examples:
  stconv fit --config configs/ncep_air_temperature_stconvs2s_r.yaml
  stconv fit --config my.yaml --ckpt_path runs/my/RUN/checkpoints/last.ckpt --trainer.max_epochs 100
""",
    "test": """\
usage: stconv test --config FILE [--ckpt_path FILE] [--KEY VALUE ...]

Score a trained network on the test period, lead by lead, next to persistence and climatology on the
same windows. Scores, pictures and the bundle with its scores are recorded on the run of the training.

options:
  -c, --config FILE            the experiment given to `stconv fit`
  --ckpt_path FILE             test this checkpoint (default: the best one of the latest finished run that
                               this configuration trained; a baseline without parameters needs none)
  --import MODULE              import this module or .py file first: it registers your own networks
  --KEY VALUE                  change one key of the configuration
  --help-all                   list all keys

example:
  stconv test --config configs/ncep_air_temperature_stconvs2s_r.yaml
""",
    "validate": """\
usage: stconv validate --config FILE [--ckpt_path FILE] [--KEY VALUE ...]

Score a trained network on the validation period. Model selection uses this period, never the test period.

options:
  -c, --config FILE            the experiment given to `stconv fit`
  --ckpt_path FILE             this checkpoint (default: the best one of the latest finished run that this
                               configuration trained)
  --import MODULE              import this module or .py file first: it registers your own networks
  --KEY VALUE                  change one key of the configuration
  --help-all                   list all keys
""",
    "predict": """\
usage: stconv predict --config FILE [--ckpt_path FILE] [--KEY VALUE ...]

Forecast from the newest window of the configured data, and write forecast.nc to the folder of
the run. To forecast from other files use `stconv forecast`.

options:
  -c, --config FILE            the experiment given to `stconv fit`
  --ckpt_path FILE             this checkpoint (default: the best one of the latest finished run that this
                               configuration trained)
  --import MODULE              import this module or .py file first: it registers your own networks
  --KEY VALUE                  change one key of the configuration
  --help-all                   list all keys
""",
}


def run_argv(command: str, argv: list[str]) -> int:
    """Run a Lightning command.

    Args:
        command: fit, validate, test or predict.
        argv: Command line words after the command.

    Raises:
        ConfigError: A key or value of the configuration is invalid.
        StconvError: Any other error that a user can correct.
    """
    if "-h" in argv or "--help" in argv:
        print(HELP[command], end="")
        return 0
    if not argv:
        print(HELP[command], end="")
        return 2
    run_experiment(command, ["--help" if word == "--help-all" else word for word in argv])
    return 0


def run_experiment(command: str, argv: list[str], callbacks: Sequence[Callback] = ()) -> ExperimentCLI:
    """Run a Lightning command, and return its trainer, task and data."""
    _check_files(argv)
    argv = _with_imports([re.sub(r"^--init-from(?==|$)", "--init_from", word) for word in argv])
    _be_quiet()
    keep_freed_memory()
    from stconv.cli.experiment import ExperimentCLI

    try:
        return ExperimentCLI(command, argv, callbacks)
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


def modules_of_config(path: Path) -> list[str]:
    """Return the modules under the key `import` of a configuration.

    Raises:
        ConfigError: The key does not hold names.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return []  # reported when the configuration is read
    found = values.get("import") if isinstance(values, dict) else None
    modules = [found] if isinstance(found, str) else found or []
    if not isinstance(modules, list) or not all(isinstance(module, str) for module in modules):
        raise ConfigError(f"`import` of '{path}' is {found!r}; expected a module name, or a list of names.")
    return modules


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
        r"(?:does not accept option|[Kk]ey) '([\w.]+)'|unrecognized arguments: --([\w.]+)", message
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

    from stconv.cli.former_keys import GROUPS
    from stconv.datasets.datamodule import GridDataModule
    from stconv.datasets.series.splits import SplitSpec
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


def _be_quiet() -> None:
    """Silence warnings of libraries that a user of stconv cannot act on."""
    import logging

    for pattern in (
        r".*LightningCLI's args parameter.*",
        r".*does not have many workers.*",
        r".*tensorboardX.*",
        r".*number of training batches.*smaller than the logging interval.*",
        r".*isinstance\(treespec, LeafSpec\).*",
        r".*Checkpoint directory .* exists and is not empty.*",
        r".*loading a checkpoint outside the 'fit' stage.*",  # the stored weights are already averaged
    ):
        warnings.filterwarnings("ignore", pattern)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(_not_advertising)


def _not_advertising(record: Any) -> bool:
    text = str(record.getMessage())
    return not any(
        words in text
        for words in (
            *("litlogger", "litmodels", "TPU available", "Restoring states", "Loaded model weights"),
            "to estimate number of stepping batches",
        )
    )
