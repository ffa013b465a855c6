"""Networks by name: what a bundle or a run writes down is enough to build the same network again.

A specification is ``{"name": "STConvS2S", "arguments": {...}}``, JSON through and through; a network
among the arguments (as in `Increment`), or a list of them, is a specification itself. Only registered names
are built: nothing is ever imported because a file says so.
"""

from __future__ import annotations

import functools
import inspect
import json
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from stconv.dims import check_tensor
from stconv.errors import ConfigError
from stconv.nn.settings import check_count


class Network(nn.Module):
    """Base of every network: (batch, c_in, t_in, lat, lon) to (batch, c_out, leads, lat, lon).

    Channels 0..c_out-1 of the input are the targets' own history, in the order of the output, whenever the
    targets are among the inputs. A subclass is decorated with `register`, builds its blocks in the
    constructor, where every setting is checked, and implements `compute`.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels (targets).
        t_in: Number of input frames; the last one is the newest.
        leads: Number of steps to forecast.

    Raises:
        ConfigError: A number is not a positive integer.
    """

    anomalies_only: ClassVar[bool] = False
    """True for a network that means something only if its data are departures from a climatology."""

    needs_history: bool = False
    """True for a network that starts from the targets' own newest frame."""

    arguments: dict[str, Any]
    """The constructor's arguments, defaults included, JSON-able; written by `register`."""

    def __init__(self, c_in: int, c_out: int, t_in: int, leads: int) -> None:
        super().__init__()
        where = type(self).__name__
        self.c_in = check_count("c_in", c_in, where)
        self.c_out = check_count("c_out", c_out, where)
        self.t_in = check_count("t_in", t_in, where)
        self.leads = check_count("leads", leads, where)

    def forward(self, x: Tensor) -> Tensor:
        """Forecast every lead from one window of frames.

        Args:
            x: Input frames, float32, (batch, c_in, t_in, lat, lon), normalized and finite.

        Returns:
            Forecast, float32, (batch, c_out, leads, lat, lon), normalized.

        Raises:
            ShapeError: The input has another type, or another number of dimensions, channels or frames.
        """
        check_tensor(x, f"input of {type(self).__name__}", channel=self.c_in, time=self.t_in)
        return self.compute(x)

    def members(self, x: Tensor) -> Tensor:
        """Forecast a distribution, as members that are equally probable; `forward` gives their mean.

        Args:
            x: As of `forward`.

        Returns:
            (member, batch, c_out, leads, lat, lon), normalized: quantiles, an ensemble, or, of a network
            that makes a single forecast, this one.
        """
        return self(x)[None]

    def compute(self, x: Tensor) -> Tensor:
        """Do what `forward` promises, for an input whose shape has been checked."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `compute`.")


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
