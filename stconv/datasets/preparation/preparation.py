"""Conversion of a batch in physical units to the input of a network, and back.

One `torch.nn.Module` serves training, test, forecast and service. The statistics of the training period are
buffers, so that checkpoints and bundles contain them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stconv.datasets.preparation.climatology import HarmonicClimatology
from stconv.datasets.preparation.features import climatology_channels, cos_zenith, time_channels
from stconv.datasets.preparation.fitting import fit_statistics
from stconv.datasets.preparation.scaling import inverse_transform, transform
from stconv.datasets.preparation.settings import Block, PreparationSettings
from stconv.datasets.preparation.spec import PreparationSpec
from stconv.datasets.series.filling import fill_forward_and_backward, fill_from_around, newest_known
from stconv.errors import ConfigError, ShapeError
from stconv.nn.bounding import drawn_above
from stconv.ranks import sums_of_all

if TYPE_CHECKING:
    from stconv.datasets.series.store import Series

Batch = Mapping[str, Tensor]
CHANNEL = -4
"""Dimension of the channels, counted from the end."""


class Preparation(nn.Module):
    """Normalization, imputation, mask, static fields and time features, with their inverses.

    Use `fit`. Shapes and units of a batch: see `dataset.window`, with a leading batch dimension. The channels
    of the network's input are those of `PreparationSettings.channels`, in that order. Targets that are not
    inputs are hidden from the network, see `targets_are_inputs`.

    Args:
        spec: Settings, and the results of fitting that are not tensors.
        tensors: The `state_dict` of a fitted preparation.

    Attributes:
        c_in: Number of input channels of the network.
        c_out: Number of forecast channels.
        cell_weight: cos(latitude) where the grid is geographic, else 1; float32, (lat, lon).
        never_valid: Cells without a valid value in training, bool, (channel, lat, lon).
        missing_share: Missing fraction in the training period, float32, (channel,).

    Raises:
        ConfigError: A tensor is missing.
    """

    center: Tensor
    scale: Tensor
    fill: Tensor
    never_valid: Tensor
    missing_share: Tensor
    cell_weight: Tensor
    static: Tensor
    sun_axes: Tensor
    usual_range: Tensor
    """Mean and spread of the targets' climatology; the name is part of bundles and checkpoints."""

    def __init__(self, spec: PreparationSpec, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.spec, settings = spec, spec.settings
        self.settings = settings
        self.variables, self.c_in, self.c_out = settings.variables, settings.c_in, len(settings.targets)
        self._visible = [self.variables.index(name) for name in settings.visible]
        for name in ("center", "scale", "fill", "never_valid", "missing_share", "cell_weight", "static"):
            self.register_buffer(name, tensor_of(tensors, name).clone())
        for name, wanted in (
            ("usual_range", settings.climatology_at_leads),
            ("sun_axes", settings.solar_zenith),
        ):
            self.register_buffer(name, tensor_of(tensors, name).clone() if wanted else torch.zeros(0))
        self.whole_year = any(term[1] for term in spec.climatology_terms)
        self.harmonics = HarmonicClimatology(
            spec.climatology_terms, tensor_of(tensors, "harmonics.coefficients")
        )

    @classmethod
    def fit(cls, series: Series, period: range, settings: PreparationSettings) -> Preparation:
        """Fit all statistics on a period of a series, without using any other step.

        Args:
            series: The series; its static fields from files become channels.
            period: Training period.
            settings: Settings of the preparation.

        Returns:
            The fitted preparation.

        Raises:
            ConfigError: A setting contradicts the series or its grid.
            MissingValuesError: A variable has no valid value, or missing values that are not allowed.
            DataError: A transform for non-negative values meets negative ones.
        """
        if settings.variables != series.variables or len(settings.targets) != series.n_targets:
            raise ConfigError(
                f"the settings name the variables {', '.join(settings.variables)} with "
                f"{len(settings.targets)} target(s), the series holds {', '.join(series.variables)} with "
                f"{series.n_targets}. Load the series with the inputs and targets of the settings."
            )
        unread = [name for name in settings.static_files if name not in series.static]
        if unread:
            raise ConfigError(
                f"static_files names '{unread[0]}', which was not read with the series; it holds "
                f"{', '.join(series.static) or 'none'}. Read it with `read_static`."
            )
        settings = settings_of_departures(settings, series.centers)
        tensors, terms = fit_statistics(series, period, settings)
        return cls(PreparationSpec(settings.without_folders(), terms), tensors)

    @property
    def targets_are_inputs(self) -> bool:
        """Whether channels 0 to c_out - 1 of the network's input are the history of the targets."""
        return self._visible[: self.c_out] == list(range(self.c_out))

    def inputs(self, batch: Batch) -> Tensor:
        """Compute the input of the network, normalized and finite.

        Args:
            batch: With "inputs" and "input_cycles", and "target_cycles" if the climatology at the leads is an
                input.

        Returns:
            float32, (batch, c_in, t_in, lat, lon).

        Raises:
            ShapeError: Channels or grid of the batch differ from those of the fit.
        """
        x, cycles = batch["inputs"], batch["input_cycles"]
        n_lat, n_lon = self.cell_weight.shape
        if x.ndim != 5 or (x.shape[1], *x.shape[3:]) != (len(self.variables), n_lat, n_lon):
            raise ShapeError(
                f"inputs of a batch have shape {tuple(x.shape)}; expected (batch, {len(self.variables)}, "
                f"time, {n_lat}, {n_lon}): the variables {', '.join(self.variables)} on the grid of the "
                "training data."
            )
        z = self.normalize(x, cycles)
        known = torch.isfinite(z)
        z = z if known.all() else self._imputed(torch.where(known, z, torch.nan), cycles)
        make: dict[Block, Callable[[], Tensor]] = {
            "values": lambda: z[:, self._visible],
            "validity": lambda: known[:, self._visible].to(z.dtype),
            "static": lambda: self.static[None, :, None].expand(len(x), -1, x.shape[2], -1, -1),
            "time": lambda: self._time(cycles),
            "sun": lambda: cos_zenith(cycles, *self.sun_axes.split([n_lat, n_lon]))[:, None],
            "climatology": lambda: self._climatology_at_leads(batch),
        }
        return torch.cat([make[block]() for block in self.settings.channels], dim=1)

    def _imputed(self, z: Tensor, cycles: Tensor) -> Tensor:
        """Substitute for missing normalized inputs, (batch, channel, time, lat, lon)."""
        if self.settings.impute == "climatology":
            z = z.where(~z.isnan(), self.normalize(self.harmonics(cycles), cycles))
        elif self.settings.impute in ("persistence", "neighbors"):
            z = fill_forward_and_backward(z)
            z = fill_from_around(z) if self.settings.impute == "neighbors" else z
        return z.where(torch.isfinite(z), self.fill.view(-1, 1, 1, 1))

    def _time(self, cycles: Tensor) -> Tensor:
        features = time_channels(cycles, self.settings.weekly_cycle, self.whole_year)
        return features[..., None, None].expand(-1, -1, -1, *self.cell_weight.shape)

    def _climatology_at_leads(self, batch: Batch) -> Tensor:
        middle, spread = self.usual_range[..., None, None, None]
        coming = self._per_channel(self.harmonics(batch["target_cycles"])[:, : self.c_out], transform)
        t_in = batch["input_cycles"].shape[1]
        return climatology_channels(((coming - middle) / spread).nan_to_num(), t_in)

    def targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute normalized targets and the weight of each value in the loss.

        Args:
            batch: With "targets" and "target_cycles".

        Returns:
            Targets, 0 where missing, and weights, 0 where missing, else proportional to the area of the cell
            with mean 1 over the valid values; both float32, (batch, c_out, leads, lat, lon).
        """
        return self._weighted(self.normalize(batch["targets"], batch["target_cycles"]))

    def visible_targets(self, x: Tensor, cycles: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the input variables that the network sees as targets of a reconstruction.

        Args:
            x: All channels of the series, float32, (batch, channel, time, lat, lon), physical units.
            cycles: Fractions of day, year and week, (batch, time, 3).

        Returns:
            Targets and weights as for `targets`, (batch, visible variable, time, lat, lon).
        """
        return self._weighted(self.normalize(x, cycles)[:, self._visible])

    def _weighted(self, z: Tensor) -> tuple[Tensor, Tensor]:
        valid = torch.isfinite(z)
        weight = valid * self.cell_weight
        n_valid, total = sums_of_all(torch.stack([valid.sum(), weight.sum()]))
        weight = weight * (n_valid / total.clamp(min=1e-12))
        return torch.where(valid, z, 0.0), weight

    def truth(self, batch: Batch) -> Tensor:
        """Observed targets, (batch, c_out, leads, lat, lon), physical units, NaN where unknown."""
        return batch["targets"]

    @property
    def score_weight(self) -> Tensor | None:
        """Weight of each cell in a score, (lat, lon)."""
        return self.cell_weight

    @property
    def forecastable(self) -> Tensor:
        """Mask of the cells that can be forecast, bool, (c_out, lat, lon)."""
        return ~self.never_valid[: self.c_out]

    def normalize(self, x: Tensor, cycles: Tensor) -> Tensor:
        """Transform and scale the first channels of the series; missing values stay NaN.

        Args:
            x: float32, (batch, channel, time, lat, lon), physical units.
            cycles: Fractions of day, year and week, (batch, time, 3).
        """
        channels = slice(0, x.shape[1])
        x = self._per_channel(x, transform)
        if self.settings.scaling == "anomaly":
            x = x - self._per_channel(self.harmonics(cycles)[:, channels], transform)
        return (x - self.center[channels, None]) / self.scale[channels, None]

    def physical(self, y: Tensor, batch: Batch) -> Tensor:
        """Undo the normalization of a forecast.

        Args:
            y: float32, (batch, c_out, leads, lat, lon), normalized; or with leading dimensions, (..., batch,
                c_out, leads, lat, lon), such as ensemble members.
            batch: With "target_cycles".

        Returns:
            The same shape in physical units, NaN in cells that never had a value in training.
        """
        channels = slice(0, y.shape[CHANNEL])
        x = y * self.scale[channels, None] + self.center[channels, None]
        if self.settings.scaling == "anomaly":
            x = x + self._per_channel(self.harmonics(batch["target_cycles"])[:, channels], transform)
        x = self._per_channel(x, inverse_transform)
        return self.bounded(x).masked_fill(self.never_valid[channels, None], math.nan)

    def bounded(self, x: Tensor) -> Tensor:
        """Clip targets in physical units, (..., c_out, leads, lat, lon), to their bounds."""
        bounds = self.settings.bounds
        if not bounds:
            return x
        limits = [bounds.get(name, [None, None]) for name in self.variables[: x.shape[CHANNEL]]]
        parts = zip(x.unbind(CHANNEL), limits, strict=True)
        return torch.stack(
            [part if low is high is None else part.clamp(low, high) for part, (low, high) in parts], CHANNEL
        )

    def members_in_bounds(self, members: Tensor, batch: Batch) -> Tensor:
        """Draw the members of a forecast into the bounds of the targets without a change of their mean.

        See `drawn_above`; a mean beyond a bound stays there, and `physical` clips it.

        Args:
            members: float32, (member, batch, c_out, leads, lat, lon), normalized.
            batch: With "target_cycles".

        Returns:
            The same shape, normalized; a target without bounds, or a single member, is unchanged.
        """
        if len(members) == 1 or not self.settings.bounds:
            return members
        channels = []
        for channel, name in enumerate(self.variables[: self.c_out]):
            low, high = self.settings.bounds.get(name, (None, None))
            drawn = members[:, :, channel]
            if low is not None:
                drawn = drawn_above(drawn, self._normalized_value(low, members[0], batch)[:, channel])
            if high is not None:
                drawn = -drawn_above(-drawn, -self._normalized_value(high, members[0], batch)[:, channel])
            channels.append(drawn)
        return torch.stack(channels, 2)

    def _normalized_value(self, value: float, like: Tensor, batch: Batch) -> Tensor:
        """Normalize one physical value of all targets, shaped like a forecast; 0 where that is unknown."""
        return self.normalize(torch.full_like(like, value), batch["target_cycles"]).nan_to_num()

    def climatology(self, batch: Batch) -> Tensor:
        """Climatology of the targets at the target times: (batch, c_out, leads, lat, lon), physical units."""
        climatology: Tensor = self.harmonics(batch["target_cycles"])
        return climatology[:, : self.c_out]

    def persistence(self, batch: Batch) -> Tensor:
        """Newest value of each cell at every lead, (batch, c_out, leads, lat, lon), physical units.

        The newest value is that of the newest input frame or, if missing, the last known one in the window;
        NaN if there is none.
        """
        leads = batch["target_cycles"].shape[1]
        newest = newest_known(reversed(batch["inputs"][:, : self.c_out].unbind(2)))
        return newest[:, :, None].expand(-1, -1, leads, -1, -1)

    def _per_channel(self, x: Tensor, function: Any) -> Tensor:
        if not any(name != "identity" for name in self.settings.transforms.values()):
            return x
        channels = zip(self.variables, x.unbind(CHANNEL), strict=False)
        return torch.stack(
            [function(field, self.settings.transform_of(name)) for name, field in channels], CHANNEL
        )


def settings_of_departures(
    settings: PreparationSettings, centers: Mapping[str, float]
) -> PreparationSettings:
    """Convert settings in physical units to departures from the centers of a series.

    Raises:
        ConfigError: A variable that is kept as departures has a transform.
    """
    for name, kind in settings.transforms.items():
        if kind != "identity" and name in centers:
            raise ConfigError(
                f"transforms: {kind} of '{name}' cannot be applied: its values lie so far from zero that "
                f"they are kept as departures from {centers[name]:.10g}. Remove it from `transforms`."
            )
    bounds = {
        name: [None if end is None else end - centers.get(name, 0.0) for end in ends]
        for name, ends in settings.bounds.items()
    }
    return replace(settings, bounds=bounds) if centers else settings


def tensor_of(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """Return a tensor of a fitted preparation.

    Raises:
        ConfigError: The tensor is missing.
    """
    if name not in tensors:
        raise ConfigError(f"the preparation lacks '{name}'; export the model again.")
    return tensors[name]
