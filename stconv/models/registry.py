"""Networks by name: what a bundle or a run writes down is enough to build the same network again.

A specification is ``{"name": "STConvS2S", "arguments": {...}}``, JSON through and through; a network
among the arguments (as in `Increment`), or a list of them, is a specification itself. Only registered names
are built: nothing is ever imported because a file says so.
"""

from __future__ import annotations

import functools
import inspect
import json
from typing import Any, TypeVar

from stconv.errors import ConfigError
from stconv.models.network import Network

__all__ = ["REGISTRY", "Network", "build", "describe", "register"]

REGISTRY: dict[str, type[Network]] = {}
"""Every network that can be built by name."""

NetworkClass = TypeVar("NetworkClass", bound=type[Network])


def register(cls: NetworkClass) -> NetworkClass:
    """Make a network buildable by its class name, and let each instance record its constructor arguments.

    Raises:
        ConfigError: The name is taken by another class.
    """
    name = cls.__name__
    if name in REGISTRY:
        raise ConfigError(
            f"a network named '{name}' is registered already ({REGISTRY[name].__module__}); rename one."
        )
    init = cls.__init__
    signature = inspect.signature(init)

    @functools.wraps(init)
    def recording_init(self: Network, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        init(self, *args, **kwargs)
        self.arguments = _recorded(name, dict(list(bound.arguments.items())[1:]))

    cls.__init__ = recording_init  # type: ignore[method-assign]
    REGISTRY[name] = cls
    return cls


def describe(network: Network) -> dict[str, Any]:
    """Return the specification from which `build` makes a network like this one (without its weights).

    Raises:
        ConfigError: The network's class is not registered.
    """
    name = type(network).__name__
    if REGISTRY.get(name) is not type(network):
        raise ConfigError(
            f"{name} is not a registered network. Decorate its class with `@register`. {_known()}"
        )
    return {"name": name, "arguments": json.loads(json.dumps(network.arguments))}


def build(spec: dict[str, Any]) -> Network:
    """Build a network from its specification.

    Args:
        spec: ``{"name": registered name, "arguments": {...}}`` as `describe` returns it.

    Raises:
        ConfigError: The specification has another form, names no registered network, or has arguments that
            the network does not take.
    """
    if not _is_spec(spec):
        raise ConfigError(f"a network is specified as {{'name': ..., 'arguments': {{...}}}}; found {spec!r}.")
    name, arguments = spec["name"], spec["arguments"]
    if name not in REGISTRY:
        raise ConfigError(f"unknown network '{name}'. {_known()}")
    cls = REGISTRY[name]
    arguments = {key: _built(value) for key, value in arguments.items()}
    signature = inspect.signature(cls)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ConfigError(
            f"network '{name}' can not be built: {error}. It takes: {', '.join(signature.parameters)}."
        ) from error
    return cls(**arguments)


def _built(value: Any) -> Any:
    if isinstance(value, list):
        return [_built(item) for item in value]
    return build(value) if _is_spec(value) else value


def _described(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_described(item) for item in value]
    return describe(value) if isinstance(value, Network) else value


def _recorded(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    plain = {key: _described(value) for key, value in arguments.items()}
    try:
        recorded: dict[str, Any] = json.loads(json.dumps(plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"an argument of {name} can not be written as JSON: {error}. Found {plain}; pass numbers, "
            "strings, booleans, lists, or registered networks."
        ) from error
    return recorded


def _is_spec(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"name", "arguments"}
        and isinstance(value["arguments"], dict)
    )


def _known() -> str:
    return f"Registered networks: {', '.join(sorted(REGISTRY))}."
