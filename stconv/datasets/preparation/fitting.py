"""Fitting of a preparation: statistics of the training period, in float64 and block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stconv.datasets.preparation.climatology import HarmonicClimatology
from stconv.datasets.preparation.features import climate_fields, static_channels, sun_axes
from stconv.datasets.preparation.harmonics import Term
from stconv.datasets.preparation.scaling import (
    CellMoments,
    check_missing,
    check_transforms,
    fit_channel,
    transform,
)
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.cache import forget_pages
from stconv.sphere import area_weights

if TYPE_CHECKING:
    from stconv.datasets.series.store import Series

BYTES_AT_ONCE = 64 * 2**20
STEPS_OF_RANGE = 200
"""Number of steps that the range of the climatology is estimated from."""


def fit_statistics(
    series: Series, period: range, settings: PreparationSettings
) -> tuple[dict[str, Tensor], tuple[Term, ...]]:
    """Fit all statistics on a period of a series, without using any other step.

    Args:
        series: The series.
        period: Training period.
        settings: Settings of the preparation.

    Returns:
        The tensors of a `Preparation`, and the terms of its climatology.

    Raises:
        ConfigError: A setting contradicts the grid, or a static file was not read.
        MissingValuesError: A variable has no valid value, or missing values that are not allowed.
        DataError: A transform for non-negative values meets negative ones.
    """
    training = series.values[period.start : period.stop]
    cycles = series.cycles[period.start : period.stop]
    scaling, per_cell = settings.scaling, settings.per_cell
    first = np.nan_to_num(np.array([_first_valid(training[:, c]) for c in range(training.shape[1])]))
    raw = CellMoments(first, training.shape[2:])
    for _, block in _blocks(training):
        raw.add(block)
    check_missing(training, raw.count.sum(axis=(1, 2)), series.variables, settings.impute)
    check_transforms(settings.transforms, series.variables, raw.low.min(axis=(1, 2)))
    harmonics = HarmonicClimatology.fit(training, cycles, settings.weekly_cycle)
    moments = raw
    if scaling == "anomaly" or any(name != "identity" for name in settings.transforms.values()):
        moments = _moments_of_scaled(training, cycles, harmonics, settings)
    fitted = [fit_channel(moments, channel, scaling, per_cell) for channel in range(len(series.variables))]
    shape = training.shape[2:] if per_cell and scaling != "none" else (1, 1)
    ever_valid = raw.count > 0
    shown = [series.variables.index(name) for name in settings.visible]
    climate = climate_fields(
        harmonics.terms, harmonics.coefficients.double().numpy()[:, shown], moments.deviation()[shown]
    )
    tensors = {
        "center": _stack([np.broadcast_to(channel.center, shape) for channel in fitted]),
        "scale": _stack([np.broadcast_to(channel.scale, shape) for channel in fitted]),
        "fill": _stack([np.array(channel.fill) for channel in fitted]),
        "never_valid": torch.from_numpy(~ever_valid),
        "missing_share": torch.from_numpy(1 - raw.count.sum(axis=(1, 2)) / training[:, 0].size).float(),
        "cell_weight": torch.from_numpy(
            area_weights(series.lat, training.shape[3], series.geographic)
        ).float(),
        "static": static_channels(
            series, settings.static_fields, ever_valid[0], list(settings.static_files), climate
        ),
        "usual_range": _range_of_climatology(harmonics, cycles, series, settings),
        "sun_axes": sun_axes(series, settings.solar_zenith),
        "harmonics.coefficients": harmonics.coefficients,
    }
    return tensors, tuple(harmonics.terms)


def _range_of_climatology(
    harmonics: HarmonicClimatology, cycles: np.ndarray, series: Series, settings: PreparationSettings
) -> Tensor:
    """Mean and spread of the targets' transformed climatology, (2, target); empty if it is not an input."""
    if not settings.climatology_at_leads:
        return torch.zeros(0)
    times = torch.from_numpy(cycles[:: max(1, len(cycles) // STEPS_OF_RANGE)]).float()
    climatology = _transformed(harmonics(times[:, None]).squeeze(2), settings)
    fields = [field[field.isfinite()] for field in climatology.unbind(1)[: series.n_targets]]
    spread = [field.std(correction=0).item() or 1.0 for field in fields]
    return torch.tensor([[field.mean().item() for field in fields], spread])


def _moments_of_scaled(
    training: np.ndarray,
    cycles: np.ndarray,
    harmonics: HarmonicClimatology,
    settings: PreparationSettings,
) -> CellMoments:
    """Moments of the transformed values, or of their departures from the transformed climatology."""
    moments = CellMoments(np.zeros(training.shape[1]), training.shape[2:])
    coefficients = harmonics.coefficients.double()
    for steps, block in _blocks(training):
        values = _transformed(torch.from_numpy(block), settings)
        if settings.scaling == "anomaly":
            basis = harmonics.basis(torch.from_numpy(cycles[steps]))
            climatology = torch.einsum("tk,kchw->tchw", basis, coefficients)
            values = values - _transformed(climatology, settings)
        moments.add(values.numpy())
    return moments


def _transformed(values: Tensor, settings: PreparationSettings) -> Tensor:
    channels = zip(settings.variables, values.unbind(1), strict=True)
    return torch.stack([transform(field, settings.transform_of(name)) for name, field in channels], dim=1)


def _blocks(values: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Iterate over blocks of steps and their values in float64, of bounded size."""
    n = max(1, BYTES_AT_ONCE // (8 * values[0].size))
    for start in range(0, len(values), n):
        yield slice(start, start + n), values[start : start + n].astype(np.float64)
        forget_pages(values)


def _first_valid(values: np.ndarray) -> float:
    """Some valid value, NaN if there is none."""
    for frame in values:
        valid = frame[np.isfinite(frame)]
        if valid.size:
            return float(valid.mean())
    return float("nan")


def _stack(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).float()
