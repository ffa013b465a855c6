"""Bands that hold a stated share of the truth, for any network: split-conformal, calibrated on validation.

A forecast's error is divided by a scale that is known beforehand: the spread of the network's members, where
it has any, times the error of the cell and lead, times the season of the error. Quantiles of what is left, on
the validation period, turn the scale of a new forecast into bands. The season comes from the training period,
because validation and test are different parts of the year; its errors are too small where a network has
learned the period by heart, so that nothing but their course over the year and the day is taken from it.
The test period is never looked at.

Source:
    Lei et al. (2018), JASA 113, 1094-1111: split-conformal prediction with locally weighted residuals.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from stconv.bands import LEAST_SPREAD, LEVELS, Bands, season_factor
from stconv.datasets.dataset import WindowDataset
from stconv.datasets.harmonics import Term, fit_harmonics
from stconv.datasets.windows import thinned

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule
    from stconv.datasets.preparation import Preparation
    from stconv.models import Network

TRAINING_WINDOWS = 512
"""So many, evenly spread, tell the season of the error."""
BYTES_HELD = 256 * 2**20
"""Of errors of one period; windows are thinned out where there would be more."""
BLOCKS = 4
"""Of the validation period, which tell how far calm and stormy times differ by chance."""
OWN_WINDOWS = 10
"""A cell's own error counts as much as that of all cells together once it has so many windows."""
SEASON_WINDOWS = 40
"""The course of a cell's error over day and year counts half with so many windows."""
BYTES_OF_SEASON, MOST_TERMS = 64 * 2**20, 13
"""A season that would be larger in the bundle is pooled over the leads."""


@torch.inference_mode()
def calibrate(network: Network, preparation: Preparation, data: GridDataModule) -> Bands:
    """Calibrate bands on the validation windows, with the season of the errors on training windows.

    Args:
        network: Trained; left in the mode it was in.
        preparation: The one it was trained with, on the same device.
        data: After setup. Its test period is not read.

    Returns:
        The bands.
    """
    was_training = network.training
    network.eval()
    try:
        training = _Errors(network, preparation, data, "train", TRAINING_WINDOWS)
        validation = _Errors(network, preparation, data, "val")
    finally:
        network.train(was_training)
    spread = validation.typical_spread()
    for errors in (training, validation):
        errors.over_spread(spread)
    scale = _scale(training.values, validation.values)
    terms, season = _fit_season(training.values / scale, training.cycles)
    factor = season_factor(terms, torch.from_numpy(season), torch.from_numpy(validation.cycles)).numpy()
    quantiles = _quantiles(validation.values / (scale * factor))
    calm = season_factor(terms, torch.from_numpy(season), torch.from_numpy(training.cycles)).numpy()
    quantiles *= _usual_difficulty(
        training.difficulty(scale * calm), validation.difficulty(scale * factor)
    ).astype(np.float32)
    period = data.periods.train
    lowest = [
        0.0 if np.nanmin(data.series.values[period.start : period.stop, target]) == 0 else -math.inf
        for target in range(network.c_out)
    ]
    return Bands(
        torch.from_numpy(scale),
        torch.from_numpy(season),
        tuple(terms),
        torch.from_numpy(spread),
        torch.from_numpy(quantiles),
        torch.tensor(lowest),
        len(validation.values),
    )


class _Errors:
    """Truth minus forecast of some windows, normalized, NaN where the truth is missing.

    Attributes:
        values: float32, (window, target, leads, lat, lon).
        changes: Errors of persistence, likewise.
        variance: Of the members, the same shape; None for a single forecast.
        cycles: Fractions of day, year and week of the valid times, float32, (window, leads, 3).
    """

    def __init__(
        self,
        network: Network,
        preparation: Preparation,
        data: GridDataModule,
        period: str,
        most: int | None = None,
    ) -> None:
        references = data.references[period]
        window_bytes = 4 * network.c_out * network.leads * data.series.values[0, 0].size
        affordable = max(1, BYTES_HELD // window_bytes)
        windows = WindowDataset(
            data.series, data.spec, thinned(references, min(most or affordable, affordable))
        )
        device = preparation.cell_weight.device
        values, variances, cycles, changes = [], [], [], []
        for start in range(0, len(windows), data.batch_size):
            items = range(start, min(start + data.batch_size, len(windows)))
            batch = {name: value.to(device) for name, value in windows.batch(items).items()}
            members = network.members(preparation.inputs(batch))
            truth = preparation.normalize(batch["targets"], batch["target_cycles"])
            error = truth - members.mean(0)
            error[:, preparation.never_valid[: network.c_out, None].expand_as(error[0])] = torch.nan
            values.append(error.cpu().numpy())
            newest = preparation.normalize(batch["inputs"], batch["input_cycles"])[:, : network.c_out, -1:]
            changes.append((truth - newest).cpu().numpy())
            cycles.append(batch["target_cycles"].cpu().numpy())
            if len(members) > 1:
                variances.append(members.var(0, correction=0).cpu().numpy())
        self.values, self.cycles = np.concatenate(values), np.concatenate(cycles)
        self.changes = np.concatenate(changes)
        self.variance = np.concatenate(variances) if variances else None

    def typical_spread(self) -> np.ndarray:
        """Root mean variance of the members, float32, (target, leads)."""
        if self.variance is None:
            return np.zeros(self.values.shape[1:3], np.float32)
        return np.sqrt(self.variance.mean((0, 3, 4))).astype(np.float32)

    def difficulty(self, scale: np.ndarray) -> np.ndarray:
        """Mean square error of persistence relative to a scale, (window, target, leads)."""
        square = (self.changes / scale) ** 2
        known = np.isfinite(square)
        total = np.where(known, square, 0).sum((3, 4), dtype=np.float64)
        return total / np.maximum(known.sum((3, 4)), 1)

    def over_spread(self, typical: np.ndarray) -> None:
        """Divide by the spread of the members."""
        if self.variance is not None:
            floor = (LEAST_SPREAD * typical[:, :, None, None]) ** 2
            self.values /= np.sqrt(self.variance + np.maximum(floor, np.finfo(np.float32).tiny))


def _scale(training: np.ndarray, validation: np.ndarray) -> np.ndarray:
    """Root mean square error of each cell, (target, leads, lat, lon), shrunk towards that of all cells.

    Training errors count relative to those of all cells in training, so that it does not matter how much
    smaller they are.
    """
    total, count, level = 0.0, 0.0, np.ones(())
    for errors in (training, validation):
        known = np.isfinite(errors)
        square = np.where(known, errors, 0) ** 2
        n = known.sum((0, 3, 4))
        level = square.sum((0, 3, 4), dtype=np.float64) / np.maximum(n, 1)
        level = np.maximum(level, np.finfo(np.float32).tiny)[:, :, None, None]
        total = total + square.sum(0, dtype=np.float64) / level
        count = count + known.sum(0)
    relative = (total + OWN_WINDOWS) / (count + OWN_WINDOWS)
    return np.sqrt(relative * level).astype(np.float32)


def _fit_season(errors: np.ndarray, cycles: np.ndarray) -> tuple[list[Term], np.ndarray]:
    """Squared error over its mean, as a function of the valid time of the first lead.

    Harmonics that the training period does not support are left out.

    Returns:
        Terms, and float32 coefficients (term, target, leads, lat, lon); on large grids all leads are pooled,
        (term, target, 1, lat, lon).
    """
    squares = errors**2
    if 4 * squares[0].size * MOST_TERMS > BYTES_OF_SEASON:
        squares = squares.mean(2, keepdims=True)
    n_windows, n_targets, leads, *grid = squares.shape
    channels = squares.reshape(n_windows, n_targets * leads, *grid)
    terms, season = fit_harmonics(channels, cycles[:, 0])
    mean = season[0]
    season = season / np.where(mean > 0, mean, np.nan)
    season[1:] *= n_windows / (n_windows + SEASON_WINDOWS)
    season = np.nan_to_num(season)
    season[0] = 1.0
    return terms, season.reshape(len(terms), n_targets, leads, *grid).astype(np.float32)


def _quantiles(scaled: np.ndarray) -> np.ndarray:
    """Lower and upper quantile of scaled errors for each level, float32, (level, 2, target, leads)."""
    n_targets, leads = scaled.shape[1:3]
    result = np.zeros((len(LEVELS), 2, n_targets, leads), np.float32)
    for target in range(n_targets):
        for lead in range(leads):
            values = scaled[:, target, lead]
            values = values[np.isfinite(values)]
            if values.size:
                for i, level in enumerate(LEVELS):
                    outside = (1 - level / 100) / 2
                    result[i, :, target, lead] = np.quantile(values, [outside, 1 - outside])
    return result


def _usual_difficulty(training: np.ndarray, validation: np.ndarray) -> np.ndarray:
    """How much harder the usual period is to forecast than validation, as a factor, (target, leads).

    Judged by persistence, which is as good in training as elsewhere. A short validation period may be calm or
    stormy by chance; as far as its difference from training is what blocks of both differ by, it is taken for
    chance, and the level of both together counts. Beyond that it is taken for a change that lasts.

    Args:
        training: Mean squared error of persistence over its season, (window, target, leads).
        validation: The same of validation.
    """
    n_blocks = (max(BLOCKS * len(training) // len(validation), BLOCKS), BLOCKS)
    logs = []
    for errors, n in zip((training, validation), n_blocks, strict=True):
        blocks = [block for block in np.array_split(errors, n) if len(block)]
        logs.append(np.log(np.maximum([block.mean(0) for block in blocks], np.finfo(np.float32).tiny)))
    variance = sum(log.var(0) * len(log) for log in logs) / max(sum(len(log) - 1 for log in logs), 1)
    chance = variance * sum(1 / len(log) for log in logs)
    usual = np.log(np.concatenate([training, validation]).mean(0))
    difference = usual - np.log(validation.mean(0))
    lasting = np.maximum(1 - chance / np.maximum((logs[0].mean(0) - logs[1].mean(0)) ** 2, 1e-12), 0)
    return np.exp(0.5 * (1 - lasting) * difference)
