"""Settings of a preparation: the input and the targets of a network; loads no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from stconv.datasets.series.store import channel_order
from stconv.errors import ConfigError

Scaling = Literal["zscore", "minmax", "none", "anomaly"]
Transform = Literal["identity", "log1p", "sqrt"]
Impute = Literal["mean", "climatology", "persistence", "neighbors", "none"]
StaticField = Literal["latitude", "longitude", "position", "valid", "climate"]
Block = Literal["values", "validity", "static", "time", "sun", "climatology"]
"""A group of channels of the network's input."""

STATIC_CHANNELS: dict[str, tuple[str, ...]] = {
    "latitude": ("sin lat",),
    "longitude": ("cos lon", "sin lon"),
    "position": ("row", "column"),
    "valid": ("ever valid",),
}
"""Channels of each static field that does not depend on the inputs: row and column run from -1 to 1; "ever
valid" is 1 where the first target has a value at some step of the training period."""
CLIMATE = ("mean", "amplitude of the year", "amplitude of the day", "spread")
"""Channels of the static field "climate" for each input; the spread is about mean and cycles."""


@dataclass(frozen=True)
class PreparationSettings:
    """Settings of the input and the targets of a network.

    Attributes:
        inputs: Input variables.
        targets: Forecast variables; default: the inputs. Either all targets are inputs or none. If none is,
            the network does not see their history, which serves only for truth and persistence.
        scaling: zscore, minmax, none, or anomaly: departures from a harmonic climatology (both after the
            transform), divided by their standard deviation.
        per_cell: Center and scale each cell by its own statistics instead of those of its variable.
        transforms: log1p or sqrt by variable, before scaling.
        impute: Substitute for missing inputs: mean, climatology, persistence (the last value before it in
            the cell, else the first after it, as a normalized departure; the mean if the window has no
            value), or neighbors (as persistence, but if the window has no value in the cell, the mean of the
            known cells around it); none refuses missing values.
        mask_channel: Whether the network sees which inputs are valid.
        static_fields: Static inputs: latitude, longitude, position, valid, or climate (the mean, the
            amplitudes of year and day, and the spread of each input in the training period).
        static_files: File path by name of a static variable (orography, land mask), each an additional input.
        time_features: Whether the network sees sine and cosine of the time of day and, if the training period
            covers a year, of the time of year.
        solar_zenith: Whether the network sees the cosine of the solar zenith angle.
        weekly_cycle: Whether climatology and time_features also follow the day of the week, for human
            activity (traffic, consumption, air quality). `stconv inspect` recommends it if it helps.
        climatology_at_leads: Whether the network sees the climatology of the targets at the leads, in the
            newest frames; useful for counts and rain, whose errors grow with the mean.
        bounds: Lowest and highest physical value of a forecast by target, null for no limit, as in {rain: [0,
            null]}.

    Raises:
        VariableError: Inputs or targets are empty, or name a variable twice.
        ConfigError: A setting is unknown, or contradicts another.
    """

    inputs: tuple[str, ...]
    targets: tuple[str, ...] = ()
    scaling: Scaling = "zscore"
    per_cell: bool = False
    transforms: dict[str, Transform] = field(default_factory=dict)
    impute: Impute = "mean"
    mask_channel: bool = False
    static_fields: tuple[StaticField, ...] = ()
    static_files: dict[str, str] = field(default_factory=dict)
    time_features: bool = False
    solar_zenith: bool = False
    weekly_cycle: bool = False
    climatology_at_leads: bool = False
    bounds: dict[str, list[float | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (
            ("inputs", _names("inputs", self.inputs)),
            ("targets", _names("targets", self.targets or self.inputs)),
            ("static_fields", _names("static_fields", self.static_fields)),
            ("bounds", {target: list(pair) for target, pair in self.bounds.items()}),
        ):
            object.__setattr__(self, name, value)
        _choose("scaling", self.scaling, get_args(Scaling))
        _choose("impute", self.impute, get_args(Impute))
        _check_static_fields(self.static_fields)
        _check_targets(self.inputs, self.targets)
        _check_transforms(self.transforms, self.variables)
        _check_bounds(self.bounds, self.targets)

    @property
    def variables(self) -> tuple[str, ...]:
        """Channels of the series: the targets, then the other inputs."""
        return channel_order(self.inputs, self.targets)

    @property
    def visible(self) -> tuple[str, ...]:
        """Inputs in the order of the channels: targets first."""
        return tuple(name for name in self.variables if name in self.inputs)

    @property
    def channels(self) -> dict[Block, tuple[str, ...]]:
        """Contents of the channels of the network's input, as blocks in their order; no block is empty.

        The blocks are the history of the input variables; the mask of valid inputs; static fields, computed,
        then from files; sines of the cycles of time, then their cosines, at the input times; the cosine of
        the solar zenith angle at the input times; the climatology of the targets at the leads.
        """
        cycles = ("day", "year", "week") if self.weekly_cycle else ("day", "year")
        blocks: dict[Block, tuple[str, ...]] = {
            "values": self.visible,
            "validity": tuple(f"{name} known" for name in self.visible) if self.mask_channel else (),
            "static": (*self._static_channels(), *self.static_files),
            "time": tuple(f"{wave} {cycle}" for wave in ("sin", "cos") for cycle in cycles)
            if self.time_features
            else (),
            "sun": ("cos zenith",) if self.solar_zenith else (),
            "climatology": tuple(f"climatology of {name}" for name in self.targets)
            if self.climatology_at_leads
            else (),
        }
        return {block: names for block, names in blocks.items() if names}

    @property
    def c_in(self) -> int:
        """Number of channels of the network's input."""
        return sum(map(len, self.channels.values()))

    def without_folders(self) -> PreparationSettings:
        """Return the settings with static files reduced to their names, without folders."""
        return replace(self, static_files={name: Path(file).name for name, file in self.static_files.items()})

    def transform_of(self, variable: str) -> Transform:
        """Return the transform of a variable; identity if none is set."""
        return self.transforms.get(variable, "identity")

    def _static_channels(self) -> list[str]:
        climate = [f"{part} of {name}" for name in self.visible for part in CLIMATE]
        return [
            name
            for static in self.static_fields
            for name in (climate if static == "climate" else STATIC_CHANNELS[static])
        ]


def _names(setting: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ConfigError(f"{setting} is the text '{names}'; expected a list of names, as in [{names}].")
    return tuple(names)


def _choose(setting: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"{setting} '{value}' is unknown; expected one of {', '.join(known)}.")


def _check_static_fields(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in get_args(StaticField)]
    if unknown:
        raise ConfigError(
            f"static field '{unknown[0]}' is unknown; expected one of {', '.join(get_args(StaticField))}, "
            "or name the file that holds it in static_files."
        )


def _check_targets(inputs: Sequence[str], targets: Sequence[str]) -> None:
    """Check that the network sees the history of all targets, or of none."""
    channel_order(inputs, targets)
    shown = [name for name in targets if name in inputs]
    if shown and len(shown) < len(targets):
        hidden = ", ".join(name for name in targets if name not in inputs)
        raise ConfigError(
            f"targets {', '.join(shown)} are inputs but {hidden} are not; networks expect the history of "
            "all targets or of none. Name all of them as inputs, or train two models."
        )


def _check_transforms(transforms: Mapping[str, str], variables: Sequence[str]) -> None:
    for variable, name in transforms.items():
        if variable not in variables:
            raise ConfigError(
                f"transforms names variable '{variable}'; the variables are: {', '.join(variables)}."
            )
        if name not in get_args(Transform):
            raise ConfigError(
                f"transform '{name}' of '{variable}' is unknown; choose identity, log1p or sqrt."
            )


def _check_bounds(bounds: Mapping[str, Sequence[Any]], targets: Sequence[str]) -> None:
    for name, pair in bounds.items():
        if name not in targets:
            raise ConfigError(
                f"bounds names '{name}', which is not a target; the targets are {', '.join(targets)}."
            )
        numbers = [value for value in pair if value is not None]
        if len(pair) != 2 or not numbers or (len(numbers) == 2 and not numbers[0] < numbers[1]):
            raise ConfigError(
                f"bounds of '{name}' are {list(pair)}; expected the lowest and the highest value, null "
                "for no limit, as in [0, null]."
            )
