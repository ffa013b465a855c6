"""`python -m benchmarks.skewed`: squared error, quantiles and a normal distribution on rain and counts.

For each series, `stconv.suggest` writes the experiment; its head and loss are replaced by those of each
contender, all are trained for the same number of steps, and the test period is read once. The table holds
RMSE, CRPS, the weighted interval score of the bands, CSI, Brier skill and reliability at a threshold, and
coverage. Results are kept in a file, one line for each, so that an interrupted run goes on.
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

import numpy as np
import torch
import yaml

from benchmarks.short_training import tested, trained
from benchmarks.varied_series import SERIES, part

if TYPE_CHECKING:
    from stconv.verification import Verification

SKEWED = ("showers", "rain_beside_temperature", "counts", "radar", "trips")
HEADS: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "squared error": (None, {"class_path": "stconv.losses.MaskedMSE"}),
    "quantiles": (
        {"class_path": "stconv.models.Quantiles", "init_args": {"n_members": 16}},
        {"class_path": "stconv.losses.CRPS", "init_args": {"squared_error": 1.0}},
    ),
    "normal": (
        {"class_path": "stconv.models.Gaussian", "init_args": {"n_members": 16}},
        {"class_path": "stconv.losses.GaussianCRPS"},
    ),
}
"""Head around the inner network and loss, by name."""
THRESHOLDS = {"rain": 1.0, "pickups": 1.0, "new_flow": 10.0, "end_flow": 10.0}


def trial(name: str, head: str, share: int, steps: int, folder: Path) -> dict[str, Any]:
    """Train one contender and score its best weights, or the start alone, on the test period."""
    import stconv
    from stconv.evaluation.assessment import Assessment
    from stconv.uncertainty.conformal import calibrate

    series, file = folder / f"{name}.nc", folder / "experiment.yaml"
    ds = part(SERIES[name](), share)
    ds.to_netcdf(series)
    stconv.suggest(series).to_yaml(file)
    values = yaml.safe_load(file.read_text())
    outer = values["model"]["network"]["init_args"]
    inner = outer["network"]
    if "network" in inner["init_args"]:
        inner = inner["init_args"]["network"]
    around, loss = HEADS[head]
    if around is not None:
        inner = {**around, "init_args": {**around["init_args"], "network": inner}}
    outer["network"], values["model"]["loss"] = inner, loss
    thresholds = {str(v): [THRESHOLDS[str(v)]] for v in ds.data_vars if str(v) in THRESHOLDS}
    values["model"]["scoring"] = {"thresholds": thresholds, "scales": [5], "seasons": False}
    file.write_text(yaml.safe_dump(values))
    began = time.process_time()
    task, data = trained(file, steps, folder)
    with torch.inference_mode():
        bands = calibrate(task.network, task.preparation, data)
    result = tested(task, data, Assessment(data, task.preparation, task._scoring, bands))
    found: dict[str, Any] = {"series": name, "share": share, "head": head, "steps": steps}
    found |= {"n_windows": result.sums.n_windows, "minutes": (time.process_time() - began) / 60}
    return {**found, "variables": {v: _row(result, i, v) for i, v in enumerate(result.sums.variables)}}


def _row(result: Verification, i: int, variable: str) -> dict[str, Any]:
    """Scores of one variable, each a number for each lead."""
    sums = result.sums
    errors = {reference: sums.rmse(reference)[i] for reference in sums.references}
    bands = result.diagnostics["calibration"].isel(variable=i)
    row = {
        "rmse": sums.rmse(sums.model)[i],
        "best_reference": np.min(list(errors.values()), axis=0),
        "crps": bands["crps"].values if "crps" in bands else np.full(sums.n_leads, np.nan),
        "interval": interval_score(sums.mae(sums.model)[i], bands["interval_score"].values),
        **{f"{kind}_{level}": 100 * bands[name].values[:, k]
           for kind, name in (("fixed", "fixed_coverage"), ("adapted", "coverage"))
           for k, level in enumerate((80, 95))},
    }  # fmt: skip
    if "thresholds" in result.diagnostics and variable in THRESHOLDS:
        events = result.diagnostics["thresholds"].isel(variable=i, threshold=0)
        row["csi"] = events["csi"].sel(contender=sums.model).values
        row["csi_persistence"] = events["csi"].sel(contender="persistence").values
    if "exceedance" in result.diagnostics and variable in THRESHOLDS:
        chance = result.diagnostics["exceedance"].isel(variable=i, threshold=0)
        row |= {key: chance[key].values for key in ("brier_skill", "reliability")}
    return {key: [round(float(x), 4) for x in value] for key, value in row.items()}


def interval_score(absolute_error: np.ndarray, intervals: np.ndarray) -> np.ndarray:
    """Weighted interval score, which approximates the CRPS by a central value and two bands.

    (|y - m| / 2 + sum over bands of alpha / 2 times interval score) / 2.5, alpha = 0.2 and 0.05

    Args:
        absolute_error: Mean absolute error of the forecast, (lead,).
        intervals: Interval scores of the 80 and 95 % bands, (lead, level).

    Source:
        Bracher et al. (2021), PLOS Computational Biology 17, e1008618, eq. 2.
    """
    return (absolute_error / 2 + intervals @ np.array([0.1, 0.025])) / 2.5


def table(results: list[dict[str, Any]]) -> str:
    """The results as a table in Markdown: first and last lead, and the mean over all."""
    lines = ["| series | head | " + " | ".join(COLUMNS) + " |", "|---" * (2 + len(COLUMNS)) + "|"]
    for result in results:
        for variable, row in result["variables"].items():
            cells = [" ".join(_ends(row.get(key))) for key in COLUMNS.values()]
            lines.append(f"| {result['series']}, {variable} | {result['head']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


COLUMNS = {
    "RMSE": "rmse", "best reference": "best_reference", "CRPS": "crps", "interval score": "interval",
    "CSI": "csi", "persistence": "csi_persistence", "Brier skill": "brier_skill",
    "reliability": "reliability", "80 % fixed": "fixed_80", "adapted": "adapted_80",
    "95 % fixed": "fixed_95", "adapted ": "adapted_95",
}  # fmt: skip


def _ends(values: list[float] | None) -> list[str]:
    return ["-"] if not values or np.isnan(values[0]) else [f"{values[i]:.3g}" for i in (0, -1)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.skewed", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("skewed.jsonl"), help="file of the results")
    parser.add_argument(
        "--steps", type=int, default=300, help="optimizer steps of each training; 0: the start alone"
    )
    parser.add_argument("--only", nargs="*", choices=list(SERIES), default=list(SKEWED), help="some series")
    parser.add_argument("--heads", nargs="*", choices=list(HEADS), default=list(HEADS), help="some heads")
    parser.add_argument("--share", type=int, default=1, help="cut each series to the newest 1/SHARE")
    parser.add_argument("--table", action="store_true", help="print the table of the results, train nothing")
    arguments = parser.parse_args()
    results = []
    if arguments.results.exists():
        results = [json.loads(line) for line in arguments.results.read_text().splitlines()]
    if arguments.table:
        print(table(results))
        return
    done = {(r["series"], r["head"], r["share"], r["steps"]) for r in results}
    log = arguments.results.absolute().open("a")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # checkpoints are not kept
        for name in arguments.only:
            for head in arguments.heads:
                if (name, head, arguments.share, arguments.steps) in done:
                    continue
                result = trial(name, head, arguments.share, arguments.steps, Path(scratch))
                log.write(json.dumps(result) + "\n")
                log.flush()
                print(table([result]).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
