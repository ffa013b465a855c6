"""Tested runs side by side, best first, with the parameters in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stconv.contenders import PERSISTENCE, RIVAL
from stconv.experiments.former_keys import grouped_key

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from stconv.tracking import RunInfo
    from stconv.verification import Verification

IGNORED = ("config", "ckpt_path", "trainer.logger")
"""Parameters that identify a run but do not affect its scores, next to those of its data."""
MAX_PLOTTED = 8


@dataclass(frozen=True)
class Entry:
    """A tested run and its scores."""

    run: RunInfo
    result: Verification

    @property
    def rmse(self) -> float:
        """RMSE over all leads and variables, in the units of the variables."""
        sums = self.result.sums
        return float(np.sqrt(np.mean(sums.pooled_rmse(sums.model) ** 2)))


def find_entries(
    experiment: str | None = None, latest: bool = False, runs: Sequence[RunInfo] | None = None
) -> tuple[list[list[Entry]], list[RunInfo]]:
    """Collect tested runs, those on the same data together, best first; the group of the newest run first.

    Args:
        experiment: Collect runs of this experiment only.
        latest: Keep only the newest of the runs with the same name in an experiment.
        runs: Collect these runs only.

    Returns:
        Groups of entries, and the runs without scores.

    Raises:
        TrackingError: No run was tested.
    """
    from stconv.errors import FileError, TrackingError
    from stconv.tracking import download, list_runs
    from stconv.tracking.run_layout import DATA_HASH, SCORES
    from stconv.verification import Verification

    groups: dict[tuple[Any, ...], list[Entry]] = {}
    unscored: list[RunInfo] = []
    seen: set[tuple[str, str]] = set()
    for info in list_runs(experiment) if runs is None else runs:
        if latest and (info.experiment, info.name) in seen:
            continue
        if not info.tested:
            unscored.append(info)
            continue
        try:
            result = Verification.from_netcdf(download(info.run_id, SCORES))
        except (TrackingError, FileError):
            unscored.append(info)
            continue
        seen.add((info.experiment, info.name))
        key = (
            info.params.get(DATA_HASH),
            result.data,
            result.sums.variables,
            result.sums.n_leads,
            result.period,
        )
        groups.setdefault(key, []).append(Entry(info, result))
    if not groups:
        where = f" of experiment '{experiment}'" if experiment else ""
        raise TrackingError(
            f"No run{where} was tested yet. Run `stconv test --config FILE` or `stconv evaluate`."
        )
    return [sorted(group, key=lambda entry: entry.rmse) for group in groups.values()], unscored


def differing_parameters(runs: Sequence[RunInfo]) -> dict[str, list[str]]:
    """Parameters that are not the same in all runs, with the value of each run; "-" where it has none."""
    from stconv.tracking.run_layout import DATA_HASH, DATA_NAME

    ignored = (*IGNORED, DATA_HASH, DATA_NAME)
    params = [
        {name if name == DATA_NAME else grouped_key(name): value for name, value in info.params.items()}
        for info in runs
    ]
    names = sorted({name for named in params for name in named})
    rows = {name: [named.get(name, "-") for named in params] for name in names}
    return {
        name: values
        for name, values in rows.items()
        if len(set(values)) > 1 and not any(name == word or name.startswith(f"{word}.") for word in ignored)
    }


def against_best(group: Sequence[Entry]) -> list[str]:
    """Say at which leads each run is significantly worse than the best one; "" for the best."""
    from stconv.errors import ConfigError
    from stconv.verification import Verification
    from stconv.verification.scores.labels import lead_ranges
    from stconv.verification.scores.pairing import pair

    best, sentences = group[0], [""]
    for entry in group[1:]:
        try:
            paired = Verification(pair(best.result.sums, entry.result.sums), span=best.result.span)
        except ConfigError as error:
            sentences.append(str(error))
            continue
        decided = paired.beats(RIVAL).all(axis=0)
        leads = [int(lead) + 1 for lead in np.flatnonzero(decided)]
        if len(leads) == decided.size:
            sentences.append("worse at every lead")
        else:
            sentences.append(f"worse at {lead_ranges(leads)}" if leads else "not distinguishable")
    return sentences


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Shorten dotted names to the ends that tell them apart, without `init_args`."""
    parts = {name: [part for part in name.split(".") if part != "init_args"] for name in names}
    short: dict[str, str] = {}
    for name, words in parts.items():
        others = [other for key, other in parts.items() if key != name]
        n = 1
        while n < len(words) and any(other[-n:] == words[-n:] for other in others):
            n += 1
        short[name] = ".".join(words[-n:])
    return short if len(set(short.values())) == len(short) else {name: name for name in names}


def reference_of(group: Sequence[Entry]) -> str:
    """The reference of the skill columns."""
    references = group[0].result.sums.references
    return PERSISTENCE if PERSISTENCE in references else references[0]


def group_json(group: Sequence[Entry]) -> dict[str, Any]:
    """A group as plain values: its data, and its runs, best first."""
    from stconv.tracking.run_layout import DATA_HASH

    result = group[0].result
    infos = [entry.run for entry in group]
    differences = differing_parameters(infos)
    return {
        "data": result.data,
        "data_hash": infos[0].params.get(DATA_HASH),
        "period": list(result.period),
        "ordered_by": "pooled test RMSE, area-weighted",
        "runs": [
            {
                "run_id": entry.run.run_id,
                "name": entry.run.name,
                "experiment": entry.run.experiment,
                "started": entry.run.started.isoformat(),
                "rmse": entry.rmse,
                "against_best": words,
                "differing_parameters": {name: values[i] for name, values in differences.items()},
                "scores": entry.result.to_json(),
            }
            for i, (entry, words) in enumerate(zip(group, against_best(group), strict=True))
        ],
    }


def comparison_table(group: Sequence[Entry]) -> pd.DataFrame:
    """A row for each run: RMSE over all leads, skill per lead, verdict against the best, what differs."""
    import pandas as pd

    reference = reference_of(group)
    differences = differing_parameters([entry.run for entry in group])
    short = short_names(list(differences))
    rows = []
    for i, (entry, words) in enumerate(zip(group, against_best(group), strict=True)):
        sums = entry.result.sums
        row: dict[str, Any] = {"run": entry.run.name, "id": entry.run.run_id[:8], "rmse": entry.rmse}
        for k, variable in enumerate(sums.variables):
            of = f"{variable} " if len(sums.variables) > 1 else ""
            skill = sums.skill(sums.model, reference)[k]
            row |= {
                f"skill {of}{label}": float(x) for label, x in zip(entry.result.labels, skill, strict=True)
            }
        row["against best"] = words
        rows.append(row | {short[name]: values[i] for name, values in differences.items()})
    return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="rank"))


def labels_of(entries: Sequence[Entry]) -> list[str]:
    """Names of runs, with the beginning of the id where two have the same name."""
    names = [entry.run.name for entry in entries]
    return [
        name if names.count(name) == 1 else f"{name} {entry.run.run_id[:6]}"
        for name, entry in zip(names, entries, strict=True)
    ]


def draw(group: Sequence[Entry]) -> Figure:
    """Draw the first variable of the best runs of a group."""
    from stconv.verification.report.plots import compare_figure

    shown = group[:MAX_PLOTTED]
    sums = shown[0].result.sums
    variable = sums.variables[0]
    reference = reference_of(group)
    labels = labels_of(shown)
    return compare_figure(
        {label: e.result.sums.rmse(e.result.sums.model)[0] for label, e in zip(labels, shown, strict=True)},
        {
            label: e.result.sums.skill(e.result.sums.model, reference)[0]
            for label, e in zip(labels, shown, strict=True)
        },
        lead_labels=shown[0].result.labels,
        reference=reference,
        reference_rmse={name: sums.rmse(name)[0] for name in sums.references},
        intervals={
            label: e.result.skill_interval(reference)[:, 0] for label, e in zip(labels, shown, strict=True)
        },
        title=f"{variable}, {shown[0].result.data}, {sums.n_windows} test windows",
        units=sums.units[variable],
    )
