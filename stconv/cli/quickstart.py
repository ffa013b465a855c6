"""`stconv quickstart`: the whole chain on generated data, each step as a user would run it."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import time
from pathlib import Path

from stconv.errors import StconvError

NAME = "quickstart"
CONFIG = "quickstart.yaml"

EPILOG = """Generates a temperature field, inspects it, trains a small U-Net, tests it next to persistence,
climatology, damped persistence and a linear regression, registers and promotes it, starts the service, asks
it over HTTP for a forecast of a field that it has not seen, and draws the answer. Takes a few minutes, and
can be repeated.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv quickstart`."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(NAME),
        metavar="DIR",
        help="folder for all files (default: ./%(default)s)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration to train instead of the packaged quickstart.yaml",
    )


def run(args: argparse.Namespace) -> int:
    """Run the steps in order, and stop at the first that fails."""
    began = time.monotonic()
    from stconv.front.quickstart import DATA, losses
    from stconv.front.run import find
    from stconv.resources import configs_dir

    config = (args.config or configs_dir() / CONFIG).resolve()
    args.directory.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(config, args.directory / CONFIG)
    with contextlib.chdir(args.directory):
        _make_data()
        _command("inspect", DATA)
        _command("fit", "--config", CONFIG)
        _command("test", "--config", CONFIG)
        scores = find(experiment=NAME).scores
        print(f"\n{scores.verdict}")
        _command("register", "--name", NAME)
        won = _promoted()
        if not won:
            return 1
        picture = _ask_service()
    lost = losses(scores.verification)
    for sentence in lost:
        print(f"stconv: error: {sentence}", file=sys.stderr)
    _say_what_next(args.directory, picture, time.monotonic() - began)
    return 1 if lost else 0


def _heading(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def _make_data() -> None:
    from stconv.front.quickstart import DATA, generate_data

    _heading(
        f"generate {DATA}: 2,000 steps of a field with advection, diffusion, and daily and yearly cycles"
    )
    generate_data()


def _command(*argv: str) -> None:
    """Run a command of stconv in this process, where its libraries are already loaded."""
    from stconv.cli.main import main

    _heading(f"stconv {' '.join(argv)}")
    status = main(argv)
    if status:
        raise StconvError(
            f"`stconv {argv[0]}` ended with status {status} (see above). The quickstart stops here."
        )


def _promoted() -> bool:
    """Promote the candidate. On a second run the first champion may be equally good: no failure."""
    from stconv.errors import SkillGateError
    from stconv.front.registry import champion, promote

    _heading(f"stconv promote {NAME}")
    try:
        print(promote(NAME))
    except SkillGateError as refused:
        print(refused)
        before = champion(NAME)
        if before is None:
            return False
        print(f"The champion of an earlier run, version {before.number}, stays.")
    return True


def _ask_service() -> Path:
    """Start the service, send it frames that it has not seen, and draw truth, forecast and error."""
    from stconv.front.quickstart import ask, draw, make_request
    from stconv.front.serving import serve

    truth = make_request()
    reference = f"models:/{NAME}@champion"
    _heading(f"stconv serve --model {reference}, and a field that the model has not seen")
    with serve(reference, name=NAME, log="serve.log") as service:
        print(f"The service answers at {service.url}")
        answer = ask(service)
    print(f"POST {answer.address}: {answer.status}, {answer.n_bytes:,} bytes")
    return draw(truth, answer.forecast)


def _say_what_next(directory: Path, picture: Path, seconds: float) -> None:
    from stconv.front.quickstart import UNSEEN

    print(f"""
=== done in {seconds:.0f} s
Picture of truth, forecast and error per lead: {picture}

Next (in {directory}):
  stconv inspect YOUR_FILE.nc --write-config my.yaml       describe your own data, and write a configuration
  stconv fit --config my.yaml && stconv test --config my.yaml
  stconv evaluate                                          a report of the newest run
  mlflow ui --backend-store-uri sqlite:///mlflow.db        all runs, in a browser
  stconv serve --model models:/{NAME}@champion           the service, until Ctrl-C
  stconv forecast --model models:/{NAME}@champion --input {UNSEEN} --output my_forecast.nc""")
