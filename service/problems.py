"""Errors as application/problem+json (RFC 9457), and the one table from exception to status.

No web framework is imported here, because parser and model processes raise these errors, too.
"""

from __future__ import annotations

import errno
from http import HTTPStatus
from typing import Any

from stconv.errors import BY_CODE, URN, ConfigError, DataError, ServiceError, ShapeError, StconvError

MEDIA_TYPE = "application/problem+json"
NO_ROOM = "The server's disk is full."


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """An error answer: HTTP status, explanation, and further members of the problem document.

    `code` is the last part of the `type` of the document, unless the member `kind` is more specific. Clients
    rely on it, so it does not change when a class is renamed.
    """

    status = 500
    code = ""

    def __init__(self, detail: str, headers: dict[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra


class Malformed(Problem):
    """The request cannot be parsed.

    Remedy: Send a body and parameters as the OpenAPI document describes them.
    """

    status = 400
    code = "malformed"


class Unauthorized(Problem):
    """The request has no key or an unknown key.

    Remedy: Send `Authorization: Bearer KEY`, or `X-API-Key`.
    """

    status = 401
    code = "unauthorized"


class Forbidden(Problem):
    """The key lacks the required scope.

    Remedy: Use a key that has the scope; an operator makes one with `stconv key`.
    """

    status = 403
    code = "forbidden"


class UnknownModel(Problem):
    """The server has no model of that name.

    Remedy: Choose a name of `GET /v1/models`.
    """

    status = 404
    code = "unknown-model"


class UnknownFile(Problem):
    """The web pages have no file of that name.

    Remedy: Open `/`, which names its files.
    """

    status = 404
    code = "unknown-file"


class NoData(Problem):
    """The server was started without a data source.

    Remedy: Send the fields with `POST /v1/forecasts`, or start the server with `--data`.
    """

    status = 404
    code = "no-data"


class NotAcceptable(Problem):
    """The service supports none of the formats in Accept.

    Remedy: Accept one of the types that the OpenAPI document lists for the route.
    """

    status = 406
    code = "not-acceptable"


class NotLoaded(Problem):
    """The requested version could not be loaded; the current version stays in use.

    Remedy: Read the reason in `detail` and in the server's log, mend the bundle, and switch again.
    """

    status = 409
    code = "not-loaded"


class TooSlow(Problem):
    """The body did not arrive before the deadline.

    Remedy: Send the body faster, or a smaller one.
    """

    status = 408
    code = "too-slow"


class TooLarge(Problem):
    """The request exceeds a limit; size and limit are members of the problem.

    Remedy: Send less: fewer steps, variables or cells; the members `size` and `limit` say how much is too
    much.
    """

    status = 413
    code = "too-large"


class UnsupportedMedia(Problem):
    """The service does not read this media type.

    Remedy: Send NetCDF or JSON, with its media type in `Content-Type`.
    """

    status = 415
    code = "unsupported-media"


class Unprocessable(Problem):
    """The request is well-formed but does not fit the model.

    Remedy: Correct what `detail` names: variable, grid, units, time step or missing values.
    """

    status = 422
    code = "unprocessable"


class Unavailable(Problem):
    """The server is busy or draining, or the worker is restarting; Retry-After says when to retry.

    Remedy: Wait as long as `Retry-After` says, and ask again.
    """

    status = 503
    code = "unavailable"

    def __init__(self, detail: str, retry_after_seconds: int = 1, **extra: Any) -> None:
        super().__init__(detail, {"Retry-After": str(retry_after_seconds)}, **extra)


class ClientLeft(Exception):  # noqa: N818 - not an error: no client waits for an answer
    """The client closed the connection before the answer was ready."""


class DeadlineExceeded(Problem):
    """The forecast was not computed before the deadline.

    Remedy: Ask for fewer steps, or make a job of it (`POST /v1/jobs`).
    """

    status = 504
    code = "deadline-exceeded"


def disk_is_full(error: BaseException) -> bool:
    """Whether a write failed because the disk is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


OF_UPLOADS: dict[str, type[Problem]] = {
    kind.code: kind for kind in (Malformed, TooLarge, UnsupportedMedia, Unprocessable)
}
"""Problems that a parser process may report, by code."""

STATUS_OF_LIBRARY_ERROR: dict[type[StconvError], int] = {
    DataError: 422,
    ShapeError: 422,
    ConfigError: 422,
    ServiceError: 503,
}
"""HTTP status of each exception that a client can fix or wait for; it holds for subclasses, too."""
INTERNAL = "internal"
"""Code of every other exception: a fault of the server, whose message goes to the log only."""


def code_of(error: BaseException) -> str:
    """The code that represents an exception of the library between processes."""
    known = isinstance(error, tuple(STATUS_OF_LIBRARY_ERROR))
    return error.code if known and isinstance(error, StconvError) else INTERNAL


def refusal(code: str, detail: str) -> Problem:
    """The problem for a code of `code_of`."""
    kind = BY_CODE.get(code, StconvError)
    for known, status in STATUS_OF_LIBRARY_ERROR.items():
        if issubclass(kind, known):
            problem = Problem(detail, kind=code)
            problem.status = status
            return problem
    return Problem("The server failed to compute this forecast. The reason is in its log.")


def document(status: int, detail: str, instance: str | None = None, **extra: Any) -> dict[str, Any]:
    """A problem document as plain JSON values; what UTF-8 cannot hold is escaped."""
    detail = detail.encode("utf-8", "backslashreplace").decode()
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
    """The problem document of a `Problem`."""
    kind = problem.extra.get("kind", problem.code)
    return document(problem.status, problem.detail, instance, **problem.extra | {"kind": kind})
