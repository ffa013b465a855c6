"""What to do about what `inspect` found, in sentences."""

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
    """Advice on a source, the most pressing first; empty if it can be used as it is."""
    advice = _about_time(found)
    for variable in found.variables:
        advice += _about_variable(variable)
    selectable = [name for name, reason in found.left_out.items() if "select" in reason]
    if selectable:
        advice.append(
            f"Left out for further dimensions: {', '.join(selectable)}. Choose a value with `--select "
            "DIM=VALUE`."
        )
    if found.memory_bytes > MEMORY_BYTES:
        advice.append(
            f"The series takes {found.memory_bytes / 2**30:.0f} GiB in memory. Name the variables you need, "
            "or cut or "
            "coarsen the grid first."
        )
    return advice


def _about_time(found: Description) -> list[str]:
    if found.n_steps == 1:
        return ["One step is no series: give all the files, or a pattern, to train on."]
    advice = []
    if found.n_windows == 0:
        advice.append(
            f"No window of {found.t_in} + {found.leads} steps fits. Ask for fewer with --t-in and --leads, "
            "or give a "
            "longer series."
        )
    elif found.n_training_windows < FEW_WINDOWS:
        advice.append(
            f"{found.n_training_windows} training windows are few: expect persistence and climatology to be "
            "hard to "
            "beat. Prefer a small network, or give a longer series."
        )
    if found.gaps:
        advice.append(_about_gaps(found))
    if found.repeated_steps:
        advice.append(
            f"{found.repeated_steps} steps are in several files with equal values; they are kept once."
        )
    return advice


def _about_gaps(found: Description) -> str:
    if not found.filled_steps:
        return (
            f"{len(found.gaps)} gap(s): windows never cross one, so some steps are lost. Fill in missing "
            "files if you have them, or let short gaps be filled with frames without values: `--fill-gaps N`."
        )
    lacking = sum(gap.missing_steps for gap in found.gaps)
    rest = "" if lacking == found.filled_steps else "; windows never cross the longer ones"
    return (
        f"{len(found.gaps)} gap(s) with {lacking} missing steps, {found.filled_steps} of them filled with "
        f"frames without values (`fill_gaps`): imputed in the inputs, masked in loss and scores{rest}."
    )


def _about_variable(variable: VariableSummary) -> list[str]:
    name = variable.name
    if variable.minimum is None or variable.maximum is None or variable.standard_deviation is None:
        return [f"'{name}' holds no valid value at all. Check its fill value, or leave it out."]
    advice = []
    low, high = variable.minimum, variable.maximum
    if variable.infinite_share:
        advice.append(
            f"'{name}' is infinite in {100 * variable.infinite_share:.2g} % of its values, which is refused. "
            f"Make them missing: `--valid-range {name}=LOW,HIGH`."
        )
    extreme = max(abs(low), abs(high))
    if low in SENTINELS or high in SENTINELS or extreme > LARGEST_SENSIBLE:
        value = low if low in SENTINELS or abs(low) > LARGEST_SENSIBLE else high
        advice.append(
            f"'{name}' holds {value:g}, which looks like an undeclared sentinel for missing. Make it missing "
            "with "
            f"`--valid-range {name}=LOW,HIGH`."
        )
    elif variable.lone_negative is not None and abs(variable.lone_negative) > 1e-6 * max(high, 1e-30):
        advice.append(
            f"'{name}' has one negative value only, {variable.lone_negative:g} in "
            f"{100 * variable.lone_negative_share:.2g} % of the values: an undeclared sentinel? Make it "
            "missing with "
            f"`--valid-range {name}=0,`."
        )
    if variable.direction:
        advice.append(
            f"'{name}' is a direction in degrees, where 359 is next to 1. The errors above are the smallest "
            "angles; a network takes it for a number on a line. Train on its sine and cosine instead: "
            f"`--components {name}`, in a configuration `grid: {{components: [{name}]}}`."
        )
    if variable.standard_deviation == 0:
        advice.append(f"'{name}' is constant ({low:g}); there is nothing to learn from it.")
    if variable.rain_like:
        advice.append(
            f"{100 * variable.zero_share:.0f} % of '{name}' is zero: do not judge by RMSE alone, ask "
            f"`stconv evaluate --thresholds` as well. `transforms: {{{name}: log1p}}` makes large values "
            "count less, and the forecast too low on the average."
        )
    if variable.weekly_gain is not None:
        advice.append(
            f"'{name}' has a weekly cycle: it lowers the error of the climatology by "
            f"{100 * variable.weekly_gain:.0f} %. Set `data.preparation.weekly_cycle` to true."
        )
    if not variable.units:
        advice.append(f"'{name}' states no units; scores will have none.")
    never, missing = variable.never_valid_share, variable.missing_share
    if never > 0:
        advice.append(
            f"{100 * never:.2g} % of the cells of '{name}' never hold a value: masked in loss and scores."
        )
    if missing - never > 0.001:
        advice.append(
            f"'{name}' misses {100 * (missing - never):.2g} % of its values in cells that are valid at other "
            "times: "
            "imputed in the inputs, masked in loss and scores."
        )
    return advice
