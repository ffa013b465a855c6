"""Events: something that happens in a region at a time, or not; asked of a network instead of fields."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from stconv.datasets.preparation.climatology import HarmonicClimatology
from stconv.datasets.preparation.preparation import Batch, Preparation
from stconv.dims import LON
from stconv.errors import ConfigError
from stconv.nn.probability import probability
from stconv.sphere import within, within_longitudes

if TYPE_CHECKING:
    from stconv.datasets.series.store import Series

Side = Literal["at_least", "at_most"]
STEPS_AT_ONCE = 64


@dataclass(frozen=True)
class Event:
    """An event such as "at least 0.5 mm of rain on a tenth of the region".

    Attributes:
        variable: The target that it is about.
        threshold: In the units of that target. Several, in ascending order, make classes that exclude each
            other, one more than there are thresholds.
        side: A cell passes with a value that is at_least the threshold, or at_most.
        share: Share of the region's cells that have to pass, in [0, 1]; 0 asks for a single cell.
        region: First and last coordinate by dimension, as in {lat: [30, 45], lon: [-100, -80]}; a dimension
            that is left out is taken whole. A longitude range may cross the date line.
        name: What to call it in scores and forecasts.
    """

    variable: str
    threshold: float | list[float]
    side: Side = "at_least"
    share: float = 0.0
    region: dict[str, list[float]] = field(default_factory=dict)
    name: str = "event"

    def __post_init__(self) -> None:
        thresholds = self.thresholds
        if not thresholds or any(a >= b for a, b in pairwise(thresholds)):
            raise ConfigError(
                f"threshold of event '{self.name}' is {self.threshold}; expected a number, or several in "
                "ascending order."
            )
        if self.side not in get_args(Side):
            raise ConfigError(
                f"side of event '{self.name}' is {self.side!r}; expected one of: {', '.join(get_args(Side))}."
            )
        if not 0 <= self.share <= 1:
            raise ConfigError(
                f"share of event '{self.name}' is {self.share}; expected a share of the region's cells from "
                "0 (a single one) to 1 (all)."
            )
        for dim, bounds in self.region.items():
            if len(bounds) != 2:
                raise ConfigError(
                    f"region of event '{self.name}' has {len(bounds)} numbers along {dim}; expected two: "
                    "first and last."
                )

    @property
    def thresholds(self) -> list[float]:
        """One or several, ascending."""
        return [self.threshold] if isinstance(self.threshold, int | float) else list(self.threshold)

    @property
    def n_classes(self) -> int:
        """1 for an event that happens or not, else the number of classes that exclude each other."""
        return 1 if len(self.thresholds) == 1 else len(self.thresholds) + 1

    @property
    def names(self) -> list[str]:
        """Of the event, or of each class, from none of the thresholds passed to all of them."""
        return [self.name] if self.n_classes == 1 else [f"{self.name}_{k}" for k in range(self.n_classes)]

    def text(self, units: str = "") -> str:
        """The event as a person says it."""
        bounds = " and ".join(f"{threshold:g}" for threshold in self.thresholds)
        cells = f"{100 * self.share:g} % of the cells" if self.share else "some cell"
        region = ", ".join(f"{dim} {first:g} to {last:g}" for dim, (first, last) in self.region.items())
        what = f"{self.variable} {self.side.replace('_', ' ')} {bounds} {units}".rstrip()
        return f"{what} in {cells}" + (f" of {region}" if region else "")

    def cells(self, series: Series) -> np.ndarray:
        """Cells of the region, bool, (lat, lon).

        Raises:
            ConfigError: A dimension is not one of the grid, or no cell lies in the region.
        """
        dims = ("lat", "lon") if series.geographic else ("y", "x")
        unknown = sorted(set(self.region) - set(dims))
        if unknown:
            raise ConfigError(
                f"region of event '{self.name}' names {', '.join(unknown)}; "
                f"the grid has {' and '.join(dims)}."
            )
        inside = [
            self._along(dim, np.asarray(axis, dtype=float))
            for dim, axis in zip(dims, (series.lat, series.lon), strict=True)
        ]
        cells = inside[0][:, None] & inside[1][None]
        if not cells.any():
            extents = ", ".join(
                f"{dim} {float(axis[0]):g} to {float(axis[-1]):g}"
                for dim, axis in zip(dims, (series.lat, series.lon), strict=True)
            )
            raise ConfigError(
                f"no cell lies in the region {self.region} of event '{self.name}'; the grid has {extents}."
            )
        return cells

    def _along(self, dim: str, axis: np.ndarray) -> np.ndarray:
        if dim not in self.region:
            return np.ones(len(axis), dtype=bool)
        return (within_longitudes if dim == LON else within)(axis, *self.region[dim])


class EventPreparation(Preparation):
    """A preparation whose targets are an event in the targets' fields: 1 where it happens, 0 where not.

    What a network sees is as in `Preparation`; what it forecasts are logits, one for the event or for each
    class, whose probability is what `physical` returns. Persistence is the state of the newest frame; the
    climatology is the frequency in the training period, by season and time of day where the period supports
    it (as the climatology of a field), between 0 and 1.

    Missing cells are not guessed: where they could decide whether the event happens, it is not known (NaN),
    and neither trained on nor scored. Cells that never have a value are not counted.
    """

    event_cells: Tensor

    def __init__(self, spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        super().__init__(spec, tensors)
        self.event = Event(**spec["event"])
        self.event_units = str(spec["event_units"])
        self.c_out = self.event.n_classes
        self._channel = self.variables.index(self.event.variable)
        self.register_buffer("event_cells", tensors["event_cells"].clone())
        self.frequencies = HarmonicClimatology(spec["event_terms"], tensors["frequencies.coefficients"])

    @classmethod
    def of(cls, fields: Preparation, event: Event, series: Series, period: range) -> EventPreparation:
        """Make a preparation of fields one of an event, with its frequencies in the training period.

        Raises:
            ConfigError: The event is about a variable that is no target, or no cell that ever has a value
                lies in its region.
        """
        targets = series.variables[: series.n_targets]
        if event.variable not in targets:
            raise ConfigError(
                f"event '{event.name}' is about '{event.variable}', which is no target; targets are: "
                f"{', '.join(targets)}. Name it in data.targets."
            )
        if set(event.names) & set(series.variables):
            raise ConfigError(f"event '{event.name}' is called like a variable. Give it another name.")
        never_valid = fields.never_valid[series.variables.index(event.variable)].cpu()
        cells = torch.from_numpy(event.cells(series)) & ~never_valid
        if not cells.any():
            raise ConfigError(
                f"no cell in the region {event.region} of event '{event.name}' ever has a value of "
                f"{event.variable}. Choose another region."
            )
        not_yet = torch.zeros(1, event.n_classes, 1, 1)
        tensors = {**fields.state_dict(), "event_cells": cells, "frequencies.coefficients": not_yet}
        spec = {
            **fields.to_spec(),
            "event": dataclasses.asdict(event),
            "event_units": series.units.get(event.variable, ""),
            "event_terms": [[0, 0, 0]],
        }
        made = cls(spec, tensors)
        happened = made._history(series, period)
        if not np.isfinite(happened).any():
            raise ConfigError(
                f"event '{event.name}' is nowhere known in the training period: missing cells could always "
                "decide it. Choose a region or a share that the data can tell."
            )
        made.frequencies = HarmonicClimatology.fit(
            happened, series.cycles[period.start : period.stop], made.weekly_cycle
        )
        made._spec["event_terms"] = [list(term) for term in made.frequencies.terms]
        made._spec["event_frequency"] = np.nanmean(happened, axis=(0, 2, 3)).round(6).tolist()
        return made

    @property
    def frequency(self) -> list[float]:
        """Mean frequency of the event, or of each class, in the training period."""
        return list(self._spec["event_frequency"])

    @property
    def outputs(self) -> list[dict[str, str]]:
        """Name, units and long name of what is forecast."""
        text = self.event.text(self.event_units)
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
        """True: an event can be forecast everywhere."""
        return torch.ones(self.c_out, 1, 1, dtype=torch.bool)

    def happened(self, fields: Tensor) -> Tensor:
        """Say whether the event happens, or which class, at each step.

        Args:
            fields: (batch, channel, steps, lat, lon), physical units, NaN is missing.

        Returns:
            float32, (batch, class, steps, 1, 1): 1 or 0, NaN where missing cells could decide.
        """
        values = fields[:, self._channel, :, self.event_cells]
        known = torch.isfinite(values)
        total = values.shape[-1]
        wanted = max(1, math.ceil(self.event.share * total - 1e-9))
        passed = []
        for threshold in self.event.thresholds:
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
        """Whether the event happened: (batch, class, leads, 1, 1), NaN where that is not known."""
        return self.happened(batch["targets"])

    def targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The truth, 0 where it is not known, and weights: 0 there, else 1."""
        happened = self.truth(batch)
        known = torch.isfinite(happened)
        return torch.where(known, happened, 0.0), known.to(happened.dtype)

    def physical(self, y: Tensor, batch: Batch) -> Tensor:
        """Probabilities from logits, (batch, class, leads, lat', lon')."""
        return probability(y)

    def climatology(self, batch: Batch) -> Tensor:
        """Frequency in the training period at these times of day and year, (batch, class, leads, 1, 1)."""
        frequency: Tensor = self.frequencies(batch["target_cycles"]).clamp(0.0, 1.0)
        return frequency / frequency.sum(dim=1, keepdim=True) if self.c_out > 1 else frequency

    def persistence(self, batch: Batch) -> Tensor:
        """The state of the newest frame at every lead, (batch, class, leads, 1, 1), NaN where not known."""
        leads = batch["target_cycles"].shape[1]
        return self.happened(batch["inputs"][:, :, -1:]).expand(-1, -1, leads, -1, -1)

    def _history(self, series: Series, period: range) -> np.ndarray:
        """Whether the event happened at each step of a period, float32, (time, class, 1, 1)."""
        parts = []
        for start in range(period.start, period.stop, STEPS_AT_ONCE):
            frames = torch.from_numpy(series.values[start : min(start + STEPS_AT_ONCE, period.stop)])
            parts.append(self.happened(frames.transpose(0, 1)[None])[0].transpose(0, 1).numpy())
        return np.concatenate(parts)


def preparation_from_spec(spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Preparation:
    """Rebuild a preparation, of fields or of an event, from its specification and tensors.

    Raises:
        ConfigError: A setting or a tensor is missing.
    """
    return (EventPreparation if "event" in spec else Preparation).from_spec(spec, tensors)
