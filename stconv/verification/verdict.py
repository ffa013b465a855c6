"""The verdict in words: which references a model beats, and up to which lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stconv.verification.labels import enumerate_words, lead_ranges

BEATS, LOSES, UNDECIDED = "beats", "loses to", "undecided"
_PHRASES = {BEATS: "beats", UNDECIDED: "undecided against", LOSES: "loses to"}


def verdict_sentences(
    variables: Sequence[str], outcomes: Mapping[str, np.ndarray], lead_labels: Sequence[str]
) -> str:
    """Say the outcomes, one sentence for each variable.

    Args:
        variables: Names of the variables.
        outcomes: "beats", "loses to" or "undecided" by reference, (variable, lead) of str.
        lead_labels: Time of each lead.

    Returns:
        For example "Beats persistence at every lead, climatology at leads 1-4 (6 h to 24 h); undecided
        against climatology at lead 5 (30 h)."
    """
    if not outcomes:
        return "There was nothing to compare with."
    sentences = []
    for i, variable in enumerate(variables):
        by_reference = {name: [str(word) for word in outcome[i]] for name, outcome in outcomes.items()}
        clauses = [_clause(kind, by_reference, lead_labels) for kind in _PHRASES]
        sentence = "; ".join(clause for clause in clauses if clause) + "."
        sentences.append(f"{variable}: {sentence}" if len(variables) > 1 else _capitalized(sentence))
    return "\n".join(sentences)


def _clause(kind: str, by_reference: Mapping[str, Sequence[str]], lead_labels: Sequence[str]) -> str:
    """What holds against which references at which leads; references with the same leads share a phrase."""
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
