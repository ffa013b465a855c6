"""The network that reconstructs a window instead of forecasting, with the layers of one that forecasts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stconv.errors import ConfigError
from stconv.models.network import Network
from stconv.models.registry import build, describe


@dataclass(frozen=True)
class Reconstruction:
    """A network that reconstructs the input variables of a window.

    Attributes:
        network: Maps (batch, c_in, t_in, lat, lon) to the input variables in all frames, (batch, variable,
            t_in, lat, lon).
        prefix: Path of its twin in the forecasting network, such as "network." inside of `Increment`.
        output: Layers whose size follows the number of output channels; they belong to the reconstruction.
    """

    network: Network
    prefix: str
    output: frozenset[str]

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of all layers but the output layers, named as in the forecasting network."""
        return {
            self.prefix + name: tensor.detach().cpu().contiguous().clone()
            for name, tensor in self.network.state_dict().items()
            if name.rpartition(".")[0] not in self.output
        }


def reconstruction_of(network: Network, n_variables: int) -> Reconstruction:
    """Build the network that reconstructs a window, from one that forecasts.

    It has the same class and arguments as the innermost of nested networks, with the frames of the window in
    place of the leads and the input variables in place of the targets. Its weights are new.

    Args:
        network: Network of an experiment.
        n_variables: Number of input variables.

    Raises:
        ConfigError: The network cannot be trained this way; the message gives the reason.
    """
    inner = {
        path: module
        for path, module in network.named_modules()
        if isinstance(module, Network) and sum(1 for _ in module.parts()) == 1
    }
    if len(inner) > 1:
        raise ConfigError(
            f"{type(network).__name__} contains {len(inner)} networks, which have to start from different "
            "weights. Pretrain a configuration with one network."
        )
    path, found = next(iter(inner.items()))
    name = type(found).__name__
    spec = describe(found)
    arguments = spec["arguments"]
    if not any(True for _ in found.parameters()):
        raise ConfigError(f"{name} has no parameters: there is nothing to pretrain.")
    if found.forecasts_event:
        raise ConfigError(
            f"{name} forecasts an event: it has no output of fields that could reconstruct a window. "
            "Pretrain a network of fields."
        )
    if type(found).before_training is not Network.before_training:
        raise ConfigError(f"{name} is fitted in closed form before each training: pretraining has no effect.")
    lacking = [size for size in ("c_out", "leads") if size not in arguments]
    if lacking:
        raise ConfigError(
            f"{name} has no argument {' and '.join(lacking)}, so it cannot be built for the frames of a "
            "window. Add it to its constructor."
        )
    sizes = {"c_out": n_variables, "leads": found.t_in}
    made = build({"name": name, "arguments": {**arguments, **sizes}})
    wider = build({"name": name, "arguments": {**arguments, **sizes, "c_out": n_variables + 1}})
    shapes = {key: tensor.shape for key, tensor in wider.state_dict().items()}
    output = {
        key.rpartition(".")[0] for key, tensor in made.state_dict().items() if shapes.get(key) != tensor.shape
    }
    if not {key.rpartition(".")[0] for key in shapes} - output:
        raise ConfigError(
            f"Every layer of {name} depends on the number of targets: it has no filters that another "
            "training could start from."
        )
    return Reconstruction(made, f"{path}." if path else "", frozenset(output))
