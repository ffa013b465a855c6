"""Power spectra: a forecast with less power at short wavelengths than the truth is too smooth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from scipy.fft import dctn
from torch import Tensor

from stconv.verification.scores.diagnostic import common_cells

TRUTH = "truth"
MIN_CELLS = 4
"""Smallest number of cells along a side; a smaller grid has no spectrum."""


class PowerSpectra:
    """Radially averaged power spectra of truth and forecasts, by the discrete cosine transform.

    The variance of each field is split among bands of wavelength: band i holds the modes (m, n) with i <= M
    sqrt((m / n_lat)^2 + (n / n_lon)^2) < i + 1, M the shorter side in cells; its wavelength is 2 M / i cells,
    the first holds longer waves as well. The cosine transform needs no periodic field. The mean over the
    cells that are known in the truth and in all forecasts is subtracted; unknown cells are then 0 in all
    fields.

    Args:
        variables: Names of the variables, in channel order.

    Source:
        Denis, Cote and Laprise (2002), Monthly Weather Review 130, 1812-1829.
    """

    def __init__(self, variables: Sequence[str]) -> None:
        self.variables = tuple(variables)
        self._names: tuple[str, ...] = ()
        self._sum: np.ndarray | None = None
        self._n_fields = np.zeros(0)
        self._side = 0

    def add(self, truth: Tensor, forecasts: Mapping[str, Tensor]) -> None:
        """Add a batch; see `Diagnostic`."""
        known = common_cells(truth, forecasts).cpu().numpy()
        self._side = min(known.shape[-2:])
        self._names = (TRUTH, *forecasts)
        counts = known.sum((-2, -1), keepdims=True)
        powers = []
        for field in (truth, *forecasts.values()):
            values = np.where(known, field.detach().cpu().numpy(), 0)
            mean = values.sum((-2, -1), keepdims=True) / np.maximum(counts, 1)
            powers.append(_band_power(np.where(known, values - mean, 0)).sum(0))
        total = np.stack(powers)
        self._sum = total if self._sum is None else self._sum + total
        present = (counts[..., 0, 0] > 0).sum(0)
        self._n_fields = present if self._n_fields.size == 0 else self._n_fields + present

    def to_dataset(self) -> xr.Dataset:
        """Power by (contender, variable, lead, band), units of the variable squared; `wavelength` in cells.

        The first contender is "truth".
        """
        assert self._sum is not None
        power = self._sum / np.maximum(self._n_fields, 1)[None, :, :, None]
        n_bands = power.shape[-1]
        return xr.Dataset(
            {"power": (("contender", "variable", "lead", "band"), power)},
            coords={
                "contender": list(self._names),
                "variable": list(self.variables),
                "lead": np.arange(1, power.shape[2] + 1),
                "wavelength": ("band", 2 * self._side / np.arange(1, n_bands + 1)),
            },
        )


def _band_power(field: np.ndarray) -> np.ndarray:
    """Variance per band, (..., lat, lon) to (..., band); without the mean."""
    n_lat, n_lon = field.shape[-2:]
    side = min(n_lat, n_lon)
    power = dctn(field, axes=(-2, -1), norm="ortho") ** 2 / (n_lat * n_lon)
    radius = side * np.hypot(np.arange(n_lat)[:, None] / n_lat, np.arange(n_lon) / n_lon)
    band = np.clip((radius + 1e-9).astype(int), 1, side).ravel()  # the last band holds shorter waves as well
    band[0] = 0  # the mean
    flat = power.reshape(-1, n_lat * n_lon)
    order = np.argsort(band, kind="stable")
    starts = np.searchsorted(band[order], np.arange(side + 1))
    sums = np.add.reduceat(flat[:, order], starts, axis=1)[:, 1:side]
    return sums.reshape(*field.shape[:-2], side - 1)
