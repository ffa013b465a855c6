"""The outermost ASGI layer: Host check, body limit, and the headers of every answer."""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.problem_answers import response
from service.http.quota import QUOTA_HEADERS
from service.problems import Problem, TooLarge
from service.settings import Settings
from service.workers.places import asker

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


ABSOLUTE = re.compile(r"https?://([^/]*)(/.*)?", re.IGNORECASE | re.DOTALL)


class UnknownHost(Problem):
    """The Host header is not accepted: DNS rebinding, or a proxy that must be configured.

    Remedy: Call the server by a name that it accepts, or add the name to `STCONV_SERVE_ALLOWED_HOSTS`.
    """

    status = 421
    code = "unknown-host"


class AmbiguousLength(Problem):
    """Two headers say how long the body is: a proxy before us may have taken it for another length.

    Remedy: Send one `Content-Length`, or a body in chunks, not both.
    """

    status = 400
    code = "ambiguous-length"


class Gate:
    """Refuse requests for other hosts and bodies that are too large, before any route reads them.

    Bytes are counted as they arrive, because Content-Length cannot be trusted.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.limit = settings.max_body_bytes
        self.hosts = settings.hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request, then pass it on with a `receive` that counts bytes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        _take_absolute_form(scope)
        asker.set(address_of((scope.get("client") or ("", 0))[0]))
        # HEAD is answered as GET without a body; only the Zarr routes handle it themselves.
        head = scope["method"] == "HEAD" and not scope["path"].startswith("/zarr/")
        if head:
            scope["method"] = "GET"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (HEADERS | scope.get("state", {}).get(QUOTA_HEADERS, {})).items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):  # where answers come in several formats
                    headers.add_vary_header("Accept")
            elif head:
                message = {**message, "body": b""}
            await send(message)

        problem = self._objection(Headers(scope=scope), scope["http_version"])
        if problem is not None:
            await response(problem, scope["path"])(scope, receive, send_with_headers)
            return
        received = 0

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self.limit:
                    raise self._too_large(received, "received so far")
            return message

        await self.app(scope, counting_receive, send_with_headers)

    def _objection(self, headers: Headers, http_version: str) -> Problem | None:
        chunked = "transfer-encoding" in headers
        if chunked and ("content-length" in headers or http_version == "1.0"):
            return AmbiguousLength(
                "The request has Transfer-Encoding together with Content-Length, or in HTTP/1.0, so that "
                "where its body ends is ambiguous (RFC 9112, 6.1). Send one; the connection is closed.",
                headers={"Connection": "close"},
            )
        host = headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.hosts and name.strip("[]").lower() not in self.hosts:
            return UnknownHost(
                f"This server does not answer for Host {host[:100]!r}. Add the name to "
                "STCONV_SERVE_ALLOWED_HOSTS if it should."
            )
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self.limit:
            return self._too_large(int(declared[:20]), "declared")
        return None

    def _too_large(self, size: int, how: str) -> TooLarge:
        return TooLarge(
            f"The body has {size} bytes ({how}); at most {self.limit} are accepted.",
            body_bytes=size,
            limit_bytes=self.limit,
        )


def address_of(host: str) -> str:
    """Return what tells clients without keys apart: the address, or its network of 64 bits in IPv6."""
    if ":" not in host:
        return host
    try:
        return str(ipaddress.ip_network((host, 64), strict=False))
    except ValueError:
        return host


def _take_absolute_form(scope: Scope) -> None:
    """A target like http://host/path means its path, and its host not the header's (RFC 9112, 3.2.2)."""
    found = ABSOLUTE.fullmatch(scope["path"])
    if found is None:
        return
    host = found[1].encode("utf-8", "replace")
    scope["path"] = found[2] or "/"
    scope["raw_path"] = b"/" + scope["raw_path"].split(b"://", 1)[1].partition(b"/")[2]
    scope["headers"] = [(b"host", host), *(each for each in scope["headers"] if each[0] != b"host")]
