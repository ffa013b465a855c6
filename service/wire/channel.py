"""Messages on a pipe between two processes of the service: frozen dataclasses as JSON, never pickles.

A message has two frames: its fields as JSON, and the content of its field of bytes, if it has one. Received
fields are checked against the types of the dataclass, because a hostile file may have compromised the parser.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from multiprocessing.connection import Connection
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

PROTOCOL = 3
"""Version of the messages; increase it with every change, so that different versions refuse each other."""


class Garbled(ValueError):  # noqa: N818 - an event, handled only by receivers
    """The received data are not the expected message."""


@dataclass(frozen=True)
class Hello:
    """The first message of a new process.

    Attributes:
        protocol: Version of the messages.
    """

    protocol: int = PROTOCOL


def send(connection: Connection, message: Any) -> None:
    """Send a message.

    Args:
        connection: One end of the pipe; only one thread may send at a time.
        message: Dataclass of strings, numbers, lists, tuples, dictionaries and dataclasses, with at most
            one field of bytes.

    Raises:
        OSError: The other end is closed.
    """
    bodies: list[bytes] = []
    header = json.dumps(_plain(message, bodies)).encode()
    (body,) = bodies or [b""]
    connection.send_bytes(header)
    connection.send_bytes(body)


def receive(
    connection: Connection,
    expected: Any,
    max_bytes: int | None = None,
    max_header_bytes: int | None = None,
) -> Any:
    """Wait for a message.

    Args:
        connection: One end of the pipe; only one thread may receive at a time.
        expected: Dataclass or union of dataclasses.
        max_bytes: Limit for each of the two frames, bytes.
        max_header_bytes: Limit for the first of them, bytes; that of both by default.

    Raises:
        EOFError: The other end is closed.
        OSError: A frame is longer than the limit.
        Garbled: The message is not the expected one, or a field has the wrong type.
    """
    header = connection.recv_bytes(max_header_bytes or max_bytes)
    body = connection.recv_bytes(max_bytes)
    try:
        return _typed(json.loads(header), expected, body)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"expected {expected}: {error}") from error


def receive_hello(connection: Connection) -> None:
    """Wait for the first message of a process and check the version of its messages.

    Raises:
        EOFError: The process died.
        Garbled: The version differs, or the message is not a hello.
    """
    found = receive(connection, Hello).protocol
    if found != PROTOCOL:
        raise Garbled(
            f"its process uses version {found} of the messages, the server version {PROTOCOL}; stconv was "
            "reinstalled meanwhile. Restart the server."
        )


def _plain(value: Any, bodies: list[bytes]) -> Any:
    """Convert a value to JSON types; bytes are appended to a list."""
    if is_dataclass(value):
        named = {field.name: _plain(getattr(value, field.name), bodies) for field in fields(value)}
        return {"type": type(value).__name__, **named}
    if isinstance(value, bytes):
        bodies.append(value)
        return None
    if isinstance(value, list | tuple):
        return [_plain(item, bodies) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item, bodies) for key, item in value.items()}
    return value


def _typed(value: Any, expected: Any, body: bytes) -> Any:
    """Convert a JSON value to the expected type."""
    kind, arguments = get_origin(expected), get_args(expected)
    if expected is Any:
        return value
    if expected is bytes:
        return body
    if kind in (Union, UnionType):
        return _one_of(value, arguments, body)
    if is_dataclass(expected):
        return _message(value, expected, body)
    if kind is Literal and value in arguments:
        return value
    if kind is tuple and isinstance(value, list):
        items = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        return tuple(_typed(item, each, body) for item, each in zip(value, items, strict=True))
    if kind is dict and isinstance(value, dict):
        return {_typed(k, arguments[0], body): _typed(v, arguments[1], body) for k, v in value.items()}
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not expected:
        raise ValueError(f"a {type(value).__name__} stands where {expected} belongs")
    return value


def _one_of(value: Any, choices: tuple[Any, ...], body: bytes) -> Any:
    """Convert a JSON value to a member of a union; dataclasses are distinguished by name."""
    if value is None and NoneType in choices:
        return None
    named: dict[str, type] = {c.__name__: c for c in choices if isinstance(c, type) and is_dataclass(c)}
    if isinstance(value, dict) and value.get("type") in named:
        return _message(value, named[value["type"]], body)
    others = [choice for choice in choices if not is_dataclass(choice) and choice is not NoneType]
    if len(others) != 1:
        raise ValueError(f"none of {sorted(named)}")
    return _typed(value, others[0], body)


def _message(value: Any, expected: Any, body: bytes) -> Any:
    """Convert a dictionary to a dataclass, with every field checked."""
    hints = _hints(expected)
    if not isinstance(value, dict) or value.keys() != {"type", *hints} or value["type"] != expected.__name__:
        raise ValueError(f"no {expected.__name__}")
    return expected(**{name: _typed(value[name], hint, body) for name, hint in hints.items()})


@cache
def _hints(expected: Any) -> dict[str, Any]:
    hints = get_type_hints(expected)
    return {field.name: hints[field.name] for field in fields(expected)}
