"""`stconv sweep`: search for the best configuration with Optuna, judged on the validation period."""

from __future__ import annotations

import argparse

EPILOG = """examples:
  stconv sweep --config my.yaml --trials 30 --space model.optimizer.init_args.lr=1e-4:1e-2:log
  stconv sweep --config my.yaml --space space.yaml --timeout 3600 --study width
  stconv sweep --config my.yaml --space space.yaml --storage postgresql+psycopg2://...  several machines

A range is KEY=LOW:HIGH (of integers if both are integers) or KEY=LOW:HIGH:log. Choices are KEY=A,B,C.
In space.yaml the same is written as

  model.optimizer.init_args.lr: 1.0e-4:1.0e-2:log
  model.network.init_args.dilations: [[1, 2], [1, 2, 4]]

The same command resumes the study; any number of processes can work on it at once. Trials that fall
behind are stopped early. The test period is not read: test the best configuration with `stconv fit` and
`stconv test`.
"""
SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv sweep`."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("-c", "--config", required=True, metavar="FILE", help="experiment to vary")
    add(
        "--space",
        required=True,
        nargs="+",
        metavar="SPACE",
        help="keys with their values, or a YAML file of them",
    )
    add(
        "--trials",
        type=int,
        default=20,
        metavar="N",
        help="number of trials in the study (default: %(default)s)",
    )
    add("--timeout", type=float, metavar="SECONDS", help="start no trial after this time")
    add("--study", metavar="NAME", help="name of the study (default: that of the configuration)")
    add(
        "--storage", metavar="WHERE", help="database URL or journal file (default: runs/sweeps/STUDY.journal)"
    )
    add("--metric", default="val_rmse", help="validation score to minimize (default: %(default)s)")
    add("--seed", type=int, metavar="N", help="seed of the search, for a single process")
    add(
        "--output",
        metavar="FILE",
        help="file of the best configuration (default: runs/sweeps/STUDY.best.yaml)",
    )


def run(args: argparse.Namespace) -> int:
    """Search, and write the best configuration.

    Raises:
        ConfigError: Optuna is missing, or space, configuration or metric are not understood.
    """
    from stconv.front.sweep import sweep

    found = sweep(
        args.config,
        args.space,
        trials=args.trials,
        timeout=args.timeout,
        study=args.study,
        storage=args.storage,
        metric=args.metric,
        seed=args.seed,
        output=args.output,
        imports=args.imports,
        say=print,
    )
    print(found.text(SHOWN))
    return 0
