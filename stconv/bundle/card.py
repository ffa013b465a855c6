"""The model card of a bundle: intended use, data, scores and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stconv.contenders import MODEL
from stconv.datasets.summary import DataSummary
from stconv.digits import both_ends
from stconv.results import describe_data

NAME = "MODEL_CARD.md"


def model_card(spec: Mapping[str, Any]) -> str:
    """Write the card of a bundle, in Markdown, from its spec alone.

    Args:
        spec: Spec of a bundle, from `make_bundle`; sections of missing keys are left out.
    """
    scores, data = spec.get("scores") or {}, DataSummary.from_json(spec.get("data") or {})
    parts = [f"# {spec['name']}", _summary(spec), "## Intended use", _use(spec)]
    if data.periods:
        about = describe_data(data)
        parts += ["## Data", "\n".join(f"- **{title}:** {text}" for title, text in about.items())]
    parts += ["## Scores", _scores(scores, spec.get("refit"))]
    parts += ["## Limits", "\n".join(f"- {text}" for text in _limits(spec, scores))]
    code = spec.get("code") or {}
    made = f"Made {spec.get('created', 'at an unknown time')} by stconv {code.get('stconv', 'unknown')}"
    commit = f", commit {code['commit']}" if code.get("commit") else ""
    parts += ["## Origin", f"{made}{commit}. `spec.json` holds all of this for programs."]
    return "\n\n".join(parts) + "\n"


def _summary(spec: Mapping[str, Any]) -> str:
    targets = [variable for variable in spec["variables"] if variable.get("target")]
    names = ", ".join(f"{v['name']} ({v['units'] or 'no unit'})" for v in targets)
    whole = (spec.get("network") or {}).get("name", "network")
    network = spec.get("network_name", whole)
    start = " over a linear start" if whole == "LinearResidual" else ""
    return (
        f"A {network}{start} that forecasts {names}, {spec['leads']} steps ahead, from the newest "
        f"{len(spec['input_offsets'])} fields on the grid it was trained on."
    )


def _use(spec: Mapping[str, Any]) -> str:
    return (
        "Forecasts of the same variables, from the same source of data, on the same grid and with the "
        "same time step as in training: `stconv forecast --model BUNDLE --input FILE`, or `stconv "
        "serve`. Check the scores below before using it for any purpose; it is not a warning service."
    )


def refit_statement(refit: Mapping[str, Any]) -> str:
    """Say in words that a model is a refit, and whose scores it is trusted by.

    Args:
        refit: The key `refit` of a bundle's spec.
    """
    evidence = " ".join(refit["evidence"])
    return (
        "This model is a refit and was not tested itself. It has the configuration of run "
        f"{refit['sibling']}, trained for as many steps ({refit['steps']}) on all data until "
        f"{refit['trained_until']}. The scores are those of that run, which was trained until "
        f"{refit['sibling_trained_until']} and tested on what followed. {evidence}"
    ).rstrip()


def _scores(scores: Mapping[str, Any], refit: Mapping[str, Any] | None = None) -> str:
    if "verdict" not in scores:
        return "Not tested yet, so its skill is unknown. Run `stconv test` or `stconv evaluate`."
    period = " to ".join(scores.get("period") or [])
    lines = [*([refit_statement(refit), ""] if refit else []), f"**{scores['verdict']}**", ""]
    lines.append(f"{scores['n_windows']} windows{f', {period}' if period else ''}, never seen in training.")
    for name, values in scores["variables"].items():
        units = f" {values['units']}" if values["units"] not in ("", "1") else ""
        labels = scores["lead_labels"]
        lines += [
            "",
            f"RMSE of {name}{units} | {' | '.join(labels)}",
            f"--- | {' | '.join('---' for _ in labels)}",
        ]
        for contender, found in values["area"]["scores"].items():
            who = "this model" if contender == MODEL else contender
            numbers = ["-" if x is None else f"{x:.4g}" for x in found["rmse"]]
            lines.append(f"{who} | {' | '.join(numbers)}")
    return "\n".join(lines)


def _limits(spec: Mapping[str, Any], scores: Mapping[str, Any]) -> list[str]:
    found = [
        "The scores apply to the test period; they may be worse in another climate or with data from "
        "another source or analysis.",
        "The model knows only its training data: conditions that did not occur there are not forecast well.",
        "Beyond its leads, the forecast is rolled out from its own output and is not verified.",
        *(scores.get("warnings") or []),
    ]
    centers = {variable["name"]: variable.get("center", 0.0) for variable in spec["variables"]}
    for name, bounds in (spec.get("ranges") or {}).items():
        lowest, highest = (float(end) + centers.get(name, 0.0) for end in bounds)
        low, high = both_ends(lowest, highest, digits=4)
        found.append(f"Values of {name} in training ranged from {low} to {high}.")
    return found
