"""The computation inside a forecaster: forecasts of a batch of windows, in physical units."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from stconv.bundle import Bundle
from stconv.compute.engine import Engine, members_by
from stconv.compute.tiling import Tiled
from stconv.errors import ConfigError

Batch = dict[str, Tensor]


class Computation(Protocol):
    """Interface of everything that computes the forecasts of a batch of windows."""

    def __call__(self, batch: Batch, with_bands: bool) -> Tensor:
        """Compute the forecasts of a batch of windows.

        Args:
            batch: "inputs", "input_cycles", "target_cycles" and "reference_index" as the data module makes
                them; physical units, NaN is missing.
            with_bands: Also return the bounds of the uncertainty bands, if there are any.

        Returns:
            float32, (1 + bounds, batch, target, leads, lat, lon), on the CPU, physical units, NaN in cells
            that never had a value.
        """
        ...


class NetworkComputation:
    """The network of a bundle with its preparation and bands.

    Args:
        bundle: Bundle with network, preparation and bands.
        device: Device of PyTorch, such as "cpu" or "cuda".
        tile: See `Forecaster`.
        engine: See `Forecaster`.
        memory: Bytes that the features of a piece of the grid may take, see `Tiled`.

    Raises:
        ConfigError: The device or engine does not exist or cannot run this network, or the network cannot be
            computed in tiles.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "cpu",
        tile: int | None = None,
        engine: Engine = "torch",
        memory: int | None = None,
    ) -> None:
        try:
            self.device = torch.device(device)
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"There is no device '{device}' here ({error}). Use 'cpu'.") from error
        network = bundle.network.to(self.device).eval()
        members, tiles = members_by(engine, bundle, self.device), bundle.spec.get("tiles")
        self.network = Tiled(network, tile, memory, members, tiles)
        self._preparation = bundle.preparation.to(self.device).eval()
        self._bands = bundle.bands

    def widen(self, widening: Tensor) -> None:
        """Widen the bands of forecasts from now on.

        Args:
            widening: See `Bands.widening`; without effect on a bundle without bands.
        """
        if self._bands is not None:
            self._bands = replace(self._bands, widening=widening)

    @torch.inference_mode()
    def __call__(self, batch: Batch, with_bands: bool) -> Tensor:
        """See `Computation`."""
        batch = {key: value.to(self.device) for key, value in batch.items()}
        members = self.network.members(self._preparation.inputs(batch))
        fields = self._preparation.physical(members.mean(0), batch)[None]
        if with_bands and self._bands is not None:
            bounds = self._bands.physical(members, batch, self._preparation)
            fields = torch.cat([fields, bounds.flatten(0, 1)])
        return fields.cpu()
