"""Optical flow as a reference forecast: the newest frame, extrapolated along the motion of the last frames.

Computed by pysteps, an independent implementation for rain nowcasting; it is an extra.
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
"""Number of newest frames that the motion is estimated from, as in the examples of pysteps."""
FLOOR = 0.1
"""Value for the logarithm of dry cells, as a fraction of the mean over wet cells."""


class OpticalFlow:
    """Extrapolate the newest frame of each target along its motion, as in rain nowcasting.

    The motion is that of Lucas and Kanade between the newest three frames (for rain, between their
    logarithms), constant for all leads; the newest frame is advected backward along it (semi-Lagrangian).
    Where the path leaves the grid or meets a missing value, the forecast is the newest frame itself, so that
    every cell that persistence can forecast is scored.

    Args:
        spec: Shape of a window.

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
                f"The reference forecast by optical flow needs {' and '.join(missing)}. Install them with "
                "pip install 'stconv[pysteps]', or omit --optical-flow (model.scoring.optical_flow)."
            )
        newest = spec.input_offsets[-MAX_FRAMES:]
        while newest[0] != 1 - len(newest):
            newest = newest[1:]
        if len(newest) < 2:
            raise ConfigError(
                "Optical flow needs the newest two inputs one step apart, found input offsets "
                f"{list(spec.input_offsets)}. Give data.window.t_in 2 or more, or leave out "
                "--optical-flow."
            )
        self.n_frames, self.leads = len(newest), spec.leads

    def __call__(self, batch: Mapping[str, Tensor], n_targets: int) -> Tensor:
        """Forecast a batch.

        Args:
            batch: Batch with "inputs", physical units, NaN where missing.
            n_targets: Number of targets, which are the first channels.

        Returns:
            float32, (batch, target, leads, lat, lon), physical units; NaN where the newest frame is missing.
        """
        inputs = batch["inputs"][:, :n_targets, -self.n_frames :].cpu().numpy()
        forecasts = [[self._extrapolated(frames) for frames in window] for window in inputs]
        return torch.from_numpy(np.array(forecasts, np.float32)).to(batch["inputs"].device)

    def _extrapolated(self, frames: np.ndarray) -> np.ndarray:
        """Forecast the leads of one target from its frames, (time, lat, lon)."""
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
    """Convert a rain-like field (never negative, sometimes zero) to decibels; others are unchanged."""
    known = frames[np.isfinite(frames)]
    if known.min() != 0:
        return frames
    return 10 * np.log10(np.maximum(frames, FLOOR * known[known > 0].mean()))
