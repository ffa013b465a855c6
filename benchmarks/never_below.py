"""`python -m benchmarks.never_below`: the suggested experiment beside the best reference, on many series.

Each series of `benchmarks.varied_series` is taken whole, and cut to its newest third and ninth. For each of
them `stconv.suggest` writes the experiment, which is trained for some hundred steps, and the test period is
read once. The table holds the RMSE over that of the reference which is best at that lead on the same test
windows, chosen in hindsight, and the same for the start alone, without the network. Results are kept in a
file, one line for each, so that an interrupted run goes on.
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

from benchmarks.short_training import tested, trained
from benchmarks.varied_series import SERIES, part

if TYPE_CHECKING:
    from stconv.verification import Verification

SHARES = {1: "whole", 3: "third", 9: "ninth"}
DOUBT = {"loses to": "**", "beats": "", "undecided": ""}


def trial(name: str, share: int, steps: int, folder: Path) -> dict[str, Any]:
    """Train the suggested experiment, and score its best weights and its start alone; or say why not."""
    import stconv
    from stconv.errors import StconvError
    from stconv.evaluation.assessment import Assessment
    from stconv.verification.scores.scoring import Scoring

    series, file = folder / f"{name}_{SHARES[share]}.nc", folder / "experiment.yaml"
    part(SERIES[name](), share).to_netcdf(series)
    found: dict[str, Any] = {"series": name, "share": share, "steps": steps}
    began = time.process_time()
    try:
        stconv.suggest(series).to_yaml(file)
        task, data = trained(file, steps, folder)
        result = tested(task, data, Assessment(data, task.preparation, Scoring()))
    except StconvError as error:
        return {**found, "refused": str(error)}
    share_of_network = task.network.residual_weight[..., 0, 0].tolist()
    task.network.residual_weight.zero_()
    alone = rows(tested(task, data, Assessment(data, task.preparation, Scoring())))
    variables = {
        variable: {**row, "residual_weight": weight, "start": alone[variable]}
        for (variable, row), weight in zip(rows(result).items(), share_of_network, strict=True)
    }
    minutes = (time.process_time() - began) / 60
    return {**found, "n_windows": result.sums.n_windows, "minutes": minutes, "variables": variables}


def rows(result: Verification) -> dict[str, dict[str, Any]]:
    """By variable and lead: RMSE over that of the best reference, its name, and the outcome against it."""
    sums, found = result.sums, {}
    outcomes = {reference: result.outcome(reference) for reference in sums.references}
    for i, variable in enumerate(sums.variables):
        errors = {reference: sums.rmse(reference)[i] for reference in sums.references}
        best = [min(errors, key=lambda reference: errors[reference][lead]) for lead in range(sums.n_leads)]
        found[variable] = {
            "ratio": [
                sums.rmse(sums.model)[i, lead] / errors[best[lead]][lead] for lead in range(sums.n_leads)
            ],
            "reference": best,
            "outcome": [str(outcomes[best[lead]][i, lead]) for lead in range(sums.n_leads)],
        }
    return found


def ratios(row: dict[str, Any]) -> str:
    """Ratios by lead; one that is above 1 beyond doubt stands between **."""
    pairs = zip(row["ratio"], row["outcome"], strict=True)
    return " ".join(f"{DOUBT[outcome]}{ratio:.3f}{DOUBT[outcome]}" for ratio, outcome in pairs)


def table(results: list[dict[str, Any]]) -> str:
    """The results as a table in Markdown: RMSE over that of the best reference, by lead."""
    lines = ["| series | part | windows | start alone | with the network |", "|---|---|---|---|---|"]
    for result in sorted(results, key=lambda r: (list(SERIES).index(r["series"]), r["share"])):
        name, part_of = result["series"].replace("_", " "), SHARES[result["share"]]
        if "refused" in result:
            lines.append(f"| {name} | {part_of} | | too short: {result['refused'].split('.')[0]} | |")
        for variable, row in result.get("variables", {}).items():
            several = f", {variable}" if len(result["variables"]) > 1 else ""
            with_network = ratios(row) if result["steps"] else ""
            about = f"{name}{several} | {part_of} | {result['n_windows']}"
            lines.append(f"| {about} | {ratios(row['start'])} | {with_network} |")
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
