"""Errors as application/problem+json (RFC 9457), and the one table from exception to status.

No web framework here: the processes that read uploads and run models refuse in these words, too.
"""

from __future__ import annotations

import errno
import re
from http import HTTPStatus
from typing import Any

from stconv import errors

MEDIA_TYPE = "application/problem+json"
NO_ROOM = "There is no room on the server's disk."


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """An answer other than success: a status, a sentence, and the numbers that belong to it."""

    status = 500

    def __init__(self, detail: str, headers: dict[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra


class Malformed(Problem):
    """The body is not of the format it says."""

    status = 400


class Unauthorized(Problem):
    """No key, or an unknown one."""

    status = 401


class Forbidden(Problem):
    """The key is known, and may not do this."""

    status = 403


class UnknownModel(Problem):
    """No model of that name is served."""

    status = 404


class UnknownFile(Problem):
    """No file of that name belongs to the pages."""

    status = 404


class NoData(Problem):
    """The server was started without a data source."""

    status = 404


class NotAcceptable(Problem):
    """None of the formats in Accept can be given."""

    status = 406


class NotLoaded(Problem):
    """Another version was to be loaded and could not be; the present one stays."""

    status = 409


class TooSlow(Problem):
    """The body did not arrive in time."""

    status = 408


class TooLarge(Problem):
    """More bytes or values than the limit; the numbers are members of the problem."""

    status = 413


class UnsupportedMedia(Problem):
    """The body's type is none we read."""

    status = 415


class Unprocessable(Problem):
    """Well-formed, but not what the model needs."""

    status = 422


class Unavailable(Problem):
    """Busy, draining, or the worker is being replaced. Retry-After says when to come back."""

    status = 503

    def __init__(self, detail: str, retry_after_seconds: int = 1, **extra: Any) -> None:
        super().__init__(detail, {"Retry-After": str(retry_after_seconds)}, **extra)


class ClientLeft(Exception):  # noqa: N818 - not an error: nobody is there to be answered
    """The client closed the connection before its answer."""


class DeadlineExceeded(Problem):
    """Not computed in time."""

    status = 504


def disk_is_full(error: BaseException) -> bool:
    """Whether something could not be written because there is no room."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


STATUS_OF_LIBRARY_ERROR: dict[type[errors.StconvError], int] = {
    errors.DataError: 422,
    errors.ShapeError: 422,
    errors.ConfigError: 422,
    errors.ServiceError: 503,
    errors.StconvError: 500,
}


def library_problem(name: str, message: str) -> Problem:
    """The problem of a library exception raised in another process, known by class name and message."""
    raised = getattr(errors, name, None)
    if isinstance(raised, type) and issubclass(raised, errors.StconvError):
        for known, status in STATUS_OF_LIBRARY_ERROR.items():
            if issubclass(raised, known) and status != 500:
                problem = Problem(message, kind=_slug(name))
                problem.status = status
                return problem
    return Problem("The server failed to compute this forecast; its log says why.")


def document(status: int, detail: str, instance: str | None = None, **extra: Any) -> dict[str, Any]:
    """A problem document as plain JSON values."""
    kind = extra.pop("kind", None)
    body: dict[str, Any] = {
        "type": f"urn:stconv:problem:{kind}" if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if instance is not None:
        body["instance"] = instance
    return body | extra


def problem_document(problem: Problem, instance: str | None = None) -> dict[str, Any]:
    """The document of a problem."""
    kind = problem.extra.get("kind", _slug(type(problem).__name__))
    extra = problem.extra | {"kind": kind if type(problem) is not Problem else problem.extra.get("kind")}
    return document(problem.status, problem.detail, instance, **extra)


def _slug(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name.removesuffix("Error")).lower()
