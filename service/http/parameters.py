"""Query parameters: those that a route does not know are refused, by name."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from service.http.problem_answers import parameter_faults


async def only_known_parameters(request: Request) -> None:
    """Refuse parameters that the route does not know, and those that are given more than once.

    Raises:
        Problem: 422, or 400 as OGC API-EDR demands; names each of them and those that are known.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    if not given:
        return
    known = sorted(_known(request.scope["route"].dependant))
    faults = [
        {"loc": ("query", name[:60]), "msg": f"Unknown parameter; known: {', '.join(known) or 'none'}"}
        if name not in known
        else {"loc": ("query", name), "msg": f"Given {given.count(name)} times; expected once"}
        for name in dict.fromkeys(given)
        if name not in known or given.count(name) > 1
    ]
    if faults:
        raise parameter_faults(faults[:MOST_NAMED], request.url.path)


MOST_NAMED = 10
ONLY_KNOWN = Depends(only_known_parameters)
"""Dependency of every route; it follows the one that checks the key."""


def _known(dependant: Dependant) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _known(inner)
