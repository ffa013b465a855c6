"""`python -m benchmarks.never_below`: the suggested experiment beside the best reference, on many series.

Each series of `benchmarks.varied_series` is taken whole, and cut to its newest third and ninth. For each of
them `stconv.suggest` writes the experiment, which is trained for some hundred steps, and the test period is
read once. The table holds the RMSE over that of the reference which is best at that lead on the same test
windows, chosen in hindsight. Results are kept in a file, one line for each, so that an interrupted run goes
on.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.varied_series import SERIES, part

if TYPE_CHECKING:
    from stconv.verification import Verification

SHARES = {1: "whole", 3: "third", 9: "ninth"}
DOUBT = {"loses to": "**", "beats": "", "undecided": ""}


def trial(name: str, share: int, steps: int, folder: Path) -> dict[str, Any]:
    """Train the suggested experiment and score its best weights; a series that is too short says so."""
    import stconv
    from stconv.errors import StconvError

    series, file = folder / f"{name}_{SHARES[share]}.nc", folder / "experiment.yaml"
    part(SERIES[name](), share).to_netcdf(series)
    found: dict[str, Any] = {"series": name, "share": share}
    try:
        stconv.suggest(series).to_yaml(file)
        result = scored(file, steps, folder)
    except StconvError as error:
        return {**found, "refused": str(error)}
    sums, rows = result.sums, {}
    outcomes = {reference: result.outcome(reference) for reference in sums.references}
    for i, variable in enumerate(sums.variables):
        errors = {reference: sums.rmse(reference)[i] for reference in sums.references}
        best = [min(errors, key=lambda reference: errors[reference][lead]) for lead in range(sums.n_leads)]
        rows[variable] = {
            "ratio": [
                sums.rmse(sums.model)[i, lead] / errors[best[lead]][lead] for lead in range(sums.n_leads)
            ],
            "reference": best,
            "outcome": [str(outcomes[best[lead]][i, lead]) for lead in range(sums.n_leads)],
        }
    return {**found, "n_windows": sums.n_windows, "variables": rows}


def scored(file: Path, steps: int, folder: Path) -> Verification:
    """Train with about so many optimizer steps, and score the best weights, or the start, on the test
    period."""
    from stconv.evaluation.assessment import Assessment
    from stconv.experiments.running import run_experiment
    from stconv.experiments.trained_model import load_data
    from stconv.verification.scores.scoring import Scoring

    data = load_data(file)
    data.setup("fit")
    epochs = max(1, round(steps * data.loading.batch_size / len(data.references["train"])))
    words = [
        f"--trainer.max_epochs={epochs}",
        "--trainer.logger=false",
        f"--trainer.default_root_dir={folder}",
    ]
    if steps == 0:
        words += ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    done = run_experiment("fit", ["--config", str(file), *words], bar=lambda: None)
    task, data = done.model, done.datamodule
    best = done.trainer.checkpoint_callback.best_model_path
    task.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["state_dict"])
    if steps == 0:
        task.network.residual_weight.zero_()
    task.eval()
    assessment = Assessment(data, task.preparation, Scoring())
    with torch.inference_mode():
        for batch in data.test_dataloader():
            assessment.add(batch, task.network.members(task.preparation.inputs(batch)))
    return assessment.verification(task.network.display_name)


def table(results: list[dict[str, Any]]) -> str:
    """The results as a table in Markdown; a ratio that is above 1 beyond doubt stands between **."""
    lines = ["| series | part | windows | RMSE over the best reference, by lead |", "|---|---|---|---|"]
    for result in sorted(results, key=lambda r: (list(SERIES).index(r["series"]), r["share"])):
        about = f"{result['series'].replace('_', ' ')} | {SHARES[result['share']]}"
        if "refused" in result:
            lines.append(f"| {about} | | too short: {result['refused'].split('.')[0]} |")
        for variable, row in result.get("variables", {}).items():
            several = f" ({variable})" if len(result["variables"]) > 1 else ""
            ratios = [
                f"{DOUBT[outcome]}{ratio:.3f}{DOUBT[outcome]}"
                for ratio, outcome in zip(row["ratio"], row["outcome"], strict=True)
            ]
            lines.append(f"| {about}{several} | {result['n_windows']} | {' '.join(ratios)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.never_below", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("never_below.jsonl"), help="file of the results")
    parser.add_argument(
        "--steps", type=int, default=300, help="optimizer steps of each training; 0: the start alone"
    )
    parser.add_argument("--only", nargs="*", choices=list(SERIES), default=list(SERIES), help="some series")
    parser.add_argument("--shares", nargs="*", type=int, choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--minutes", type=float, help="begin no further training after so many")
    parser.add_argument("--table", action="store_true", help="print the table of the results, train nothing")
    arguments = parser.parse_args()
    results = []
    if arguments.results.exists():
        results = [json.loads(line) for line in arguments.results.read_text().splitlines()]
    if arguments.table:
        print(table(results))
        return
    done, began = {(result["series"], result["share"]) for result in results}, time.monotonic()
    cases = [
        (name, share) for share in arguments.shares for name in arguments.only if (name, share) not in done
    ]
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    log = arguments.results.absolute().open("a")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # runs and their store are not kept
        for name, share in cases:
            if arguments.minutes is not None and time.monotonic() - began > 60 * arguments.minutes:
                print("Out of time; run the same command again to go on.")
                return
            result = trial(name, share, arguments.steps, Path(scratch))
            log.write(json.dumps(result) + "\n")
            log.flush()
            print(table([result]).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
