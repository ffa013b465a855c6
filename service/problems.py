"""Errors as application/problem+json (RFC 9457), and the one table from exception to status."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from stconv import errors

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
CLIENT_LEFT = 499
"""Never seen by a client; marks these requests in the metrics, as proxies do."""


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


def install(app: FastAPI) -> None:
    """Register the handlers: every error leaves as a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(errors.StconvError, _on_library_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientLeft, _on_client_left)
    app.add_exception_handler(Exception, _on_unexpected)


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


def response(problem: Problem, instance: str | None = None) -> JSONResponse:
    """The answer of a problem."""
    return JSONResponse(
        problem_document(problem, instance),
        status_code=problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def _slug(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name.removesuffix("Error")).lower()


def _on_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return response(error, request.url.path)


def _on_library_error(request: Request, error: Exception) -> JSONResponse:
    problem = library_problem(type(error).__name__, str(error))
    if problem.status == 500:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return response(problem, request.url.path)


def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    """Our own: FastAPI's echoes the input, and a NaN in it turns the 422 into a 500."""
    assert isinstance(error, RequestValidationError)
    faults = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"]} for e in error.errors()]
    detail = "; ".join(f"{fault['where']}: {fault['what']}" for fault in faults)
    return response(Unprocessable(detail, kind="parameters", errors=faults), request.url.path)


def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == 404:
        detail = f"No resource at {request.url.path}; GET /docs lists them."
    return JSONResponse(
        document(error.status_code, detail, request.url.path),
        status_code=error.status_code,
        headers=error.headers,
        media_type=MEDIA_TYPE,
    )


def _on_client_left(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


def _on_unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return response(Problem("The server failed; its log says why."), request.url.path)
