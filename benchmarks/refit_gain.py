"""`python -m benchmarks.refit_gain`: a refit beside its verified model, on data that came later.

The newest fifth of each series is kept back. On the rest `stconv.suggest` writes the experiment, which is
trained on 60 % of it, tested, and refitted on all of it; both models then forecast the fifth that neither has
seen. A line for each variable is printed, in the form of a table in Markdown.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.varied_series import SERIES, part

KEPT_BACK = 0.2


def gain(name: str, share: int, steps: int, folder: Path) -> Iterator[str]:
    """Train, test, refit, and compare on what was kept back: one line for each variable.

    Args:
        name: Name of the series.
        share: The newest half, third, ... of the series that is used.
        steps: Approximate number of optimizer steps of each training.
        folder: Folder for data and runs.
    """
    import stconv
    from stconv.bundle import Bundle
    from stconv.errors import SkillGateError
    from stconv.experiments.refitting import model_sums
    from stconv.experiments.trained_model import load_data

    whole = part(SERIES[name](), share)
    n_known = round((1 - KEPT_BACK) * whole.sizes["time"])
    whole.isel(time=slice(n_known)).to_netcdf(folder / "known.nc")
    whole.to_netcdf(folder / "whole.nc")
    file, later_file = folder / f"{name}.yaml", folder / "later.yaml"
    stconv.suggest(folder / "known.nc", name=name).to_yaml(file)
    later_file.write_text(file.read_text().replace("known.nc", "whole.nc"))
    data, later = load_data(file), load_data(later_file)
    data.setup("fit")
    later.setup("fit")
    epochs = max(1, round(steps * data.loading.batch_size / len(data.references["train"])))
    run = stconv.Experiment.from_yaml(file).replace(max_epochs=epochs).fit(progress=False)
    run.test()
    label = f"{name.replace('_', ' ')}, {'whole' if share == 1 else f'newest 1/{share}'}"
    try:
        refit = run.refit()
    except SkillGateError as error:
        yield f"| {label} | | | | refused: {str(error).splitlines()[1].strip()} |"
        return
    references = later.windows_within(range(len(data.series), len(later.series)))
    bundles = [Bundle.load(each.folder / "bundle") for each in (run, refit)]
    both = torch.stack([bundle.preparation.forecastable for bundle in bundles]).all(0)
    old, new = (model_sums(later, references, both, bundle.network, bundle.preparation) for bundle in bundles)
    for i, variable in enumerate(old.variables):
        before, after = (sums.over_leads().rmse(sums.model)[i, 0] for sums in (old, new))
        yield (
            f"| {label}: {variable} | {len(references)} | {before:.4g} | {after:.4g} "
            f"| {100 * (after / before - 1):+.1f} % |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refit_gain", description=__doc__)
    parser.add_argument("series", nargs="+", choices=list(SERIES))
    parser.add_argument("--share", type=int, default=1, help="take the newest half, third, ... of the series")
    parser.add_argument("--steps", type=int, default=300, help="optimizer steps of each training")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| series | later windows | verified | refit | change |\n|---|---|---|---|---|")
    for name in arguments.series:
        began = time.process_time()
        with tempfile.TemporaryDirectory() as scratch:
            os.chdir(scratch)  # runs and their store are not kept
            for line in gain(name, arguments.share, arguments.steps, Path(scratch)):
                print(line, flush=True)
        print(f"<!-- {name}: {(time.process_time() - began) / 60:.1f} processor minutes -->", flush=True)


if __name__ == "__main__":
    main()
