"""Split-conformal calibration of uncertainty bands on the validation period, for any network.

The error of a forecast is divided by a scale that is known beforehand, the product of four factors: the
spread of the members if the network has several, the error of the cell and lead, the season of the error, and
the change between the newest frames. Quantiles of the scaled errors of the validation period turn the scale
of a new forecast into bands. The factors for season and recent change are fitted on the training period,
because validation and test cover different parts of the year. Training errors are too small if a network has
overfit, so only their relative variation is used. The test period is never used.

Source:
    Lei et al. (2018), JASA 113, 1094-1111: split-conformal prediction with locally weighted residuals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stconv.datasets.preparation.harmonics import Term, fit_harmonics
from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.series.extent import lowest_and_highest
from stconv.spacing import evenly_spaced
from stconv.uncertainty.bands import (
    LEVELS,
    Bands,
    change_factor,
    recent_change_of,
    season_factor,
    spread_factor,
)

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule
    from stconv.datasets.preparation.preparation import Preparation
    from stconv.models import Network

TRAINING_WINDOWS = 512
"""Number of evenly spaced training windows that the season of the error is fitted on."""
BYTES_HELD = 256 * 2**20
"""Memory for the errors of one period; fewer windows, evenly spaced, are used if all would need more."""
GROUPS = 20
"""Number of groups of cells with similar spread, to fit how the error depends on the spread."""
OWN_WINDOWS = 10
"""Number of windows at which a cell's own error counts as much as that of all cells together."""
SEASON_WINDOWS = 40
"""Number of windows at which the fitted season of the error is shrunk by half."""
BYTES_OF_SEASON, MOST_TERMS = 64 * 2**20, 13
"""Bytes in the bundle, with this many terms, above which the season is pooled over the leads."""


@dataclass(frozen=True)
class HeldOut:
    """Windows that a model was not trained on.

    Attributes:
        network: Network that was trained on what comes before them.
        preparation: Its preparation, on the same device.
        references: Reference indices of the windows.
    """

    network: Network
    preparation: Preparation
    references: Sequence[int]


@torch.inference_mode()
def calibrate(network: Network, preparation: Preparation, data: GridDataModule) -> Bands:
    """Calibrate bands on the validation windows, with the season of the errors on training windows.

    Args:
        network: Trained network; it is returned to its training or evaluation mode.
        preparation: Preparation that it was trained with, on the same device.
        data: Data module after `setup`; its test period is not read.

    Returns:
        The bands.
    """
    return cross_calibrate(
        network, preparation, data, [HeldOut(network, preparation, data.references["val"])]
    )


@torch.inference_mode()
def cross_calibrate(
    network: Network, preparation: Preparation, data: GridDataModule, held_out: Sequence[HeldOut]
) -> Bands:
    """Calibrate bands on the errors of several models on windows that they were not trained on.

    Args:
        network: Network that the bands are for; it is returned to its training or evaluation mode.
        preparation: Preparation that it was trained with, on the same device.
        data: Data module after `setup`.
        held_out: Models of the same form at rolling origins, each with windows after its training.

    Returns:
        The bands.

    Source:
        Barber et al. (2021), Annals of Statistics 49, 486-507: cross-conformal and related intervals.
    """
    was_training = network.training
    network.eval()
    try:
        training = _Errors(network, preparation, data, data.references["train"], TRAINING_WINDOWS)
        parts = [
            _Errors(part.network, part.preparation, data, part.references, scaled_as=preparation)
            for part in held_out
        ]
    finally:
        network.train(was_training)
    validation = parts[0].joined(parts[1:])
    spread = validation.typical_spread()
    spread_power = validation.fit_spread_power(spread)
    for errors in (training, validation):
        errors.divide_by_spread(spread, spread_power)
    scale = _scale(training.values, validation.values)
    terms, season = _fit_season(training.values / scale, training.cycles)
    typical_change, change_power = _fit_change(training, scale * _season(training, terms, season))
    recent_change = change_factor(
        torch.from_numpy(validation.recent_change), typical_change, change_power
    ).numpy()
    quantiles = _quantiles(validation.values / (scale * _season(validation, terms, season) * recent_change))
    period = data.periods.train
    low, _ = lowest_and_highest(data.series.values[period.start : period.stop, : network.c_out])
    lowest = [0.0 if value == 0 else -math.inf for value in low]
    return Bands(
        torch.from_numpy(scale),
        torch.from_numpy(season),
        tuple(terms),
        typical_change,
        change_power,
        spread,
        spread_power,
        torch.from_numpy(quantiles),
        torch.tensor(lowest),
        torch.zeros(len(LEVELS), *quantiles.shape[2:]),
        len(validation.values),
    )


class _Errors:
    """Errors (truth minus forecast) of some windows, normalized, NaN where the truth is missing.

    Attributes:
        values: float32, (window, target, leads, lat, lon).
        variance: Variance of the members, the same shape; None for a single forecast.
        cycles: Fractions of day, year and week of the valid times, float32, (window, leads, 3).
        recent_change: Recent change of the input frames, float32, (window, target).
    """

    def __init__(
        self,
        network: Network,
        preparation: Preparation,
        data: GridDataModule,
        references: Sequence[int],
        most: int | None = None,
        scaled_as: Preparation | None = None,
    ) -> None:
        window_bytes = 4 * network.c_out * network.leads * data.series.values[0, 0].size
        affordable = max(1, BYTES_HELD // window_bytes)
        windows = WindowDataset(
            data.series, data.spec, evenly_spaced(references, min(most or affordable, affordable))
        )
        device = preparation.cell_weight.device
        values, variances, cycles, recent_change = [], [], [], []
        for start in range(0, len(windows), data.loading.batch_size):
            items = range(start, min(start + data.loading.batch_size, len(windows)))
            batch = {name: value.to(device) for name, value in windows.batch(items).items()}
            members = network.members(preparation.inputs(batch))
            truth = preparation.normalize(batch["targets"], batch["target_cycles"])
            error = truth - members.mean(0)
            error[:, preparation.never_valid[: network.c_out, None].expand_as(error[0])] = torch.nan
            values.append(error.cpu().numpy())
            frames = preparation.normalize(batch["inputs"], batch["input_cycles"])
            recent_change.append(recent_change_of(frames, network.c_out).cpu().numpy())
            cycles.append(batch["target_cycles"].cpu().numpy())
            if len(members) > 1:
                variances.append(members.var(0, correction=0).cpu().numpy())
        self.values, self.cycles = np.concatenate(values), np.concatenate(cycles)
        self.recent_change = np.concatenate(recent_change)
        self.variance = np.concatenate(variances) if variances else None
        if scaled_as is not None and scaled_as is not preparation:
            targets = slice(0, network.c_out)
            factor = (preparation.scale[targets] / scaled_as.scale[targets]).cpu().numpy()[:, None]
            self.values *= factor
            if self.variance is not None:
                self.variance *= factor**2

    def joined(self, others: Sequence[_Errors]) -> _Errors:
        """Add the windows of others."""
        for other in others:
            for name in ("values", "cycles", "recent_change"):
                setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))
            if self.variance is not None and other.variance is not None:
                self.variance = np.concatenate([self.variance, other.variance])
        return self

    def typical_spread(self) -> Tensor:
        """Return the root mean variance of the members, float32, (target, leads); 0 for a single forecast."""
        if self.variance is None:
            return torch.zeros(self.values.shape[1:3])
        return torch.from_numpy(np.sqrt(self.variance.mean((0, 3, 4))))

    def fit_spread_power(self, typical: Tensor) -> Tensor:
        """Fit the exponent, in [0, 1], with which the error grows with the spread, float32, (target, leads).

        The spread of a learned distribution says much about the error, that of two random members little.
        """
        power = torch.zeros_like(typical)
        if self.variance is not None:
            spread = spread_factor(torch.from_numpy(self.variance), typical, torch.ones_like(typical))
            for target, lead in np.ndindex(*typical.shape):
                error = self.values[:, target, lead]
                known = np.isfinite(error)
                x, square = spread.numpy()[:, target, lead][known], error[known] ** 2
                groups = np.array_split(np.argsort(x), GROUPS)
                means = [(x[i].mean(), np.sqrt(square[i].mean())) for i in groups if len(i)]
                power[target, lead] = _power(*np.array(means, dtype=np.float64).reshape(-1, 2).T)
        return power

    def divide_by_spread(self, typical: Tensor, power: Tensor) -> None:
        """Divide the errors by the spread factor of the members."""
        if self.variance is not None:
            self.values /= spread_factor(torch.from_numpy(self.variance), typical, power).numpy()


def _scale(training: np.ndarray, validation: np.ndarray) -> np.ndarray:
    """Return the root mean square error of each cell, (target, leads, lat, lon), shrunk towards that of all.

    Training errors count relative to the training error of all cells, so that their smaller size does not
    matter.
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
    """Fit the squared error, divided by its mean, as harmonics of the valid time of the first lead.

    Harmonics that the training period does not support are left out.

    Returns:
        Terms, and coefficients, float32, (term, target, leads, lat, lon); on large grids all leads are
        pooled, (term, target, 1, lat, lon).
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


def _season(errors: _Errors, terms: list[Term], season: np.ndarray) -> np.ndarray:
    return season_factor(terms, torch.from_numpy(season), torch.from_numpy(errors.cycles)).numpy()


def _fit_change(training: _Errors, scale: np.ndarray) -> tuple[Tensor, Tensor]:
    """Fit how the squared error grows with the recent change of the input frames.

    Args:
        training: Errors of the training period.
        scale: Error expected from the other factors, of the shape of the errors or broadcast to it.

    Returns:
        Typical change, float32, (target,), and the exponent for the squared error, mean over the cells,
        float32, (target, leads).
    """
    n_targets, leads = training.values.shape[1:3]
    typical_change, power = torch.ones(n_targets), torch.zeros(n_targets, leads)
    squares = (training.values / scale) ** 2
    known = np.isfinite(squares)
    means = np.where(known, squares, 0).sum((3, 4)) / np.maximum(known.sum((3, 4)), 1)
    for target in range(n_targets):
        recent_change = training.recent_change[:, target]
        if (recent_change > 0).any():
            typical_change[target] = float(recent_change[recent_change > 0].mean())
        for lead in range(leads):
            power[target, lead] = _power(recent_change, means[:, target, lead])
    return typical_change, power


def _power(x: np.ndarray, y: np.ndarray) -> float:
    """Fit p in [0, 1] of y ~ x^p: the least-squares slope of log y on log x."""
    known = (x > 0) & (y > 0)
    x, y = np.log(x[known]), np.log(y[known])
    if not x.size or x.var() == 0:
        return 0.0
    return float(np.clip(((x - x.mean()) * (y - y.mean())).mean() / x.var(), 0, 1))


def _quantiles(scaled: np.ndarray) -> np.ndarray:
    """Return lower and upper quantile of the scaled errors per level, float32, (level, 2, target, leads)."""
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
