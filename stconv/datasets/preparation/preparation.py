"""From a batch in physical units to what a network sees, and back.

One `torch.nn.Module` for training, test, forecast and service; what it learned from the training period are
buffers, so that they travel with a checkpoint and in a bundle.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from stconv.datasets.preparation.climatology import HarmonicClimatology
from stconv.datasets.preparation.features import cos_zenith, count_channels, time_channels, usual_channels
from stconv.datasets.preparation.fitting import fit_statistics
from stconv.datasets.preparation.scaling import Scaling, Transform, inverse_transform, transform
from stconv.datasets.series.missing import carried
from stconv.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from stconv.datasets.series.store import Series

Batch = Mapping[str, Tensor]
Impute = Literal["mean", "climatology", "persistence", "none"]
CHANNEL = -4
"""Dimension of the channels, whatever is in front of them."""


class Preparation(nn.Module):
    """Normalization, imputation, mask, static fields and time features, with their inverses.

    Use `fit` or `from_spec`. Shapes and units of a batch: see `dataset.window`, with a leading batch
    dimension.

    Channels of the network's input: the targets' history, the other inputs, a mask per input (1 where there
    was a value), static fields computed and from files, sin and cos of day and year (and week) at the
    input times, the cosine of the solar zenith angle at the input times, what is usual at the leads.
    Targets that are no inputs are kept from the network; `targets_are_inputs` says which.

    Attributes:
        c_in: Channels the network sees.
        c_out: Channels it forecasts.
        cell_weight: cos(latitude) where the grid is geographic, else 1; float32, (lat, lon).
        never_valid: Cells without a valid value in training, bool, (channel, lat, lon).
        missing_share: Share of values missing in training, float32, (channel,).
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

    def __init__(self, spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._spec = copy.deepcopy(dict(spec))
        self.variables: tuple[str, ...] = tuple(spec["variables"])
        self.input_variables: tuple[str, ...] = tuple(spec["inputs"])
        self.c_out = int(spec["n_targets"])
        self.scaling: Scaling = spec["scaling"]
        self.transforms: dict[str, Transform] = dict(spec["transforms"])
        self.impute: Impute = spec["impute"]
        self.mask_channel = bool(spec["mask_channel"])
        self.static_fields: tuple[str, ...] = tuple(spec["static_fields"])
        self.time_features = bool(spec["time_features"])
        self.static_files: tuple[str, ...] = tuple(spec.get("static_files", ()))
        self.solar_zenith = bool(spec.get("solar_zenith", False))
        self.weekly_cycle = bool(spec.get("weekly_cycle", False))
        self.usual = bool(spec.get("usual", False))
        self.bounds: dict[str, list[float | None]] = dict(spec.get("bounds", {}))
        self.per_cell = bool(spec["per_cell"])
        n_inputs = len(self.input_variables)
        self.c_in = count_channels(
            n_inputs,
            self.mask_channel,
            self.static_fields,
            self.time_features,
            self.static_files,
            self.solar_zenith,
            self.weekly_cycle,
            self.c_out if self.usual else 0,
        )
        self._visible = [
            self.variables.index(name) for name in self.variables if name in self.input_variables
        ]
        for name in ("center", "scale", "fill", "never_valid", "missing_share", "cell_weight", "static"):
            self.register_buffer(name, tensors[name].clone())
        self.register_buffer("usual_range", tensors["usual_range"].clone() if self.usual else torch.zeros(0))
        self.register_buffer("sun_axes", tensors["sun_axes"].clone() if self.solar_zenith else torch.zeros(0))
        self.whole_year = any(term[1] for term in spec["climatology_terms"])
        self.harmonics = HarmonicClimatology(spec["climatology_terms"], tensors["harmonics.coefficients"])

    @classmethod
    def fit(
        cls,
        series: Series,
        period: range,
        *,
        scaling: Scaling = "zscore",
        per_cell: bool = False,
        inputs: Sequence[str] | None = None,
        transforms: Mapping[str, str] | None = None,
        impute: Impute = "mean",
        mask_channel: bool = False,
        static_fields: Sequence[str] = (),
        time_features: bool = False,
        solar_zenith: bool = False,
        weekly_cycle: bool = False,
        usual: bool = False,
        bounds: Mapping[str, Sequence[float | None]] | None = None,
    ) -> Preparation:
        """Fit all statistics on a period of a series, and on nothing else of it.

        Args:
            series: The series; its static fields from files become channels.
            period: Training period.
            scaling: "zscore", "minmax", "none", or "anomaly": departures from the climatology (both after the
                transform), divided by their standard deviation.
            per_cell: Center and scale per cell instead of per channel.
            inputs: Variables the network sees; default: all. Either all targets or none.
            transforms: "log1p" or "sqrt" by variable, before scaling.
            impute: What stands in for a missing input: the training "mean", the "climatology", or by
                "persistence" the newest value before it in the cell, or the first after it, as a normalized
                departure, and the mean where the window has none; "none" refuses missing values.
            mask_channel: Show the network, per input, which values were there.
            static_fields: Names of static fields, see `features.STATIC_CHANNELS`.
            time_features: Show the network sin and cos of day and, if the period covers it, year.
            solar_zenith: Show the network the cosine of the solar zenith angle.
            weekly_cycle: Let the climatology, and the time features, follow the week.
            usual: Show the network the climatology of the targets at the leads, see
                `features.usual_channels`.
            bounds: Least and greatest physical value of a forecast, by target; None for none. Rain is never
                negative.

        Returns:
            The fitted preparation.

        Raises:
            ConfigError: A setting is unknown, contradicts another or the grid.
            MissingValuesError: A variable has no valid value, or missing ones that are not allowed.
            DataError: Negative values under a transform that allows none.
        """
        _choose("scaling", scaling, get_args(Scaling))
        _choose("impute", impute, get_args(Impute))
        spec: dict[str, Any] = {
            "variables": list(series.variables),
            "inputs": list(inputs or series.variables),
            "n_targets": series.n_targets,
            "scaling": scaling,
            "per_cell": per_cell,
            "transforms": dict(transforms or {}),
            "impute": impute,
            "mask_channel": mask_channel,
            "static_fields": list(static_fields),
            "static_files": list(series.static),
            "time_features": time_features,
            "solar_zenith": solar_zenith,
            "weekly_cycle": weekly_cycle,
            "usual": usual,
            "bounds": _checked_bounds(bounds or {}, series.variables[: series.n_targets]),
        }
        check_target_inputs(spec["inputs"], series.variables[: series.n_targets])
        tensors, terms = fit_statistics(series, period, spec)
        return cls({**spec, "climatology_terms": terms}, tensors)

    def to_spec(self) -> dict[str, Any]:
        """Settings as JSON values; with the tensors of `state_dict` they rebuild the preparation."""
        return copy.deepcopy(self._spec)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Preparation:
        """Rebuild a preparation from `to_spec` and the tensors of its `state_dict`.

        Raises:
            ConfigError: A setting or a tensor is missing.
        """
        try:
            return cls(spec, tensors)
        except KeyError as error:
            raise ConfigError(f"the preparation lacks {error}; export the model again.") from error

    @property
    def targets_are_inputs(self) -> bool:
        """Whether channels 0 to c_out - 1 of the network's input are the targets' own history."""
        return self._visible[: self.c_out] == list(range(self.c_out))

    def inputs(self, batch: Batch) -> Tensor:
        """What the network sees: normalized and finite.

        Args:
            batch: With "inputs" and "input_cycles", and "target_cycles" if what is usual is shown.

        Returns:
            float32, (batch, c_in, t_in, lat, lon).

        Raises:
            ShapeError: The batch has other channels or another grid than the preparation was fitted on.
        """
        x, cycles = batch["inputs"], batch["input_cycles"]
        n_lat, n_lon = self.cell_weight.shape
        if x.ndim != 5 or (x.shape[1], *x.shape[3:]) != (len(self.variables), n_lat, n_lon):
            raise ShapeError(
                f"inputs of a batch have shape {tuple(x.shape)}; expected (batch, {len(self.variables)}, "
                f"time, {n_lat}, {n_lon}): the variables {', '.join(self.variables)} "
                "on the grid of the training data."
            )
        z = self.normalize(x, cycles)
        valid = torch.isfinite(z)
        if self.impute == "persistence":
            z = carried(z)
        elif self.impute == "climatology":
            z = torch.where(valid, z, self.normalize(self.harmonics(cycles), cycles))
        z = torch.where(torch.isfinite(z), z, self.fill.view(-1, 1, 1, 1))
        parts = [z[:, self._visible]]
        if self.mask_channel:
            parts.append(valid[:, self._visible].to(z.dtype))
        n_batch, t_in = cycles.shape[:2]
        if len(self.static):
            parts.append(self.static[None, :, None].expand(n_batch, -1, t_in, -1, -1))
        if self.time_features:
            features = time_channels(cycles, self.weekly_cycle, self.whole_year)[..., None, None]
            parts.append(features.expand(-1, -1, -1, n_lat, n_lon))
        if self.solar_zenith:
            lat, lon = self.sun_axes.split([n_lat, n_lon])
            parts.append(cos_zenith(cycles, lat, lon)[:, None])
        if self.usual:
            middle, spread = self.usual_range[..., None, None, None]
            coming = self._per_channel(self.harmonics(batch["target_cycles"])[:, : self.c_out], transform)
            parts.append(usual_channels(((coming - middle) / spread).nan_to_num(), t_in))
        return torch.cat(parts, dim=1)

    def targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Normalized targets and the weight of each value in the loss.

        Args:
            batch: With "targets" and "target_cycles".

        Returns:
            Targets, 0 where missing, and weights, 0 where missing, else proportional to the area of the cell
            with mean 1 over the valid values; both float32, (batch, c_out, leads, lat, lon).
        """
        z = self.normalize(batch["targets"], batch["target_cycles"])
        valid = torch.isfinite(z)
        weight = valid * self.cell_weight
        weight = weight * (valid.sum() / weight.sum().clamp(min=1e-12))
        return torch.where(valid, z, 0.0), weight

    def truth(self, batch: Batch) -> Tensor:
        """What came, (batch, c_out, leads, lat, lon), physical units, NaN where that is not known."""
        return batch["targets"]

    @property
    def score_weight(self) -> Tensor | None:
        """Weight of each cell in a score, (lat, lon)."""
        return self.cell_weight

    @property
    def forecastable(self) -> Tensor:
        """Where a forecast is possible, bool, (c_out, lat, lon)."""
        return ~self.never_valid[: self.c_out]

    def normalize(self, x: Tensor, cycles: Tensor) -> Tensor:
        """Transform and scale the first channels of the series; missing stays NaN.

        Args:
            x: float32, (batch, channel, time, lat, lon), physical units.
            cycles: Fractions of day, year and week, (batch, time, 3).
        """
        channels = slice(0, x.shape[1])
        x = self._per_channel(x, transform)
        if self.scaling == "anomaly":
            x = x - self._per_channel(self.harmonics(cycles)[:, channels], transform)
        return (x - self.center[channels, None]) / self.scale[channels, None]

    def physical(self, y: Tensor, batch: Batch) -> Tensor:
        """Undo the normalization of a forecast.

        Args:
            y: float32, (batch, c_out, leads, lat, lon), normalized; or several of one batch in front of it,
                (..., batch, c_out, leads, lat, lon), such as the members of an ensemble.
            batch: With "target_cycles".

        Returns:
            The same shape in physical units, NaN in cells that never had a value in training.
        """
        channels = slice(0, y.shape[CHANNEL])
        x = y * self.scale[channels, None] + self.center[channels, None]
        if self.scaling == "anomaly":
            x = x + self._per_channel(self.harmonics(batch["target_cycles"])[:, channels], transform)
        x = self._per_channel(x, inverse_transform)
        return self.bounded(x).masked_fill(self.never_valid[channels, None], math.nan)

    def bounded(self, x: Tensor) -> Tensor:
        """Hold targets in physical units, (..., c_out, leads, lat, lon), to their bounds."""
        if not self.bounds:
            return x
        limits = [self.bounds.get(name, [None, None]) for name in self.variables[: x.shape[CHANNEL]]]
        parts = zip(x.unbind(CHANNEL), limits, strict=True)
        return torch.stack(
            [part if low is high is None else part.clamp(low, high) for part, (low, high) in parts], CHANNEL
        )

    def climatology(self, batch: Batch) -> Tensor:
        """Climatology of the targets at the target times: (batch, c_out, leads, lat, lon), physical units."""
        climatology: Tensor = self.harmonics(batch["target_cycles"])
        return climatology[:, : self.c_out]

    def persistence(self, batch: Batch) -> Tensor:
        """The newest value of each cell, at every lead: (batch, c_out, leads, lat, lon), physical units.

        It is that of the newest input frame, or what the window last knew; NaN where it knows none.
        """
        leads = batch["target_cycles"].shape[1]
        return carried(batch["inputs"][:, : self.c_out])[:, :, -1:].expand(-1, -1, leads, -1, -1)

    def _per_channel(self, x: Tensor, function: Any) -> Tensor:
        if not any(name != "identity" for name in self.transforms.values()):
            return x
        channels = zip(self.variables, x.unbind(CHANNEL), strict=False)
        return torch.stack(
            [function(field, self.transforms.get(name, "identity")) for name, field in channels], CHANNEL
        )


def check_target_inputs(inputs: Sequence[str], targets: Sequence[str]) -> None:
    """Hold to the convention that the network sees the history of all targets, or of none.

    Raises:
        ConfigError: Some targets are inputs and some are not.
    """
    shown = [name for name in targets if name in inputs]
    if shown and len(shown) < len(targets):
        hidden = ", ".join(name for name in targets if name not in inputs)
        raise ConfigError(
            f"targets {', '.join(shown)} are inputs but {hidden} are not; networks expect the history of "
            "all targets or of none. Name all of them as inputs, or train two models."
        )


def _checked_bounds(
    bounds: Mapping[str, Sequence[float | None]], targets: Sequence[str]
) -> dict[str, list[float | None]]:
    for name, pair in bounds.items():
        if name not in targets:
            raise ConfigError(
                f"bounds names '{name}', which is no target; the targets are {', '.join(targets)}."
            )
        numbers = [value for value in pair if value is not None]
        if len(pair) != 2 or not numbers or (len(numbers) == 2 and not numbers[0] < numbers[1]):
            raise ConfigError(
                f"bounds of '{name}' are {list(pair)}; expected the least and the greatest value, null for "
                "none of one of them, as in [0, null]."
            )
    return {name: list(pair) for name, pair in bounds.items()}


def _choose(setting: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"{setting} '{value}' is unknown; choose among {', '.join(known)}.")
