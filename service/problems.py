"""Errors as application/problem+json (RFC 9457), and the one table from exception to status.

No web framework here: the processes that read uploads and run models refuse in these words, too.
"""

from __future__ import annotations

import errno
from http import HTTPStatus
from typing import Any

from stconv.errors import BY_CODE, URN, ConfigError, DataError, ServiceError, ShapeError, StconvError

MEDIA_TYPE = "application/problem+json"
NO_ROOM = "There is no room on the server's disk."


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """An answer other than success: a status, a sentence, and the numbers that belong to it.

    `code` ends the `type` of the document where no `kind` among the numbers says it more narrowly. Clients go
    by it, so it stays when a class gets another name.
    """

    status = 500
    code = ""

    def __init__(self, detail: str, headers: dict[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra


class Malformed(Problem):
    """The body is not of the format it says."""

    status = 400
    code = "malformed"


class Unauthorized(Problem):
    """No key, or an unknown one."""

    status = 401
    code = "unauthorized"


class Forbidden(Problem):
    """The key is known, and may not do this."""

    status = 403
    code = "forbidden"


class UnknownModel(Problem):
    """No model of that name is served."""

    status = 404
    code = "unknown-model"


class UnknownFile(Problem):
    """No file of that name belongs to the pages."""

    status = 404
    code = "unknown-file"


class NoData(Problem):
    """The server was started without a data source."""

    status = 404
    code = "no-data"


class NotAcceptable(Problem):
    """None of the formats in Accept can be given."""

    status = 406
    code = "not-acceptable"


class NotLoaded(Problem):
    """Another version was to be loaded and could not be; the present one stays."""

    status = 409
    code = "not-loaded"


class TooSlow(Problem):
    """The body did not arrive in time."""

    status = 408
    code = "too-slow"


class TooLarge(Problem):
    """More bytes or values than the limit; the numbers are members of the problem."""

    status = 413
    code = "too-large"


class UnsupportedMedia(Problem):
    """The body's type is none we read."""

    status = 415
    code = "unsupported-media"


class Unprocessable(Problem):
    """Well-formed, but not what the model needs."""

    status = 422
    code = "unprocessable"


class Unavailable(Problem):
    """Busy, draining, or the worker is being replaced. Retry-After says when to come back."""

    status = 503
    code = "unavailable"

    def __init__(self, detail: str, retry_after_seconds: int = 1, **extra: Any) -> None:
        super().__init__(detail, {"Retry-After": str(retry_after_seconds)}, **extra)


class ClientLeft(Exception):  # noqa: N818 - not an error: nobody is there to be answered
    """The client closed the connection before its answer."""


class DeadlineExceeded(Problem):
    """Not computed in time."""

    status = 504
    code = "deadline-exceeded"


def disk_is_full(error: BaseException) -> bool:
    """Whether something could not be written because there is no room."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


OF_UPLOADS: dict[str, type[Problem]] = {
    kind.code: kind for kind in (Malformed, TooLarge, UnsupportedMedia, Unprocessable)
}
"""What a process that reads uploads may refuse them with, by code."""

STATUS_OF_LIBRARY_ERROR: dict[type[StconvError], int] = {
    DataError: 422,
    ShapeError: 422,
    ConfigError: 422,
    ServiceError: 503,
}
"""Status of each exception that a client can mend or wait for, and of all derived from it."""
INTERNAL = "internal"
"""Code of every other exception: a fault of the server, whose words stay in its log."""


def code_of(error: BaseException) -> str:
    """The code under which an exception of the library crosses to another process."""
    known = isinstance(error, tuple(STATUS_OF_LIBRARY_ERROR))
    return error.code if known and isinstance(error, StconvError) else INTERNAL


def refusal(code: str, detail: str) -> Problem:
    """The problem of a code of `code_of`."""
    kind = BY_CODE.get(code, StconvError)
    for known, status in STATUS_OF_LIBRARY_ERROR.items():
        if issubclass(kind, known):
            problem = Problem(detail, kind=code)
            problem.status = status
            return problem
    return Problem("The server failed to compute this forecast; its log says why.")


def document(status: int, detail: str, instance: str | None = None, **extra: Any) -> dict[str, Any]:
    """A problem document as plain JSON values."""
    kind = extra.pop("kind", None)
    body: dict[str, Any] = {
        "type": f"{URN}:{kind}" if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if instance is not None:
        body["instance"] = instance
    return body | extra


def problem_document(problem: Problem, instance: str | None = None) -> dict[str, Any]:
    """The document of a problem."""
    kind = problem.extra.get("kind", problem.code)
    return document(problem.status, problem.detail, instance, **problem.extra | {"kind": kind})
