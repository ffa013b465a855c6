"""The forecaster: from a Dataset in the user's form to the forecast as a CF Dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

import stconv
from stconv.bundle import Bundle, Output
from stconv.compute.engine import Engine
from stconv.datasets.preparation.event_preparation import EventPreparation
from stconv.datasets.source.attributes import portable
from stconv.datasets.source.directions import directions_added, directions_in, with_directions
from stconv.datasets.source.grid import GridSpec, Origin, restore
from stconv.datasets.source.time_axis import advance, text
from stconv.errors import VariableError, WindowError
from stconv.forecast.bounds import band_names, describe_bands, with_bands
from stconv.forecast.computation import Computation, NetworkComputation
from stconv.forecast.inputs import CheckedInput, Expected
from stconv.forecast.output import CONVENTIONS, forecast_dataset, without_older_forecast
from stconv.forecast.rollout import RollOut
from stconv.forecast.schema import input_schema
from stconv.forecast.sliding import places
from stconv.forecast.units import Conversion
from stconv.forecast.window import require_frames


class Forecaster:
    """Forecast with a bundle, from data in the form that the user has them in.

    Args:
        bundle: Bundle to forecast with.
        device: Device of PyTorch, such as "cpu" or "cuda".
        version: Version to state in the forecasts, such as that of a model registry; by default the start of
            the bundle's hash.
        tile: Number of cells of a tile along lat and lon, to compute the same result piece by piece; 0 for
            the whole grid at once, None to decide by the available memory.
        engine: Engine of the network: torch, openvino, or openvino-int8 (see `stconv.compute.engine`).
        computation: Computes the batches, on the CPU, instead of the bundle's network; `device`, `engine` and
            `tile` then have no effect.

    Raises:
        ConfigError: The device or engine does not exist or cannot run this network, or the network cannot be
            computed in tiles.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "cpu",
        version: str | None = None,
        tile: int | None = None,
        engine: Engine = "torch",
        *,
        computation: Computation | None = None,
    ) -> None:
        self.bundle = bundle
        self.bundle_hash = bundle.hash
        self.version = version or self.bundle_hash[:12]
        self._compute = computation or NetworkComputation(bundle, device, tile, engine)
        self.preparation = bundle.preparation
        self.expected = Expected(bundle)
        self.contract = contract = self.expected.contract
        self.targets, self.outputs = contract.targets, contract.outputs
        self.names, self.offsets = self.expected.names, contract.offsets
        self.leads, self.step, self.source = contract.leads, contract.step, contract.source
        self.directions = directions_in(self.source.components, [output.name for output in contract.outputs])

    @classmethod
    def from_path(
        cls,
        path: str | Path,
        device: str = "cpu",
        version: str | None = None,
        tile: int | None = None,
        engine: Engine = "torch",
    ) -> Forecaster:
        """Load a bundle from its folder and make a Forecaster of it.

        Raises:
            BundleError: The bundle is missing, incomplete or changed.
        """
        return cls(Bundle.load(path), device, version, tile, engine)

    def input_schema(self) -> dict[str, Any]:
        """Requirements on an input: variables, units, grid, step, frames, calendar; JSON types only."""
        return input_schema(self.bundle)

    def open_stored(self, stored: xr.Dataset) -> tuple[xr.Dataset, Origin]:
        """Open the data of a request in the way that the command line opens a file of the same content.

        Args:
            stored: Variables with stored values and all attributes: packed, times as numbers.

        Returns:
            The canonical inputs, and the origin to pass to `forecast` with them.

        Raises:
            DataError: The content cannot be used in this form.
        """
        return self.expected.open_stored(stored)

    def forecast(
        self, ds: xr.Dataset, steps: int | None = None, bands: bool = True, **options: Any
    ) -> xr.Dataset:
        """Forecast from the newest complete window, or from the window of `reference_time`.

        Args:
            ds: Dataset with at least the model's inputs, on its grid, in any names, order and conventions.
            steps: Number of leads; by default those of the training, further ones are rolled out.
            bands: Also return the uncertainty bands, if the bundle has any.
            **options: Options of `check`.

        Returns:
            Variables (lead, lat, lon) in the user's names, order, conventions and units, missing where the
            training data always were; `lead` with units, the valid time per lead, scalar
            `forecast_reference_time`. Bands are variables next to each target, such as `t2m_lower_80` and
            `t2m_upper_80`; they are missing beyond the leads of the training, whose errors are unknown. A
            direction that was split into components follows from their forecasts, without bands.

        Raises:
            DataError: The input does not fit the model; the subclass and the message say why.
            WindowError: `steps` is not a positive number.
        """
        self._require_leads(steps)
        checked = self.check(ds, **options)
        return self.describe(self.fields(checked, steps, bands), checked)

    def fields(self, checked: CheckedInput, steps: int | None = None, bands: bool = True) -> np.ndarray:
        """Forecast from a checked input, as an array.

        Args:
            checked: Input from `check`.
            steps: See `forecast`.
            bands: See `forecast`.

        Returns:
            float32, (1 + bounds, target, lead, lat, lon), in the units of the model.

        Raises:
            WindowError: `steps` is not a positive number.
        """
        steps = self._require_leads(steps)
        fields = np.concatenate(list(self.blocks(checked, steps)), axis=2)[:, :, :steps]
        return fields if bands else fields[:1]

    def blocks(
        self, checked: CheckedInput, steps: int, done: Sequence[np.ndarray] = ()
    ) -> Iterator[np.ndarray]:
        """Forecast block after block of leads, as many as the steps need.

        Args:
            checked: Input from `check`.
            steps: Number of leads, positive.
            done: Blocks that an earlier call yielded for the same input; it goes on after them.

        Yields:
            float32, (1 + bounds, target, lead, lat, lon), in the units of the model; `leads` leads each, of
            which the last block may hold more than the steps need.
        """
        left = math.ceil(steps / self.leads) - len(done)
        return islice(self._roll(checked, steps > self.leads, done), max(0, left))

    def rollout(self, ds: xr.Dataset, **options: Any) -> Iterator[xr.Dataset]:
        """Roll out without end: yield block after block of leads, each made from the forecasts before it.

        Args:
            ds: See `forecast`.
            **options: Options of `check`.

        Yields:
            Forecasts in the form of `forecast`, with leads 1 to n, n + 1 to 2n, and so on without end.

        Raises:
            VariableError: An input variable is not forecast, so that there is nothing to feed back.
        """
        checked = self.check(ds, **options)
        self.require_feedback()
        return self._described_blocks(checked)

    def check(
        self,
        ds: xr.Dataset,
        reference_time: Any = None,
        convert_units: bool = False,
        allowed_missing_share: float | None = None,
        grid: GridSpec | None = None,
        origin: Origin | None = None,
    ) -> CheckedInput:
        """Check an input against the bundle, and cut the window out of it.

        Args:
            ds: See `forecast`.
            reference_time: Time of the newest input, ISO 8601 or a time; that of the newest complete window
                by default.
            convert_units: Convert units that differ, and convert the forecast back.
            allowed_missing_share: Share in [0, 1] of always valid values that may be missing; the bundle's
                by default.
            grid: Description of the grid for reading; by default that of the training data.
            origin: Origin of an input that is canonical already, from `open_series`.

        Returns:
            The window and the findings about the input.

        Raises:
            VariableError: A variable is missing.
            GridError: The grid differs in size, spacing or extent.
            UnitsError: Units differ, and cannot be converted or `convert_units` is not set.
            TimeAxisError: Calendar or step differ, the reference time is missing, or its window has a gap.
            WindowError: There are too few frames.
            MissingValuesError: Too many values are missing in cells that (nearly) always had one.
        """
        return self.expected.check(ds, reference_time, convert_units, allowed_missing_share, grid, origin)

    @torch.inference_mode()
    def predict(self, batch: dict[str, Tensor]) -> Tensor:
        """Forecast a batch of windows as the data module makes them.

        Args:
            batch: "inputs", "input_cycles", "target_cycles"; physical units, NaN is missing.

        Returns:
            float32, (batch, target, leads, lat, lon), physical units, NaN in cells that never had a value.
        """
        return self._compute(batch, with_bands=False)[0]

    @torch.inference_mode()
    def predict_bands(self, batch: dict[str, Tensor]) -> Tensor:
        """Forecast as `predict` does, with the bands.

        Returns:
            float32, (1 + bounds, batch, target, leads, lat, lon): the forecast, then the bounds in the order
            of `band_names`.
        """
        return self._compute(batch, with_bands=True)

    @property
    def band_names(self) -> list[str]:
        """Suffixes of the bounds of a target: _lower_80, _upper_80, ...; empty without bands."""
        return band_names(self.bundle)

    def _roll(
        self, checked: CheckedInput, endless: bool, done: Sequence[np.ndarray] = ()
    ) -> Iterator[np.ndarray]:
        """Yield (1 + bounds, target, leads, lat, lon) in the model's units; only the first has bounds."""
        if endless:
            self.require_feedback()

        def observed(steps: list[int]) -> np.ndarray:
            require_frames(checked.frames, checked.reference_time, steps)
            return checked.read(checked.frames.window(checked.reference_time, steps))[None]

        done = [block[:, None] for block in done]
        for block in self.roll_out().blocks([checked.reference_time], checked.values[None], observed, done):
            yield block[:, 0]

    def roll_out(self, bands: bool = True) -> RollOut:
        """Return the roll-out of a batch of windows, with or without bounds."""

        def predict(batch: dict[str, Tensor]) -> Tensor:
            return self._compute(batch, with_bands=bands)

        return RollOut(predict, self.offsets, self.leads, self.step)

    def _require_leads(self, steps: int | None) -> int:
        steps = self.leads if steps is None else steps
        if steps < 1:
            raise WindowError(f"A forecast of {steps} steps was asked for; expected 1 or more.")
        return steps

    def require_feedback(self) -> None:
        """Raise VariableError unless a forecast can go on from itself."""
        if isinstance(self.preparation, EventPreparation):
            raise VariableError(
                f"'{self.bundle.name}' cannot be rolled out beyond its {self.leads} leads: it forecasts "
                "the probability of an event, which is not among its inputs. Ask for at most "
                f"{self.leads} steps."
            )
        only_inputs = [variable.name for variable in self.contract.inputs if not variable.target]
        if only_inputs:
            raise VariableError(
                f"'{self.bundle.name}' cannot be rolled out beyond its {self.leads} leads: "
                f"{', '.join(only_inputs)} {'is' if len(only_inputs) == 1 else 'are'} among its inputs "
                f"and not among its forecasts ({', '.join(variable.name for variable in self.targets)}), "
                f"so there is nothing to feed back. Ask for at most {self.leads} steps, or train with "
                "every input as a target."
            )

    def _described_blocks(self, checked: CheckedInput) -> Iterator[xr.Dataset]:
        for i, block in enumerate(self._roll(checked, endless=True)):
            yield self.describe(block, checked, first_lead=1 + i * self.leads)

    def _conversion(self, name: str, checked: CheckedInput) -> Conversion:
        """Return the conversion between the user's units of an output and the model's."""
        center = next((target.center for target in self.targets if target.name == name), 0.0)
        return checked.conversions.get(name, Conversion(center=center))

    @staticmethod
    def _attributes(output: Output, ds: xr.Dataset) -> dict[str, Any]:
        if output.name in ds:
            return {str(key): value for key, value in ds[output.name].attrs.items()}
        return {"units": output.units, "long_name": output.long_name}

    def describe(self, fields: np.ndarray, checked: CheckedInput, first_lead: int = 1) -> xr.Dataset:
        """Turn the array of `fields` into the Dataset that `forecast` returns.

        Args:
            fields: Forecast from the method `fields`.
            checked: Input that the forecast was made from.
            first_lead: Number of the first lead, from 1.
        """
        reference = checked.reference_time
        leads = range(first_lead, first_lead + fields.shape[2])
        valid_times = [advance(reference, self.step, lead) for lead in leads]
        restored = self.in_form_of_user(fields, checked, valid_times, first_lead)
        restored.attrs |= self.provenance(checked, str(restored.attrs.get("history", "")))
        restored.attrs = portable(restored.attrs)
        return restored

    def in_form_of_user(
        self, fields: np.ndarray, checked: CheckedInput, valid_times: Sequence[Any], first_lead: int = 1
    ) -> xr.Dataset:
        """Give fields the names, order, conventions, units and attributes of the user's data.

        Args:
            fields: See `describe`.
            checked: See `describe`.
            valid_times: Time of each field along the leads.
            first_lead: See `describe`.
        """
        names = [output.name for output in self.outputs]
        inputs, dims = checked.ds, list(self.contract.grid.dims)
        if isinstance(self.preparation, EventPreparation):
            inputs, dims, probabilities = places(self.bundle, inputs, fields[0])
            fields = probabilities[None]
        bounds = self.band_names if len(fields) > 1 else []
        arrays = {
            f"{name}{bound}": self._conversion(name, checked).backward(fields[k, i])
            for i, name in enumerate(names)
            for k, bound in enumerate(["", *bounds])
        }
        attributes = {
            f"{output.name}{bound}": self._attributes(output, checked.ds)
            for output in self.outputs
            for bound in ["", *bounds]
        }
        canonical = forecast_dataset(
            *directions_added(arrays, attributes, self.directions),
            inputs,
            dims,
            checked.reference_time,
            valid_times,
            self.step,
            first_lead,
            checked.origin.axes,
        )
        on_input_grid = len(dims) != 2 or inputs is checked.ds
        origin = with_bands(with_directions(checked.origin, self.directions), names, bounds)
        restored = restore(canonical, origin) if on_input_grid else canonical
        restored = without_older_forecast(restored, canonical)
        describe_bands(restored, names, bounds)
        for described in restored.variables.values():
            described.attrs = portable(described.attrs)
        return restored

    def provenance(self, checked: CheckedInput, history: str) -> dict[str, Any]:
        """Return the attributes on content and origin of a forecast.

        Args:
            checked: Input of the forecast.
            history: History attribute of the input.
        """
        names = ", ".join(output.name for output in self.outputs)
        made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = f"{made} stconv {stconv.__version__}: {self.bundle.name} from {text(checked.reference_time)}"
        unusual = {
            "input_outside_training_range": "; ".join(checked.remarks),
            "older_window": checked.older_window,
        }
        return {
            "Conventions": CONVENTIONS,
            "title": f"Forecast of {names} by {self.bundle.name}",
            "source": f"{self.bundle.name}, a convolutional network run by stconv {stconv.__version__}",
            "history": f"{line}\n{history}".rstrip(),
            "model_name": self.bundle.name,
            "model_version": self.version,
            "bundle_sha256": self.bundle_hash,
            "stconv_version": stconv.__version__,
            **checked.shares,
            **{name: sentence for name, sentence in unusual.items() if sentence},
        }
