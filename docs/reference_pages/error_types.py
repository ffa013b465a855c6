"""The page of errors: exceptions of the library and problems of the service, each with its remedy."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import service
from reference_pages.markdown import code, first_sentence, table, written_by
from service.app import create_app  # noqa: F401 - with it all problems are known
from service.problems import STATUS_OF_LIBRARY_ERROR, Problem
from stconv.errors import BY_CODE, URN, StconvError

_REMEDY = re.compile(r"^Remedy: (.*?)(?:\n\n|\Z)", re.S | re.M)


def page() -> str:
    """Write the page."""
    exceptions = [
        [code(kind.__name__), code(kind.code), _status(kind), first_sentence(kind), remedy(kind)]
        for kind in BY_CODE.values()
    ]
    answers = [
        [str(kind.status), code(f"{URN}:{kind.code}"), first_sentence(kind), remedy(kind)]
        for kind in problems()
    ]
    return (
        written_by("error_types")
        + "# Errors\n\n## Exceptions\n\nAll are in `stconv.errors`, below `StconvError`. Every message says "
        "what was "
        "expected, what was found, where, and what to do; the remedies here hold for the kind. The command "
        "line "
        "prints the message and ends with status 1. The service answers with the status given here and the "
        "type "
        f"`{URN}:CODE`; without one, the fault is the server's (500).\n\n"
        + table(["exception", "code", "HTTP status", "meaning", "remedy"], exceptions)
        + "\n## Problems\n\nErrors of the service are problem documents (RFC 9457, "
        "`application/problem+json`) with "
        "`type`, `title`, `status` and `detail`. Besides the exceptions above these types occur:\n\n"
        + table(["status", "type", "meaning", "remedy"], answers)
        + "\nWhere `detail` names a single fault of a request, the type is more specific:\n\n"
        + table(["type", "status"], [[code(f"{URN}:{kind}"), str(status)] for kind, status in specific()])
    )


def remedy(kind: type) -> str:
    """The remedy in the docstring of an error."""
    found = _REMEDY.search(inspect.getdoc(kind) or "")
    return " ".join(found[1].split()) if found else ""


def problems() -> Iterator[type[Problem]]:
    """Iterate over the problems of the service that have a code of their own, by status."""
    kinds, found = [Problem], []
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        found += [kind] if "code" in vars(kind) and kind.code else []
    return iter(sorted(set(found), key=lambda kind: (kind.status, kind.code)))


def specific() -> list[tuple[str, int]]:
    """More specific types than that of a problem's class, with their status, from the calls in the source."""
    known = {kind.__name__: kind for kind in problems()}
    found = {
        (keyword.value.value, known[call.func.id].status)
        for path in Path(service.__path__[0]).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in known
        for keyword in call.keywords
        if keyword.arg == "kind" and isinstance(keyword.value, ast.Constant)
    }
    return sorted(found - {(code, status) for code, status in found if code in BY_CODE})


def _status(kind: type[StconvError]) -> str:
    return next(
        (str(status) for known, status in STATUS_OF_LIBRARY_ERROR.items() if issubclass(kind, known)), ""
    )
