"""The verdict in words: the references that a model beats, and the leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stconv.verification.scores.labels import enumerate_words, lead_ranges

BEATS, LOSES, UNDECIDED = "beats", "loses to", "undecided"
BETTER, WORSE = "better", "worse"
LEVEL = 0.005
"""For an undecided skill closer to 0 the verdict does not say which way it leans."""
_PHRASES = {
    BEATS: "beats",
    BETTER: "is better, but not significantly, than",
    UNDECIDED: "undecided against",
    WORSE: "is worse, but not significantly, than",
    LOSES: "loses to",
}


def verdict_sentences(
    variables: Sequence[str],
    outcomes: Mapping[str, np.ndarray],
    lead_labels: Sequence[str],
    skills: Mapping[str, np.ndarray] | None = None,
    n_windows: int | None = None,
) -> str:
    """State the outcomes, one sentence for each variable.

    Args:
        variables: Names of the variables.
        outcomes: "beats", "loses to" or "undecided" by reference, (variable, lead) of str.
        lead_labels: Time of each lead.
        skills: Skill by reference, (variable, lead), a fraction; says which way undecided outcomes lean.
        n_windows: Number of windows, stated where an outcome leans but is undecided.

    Returns:
        For example "Beats persistence at every lead, climatology at leads 1-4 (6 h to 24 h); is worse,
        but not significantly, than climatology at lead 5 (30 h) (RMSE up to 12 % higher, 17 windows)."
    """
    if not outcomes:
        return "There was no reference to compare with."
    sentences = []
    for i, variable in enumerate(variables):
        kinds = {name: [str(word) for word in outcome[i]] for name, outcome in outcomes.items()}
        worst: dict[str, float] = {}
        for name, skill in (skills or {}).items():
            kinds[name] = [_leaning(word, x) for word, x in zip(kinds[name], skill[i], strict=True)]
            leaning = [x for word, x in zip(kinds[name], skill[i], strict=True) if word == WORSE]
            worst[WORSE] = min([worst.get(WORSE, 0.0), *leaning])
        clauses = [_clause(kind, kinds, lead_labels) for kind in _PHRASES]
        if clauses[3]:
            size = f"RMSE up to {-100 * worst[WORSE]:.0f} % higher"
            clauses[3] += f" ({size}{f', {n_windows} windows' if n_windows else ''})"
        sentence = "; ".join(clause for clause in clauses if clause) + "."
        sentences.append(f"{variable}: {sentence}" if len(variables) > 1 else _capitalized(sentence))
    return "\n".join(sentences)


def _leaning(outcome: str, skill: float) -> str:
    if outcome != UNDECIDED or not np.isfinite(skill) or abs(skill) < LEVEL:
        return outcome
    return BETTER if skill > 0 else WORSE


def _clause(kind: str, by_reference: Mapping[str, Sequence[str]], lead_labels: Sequence[str]) -> str:
    """Group outcomes by reference and leads; references with the same leads share a phrase."""
    references: dict[str, list[str]] = {}
    for name, outcome in by_reference.items():
        leads = [lead for lead, word in enumerate(outcome, 1) if word == kind]
        if leads:
            references.setdefault(_leads(leads, lead_labels), []).append(name)
    parts = [f"{enumerate_words(names)} at {leads}" for leads, names in references.items()]
    return f"{_PHRASES[kind]} {', '.join(parts)}" if parts else ""


def _leads(leads: Sequence[int], lead_labels: Sequence[str]) -> str:
    if len(leads) == len(lead_labels):
        return "every lead" if len(leads) > 1 else f"lead 1 ({lead_labels[0]})"
    first, last = lead_labels[leads[0] - 1], lead_labels[leads[-1] - 1]
    consecutive = leads[-1] - leads[0] == len(leads) - 1
    if not consecutive:
        return lead_ranges(leads)
    return f"{lead_ranges(leads)} ({first if first == last else f'{first} to {last}'})"


def _capitalized(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
