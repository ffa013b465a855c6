"""Messages on a pipe between two of our processes: frozen dataclasses, sent as JSON. Never a pickle.

A message is two frames: its fields as JSON, and the one field of bytes that it may have. What is read is held
against the types of the dataclass, since a parser may have been taken over by the file that it read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from multiprocessing.connection import Connection
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

PROTOCOL = 1
"""Grows with every change of a message, so that two versions of this package never talk past each other."""


class Garbled(ValueError):  # noqa: N818 - an event, seen only where messages come in
    """What came is not the message that was expected."""


@dataclass(frozen=True)
class Hello:
    """The first message of a process that was started.

    Attributes:
        protocol: The version of the messages that it speaks.
    """

    protocol: int = PROTOCOL


def send(connection: Connection, message: Any) -> None:
    """Send a message.

    Args:
        connection: One end of the pipe; one thread at a time sends.
        message: A dataclass of strings, numbers, lists, tuples, dictionaries and dataclasses, with one field
            of bytes at most.

    Raises:
        OSError: The other end is closed.
    """
    bodies: list[bytes] = []
    header = json.dumps(_plain(message, bodies)).encode()
    (body,) = bodies or [b""]
    connection.send_bytes(header)
    connection.send_bytes(body)


def receive(connection: Connection, expected: Any, max_bytes: int | None = None) -> Any:
    """Wait for a message.

    Args:
        connection: One end of the pipe; one thread at a time receives.
        expected: A dataclass, or a union of dataclasses.
        max_bytes: Limit for each of the two frames.

    Raises:
        EOFError: The other end is closed.
        OSError: A frame is longer than the limit.
        Garbled: It is another message, or a field is of another type.
    """
    header, body = connection.recv_bytes(max_bytes), connection.recv_bytes(max_bytes)
    try:
        return _typed(json.loads(header), expected, body)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"expected {expected}: {error}") from error


def receive_hello(connection: Connection) -> None:
    """Wait for the first message of a process, and make sure that it speaks the same version.

    Raises:
        EOFError: The process died.
        Garbled: It speaks another version, or none.
    """
    found = receive(connection, Hello).protocol
    if found != PROTOCOL:
        raise Garbled(
            f"its process speaks version {found} of the messages, the server version {PROTOCOL}; stconv was "
            "installed anew meanwhile. Restart the server."
        )


def _plain(value: Any, bodies: list[bytes]) -> Any:
    """A value as JSON types; bytes are set aside."""
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
    """A JSON value as the type that is expected."""
    kind, arguments = get_origin(expected), get_args(expected)
    if expected is Any:
        return value
    if expected is bytes:
        return body
    if kind in (Union, UnionType):
        return _one_of(value, arguments, body)
    if is_dataclass(expected):
        return _message(value, expected, body)
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
    """A value as the one of several types that it is of: dataclasses are told apart by their names."""
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
    """A dictionary as a dataclass, every field of its own type."""
    hints = _hints(expected)
    if not isinstance(value, dict) or value.keys() != {"type", *hints} or value["type"] != expected.__name__:
        raise ValueError(f"no {expected.__name__}")
    return expected(**{name: _typed(value[name], hint, body) for name, hint in hints.items()})


@cache
def _hints(expected: Any) -> dict[str, Any]:
    hints = get_type_hints(expected)
    return {field.name: hints[field.name] for field in fields(expected)}
