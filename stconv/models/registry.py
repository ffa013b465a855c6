"""The registry of networks, from whose specifications in bundles and runs the same network can be built.

A specification is ``{"name": "STConvS2S", "arguments": {...}}``, of JSON types throughout. A network among
the arguments (as in `Increment`), or a list of networks, is a specification itself. Only registered networks
and those offered by installed packages are built; nothing is imported because a file names it.
"""

from __future__ import annotations

import functools
import inspect
import json
import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

from stconv.errors import ConfigError
from stconv.models.network import Network
from stconv.models.outside import load_entry_points, remedy

__all__ = ["REGISTRY", "Network", "build", "describe", "modules_outside", "present_name", "register"]

REGISTRY: dict[str, type[Network]] = {}
"""All networks that can be built, by name."""

FORMER_NAMES = {"Damped": "LinearResidual", "InTurn": "MembersInTurn", "UNet2D": "UNet"}
"""Present names of networks by their former ones, which configurations and bundles may still use."""
FORMER_CLASSES: dict[str, type[Network]] = {}
"""Classes of former networks that make a present one of their own arguments, see `stconv.models.former`."""

NetworkClass = TypeVar("NetworkClass", bound=type[Network])


def register(cls: NetworkClass) -> NetworkClass:
    """Register a network under its class name, and let each instance record its constructor arguments.

    A new definition of the same class, as in a notebook, replaces the previous one.

    Raises:
        ConfigError: The name belongs to a class of another module.
    """
    name = cls.__name__
    if name in REGISTRY and not _is_same(REGISTRY[name], cls):
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
    """Return the specification from which `build` makes the same network, without its weights.

    Raises:
        ConfigError: The network's class is not registered.
    """
    name = type(network).__name__
    if name not in REGISTRY or not _is_same(REGISTRY[name], type(network)):
        raise ConfigError(
            f"{name} is not a registered network. Decorate its class with `@register`. {_known()}"
        )
    return {"name": name, "arguments": json.loads(json.dumps(network.arguments))}


def modules_outside(network: Network) -> dict[str, str]:
    """Return the modules outside of stconv that define a network and those inside it, by network name."""
    found = {type(part).__name__: type(part).__module__ for part in network.parts()}
    return {name: module for name, module in found.items() if module.partition(".")[0] != "stconv"}


def build(spec: dict[str, Any], modules: Mapping[str, str] | None = None) -> Network:
    """Build a network from its specification.

    Args:
        spec: Specification, as `describe` returns it.
        modules: Modules by network name, as `modules_outside` returns them, for the message about an unknown
            network; they are not imported.

    Raises:
        ConfigError: The specification has another form, names an unknown network, or has arguments that the
            network does not accept.
    """
    if not _is_spec(spec):
        raise ConfigError(f"a network is specified as {{'name': ..., 'arguments': {{...}}}}; found {spec!r}.")
    name, arguments = present_name(spec["name"]), spec["arguments"]
    if name not in REGISTRY and name not in FORMER_CLASSES:
        load_entry_points(name)
    if name not in REGISTRY and name not in FORMER_CLASSES:
        raise ConfigError(f"unknown network '{name}'. {_known()} {remedy(name, (modules or {}).get(name))}")
    cls = REGISTRY.get(name) or FORMER_CLASSES[name]
    arguments = {key: _built(value, modules) for key, value in arguments.items()}
    signature = inspect.signature(cls)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ConfigError(
            f"network '{name}' cannot be built: {error}. It takes: {', '.join(signature.parameters)}."
            f" {getattr(cls, 'former', '')}".rstrip()
        ) from error
    return cls(**arguments)


def present_name(name: str) -> str:
    """Return the present name of a network; a former one raises a FutureWarning."""
    if name not in FORMER_NAMES or name in REGISTRY:  # a network of the user's own may have that name
        return name
    warnings.warn(
        f"The network '{name}' is now called '{FORMER_NAMES[name]}'. The former name is still understood; "
        "write the new one in configurations.",
        FutureWarning,
        stacklevel=3,
    )
    return FORMER_NAMES[name]


def _is_same(before: type[Network], after: type[Network]) -> bool:
    """Whether two classes have the same module and name, so that one redefines the other."""
    return (before.__module__, before.__qualname__) == (after.__module__, after.__qualname__)


def _built(value: Any, modules: Mapping[str, str] | None) -> Any:
    if isinstance(value, list):
        return [_built(item, modules) for item in value]
    return build(value, modules) if _is_spec(value) else value


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
            f"an argument of {name} cannot be written as JSON: {error}. Found {plain}; pass numbers, "
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
