"""The contract of a network with training, test and bundle.

No caller asks for the class of a network: fitting before training, combination after an epoch, a fixed grid
and the forecast of an event are declared by the members below.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stconv.dims import check_tensor
from stconv.nn.regression import Windows
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
    """True for a network that is only valid for departures from a climatology."""

    forecasts_event: ClassVar[bool] = False
    """True for a network whose outputs are logits of an event instead of fields."""

    combination: ClassVar[tuple[str, ...]] = ()
    """Names of the buffers that hold weights of a combination, which a refit takes over."""

    needs_history: bool = False
    """True for a network that starts from the targets' own newest frame."""

    grid: tuple[int, int] | None = None
    """Grid (lat, lon) that the network is built for; None for any."""

    arguments: dict[str, Any]
    """Arguments of the constructor with defaults, of JSON types; set by `register`."""

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
            x: Input frames, (batch, c_in, t_in, lat, lon), normalized and finite, of the weights' dtype
                (float32 unless the network was converted).

        Returns:
            Forecast, (batch, c_out, leads, lat, lon), normalized, of the same dtype.

        Raises:
            ShapeError: The input has another dtype, or another number of dimensions, channels or frames.
        """
        types = (p.dtype for p in self.parameters() if p.is_floating_point())
        check_tensor(
            x, f"input of {type(self).__name__}", dtype=str(next(types, torch.float32)),
            channel=self.c_in, time=self.t_in,
        )  # fmt: skip
        return self.compute(x)

    def members(self, x: Tensor) -> Tensor:
        """Forecast a distribution as equally probable members; `forward` returns their mean.

        Args:
            x: Input frames, as for `forward`.

        Returns:
            Members, (member, batch, c_out, leads, lat, lon), normalized: quantiles, an ensemble, or the
            single forecast of a deterministic network.
        """
        return self(x)[None]

    def before_training(self, training: Windows, validation: Windows) -> None:
        """Fit parameters in closed form before the first training step; does nothing by default.

        It is called on every network, also on those inside others, but not when training resumes from a
        checkpoint.

        Args:
            training: Windows of the training period, the same on every rank.
            validation: Windows of the validation period, the same on every rank.
        """

    def fit_spread(self, errors: Windows) -> None:
        """Fit the spread of the members that training starts from; does nothing by default.

        A network that adds this one to a start calls it before the first training step.

        Args:
            errors: Windows of the training period with the errors of the start, truth minus forecast, as
                targets.
        """

    def fit_combination(self, origins: Iterable[tuple[Windows, Windows]]) -> None:
        """Fit the weights of forecasts that are combined, before the first training step; nothing by default.

        It is called after `before_training`, on the same networks.

        Args:
            origins: Windows before and after several rolling origins in the training and validation periods,
                each normalized by what was known before the origin; computed as they are asked for.
        """

    def after_epoch(self, validation: Windows) -> None:
        """Fit the combination of the network with its first guess; does nothing by default.

        It is called in evaluation mode before each validation during training, on the same networks as
        `before_training`.

        Args:
            validation: Windows of the validation period, the same on every rank.
        """

    def parts(self) -> Iterator[Network]:
        """Iterate over this network and all networks inside it."""
        return (module for module in self.modules() if isinstance(module, Network))

    @property
    def own_grid(self) -> tuple[int, int] | None:
        """Grid (lat, lon) that the network, or one inside it, is built for; None for any."""
        return next((part.grid for part in self.parts() if part.grid is not None), None)

    @property
    def strides(self) -> tuple[int, int]:
        """Cells along (lat, lon) between positions of an event network on a grid larger than its own."""
        return 1, 1

    @property
    def display_name(self) -> str:
        """Name for people: the class, or the name of the network that this one wraps."""
        inner = getattr(self, "network", None)
        return inner.display_name if isinstance(inner, Network) else type(self).__name__

    def compute(self, x: Tensor) -> Tensor:
        """Compute the forecast of an input whose shape has been checked."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `compute`.")
