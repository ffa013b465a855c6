"""The computation inside a forecaster: from a batch of windows in physical units to their forecasts."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from stconv.bundle import Bundle
from stconv.compute.engine import Engine, members_by
from stconv.compute.tiling import Tiled
from stconv.errors import ConfigError

Batch = dict[str, Tensor]


class Computation(Protocol):
    """Anything that computes the forecasts of a batch of windows."""

    def __call__(self, batch: Batch, with_bands: bool) -> Tensor:
        """Compute.

        Args:
            batch: "inputs", "input_cycles", "target_cycles" and "reference_index" as the data module makes
                them; physical units, NaN is missing.
            with_bands: Also give the bounds of the bands of uncertainty, if there are any.

        Returns:
            float32, (1 + bounds, batch, target, leads, lat, lon), on the CPU, physical units, NaN in cells
            that never had a value.
        """
        ...


class NetworkComputation:
    """The network of a bundle with the preparation that it was trained with.

    Args:
        bundle: Network, preparation and bands.
        device: Of PyTorch, such as "cpu" or "cuda".
        tile: As in Forecaster.
        engine: As in Forecaster.

    Raises:
        ConfigError: There is no such device or engine, it cannot run this network, or tiles are asked for of
            a network that cannot have them.
    """

    def __init__(
        self, bundle: Bundle, device: str = "cpu", tile: int | None = None, engine: Engine = "torch"
    ) -> None:
        try:
            self.device = torch.device(device)
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"There is no device '{device}' here ({error}). Use 'cpu'.") from error
        network = bundle.network.to(self.device).eval()
        members, tiles = members_by(engine, bundle, self.device), bundle.spec.get("tiles")
        self.network = Tiled(network, tile, members=members, tiles=tiles)
        self._preparation = bundle.preparation.to(self.device).eval()
        self._bands = bundle.bands

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
