"""`stconv COMMAND ...`: the table of commands, and the exit status when a command fails.

A command lives in `stconv/cli/NAME.py` and is imported only when it is called, so that `stconv --help` is
fast. It defines `add_arguments(parser)` and `run(args) -> int`; the Lightning commands, which have their own
parser, define `run_argv(command, argv) -> int` instead.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from stconv import __version__
from stconv.allocation import keep_freed_memory, restart_joining_freed_memory
from stconv.errors import StconvError
from stconv.processor import choose_threads

PYTHON_FORMAT = warnings.formatwarning


@dataclass(frozen=True)
class Command:
    """The module of a command, and its help in one line."""

    module: str
    help: str


GROUPS: dict[str, dict[str, Command]] = {
    "start": {
        "quickstart": Command(
            "stconv.cli.quickstart", "run the whole chain on generated data, in a few minutes"
        ),
        "doctor": Command("stconv.cli.doctor", "check the installation and the machine"),
    },
    "data": {
        "inspect": Command("stconv.cli.inspect", "describe a file: axes, step, gaps, units, windows"),
        "data": Command("stconv.cli.data", "list and fetch public data sets"),
        "configs": Command("stconv.cli.configs", "list and copy the experiments that come with stconv"),
    },
    "train and test": {
        "pretrain": Command("stconv.cli.lightning", "train the filters of a network without targets"),
        "fit": Command("stconv.cli.lightning", "train the network of a configuration"),
        "validate": Command("stconv.cli.lightning", "score the best checkpoint on the validation period"),
        "test": Command("stconv.cli.lightning", "score it on the test period, next to the references"),
        "ensemble": Command("stconv.cli.ensemble", "combine several trained models into one"),
        "sweep": Command("stconv.cli.sweep", "search for the best configuration with Optuna"),
        "predict": Command(
            "stconv.cli.lightning", "forecast the prediction windows with the best checkpoint"
        ),
    },
    "judge": {
        "evaluate": Command("stconv.cli.evaluate", "report a tested run: scores, skill per lead, verdict"),
        "explain": Command(
            "stconv.cli.explain", "describe a network: layers, receptive field, cost, filters"
        ),
        "compare": Command("stconv.cli.compare", "compare tested runs"),
    },
    "use": {
        "register": Command("stconv.cli.register", "make a tested run a version of a registered model"),
        "refit": Command("stconv.cli.refit", "train a verified run once more, on all data up to the newest"),
        "refresh": Command("stconv.cli.refresh", "refit a model when its data have grown, and promote it"),
        "promote": Command("stconv.cli.promote", "make the candidate the champion, if it has skill"),
        "forecast": Command("stconv.cli.forecast", "forecast from new files"),
        "hindcast": Command("stconv.cli.hindcast", "forecast from every time of an archive, resumable"),
        "quantize": Command(
            "stconv.cli.quantize", "add an int8 network to a bundle: faster, slightly less accurate"
        ),
        "export": Command("stconv.cli.export", "write a network as ONNX or as a program of torch.export"),
        "serve": Command("stconv.cli.serve", "serve forecasts over HTTP"),
        "key": Command("stconv.cli.key", "make an API key for the service"),
    },
}
BUILDING_NETWORKS = {
    *("ensemble", "sweep", "evaluate", "explain", "register", "promote", "refit", "refresh"),
    *("forecast", "hindcast", "quantize", "export"),
}
"""Commands that first import the modules of `--import`, which register a user's networks.

The Lightning commands read the key `import` of a configuration as well, and `serve` imports them in the
model's process.
"""
COMPUTING = {
    *("pretrain", "fit", "validate", "test", "predict", "ensemble", "sweep", "refit", "refresh"),
    *("forecast", "hindcast"),
}
"""Commands that train or forecast in this process, which sets its memory up for large arrays."""
COMMANDS: dict[str, Command] = {name: command for group in GROUPS.values() for name, command in group.items()}


def _overview() -> str:
    lines = []
    for group, commands in GROUPS.items():
        lines.append(f"{group}:")
        lines += [f"  {name:<12}{command.help}" for name, command in commands.items()]
    lines += [
        "",
        "`stconv COMMAND --help` explains a command. To start, run `stconv quickstart`.",
        "MLflow records experiments in ./mlflow.db, or in MLFLOW_TRACKING_URI if it is set.",
    ]
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of `stconv` itself, which lists the commands without importing them."""
    parser = argparse.ArgumentParser(
        prog="stconv",
        usage="stconv COMMAND ...",
        description="From a gridded time series to a verified forecast, served over HTTP.",
        epilog=_overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stconv {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=list(COMMANDS), help=argparse.SUPPRESS)
    return parser


def command_parser(name: str) -> argparse.ArgumentParser:
    """Build the parser of a command that has options of its own.

    Args:
        name: A command of `COMMANDS` but those of Lightning, which have `HELP` in `stconv/cli/lightning.py`.
    """
    command = COMMANDS[name]
    parser = argparse.ArgumentParser(
        prog=f"stconv {name}",
        description=command.help[0].upper() + command.help[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    importlib.import_module(command.module).add_arguments(parser)
    if name in BUILDING_NETWORKS:
        parser.add_argument(
            "--import",
            dest="imports",
            action="append",
            default=[],
            metavar="MODULE",
            help="import this module or .py file first: it registers your own networks; repeatable",
        )
    return parser


def _call(name: str, argv: Sequence[str]) -> int:
    module = importlib.import_module(COMMANDS[name].module)
    if hasattr(module, "run_argv"):
        return int(module.run_argv(name, list(argv)))
    args = command_parser(name).parse_args(argv)
    if name in BUILDING_NETWORKS and args.imports:
        from stconv.models.outside import import_modules

        import_modules(args.imports)
    return int(module.run(args) or 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Command line words after `stconv`; default: those of the process, which a command that trains or
            forecasts starts anew.

    Returns:
        Exit status: 0 for success, 1 for an error with a message, 130 when interrupted.

    Raises:
        SystemExit: With status 2 for a usage error, 0 after `--help` and `--version`.
    """
    is_program = argv is None
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not argv:
        parser.print_help()
        return 2
    name = parser.parse_args(argv[:1]).command
    warnings.formatwarning = _format_warning
    choose_threads()
    if name in COMPUTING:
        if is_program:
            restart_joining_freed_memory()
        keep_freed_memory(None)
    from stconv.front.remedies import said_in_options

    try:
        with said_in_options():
            return _call(name, argv[1:])
    except StconvError as error:
        print(f"stconv: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        print(f"stconv: interrupted. {stopped}".rstrip(". "), file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    finally:
        warnings.formatwarning = PYTHON_FORMAT


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Print a warning of stconv like its errors, in one line without a path and source line."""
    if category.__module__.partition(".")[0] == "stconv":
        return f"stconv: warning: {message}\n"
    return PYTHON_FORMAT(message, category, filename, lineno, line)


if __name__ == "__main__":
    sys.exit(main())
