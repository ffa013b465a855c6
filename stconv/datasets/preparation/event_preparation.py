"""The preparation of an event: targets are 1 and 0 instead of fields, forecasts are probabilities."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stconv.datasets.preparation.climatology import HarmonicClimatology
from stconv.datasets.preparation.event import Event
from stconv.datasets.preparation.preparation import Batch, Preparation, tensor_of
from stconv.datasets.preparation.spec import FittedEvent, PreparationSpec
from stconv.datasets.series.filling import newest_known
from stconv.errors import ConfigError
from stconv.nn.probability import probability

if TYPE_CHECKING:
    from stconv.datasets.series.store import Series

STEPS_AT_ONCE = 64


class EventPreparation(Preparation):
    """A preparation whose targets state whether an event happens in the target fields: 1 or 0.

    The input of a network is that of `Preparation`; its forecast is a logit for the event or for each class,
    which `physical` converts to a probability. Persistence evaluates the event on the newest known value of
    each cell; the climatology is the frequency in the training period, by season and time of day if the
    period supports it (like the climatology of a field), between 0 and 1.

    Missing cells are not guessed: if they could decide whether the event happens, the event is unknown (NaN),
    and is neither trained on nor scored. Cells that never have a value do not count.
    """

    event_cells: Tensor

    def __init__(self, spec: PreparationSpec, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(spec, tensors)
        if spec.event is None:
            raise ConfigError("the preparation of an event lacks 'event'; export the model again.")
        self.fitted = spec.event
        self.event = spec.event.settings
        self.c_out = self.event.n_classes
        self._channel = self.variables.index(self.event.variable)
        self.register_buffer("event_cells", tensor_of(tensors, "event_cells").clone())
        self.frequencies = HarmonicClimatology(
            spec.event.terms, tensor_of(tensors, "frequencies.coefficients")
        )

    @classmethod
    def of(cls, fields: Preparation, event: Event, series: Series, period: range) -> EventPreparation:
        """Convert a preparation of fields to one of an event, with frequencies in the training period.

        Raises:
            ConfigError: The variable of the event is not a target, or no cell in the region ever has a value.
        """
        _check_names(event, series)
        never_valid = fields.never_valid[series.variables.index(event.variable)].cpu()
        cells = torch.from_numpy(event.cells(series)) & ~never_valid
        if not cells.any():
            raise ConfigError(
                f"no cell in the region {event.region} of event '{event.name}' ever has a value of "
                f"{event.variable}. Choose another region."
            )
        not_yet = torch.zeros(1, event.n_classes, 1, 1)
        tensors = {**fields.state_dict(), "event_cells": cells, "frequencies.coefficients": not_yet}
        units = series.units.get(event.variable, "")
        center = series.centers.get(event.variable, 0.0)
        unfitted = FittedEvent(event, units, ((0, 0, 0),), (), center)
        made = cls(dataclasses.replace(fields.spec, event=unfitted), tensors)
        happened = made._history(series, period)
        if not np.isfinite(happened).any():
            raise ConfigError(
                f"event '{event.name}' is unknown throughout the training period, since missing cells "
                "could always decide it. Choose a region or a share for which the data suffice."
            )
        climatology = HarmonicClimatology.fit(
            happened, series.cycles[period.start : period.stop], fields.settings.weekly_cycle
        )
        frequency = np.nanmean(happened, axis=(0, 2, 3)).round(6).tolist()
        fitted = FittedEvent(event, units, tuple(climatology.terms), tuple(frequency), center)
        return cls(
            dataclasses.replace(fields.spec, event=fitted),
            {**tensors, "frequencies.coefficients": climatology.coefficients},
        )

    @property
    def outputs(self) -> list[dict[str, str]]:
        """Name, units and long name of the forecast variables."""
        text = self.event.text(self.fitted.units)
        if self.event.n_classes == 1:
            return [{"name": self.event.name, "units": "1", "long_name": f"probability of {text}"}]
        return [
            {"name": name, "units": "1", "long_name": f"probability that {k} thresholds are passed: {text}"}
            for k, name in enumerate(self.event.names)
        ]

    @property
    def score_weight(self) -> Tensor | None:
        """None: an event has no area."""
        return None

    @property
    def forecastable(self) -> Tensor:
        """True: an event can always be forecast."""
        return torch.ones(self.c_out, 1, 1, dtype=torch.bool)

    def happened(self, fields: Tensor) -> Tensor:
        """Evaluate at each step whether the event happens, or which class.

        Args:
            fields: (batch, channel, steps, lat, lon), physical units, NaN is missing.

        Returns:
            float32, (batch, class, steps, 1, 1): 1 or 0, NaN if missing cells could decide.
        """
        values = fields[:, self._channel, :, self.event_cells]
        known = torch.isfinite(values)
        total = values.shape[-1]
        wanted = max(1, math.ceil(self.event.share * total - 1e-9))
        passed = []
        for threshold in (stated - self.fitted.center for stated in self.event.thresholds):
            passes = values >= threshold if self.event.side == "at_least" else values <= threshold
            n_passing = (passes & known).sum(dim=-1)
            n_at_most = n_passing + (~known).sum(dim=-1)
            state = torch.where(n_passing >= wanted, 1.0, 0.0)
            passed.append(torch.where((n_passing < wanted) & (n_at_most >= wanted), math.nan, state))
        states = torch.stack(passed, dim=1)
        if self.event.n_classes > 1:
            states = torch.stack([(states.sum(dim=1) == k).float() for k in range(self.c_out)], dim=1).where(
                torch.isfinite(states.sum(dim=1, keepdim=True)), math.nan
            )
        return states[..., None, None]

    def truth(self, batch: Batch) -> Tensor:
        """Whether the event happened: (batch, class, leads, 1, 1), NaN where unknown."""
        return self.happened(batch["targets"])

    def targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The truth, 0 where unknown, and weights: 0 where unknown, else 1."""
        happened = self.truth(batch)
        known = torch.isfinite(happened)
        return torch.where(known, happened, 0.0), known.to(happened.dtype)

    def physical(self, y: Tensor, batch: Batch) -> Tensor:
        """Probabilities from logits, (batch, class, leads, lat', lon')."""
        return probability(y)

    def climatology(self, batch: Batch) -> Tensor:
        """Training frequency at these times of day and year, (batch, class, leads, 1, 1)."""
        frequency: Tensor = self.frequencies(batch["target_cycles"]).clamp(0.0, 1.0)
        return frequency / frequency.sum(dim=1, keepdim=True) if self.c_out > 1 else frequency

    def persistence(self, batch: Batch) -> Tensor:
        """Whether the event happens in the newest known values, for every lead: (batch, class, leads, 1, 1).

        NaN if cells without a value in the window could decide.
        """
        leads = batch["target_cycles"].shape[1]
        newest = newest_known(reversed(batch["inputs"].unbind(2)))
        return self.happened(newest[:, :, None]).expand(-1, -1, leads, -1, -1)

    def _history(self, series: Series, period: range) -> np.ndarray:
        """Whether the event happened at each step of a period, float32, (time, class, 1, 1)."""
        parts = []
        for start in range(period.start, period.stop, STEPS_AT_ONCE):
            steps = series.values[start : min(start + STEPS_AT_ONCE, period.stop)]
            frames = torch.from_numpy(np.asarray(steps))
            parts.append(self.happened(frames.transpose(0, 1)[None])[0].transpose(0, 1).numpy())
        return np.concatenate(parts)


def preparation_from_spec(spec: PreparationSpec, tensors: Mapping[str, Tensor]) -> Preparation:
    """Restore a preparation of fields or of an event from its specification and tensors.

    Raises:
        ConfigError: A tensor is missing.
    """
    return (Preparation if spec.event is None else EventPreparation)(spec, tensors)


def _check_names(event: Event, series: Series) -> None:
    targets = series.variables[: series.n_targets]
    if event.variable not in targets:
        raise ConfigError(
            f"event '{event.name}' is about '{event.variable}', which is not a target; the targets are: "
            f"{', '.join(targets)}. Name it in data.preparation.targets."
        )
    if set(event.names) & set(series.variables):
        raise ConfigError(f"event '{event.name}' has the name of a variable. Give the event another name.")
