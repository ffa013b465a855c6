"""Exception handlers that answer every error with a problem document."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import (
    MEDIA_TYPE,
    NO_ROOM,
    ClientLeft,
    Malformed,
    Problem,
    Unavailable,
    Unprocessable,
    code_of,
    disk_is_full,
    document,
    problem_document,
    refusal,
)
from stconv import errors

log = logging.getLogger(__name__)
CLIENT_LEFT = 499
"""Status of requests whose client left; it appears in the metrics only, as with proxies."""


def install(app: FastAPI) -> None:
    """Register the handlers, so that every error is answered with a problem document.

    They are coroutines, because plain functions would wait for a thread, and refusals must be fast under
    load.
    """
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(errors.StconvError, _on_library_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientLeft, _on_client_left)
    app.add_exception_handler(OSError, _on_os_error)
    app.add_middleware(Unexpected)


class Unexpected:
    """ASGI middleware that answers every other error with 500.

    It is the innermost one, so that such an answer has the headers of all others; Starlette's own handler is
    outside of them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        begun = False

        async def noting_send(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noting_send)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            answer = await _on_unexpected(Request(scope), error)
            await answer(scope, receive, send)


def response(problem: Problem, instance: str | None = None) -> JSONResponse:
    """The HTTP answer for a problem."""
    return JSONResponse(
        problem_document(problem, instance),
        status_code=problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def allowed_methods(request: Request) -> list[str]:
    """The methods of all routes at this path; Starlette names those of one."""
    routes = [route for route in request.app.state.routes if route.path_regex.match(request.url.path)]
    methods = {method for route in routes for method in route.methods}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def parameter_faults(errors: Sequence[Any], path: str) -> Problem:
    """The problem of what pydantic finds in parameters or in a document.

    OGC API-EDR (requirements of the class `core`) demands 400 for a parameter that is missing or invalid.
    """
    kind = Malformed if path.startswith("/edr") else Unprocessable
    faults = [{"where": ".".join(map(str, each["loc"])), "what": each["msg"]} for each in errors]
    detail = "; ".join(f"{fault['where']}: {fault['what']}" for fault in faults)
    return kind(detail, kind="parameters", errors=faults)


async def _on_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return response(error, request.url.path)


async def _on_library_error(request: Request, error: Exception) -> JSONResponse:
    problem = refusal(code_of(error), str(error))
    if problem.status == 500:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return response(problem, request.url.path)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    """Handle validation errors; FastAPI's handler echoes the input and fails with a 500 if it holds NaN."""
    assert isinstance(error, RequestValidationError)
    return response(parameter_faults(error.errors(), request.url.path), request.url.path)


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail, headers = str(error.detail), dict(error.headers or {})
    if error.status_code == 405:
        allowed = ", ".join(allowed_methods(request)) or headers.get("Allow", "")
        headers["Allow"] = allowed
        detail = f"{request.method[:20]} is not allowed at {request.url.path}; allowed: {allowed}."
    if error.status_code == 404:
        detail = f"There is no resource at {request.url.path}; GET /docs lists them."
    return JSONResponse(
        document(error.status_code, detail, request.url.path),
        status_code=error.status_code,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


async def _on_client_left(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


async def _on_os_error(request: Request, error: Exception) -> JSONResponse:
    if not disk_is_full(error):
        return await _on_unexpected(request, error)
    log.error("%s %s failed: the disk is full", request.method, request.url.path)
    return response(Unavailable(NO_ROOM, retry_after_seconds=60), request.url.path)


async def _on_unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return response(Problem("The server failed. The reason is in its log."), request.url.path)
