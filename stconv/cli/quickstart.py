"""`stconv quickstart`: the whole chain on generated data, each step as a user would run it."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from stconv.errors import ServiceError, StconvError

if TYPE_CHECKING:
    import xarray as xr

    from stconv.verification import Verification

NAME = "quickstart"
DATA, UNSEEN, CONFIG = "quickstart.nc", "unseen.nc", "quickstart.yaml"
REQUEST, FORECAST, PICTURE = "request.nc", "forecast.nc", "forecast.png"
TIE = 0.005
"""Relative difference of two errors that another machine's rounding may turn around in a training."""
N_REQUEST = 5
"""Frames of the request, the `t_in` of the configuration."""
NETCDF = "application/x-netcdf"

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
    from stconv.resources import configs_dir

    config = (args.config or configs_dir() / CONFIG).resolve()
    args.directory.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(config, args.directory / CONFIG)
    with contextlib.chdir(args.directory):
        _make_data()
        _command("inspect", DATA)
        _command("fit", "--config", CONFIG)
        _command("test", "--config", CONFIG)
        result = _tested()
        print(f"\n{result.verdict()}")
        _command("register", "--name", NAME)
        won = _promoted()
        if not won:
            return 1
        picture = _ask_service()
    lost = losses(result)
    for sentence in lost:
        print(f"stconv: error: {sentence}", file=sys.stderr)
    _say_what_next(args.directory, picture, time.monotonic() - began)
    return 1 if lost else 0


def _heading(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def _make_data() -> None:
    from stconv.datasets.recipes.synthetic import generate

    _heading(
        f"generate {DATA}: 2,000 steps of a field with advection, diffusion, and daily and yearly cycles"
    )
    generate(DATA, unseen=UNSEEN)


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
    from stconv.tracking import promote

    _heading(f"stconv promote {NAME}")
    try:
        print(promote(NAME))
    except SkillGateError as refused:
        from stconv.tracking.registry import find_version

        print(refused)
        try:
            champion = find_version(f"models:/{NAME}@champion")
        except StconvError:
            return False
        print(f"The champion of an earlier run, version {champion.version}, stays.")
    return True


def _tested() -> Verification:
    from stconv.tracking import download, find_run
    from stconv.tracking.run_layout import SCORES
    from stconv.verification import Verification

    return Verification.from_netcdf(download(find_run(None, NAME).run_id, SCORES))


def losses(result: Verification) -> list[str]:
    """Say for each reference at which leads its error is smaller than the model's, by more than a tie."""
    sums = result.sums
    sentences = []
    for reference in sums.references:
        for variable, ours, theirs in zip(
            sums.variables, sums.rmse(sums.model), sums.rmse(reference), strict=True
        ):
            lost = [lead for lead, below in enumerate(ours < (1 + TIE) * theirs) if not below]
            if lost:
                errors = ", ".join(
                    f"{ours[lead]:.4g} against {theirs[lead]:.4g} at lead {lead + 1}" for lead in lost
                )
                sentences.append(f"The model loses to {reference}: RMSE of {variable} {errors}.")
    return sentences


def _ask_service() -> Path:
    """Start the service, send it frames that it has not seen, and draw truth, forecast and error."""
    import httpx
    import xarray as xr

    from stconv.front.serving import serve

    with xr.open_dataset(UNSEEN) as ds:
        later = ds.load()
    later.isel(time=slice(0, N_REQUEST)).to_netcdf(REQUEST)
    reference = f"models:/{NAME}@champion"
    _heading(f"stconv serve --model {reference}, and a field that the model has not seen")
    with serve(reference, name=NAME, log="serve.log") as service:
        url = service.url
        print(f"The service answers at {url}")
        address = f"{url}/v1/forecasts?model={NAME}"
        answer = httpx.post(
            address,
            content=Path(REQUEST).read_bytes(),
            headers={"Content-Type": NETCDF, "Accept": NETCDF},
            timeout=120,
        )
        print(f"POST {address}: {answer.status_code}, {len(answer.content):,} bytes")
        if answer.status_code != 200:
            raise ServiceError(
                f"The service refused the forecast with status {answer.status_code}: {answer.text[:500]}"
            )
        Path(FORECAST).write_bytes(answer.content)
    with xr.open_dataset(FORECAST, decode_timedelta=True) as ds:
        forecast = ds.load()
    return draw(later, forecast)


def draw(truth: xr.Dataset, forecast: xr.Dataset) -> Path:
    """Draw truth, forecast and error per lead of the requested field."""
    import numpy as np

    from stconv.datasets.recipes.synthetic import VARIABLE
    from stconv.verification.report.field_plot import forecast_plot

    leads = forecast.sizes["lead"]
    coming = truth.isel(time=slice(N_REQUEST, N_REQUEST + leads))
    field = forecast[VARIABLE].squeeze()
    hours = [
        int((t - truth["time"].values[N_REQUEST - 1]) / np.timedelta64(1, "h")) for t in coming["time"].values
    ]
    path = forecast_plot(
        coming[VARIABLE].values,
        field.transpose("lead", "lat", "lon").values,
        PICTURE,
        lead_labels=[f"{h} h" for h in hours],
        valid_times=[str(t)[:16] for t in coming["time"].values],
        lat=truth["lat"].values,
        lon=truth["lon"].values,
        title="2 m temperature: forecast over HTTP of a field that the model has not seen",
        units="K",
    )
    return path.resolve()


def _say_what_next(directory: Path, picture: Path, seconds: float) -> None:
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
