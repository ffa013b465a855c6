"""Scores of a model and its reference forecasts, collected in one pass over a period."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stconv.contenders import MODEL, OPTICAL_FLOW, PERSISTENCE
from stconv.datasets.references.baselines import baseline_forecasts
from stconv.datasets.references.fitted import ReferenceForecasts
from stconv.datasets.references.optical_flow import OpticalFlow
from stconv.datasets.series.extent import lowest_and_highest
from stconv.evaluation.likeness import likeness
from stconv.sphere import DEGREE
from stconv.uncertainty.adaptive import Adaptation, outside_shares
from stconv.uncertainty.bands import LEVELS, Bands, widened
from stconv.verification import ScoreSums, Verification, lead_labels
from stconv.verification.scores.calibration import Calibration
from stconv.verification.scores.circular import circles, known_angles, with_angles
from stconv.verification.scores.diagnostic import Diagnostic
from stconv.verification.scores.events import EventScores
from stconv.verification.scores.exceedance import Exceedance
from stconv.verification.scores.maps import ErrorMaps
from stconv.verification.scores.pooled import PooledMean
from stconv.verification.scores.scoring import Scoring, region_mask
from stconv.verification.scores.similarity import Similarity
from stconv.verification.scores.slices import seasons, slice_scores
from stconv.verification.scores.spectra import MIN_CELLS, PowerSpectra
from stconv.verification.scores.thresholds import ThresholdScores

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule
    from stconv.datasets.preparation.preparation import Preparation

COMPARED = (MODEL, PERSISTENCE)
"""Forecasts whose spectra and similarity to the observed field are scored."""
AT_ONCE = 4_000_000
"""Number of values that the diagnostics take at a time, so that a large grid needs little memory."""


class Assessment:
    """Score a model and its reference forecasts window by window.

    The references are persistence and climatology. A test of fields adds damped persistence and a linear
    regression on the 3x3 neighborhood, both fitted here on the training windows alone, and optical flow if
    the scoring asks for it. A direction that is forecast as sine and cosine is scored as a further variable,
    on the circle.

    Args:
        data: Data module after `setup`.
        preparation: Preparation of the model; its climatology is the reference forecast.
        scoring: Scores of a test besides the errors; None (validation) for the errors alone.
        bands: Uncertainty bands of the model, whose coverage is scored.

    Attributes:
        sums: Pooled sums of the errors.
        loss: Loss of all values; the caller computes and adds that of each batch.
        calibration: Scores of bands and members; None without bands.
        events: Probabilities and outcomes; None unless an event is forecast.

    Raises:
        ConfigError: A threshold or region does not fit the data.
    """

    def __init__(
        self,
        data: GridDataModule,
        preparation: Preparation,
        scoring: Scoring | None = None,
        bands: Bands | None = None,
    ) -> None:
        self._preparation, self._data, self._scoring = preparation, data, scoring
        self._names = list(data.outputs)
        self._circles = circles(data.directions, self._names)
        self.sums, self.loss = self._empty_sums(), PooledMean()
        self.events = EventScores(self._names, data.leads) if data.event is not None else None
        self._bands = None if bands is None else replace(bands, widening=torch.zeros_like(bands.widening))
        self._adaptation = Adaptation(len(self._names), data.leads)
        self.calibration = None if bands is None else Calibration(self._names, data.leads)
        self._fixed = None if bands is None else Calibration(self._names, data.leads)
        self._references: ReferenceForecasts | None = None
        self._optical_flow: OpticalFlow | None = None
        self._regions: dict[str, tuple[Tensor, ScoreSums]] = {}
        self._diagnostics: dict[str, Diagnostic] = {}
        self._exceedance: Exceedance | None = None
        if scoring is not None and self.events is None:
            self._optical_flow = OpticalFlow(data.spec) if scoring.optical_flow else None
            self._references = ReferenceForecasts.fit(
                data.series, data.spec, data.references["train"], preparation.harmonics
            )
            self._look_closer(scoring)

    def _look_closer(self, scoring: Scoring) -> None:
        series, names = self._data.series, self._names
        axes = (np.asarray(series.lat), np.asarray(series.lon), series.geographic)
        for name, box in (scoring.regions or {}).items():
            mask = torch.from_numpy(region_mask(name, box, *axes))
            self._regions[name] = (mask, self._empty_sums())
        self._diagnostics["maps"] = ErrorMaps(names, *axes)
        if min(len(axes[0]), len(axes[1])) >= MIN_CELLS:
            self._diagnostics["spectra"] = PowerSpectra(names)
        period = self._data.periods.train
        low, high = lowest_and_highest(series.values[period.start : period.stop, : len(names)])
        spread = [float(spread) for spread in high - low]
        self._diagnostics["similarity"] = Similarity(names, spread)
        if scoring.thresholds:
            self._diagnostics["thresholds"] = ThresholdScores(
                names, scoring.thresholds, scoring.scales, series.centers
            )
            self._exceedance = Exceedance(names, self._data.leads, scoring.thresholds, series.centers)

    def _empty_sums(self) -> ScoreSums:
        directions = [circle.name for circle in self._circles]
        units = self._data.outputs | dict.fromkeys(directions, DEGREE)
        return ScoreSums([*self._names, *directions], self._data.leads, units, directions)

    def add(self, batch: Mapping[str, Tensor], members: Tensor) -> Tensor:
        """Score a batch.

        Args:
            batch: Batch from a loader of the data module.
            members: Members of the model's forecast, (member, batch, target, leads, lat, lon), normalized.

        Returns:
            The forecast, which is the mean of the members, (batch, target, leads, lat, lon), physical units.
        """
        preparation = self._preparation
        forecast, bounds = preparation.physical(members.mean(0), batch), None
        if self._bands is not None:
            bounds = self._bands.physical(members, batch, preparation).flatten(0, 1)
        self.add_forecast(batch, forecast, bounds)
        if self.calibration is not None and len(members) > 1:
            fields = preparation.physical(preparation.members_in_bounds(members, batch), batch)
            self.calibration.add_members(batch["targets"], fields)
            if self._exceedance is not None:
                self._exceedance.add(batch["targets"], fields)
        return forecast

    def _adapted(self, bounds: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Widen the bands of each window by what was known at its reference time; score the fixed ones."""
        assert self._bands is not None
        assert self._fixed is not None
        for level, (lower, upper) in zip(LEVELS, bounds, strict=True):
            self._fixed.add_band(batch["targets"], lower, upper, level / 100)
        moved = []
        for i, reference in enumerate(batch["reference_index"].tolist()):
            widening = torch.from_numpy(self._adaptation.at(reference)).float()
            moved.append(widened(bounds[:, :, i : i + 1], widening, self._bands.lowest))
            outside = outside_shares(moved[-1], batch["targets"][i : i + 1])[:, 0]
            self._adaptation.observe(reference, outside.cpu().numpy())
        return torch.cat(moved, 2)

    def add_forecast(
        self, batch: Mapping[str, Tensor], forecast: Tensor, bounds: Tensor | None = None
    ) -> None:
        """Score a forecast in physical units, such as a stored one.

        Args:
            batch: Batch from a loader of the data module.
            forecast: (batch, target, leads, lat, lon), physical units.
            bounds: Bounds of the bands as calibrated, in the order of `BOUNDS`, (bounds, batch, target,
                leads, lat, lon); required if the assessment has bands.
        """
        preparation, index = self._preparation, batch["reference_index"]
        truth, weight, possible = preparation.truth(batch), preparation.score_weight, preparation.forecastable
        forecasts = {MODEL: forecast, **baseline_forecasts(preparation, batch)}
        if self._references is not None:
            forecasts |= self._references(batch)
        if self._optical_flow is not None:
            forecasts[OPTICAL_FLOW] = self._optical_flow(batch, truth.shape[1])
        possible = known_angles(possible, self._circles)
        turned = {name: with_angles(field, self._circles) for name, field in forecasts.items()}
        self.sums.add(with_angles(truth, self._circles), turned, weight, index, forecastable=possible)
        if self.events is not None:
            self.events.add(truth, forecasts, index)
        for mask, sums in self._regions.values():
            inside = with_angles(truth.masked_fill(~mask.to(truth.device), torch.nan), self._circles)
            sums.add(inside, turned, weight, index, forecastable=possible)
        few = max(1, AT_ONCE // truth[0].numel())
        for rows in torch.arange(len(truth), device=truth.device).split(few):
            fields = {name: field[rows] for name, field in forecasts.items()}
            for name, diagnostic in self._diagnostics.items():
                of = COMPARED if name in ("spectra", "similarity") else tuple(fields)
                diagnostic.add(truth[rows], {key: fields[key] for key in of})
        if self.calibration is not None:
            assert bounds is not None
            calibrated = bounds.unflatten(0, (len(LEVELS), 2))
            for level, (lower, upper) in zip(LEVELS, self._adapted(calibrated, batch), strict=True):
                self.calibration.add_band(batch["targets"], lower, upper, level / 100)

    @property
    def scores(self) -> tuple[ScoreSums | PooledMean | EventScores | Calibration | None, ...]:
        """Return the scores of this rank, for the other ranks."""
        return self.sums, self.loss, self.events, self.calibration

    def take(self, parts: Sequence[Any]) -> None:
        """Replace the scores by those of all ranks; diagnostics of this rank alone are dropped."""
        merged: list[Any] = [
            None if first is None else first.merge(*others) for first, *others in zip(*parts, strict=True)
        ]
        self.sums, self.loss, self.events, self.calibration = merged
        self._regions, self._diagnostics, self._exceedance, self._fixed = {}, {}, None, None

    def widening(self) -> Tensor | None:
        """Return the widening after the last truth, (level, target, leads); None if no band was adapted."""
        if self._bands is None or self._fixed is None or not self._fixed.scored:
            return None
        return torch.from_numpy(self._adaptation.at(sys.maxsize)).float()

    def _calibration_scores(self, calibration: Calibration) -> xr.Dataset:
        """Scores of adapted and of calibrated bands, and how the test differs from the calibration."""
        ds = calibration.to_dataset()
        if self._fixed is not None and self._fixed.scored:
            fixed = self._fixed.to_dataset()
            ds["fixed_coverage"], ds["fixed_width"] = fixed["coverage"], fixed["width"]
            periods, index = self._data.periods, self.sums.reference_index
            scored = range(int(index[0]) + 1, int(index[-1]) + self._data.leads + 1)
            ds = ds.merge(likeness(self._data.series, self._names, periods.train, periods.val, scored))
        return ds

    def verification(self, model: str) -> Verification:
        """Return the result of the period.

        Args:
            model: Name of the model.
        """
        data, series = self._data, self._data.series
        scored = self.sums.reference_index
        diagnostics = {name: part.to_dataset() for name, part in self._diagnostics.items()}
        if self.events is not None:
            diagnostics |= self.events.to_datasets()
        if self.calibration is not None:
            diagnostics["calibration"] = self._calibration_scores(self.calibration)
        if self._exceedance is not None and self._exceedance.scored:
            diagnostics["exceedance"] = self._exceedance.to_dataset()
        result = Verification(
            self.sums,
            model=model,
            data=str(data.name),
            period=(
                _date(series.times[int(scored[0]) + 1]),
                _date(series.times[int(scored[-1]) + data.leads]),
            ),
            lead_labels=lead_labels(series.step, data.leads),
            span=data.spec.span,
            diagnostics=diagnostics,
        )
        parts = {name: sums for name, (_, sums) in self._regions.items()}
        if self._scoring is not None and self._scoring.seasons and series.step.kind != "year":
            parts |= seasons(result, [_month(series.times[int(i) + 1]) for i in scored])
        if parts:
            diagnostics["slices"] = slice_scores(result, parts)
        return result


def _date(time: Any) -> str:
    return str(time)[:10]


def _month(time: Any) -> int:
    return int(_date(time)[5:7])
