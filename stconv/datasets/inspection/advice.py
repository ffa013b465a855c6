"""Advice on the findings of `stconv inspect`, one sentence or two for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stconv.datasets.source.sentinels import SENTINELS

if TYPE_CHECKING:
    from stconv.datasets.inspection.description import Description, VariableSummary

FEW_WINDOWS = 200
"""Below this many training windows a network rarely beats persistence."""
MEMORY_BYTES = 8 * 2**30
LARGEST_SENSIBLE = 1e15


def advise(found: Description) -> list[str]:
    """Give advice on a source, the most urgent first; empty if it can be used as it is."""
    advice = _about_samples(found) + _about_time(found)
    for variable in found.variables:
        advice += _about_variable(variable)
    selectable = [name for name, reason in found.left_out.items() if "select" in reason]
    if selectable:
        advice.append(
            f"Left out because of further dimensions: {', '.join(selectable)}. Choose a value with "
            "`--select DIM=VALUE`."
        )
    if found.memory_bytes > MEMORY_BYTES:
        advice.append(
            f"The series takes {found.memory_bytes / 2**30:.0f} GiB in memory. Name the variables you "
            "need, or crop or coarsen the grid first."
        )
    return advice


def _about_samples(found: Description) -> list[str]:
    samples = [variable for variable in found.variables if variable.sampled_steps is not None]
    if not samples:
        return []
    names = ", ".join(variable.name for variable in samples)
    return [
        f"Too large to read as a whole: the statistics of {names} are those of {samples[0].sampled_steps} of "
        f"{found.n_steps} steps, evenly spaced, and there are no reference errors. Select a shorter period "
        "or a part of the grid to have them."
    ]


def _about_time(found: Description) -> list[str]:
    if found.n_steps == 1:
        return ["A single step is not a series. Give all files, or a pattern, to train on."]
    advice = []
    if found.n_windows == 0:
        advice.append(
            f"No window of {found.t_in} + {found.leads} steps fits. Reduce --t-in or --leads, or give a "
            "longer series."
        )
    elif found.n_training_windows < FEW_WINDOWS:
        advice.append(
            f"{found.n_training_windows} training windows are few: persistence and climatology will be "
            "hard to beat. Use a small network, or give a longer series."
        )
    if found.gaps:
        advice.append(_about_gaps(found))
    if found.repeated_steps:
        advice.append(
            f"{found.repeated_steps} steps appear in several files with equal values; each is kept once."
        )
    return advice


def _about_gaps(found: Description) -> str:
    if not found.filled_steps:
        return (
            f"{found.gaps_counted}: no window spans a gap, so some steps are lost. Add the missing "
            "files if you have them, or fill short gaps with empty frames: `--fill-gaps N`."
        )
    lacking = sum(gap.missing_steps for gap in found.gaps)
    rest = "" if lacking == found.filled_steps else "; no window spans the longer ones"
    return (
        f"{found.gaps_counted} with {lacking} missing steps, {found.filled_steps} of them filled with "
        f"empty frames (`fill_gaps`); these are imputed in the inputs, masked in loss and scores{rest}."
    )


def _about_variable(variable: VariableSummary) -> list[str]:
    name = variable.name
    if variable.minimum is None or variable.maximum is None or variable.standard_deviation is None:
        return [f"'{name}' holds no valid value. Check its fill value, or leave the variable out."]
    advice = _about_odd_values(variable, variable.minimum, variable.maximum)
    if variable.direction:
        advice.append(
            f"'{name}' is a direction, where 359 degrees is next to 1. The errors above are smallest "
            "angles, but a network treats the values as numbers on a line. Train on sine and cosine "
            f"instead: `--components {name}`, or in a configuration `grid: {{components: [{name}]}}`."
        )
    if variable.standard_deviation == 0:
        advice.append(f"'{name}' is constant ({variable.minimum:g}); a network can learn nothing from it.")
    if variable.rain_like:
        advice.append(
            f"{100 * variable.zero_share:.0f} % of '{name}' is zero: do not judge by RMSE alone. The "
            "suggested experiment forecasts quantiles, none below zero, whose mean is the forecast, and its "
            f"test also scores CRPS and values above thresholds. `transforms: {{{name}: log1p}}` gives large "
            "values less weight, and makes the forecast too low on average."
        )
    if variable.restarts:
        advice.append(
            f"'{name}' restarts from zero every {variable.restarts} and rises between: it seems to "
            "accumulate from the start of each forecast. Train on the amount of each step: "
            f"`--accumulated '{name}={variable.restarts}'`."
        )
    if variable.weekly_gain is not None:
        advice.append(
            f"'{name}' has a weekly cycle, which lowers the error of the climatology by "
            f"{100 * variable.weekly_gain:.0f} %. The suggested experiment follows it "
            "(`data.preparation.weekly_cycle`)."
        )
    if not variable.units:
        advice.append(f"'{name}' has no units, so its scores will have none.")
    return advice + _about_missing_values(variable)


def _about_odd_values(variable: VariableSummary, low: float, high: float) -> list[str]:
    name, advice = variable.name, []
    if variable.infinite_share:
        advice.append(
            f"'{name}' is infinite in {100 * variable.infinite_share:.2g} % of its values; training "
            f"refuses infinite values. Mark them as missing: `--valid-range {name}=LOW,HIGH`."
        )
    extreme = max(abs(low), abs(high))
    if low in SENTINELS or high in SENTINELS or extreme > LARGEST_SENSIBLE:
        value = low if low in SENTINELS or abs(low) > LARGEST_SENSIBLE else high
        advice.append(
            f"'{name}' holds {value:g}, which looks like an undeclared missing value. Mark it as missing "
            f"with `--valid-range {name}=LOW,HIGH`."
        )
    elif variable.lone_negative is not None and abs(variable.lone_negative) > 1e-6 * max(high, 1e-30):
        advice.append(
            f"'{name}' has only one distinct negative value, {variable.lone_negative:g} in "
            f"{100 * variable.lone_negative_share:.2g} % of its values: perhaps an undeclared missing "
            f"value. If so, mark it as missing with `--valid-range {name}=0,`."
        )
    return advice


def _about_missing_values(variable: VariableSummary) -> list[str]:
    name, advice = variable.name, []
    never, missing = variable.never_valid_share, variable.missing_share
    if never > 0:
        advice.append(
            f"{100 * never:.2g} % of the cells of '{name}' never hold a value; they are masked in loss "
            "and scores."
        )
    if missing - never > 0.001:
        advice.append(
            f"'{name}' lacks {100 * (missing - never):.2g} % of its values in cells that are valid at "
            "other times; they are imputed in the inputs, masked in loss and scores."
        )
    return advice
