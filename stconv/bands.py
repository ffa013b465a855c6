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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stconv.datasets.climatology import HarmonicClimatology
from stconv.datasets.dataset import WindowDataset
from stconv.datasets.harmonics import Term, fit_harmonics
from stconv.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stconv.datasets.datamodule import GridDataModule
    from stconv.datasets.preparation import Preparation
    from stconv.models import Network

LEVELS = (80, 95)
"""Percent of the truth that each band holds."""
TRAINING_WINDOWS = 512
"""So many, evenly spread, tell the season of the error."""
BYTES_HELD = 256 * 2**20
"""Of errors of one period; windows are thinned out where there would be more."""
OWN_WINDOWS = 10
"""A cell's own error counts as much as that of all cells together once it has so many windows."""
SEASON_WINDOWS = 40
"""The course of a cell's error over day and year counts half with so many windows."""
LEAST_SEASON, MOST_SEASON = 0.1, 10.0
"""Bounds of the seasonal factor of the squared error."""
LEAST_SPREAD = 0.2
"""Of the typical spread of members, is added (in squares) to that of every cell."""


@dataclass(frozen=True)
class Bands:
    """Scales and quantiles that turn the members of a forecast into bands; all normalized, on the CPU.

    Attributes:
        scale: Root mean square error of each cell and lead, over the spread, (target, leads, lat, lon).
        season: Coefficients of the relative squared error over day and year, (term, target, lat, lon).
        terms: The terms, as of `HarmonicClimatology`.
        spread: Typical spread of the members, (target, leads); 0 for a network with a single forecast.
        quantiles: Of errors over scale, lower and upper, (level, 2, target, leads).
        lowest: Least possible value of each target in its units, -inf where there is none, (target,).
        n_windows: Validation windows it was calibrated on.
    """

    scale: Tensor
    season: Tensor
    terms: tuple[Term, ...]
    spread: Tensor
    quantiles: Tensor
    lowest: Tensor
    n_windows: int

    def normalized(self, members: Tensor, cycles: Tensor) -> Tensor:
        """Bands around the mean of the members.

        Args:
            members: As `Network.members` returns them, (member, batch, target, leads, lat, lon), normalized.
            cycles: Fractions of day, year and week of the valid times, (batch, leads, 3).

        Returns:
            (level, 2, batch, target, leads, lat, lon): lower and upper bound for each of `LEVELS`.
        """
        scale = self.scale.to(members) * _season(self.terms, self.season.to(members), cycles)
        scale = scale * _spread(members, self.spread.to(members))
        quantiles = self.quantiles.to(members)[:, :, None, :, :, None, None]
        return members.mean(0) + quantiles * scale

    def physical(self, members: Tensor, batch: Mapping[str, Tensor], preparation: Preparation) -> Tensor:
        """The same in physical units, NaN in cells that never had a value, not below what is possible."""
        bounds = self.normalized(members, batch["target_cycles"])
        fields = torch.stack([preparation.physical(field, batch) for field in bounds.flatten(0, 1)])
        lowest = self.lowest.to(fields).view(-1, 1, 1, 1)
        return torch.maximum(fields, lowest).unflatten(0, bounds.shape[:2])

    def tensors(self) -> dict[str, Tensor]:
        """What belongs with the weights of a bundle."""
        return {name: getattr(self, name) for name in TENSORS}

    def to_spec(self) -> dict[str, Any]:
        """What belongs in the spec of a bundle, JSON types."""
        return {
            "levels": list(LEVELS),
            "terms": [list(term) for term in self.terms],
            "n_windows": self.n_windows,
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Bands:
        """Rebuild bands from `to_spec` and `tensors`.

        Raises:
            ConfigError: Something is missing, or the levels are others.
        """
        missing = [name for name in ("levels", "terms", "n_windows") if name not in spec]
        missing += [name for name in TENSORS if name not in tensors]
        if missing or list(spec["levels"]) != list(LEVELS):
            raise ConfigError(
                f"the bands lack {', '.join(missing)}; export the model again."
                if missing
                else f"the bands have the levels {spec['levels']}, expected {list(LEVELS)}."
            )
        terms = tuple(tuple(int(n) for n in term) for term in spec["terms"])
        return cls(**{name: tensors[name] for name in TENSORS}, terms=terms, n_windows=int(spec["n_windows"]))


TENSORS = ("scale", "season", "spread", "quantiles", "lowest")


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
    factor = _season(terms, torch.from_numpy(season), torch.from_numpy(validation.cycles)).numpy()
    quantiles = _quantiles(validation.values / (scale * factor))
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
        values, variances, cycles = [], [], []
        for start in range(0, len(windows), data.batch_size):
            items = range(start, min(start + data.batch_size, len(windows)))
            batch = {name: value.to(device) for name, value in windows.batch(items).items()}
            members = network.members(preparation.inputs(batch))
            truth = preparation.normalize(batch["targets"], batch["target_cycles"])
            error = truth - members.mean(0)
            error[:, preparation.never_valid[: network.c_out, None].expand_as(error[0])] = torch.nan
            values.append(error.cpu().numpy())
            cycles.append(batch["target_cycles"].cpu().numpy())
            if len(members) > 1:
                variances.append(members.var(0, correction=0).cpu().numpy())
        self.values, self.cycles = np.concatenate(values), np.concatenate(cycles)
        self.variance = np.concatenate(variances) if variances else None

    def typical_spread(self) -> np.ndarray:
        """Root mean variance of the members, float32, (target, leads)."""
        if self.variance is None:
            return np.zeros(self.values.shape[1:3], np.float32)
        return np.sqrt(self.variance.mean((0, 3, 4))).astype(np.float32)

    def over_spread(self, typical: np.ndarray) -> None:
        """Divide by the spread of the members."""
        if self.variance is not None:
            floor = (LEAST_SPREAD * typical[:, :, None, None]) ** 2
            self.values /= np.sqrt(self.variance + np.maximum(floor, np.finfo(np.float32).tiny))


def thinned(references: Sequence[int], most: int) -> list[int]:
    """At most so many of the references, evenly spread over all of them."""
    if len(references) <= most:
        return list(references)
    return [references[i] for i in np.linspace(0, len(references) - 1, most).round().astype(int)]


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
    """Squared error over its mean, as a function of the valid time: terms, and (term, target, lat, lon).

    All leads are pooled; harmonics that the training period does not support are left out.
    """
    n_windows, n_targets, leads, *grid = errors.shape
    squares = (errors**2).transpose(0, 2, 1, 3, 4).reshape(n_windows * leads, n_targets, *grid)
    terms, season = fit_harmonics(squares, cycles.reshape(n_windows * leads, -1))
    mean = season[0]
    season = season / np.where(mean > 0, mean, np.nan)
    season[1:] *= n_windows / (n_windows + SEASON_WINDOWS)
    season = np.nan_to_num(season)
    season[0] = 1.0
    return terms, season.astype(np.float32)


def _season(terms: Sequence[Term], season: Tensor, cycles: Tensor) -> Tensor:
    """Factor of the error at the valid times, (batch, target, leads, lat, lon)."""
    factor: Tensor = HarmonicClimatology(terms, season)(cycles.to(season))
    return factor.clamp(LEAST_SEASON, MOST_SEASON).sqrt()


def _spread(members: Tensor, typical: Tensor) -> Tensor:
    """Spread of the members with its floor, (batch, target, leads, lat, lon); 1 for a single forecast."""
    if len(members) == 1:
        return members.new_ones(())
    floor = (LEAST_SPREAD * typical[:, :, None, None]) ** 2
    return (members.var(0, correction=0) + floor.clamp(min=torch.finfo(torch.float32).tiny)).sqrt()


def _quantiles(scaled: np.ndarray) -> np.ndarray:
    """Lower and upper quantile of scaled errors for each level, float32, (level, 2, target, leads).

    A level p of n windows is taken as p (n + 1) / n, the correction of split-conformal prediction with a
    window, whose cells are far from independent, as one sample.
    """
    n_windows, n_targets, leads = scaled.shape[:3]
    result = np.zeros((len(LEVELS), 2, n_targets, leads), np.float32)
    for target in range(n_targets):
        for lead in range(leads):
            values = scaled[:, target, lead]
            values = values[np.isfinite(values)]
            for i, level in enumerate(LEVELS):
                share = min(1.0, level / 100 * (n_windows + 1) / n_windows)
                if values.size:
                    result[i, :, target, lead] = np.quantile(values, [(1 - share) / 2, (1 + share) / 2])
    return result
