"""The contract of a network: what it maps, and what it says about itself to training, test and bundle.

Nobody asks a network for its class. One that fits itself before the training, combines itself after an epoch,
takes a single grid or forecasts an event says so here.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    """True for a network that means something only if its data are departures from a climatology."""

    forecasts_event: ClassVar[bool] = False
    """True for a network whose output are logits of an event instead of fields."""

    needs_history: bool = False
    """True for a network that starts from the targets' own newest frame."""

    grid: tuple[int, int] | None = None
    """(lat, lon) cells of the data that the network is built for; None for any."""

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
            x: Input frames, of the type of the weights (float32 unless the network was converted), (batch,
                c_in, t_in, lat, lon), normalized and finite.

        Returns:
            Forecast, of the same type, (batch, c_out, leads, lat, lon), normalized.

        Raises:
            ShapeError: The input has another type, or another number of dimensions, channels or frames.
        """
        types = (p.dtype for p in self.parameters() if p.is_floating_point())
        check_tensor(
            x, f"input of {type(self).__name__}", dtype=str(next(types, torch.float32)),
            channel=self.c_in, time=self.t_in,
        )  # fmt: skip
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

    def before_training(self, training: Windows, validation: Windows) -> None:
        """Fit what is fitted in closed form, before the first step of a training; nothing by default.

        Every network hears it, those inside of others included; a training that goes on from a checkpoint
        does not call it.

        Args:
            training: Windows of the training period, the same on every rank.
            validation: Windows of the validation period, likewise.
        """

    def after_epoch(self, validation: Windows) -> None:
        """Fit how the network is combined with what it starts from; nothing by default.

        Called before each validation during a training, in evaluation mode, as `before_training`.

        Args:
            validation: Windows of the validation period, the same on every rank.
        """

    def parts(self) -> Iterator[Network]:
        """This network, and all networks inside of it."""
        return (module for module in self.modules() if isinstance(module, Network))

    @property
    def own_grid(self) -> tuple[int, int] | None:
        """(lat, lon) cells that the network, or one inside of it, is built for; None if it takes any."""
        return next((part.grid for part in self.parts() if part.grid is not None), None)

    @property
    def strides(self) -> tuple[int, int]:
        """Cells along (lat, lon) between two positions of `grid` on a larger one, of an event network."""
        return 1, 1

    @property
    def display_name(self) -> str:
        """What a person calls the network: its class, or what the network that it goes around is called."""
        inner = getattr(self, "network", None)
        return inner.display_name if isinstance(inner, Network) else type(self).__name__

    def compute(self, x: Tensor) -> Tensor:
        """Do what `forward` promises, for an input whose shape has been checked."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `compute`.")
