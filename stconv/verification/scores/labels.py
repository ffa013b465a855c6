"""Labels of leads: 6 h, 12 h, ..., 1 month, 2 months."""

from __future__ import annotations

from collections.abc import Sequence

from stconv.clock import largest_unit
from stconv.datasets.source.time_axis import TimeStep


def lead_labels(step: TimeStep, n_leads: int) -> tuple[str, ...]:
    """Label each lead with its time, all in the unit of the first.

    Args:
        step: Time step of the series.
        n_leads: Number of leads.

    Returns:
        Labels such as "6 h", "12 h", "18 h".
    """
    if step.kind != "fixed":
        counts = [step.n * lead for lead in range(1, n_leads + 1)]
        return tuple(f"{count} {step.kind}{'s' if count > 1 else ''}" for count in counts)
    unit = largest_unit(step.seconds)
    return tuple(f"{step.seconds // unit.seconds * lead} {unit.symbol}" for lead in range(1, n_leads + 1))


def lead_ranges(leads: Sequence[int]) -> str:
    """Ascending leads in words: "lead 3", "leads 1-4", "leads 1-3 and 5"."""
    runs: list[list[int]] = []
    for lead in leads:
        if runs and lead == runs[-1][-1] + 1:
            runs[-1].append(lead)
        else:
            runs.append([lead])
    words = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"{'lead' if len(leads) == 1 else 'leads'} {enumerate_words(words)}"


def enumerate_words(words: Sequence[str]) -> str:
    """Join words as in a sentence: "a", "a and b", "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
