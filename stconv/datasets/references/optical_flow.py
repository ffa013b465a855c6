"""Optical flow as a reference forecast: where the newest frame is carried by the motion of the last ones.

By pysteps, an independent implementation that rain forecasters use; it comes with an extra.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from stconv.datasets.series.windows import WindowSpec
from stconv.errors import ConfigError

MAX_FRAMES = 3
"""The motion is looked for in as many of the newest frames, as the examples of pysteps do."""
FLOOR = 0.1
"""Where there is no rain the logarithm is that of this share of the mean where there is some."""


class OpticalFlow:
    """Extrapolate the newest frame of each target along its motion, as rain is nowcast.

    The motion is that of Lucas and Kanade between the newest three frames (of rain between their logarithms,
    as usual), kept for all leads; the newest frame is followed back along it, semi-Lagrangian. Where the path
    leads out of the grid, or to a missing value, nothing is known of what is coming, and the forecast is the
    newest frame itself: so every cell that persistence can forecast is scored.

    Args:
        spec: Form of a window.

    Raises:
        ConfigError: pysteps or OpenCV is not installed, or the newest two inputs are not one step apart.

    Source:
        Pulkkinen et al. (2019), Geoscientific Model Development 12, 4185-4219 (pysteps); Germann and
        Zawadzki (2002), Monthly Weather Review 130, 2859-2873 (semi-Lagrangian extrapolation).
    """

    def __init__(self, spec: WindowSpec) -> None:
        missing = [name for name in ("pysteps", "cv2") if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"The reference forecast by optical flow needs {' and '.join(missing)}. Install them: "
                "pip install 'stconv[pysteps]'; or leave out --optical-flow (model.scoring.optical_flow)."
            )
        newest = spec.input_offsets[-MAX_FRAMES:]
        while newest[0] != 1 - len(newest):
            newest = newest[1:]
        if len(newest) < 2:
            raise ConfigError(
                f"Optical flow needs the newest two inputs one step apart, found input offsets "
                f"{list(spec.input_offsets)}. Give data.window.t_in 2 or more, or leave out --optical-flow."
            )
        self.n_frames, self.leads = len(newest), spec.leads

    def __call__(self, batch: Mapping[str, Tensor], n_targets: int) -> Tensor:
        """Forecast a batch.

        Args:
            batch: With "inputs", physical units, NaN where missing.
            n_targets: Number of targets, the first channels.

        Returns:
            float32, (batch, target, leads, lat, lon), physical units; NaN where the newest frame is missing.
        """
        inputs = batch["inputs"][:, :n_targets, -self.n_frames :].cpu().numpy()
        forecasts = [[self._extrapolated(frames) for frames in window] for window in inputs]
        return torch.from_numpy(np.array(forecasts, np.float32)).to(batch["inputs"].device)

    def _extrapolated(self, frames: np.ndarray) -> np.ndarray:
        """Frames of one target, (time, lat, lon), to its leads."""
        from pysteps.extrapolation.semilagrangian import extrapolate
        from pysteps.motion.lucaskanade import dense_lucaskanade

        newest = frames[-1].astype(np.float64)
        still = np.broadcast_to(newest, (self.leads, *newest.shape))
        if not np.isfinite(newest).any() or np.nanmin(newest) == np.nanmax(newest):
            return still
        velocity = dense_lucaskanade(np.ma.masked_invalid(_logarithm(frames)))
        carried = extrapolate(newest, velocity, self.leads, allow_nonfinite_values=True)
        return np.where(np.isfinite(carried), carried, still)


def _logarithm(frames: np.ndarray) -> np.ndarray:
    """Decibels of a field that is never negative and sometimes zero; any other as it is."""
    known = frames[np.isfinite(frames)]
    if known.min() != 0:
        return frames
    return 10 * np.log10(np.maximum(frames, FLOOR * known[known > 0].mean()))
