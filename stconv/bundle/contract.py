"""The contract of a model: its inputs and outputs, as a bundle states them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.time_axis import TimeStep
from stconv.errors import BundleError, ConfigError
from stconv.plain import from_plain


@dataclass(frozen=True)
class ModelVariable:
    """A variable of a model.

    Attributes:
        name: Name in the data.
        units: Units; empty if unknown.
        long_name: Descriptive name.
        input: Whether the network sees it.
        target: Whether it is forecast.
        center: Value subtracted in the series, for variables whose values float32 cannot resolve; otherwise
            0.
    """

    name: str
    units: str
    long_name: str
    input: bool
    target: bool
    center: float = 0.0


@dataclass(frozen=True)
class Output:
    """An output of a model: a target, or the probability of an event.

    Attributes:
        name: Name in the forecast.
        units: Units.
        long_name: Descriptive name.
    """

    name: str
    units: str
    long_name: str


@dataclass(frozen=True)
class ModelGrid:
    """The grid that a model was trained on, canonical.

    Attributes:
        dims: Names of rows and columns.
        geographic: Whether they are latitude and longitude.
        axes: Coordinates by dimension, ascending.
        units: Units of the axes of a projected grid, by dimension, if its files state them.
    """

    dims: tuple[str, ...]
    geographic: bool
    axes: dict[str, list[float]]
    units: dict[str, str]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelGrid:
        """Read the grid of a spec, in which each axis has the name of its dimension as its key."""
        dims = tuple(values["dims"])
        axes = {dim: np.asarray(values[dim], dtype=np.float64).tolist() for dim in dims}
        return cls(dims, bool(values["geographic"]), axes, dict(values.get("units", {})))

    def to_json(self) -> dict[str, Any]:
        """Return the grid in the form of a spec."""
        units = {"units": self.units} if self.units else {}
        return {"dims": list(self.dims), "geographic": self.geographic, **self.axes, **units}


@dataclass(frozen=True)
class Contract:
    """Inputs and outputs of a model.

    Attributes:
        variables: All variables of the model in the order of its channels, targets first.
        outputs: Outputs in the order of the network's channels.
        of_event: Whether the outputs are probabilities of an event.
        grid: Grid that the model was trained on.
        source: Description of the grid with which the training files were read.
        calendar: CF name of the calendar.
        step: Time step.
        offsets: Input frames relative to the reference time, in steps.
        leads: Number of leads of one forecast.
        allowed_missing_share: Share of values that may be missing in cells that (nearly) always had one in
            training.
        ranges: Smallest and largest value in the training period, by variable.
    """

    variables: tuple[ModelVariable, ...]
    outputs: tuple[Output, ...]
    of_event: bool
    grid: ModelGrid
    source: GridSpec
    calendar: str
    step: TimeStep
    offsets: tuple[int, ...]
    leads: int
    allowed_missing_share: float
    ranges: dict[str, tuple[float, float]]

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Contract:
        """Read the contract from the spec of a bundle.

        Raises:
            BundleError: A part is missing or has another form than expected.
        """
        try:
            variables = tuple(
                from_plain(ModelVariable, entry, "a variable of the bundle") for entry in spec["variables"]
            )
            outputs = tuple(
                from_plain(Output, entry, "an output of the bundle") for entry in spec.get("outputs", ())
            )
            return cls(
                variables=variables,
                outputs=outputs or tuple(Output(v.name, v.units, v.long_name) for v in variables if v.target),
                of_event=bool(outputs),
                grid=ModelGrid.from_json(spec["grid"]),
                source=from_plain(GridSpec, spec.get("source", {}), "the source of the bundle"),
                calendar=str(spec["calendar"]),
                step=TimeStep.from_json(spec["step"]),
                offsets=tuple(int(offset) for offset in spec["input_offsets"]),
                leads=int(spec["leads"]),
                allowed_missing_share=float(spec.get("missing", {}).get("allowed_share", 0.0)),
                ranges={
                    name: (float(low), float(high)) for name, (low, high) in spec.get("ranges", {}).items()
                },
            )
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise BundleError(
                f"The spec of bundle '{spec.get('name')}' is not understood: {error}. Export it again."
            ) from error

    @property
    def inputs(self) -> tuple[ModelVariable, ...]:
        """Variables that an input must contain."""
        return tuple(variable for variable in self.variables if variable.input)

    @property
    def rolls_out(self) -> bool:
        """Whether a forecast can go on from itself: every input is also forecast."""
        return all(variable.target for variable in self.inputs)

    @property
    def targets(self) -> tuple[ModelVariable, ...]:
        """Variables that are forecast."""
        return tuple(variable for variable in self.variables if variable.target)
