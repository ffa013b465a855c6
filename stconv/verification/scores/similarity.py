"""Similarity of fields as pictures: peak signal-to-noise ratio and structural similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stconv.verification.scores.diagnostic import common_cells
from stconv.verification.scores.neighborhood import box_sums, fitting
from stconv.verification.scores.sums import ratio

WINDOW = 7
K1, K2 = 0.01, 0.03


class Similarity:
    """PSNR and SSIM of every contender, with the data range of the training period.

    psnr = 10 log10(range^2 / mse) in dB, the mean squared error pooled over windows and cells.
    ssim = (2 mx my + c1) (2 sxy + c2) / ((mx^2 + my^2 + c1) (sx + sy + c2)), c1 = (0.01 range)^2 and
    c2 = (0.03 range)^2, means, sample variances and covariance over squares of 7 x 7 cells (or the largest
    that fits), averaged over the squares whose cells are all known in truth and every forecast.

    Args:
        variables: Names of the variables, in channel order.
        data_range: Largest minus smallest value of each variable in the training period.

    Source:
        Wang et al. (2004), IEEE Transactions on Image Processing 13, 600-612, eq. 13, with a flat window.
    """

    def __init__(self, variables: Sequence[str], data_range: Sequence[float]) -> None:
        self.variables, self.data_range = tuple(variables), np.asarray(data_range, dtype=float)
        self._contenders: tuple[str, ...] = ()
        self._sums: np.ndarray | None = None

    def add(self, truth: Tensor, forecasts: Mapping[str, Tensor]) -> None:
        """Add a batch; see `Diagnostic`."""
        known = common_cells(truth, forecasts)
        size = fitting(WINDOW, truth.shape)
        n = size * size
        whole = box_sums(known, size) == n
        spread = torch.as_tensor(self.data_range, device=truth.device).view(-1, 1, 1, 1)
        c1, c2 = (K1 * spread) ** 2, (K2 * spread) ** 2
        middle = torch.nanmean(truth.double(), dim=(0, 2, 3, 4)).nan_to_num().view(-1, 1, 1, 1)
        # A large mean would cost digits of the variances in the integral image; the means undo the shift.
        y = torch.where(known, truth.double() - middle, 0)
        mean_y, square_y = box_sums(y, size) / n, box_sums(y * y, size) / n
        parts = []
        for forecast in forecasts.values():
            x = torch.where(known, forecast.double() - middle, 0)
            mean_x, square_x = box_sums(x, size) / n, box_sums(x * x, size) / n
            sample = n / max(n - 1, 1)
            variances = sample * (square_x - mean_x**2 + square_y - mean_y**2)
            covariance = sample * (box_sums(x * y, size) / n - mean_x * mean_y)
            u, v = mean_x + middle, mean_y + middle
            alike = (2 * u * v + c1) * (2 * covariance + c2)
            at_most = (u * u + v * v + c1) * (variances + c2)
            ssim = torch.where(whole & (at_most > 0), alike / at_most, whole.double())
            error = (x - y) ** 2
            sums = [ssim, whole.double(), error, known.double()]
            parts.append(np.stack([part.sum((0, 3, 4)).cpu().numpy() for part in sums]))
        total = np.stack(parts)
        self._contenders = tuple(forecasts)
        self._sums = total if self._sums is None else self._sums + total

    def to_dataset(self) -> xr.Dataset:
        """`psnr` in dB and `ssim` by (contender, variable, lead), and the data range by variable."""
        assert self._sums is not None
        ssim, squares, error, cells = self._sums.swapaxes(0, 1)
        mse = ratio(error, cells)
        psnr = 10 * np.log10(ratio(self.data_range[:, None] ** 2, mse))
        dims = ("contender", "variable", "lead")
        return xr.Dataset(
            {
                "psnr": (dims, psnr),
                "ssim": (dims, ratio(ssim, squares)),
                "data_range": ("variable", self.data_range),
            },
            coords={
                "contender": list(self._contenders),
                "variable": list(self.variables),
                "lead": np.arange(1, psnr.shape[-1] + 1),
            },
        )
