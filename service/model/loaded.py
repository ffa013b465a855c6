"""The loaded model and the state of its process between requests."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch
import xarray as xr

from service.formats.writers import WRITERS
from service.media_types import PNG
from service.model.archiving import Archivist
from service.model.batching import Batches, OnlyNumbers
from service.model.example import example_fields
from service.model.newest import NewestForecast
from service.model.rollouts import Rollouts
from service.model.settings import ModelSettings
from service.model.source import Source
from service.model.upload import stored_dataset
from service.wire.model_facts import ModelFacts, Target
from stconv.bundle import Bundle
from stconv.datasets.source.grid import Origin
from stconv.errors import BundleError, ConfigError, StconvError
from stconv.forecast import Forecaster
from stconv.forecast.bounds import band_names
from stconv.forecast.computation import NetworkComputation
from stconv.models.outside import import_modules
from stconv.sphere import DEGREE

WARM_UP = -1
"""Number of the warm-up request, which no client sent."""


class LoadedModel:
    """A loaded forecaster with its batching, the server's own data, the running job, and the archive.

    Args:
        settings: Settings of the model process.

    Raises:
        BundleError: The bundle is missing, incomplete or changed, or its hash is not the expected one.
        ConfigError: A module cannot be imported, the bundle forecasts an event, or the engine cannot run the
            network.
        DataError: The forecast of an example input is not finite.
    """

    def __init__(self, settings: ModelSettings) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        import_modules(settings.imports)
        bundle = Bundle.load(settings.bundle)
        if settings.sha256 not in (None, bundle.hash):
            raise BundleError(
                f"The bundle in '{settings.bundle}' has the hash {bundle.hash}; expected "
                f"{settings.sha256}. It is another bundle than the requested one."
            )
        network = NetworkComputation(bundle, tile=settings.tile, engine=settings.engine)
        self.batches = Batches(network, settings.max_batch, settings.batch_seconds, settings.hang_seconds)
        self.forecaster = Forecaster(
            bundle, version=settings.version, computation=OnlyNumbers(self.batches, bundle)
        )
        if self.forecaster.contract.of_event:
            raise ConfigError(
                f"'{bundle.name}' forecasts the probability of an event, but the service serves fields only. "
                "Use `stconv forecast`."
            )
        self.source = Source([Path(path) for path in settings.data], self.forecaster)
        self.rollouts = Rollouts(self.forecaster)
        self.archivist = Archivist(self.forecaster, self.source)
        self._newest = NewestForecast(self.forecaster, self.source, self.batches, self.archivist.adapted)
        self.batches.announce(WARM_UP)
        with self.batches.turn(WARM_UP):
            self._warm_up()

    @property
    def facts(self) -> ModelFacts:
        """Facts that the server decides by."""
        contract, bundle = self.forecaster.contract, self.forecaster.bundle
        rows, columns = (tuple(contract.grid.axes[dim]) for dim in contract.grid.dims)
        return ModelFacts(
            sha256=bundle.hash,
            leads=contract.leads,
            rolls_out=contract.rolls_out,
            step=contract.step.label,
            step_seconds=contract.step.seconds if contract.step.kind == "fixed" else None,
            calendar=contract.calendar,
            geographic=contract.grid.geographic,
            rows=rows,
            columns=columns,
            targets=tuple(Target(variable.name, variable.units) for variable in contract.targets),
            bands=tuple(band_names(bundle)),
            directions=tuple(Target(name, DEGREE) for name in self.forecaster.directions),
        )

    def forecast(self, fields: bytes, steps: int | None, bands: bool) -> xr.Dataset:
        """Forecast from the newest window of an upload.

        Args:
            fields: Raw variables, encoded by `wire.codec.encode`.
            steps: See `Forecaster.forecast`.
            bands: See `Forecaster.forecast`.

        Raises:
            DataError: The upload does not fit the model.
        """
        ds, origin = self.open_upload(fields)
        return self.forecaster.forecast(ds, steps, bands, origin=origin)

    def open_upload(self, fields: bytes) -> tuple[xr.Dataset, Origin]:
        """Open an upload in the same way as the command line opens a file.

        Raises:
            DataError: The upload cannot be decoded, or its content is not usable.
        """
        return self.forecaster.open_stored(stored_dataset(fields))

    def newest(self, steps: int | None) -> xr.Dataset:
        """Forecast from the newest window of the server's own data; see `NewestForecast`."""
        return self._newest.of(steps or self.forecaster.leads)

    def probe(self) -> None:
        """Forecast from an input without values.

        Raises:
            DataError: The forecast is not finite.
        """
        contract, frames = self.forecaster.contract, len(self.forecaster.offsets)
        sizes = [len(contract.grid.axes[dim]) for dim in contract.grid.dims]
        self.forecaster.predict(
            {
                "inputs": torch.full((1, len(contract.variables), frames, *sizes), torch.nan),
                "input_cycles": torch.zeros(1, frames, 3),
                "target_cycles": torch.zeros(1, self.forecaster.leads, 3),
                "reference_index": torch.zeros(1, dtype=torch.int64),
            }
        )

    def _warm_up(self) -> None:
        """Forecast and write an example, so that the first client does not wait for first-use set-up.

        Raises:
            DataError: The forecast of an example input is not finite.
        """
        self.probe()
        if self.forecaster.step.kind != "fixed":
            return
        with suppress(StconvError):  # the example may not meet every requirement of the model
            forecast = self.forecast(example_fields(self.forecaster.contract), None, bands=True)
            for media_type in WRITERS.keys() - {PNG}:
                WRITERS[media_type](forecast)
