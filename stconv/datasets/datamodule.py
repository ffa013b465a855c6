"""From files to batches: the one place that joins door, store, windows, splits and preparation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler, SequentialSampler

from stconv.datasets.preparation.event import Event
from stconv.datasets.preparation.event_preparation import EventPreparation
from stconv.datasets.preparation.harmonics import check_weekly
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.settings import (
    Impute,
    PreparationSettings,
    Scaling,
    StaticField,
    Transform,
)
from stconv.datasets.series.dataset import BatchDataset, WindowDataset, as_it_is
from stconv.datasets.series.missing import missing_per_step, sufficient
from stconv.datasets.series.sampling import Shard, epoch_order
from stconv.datasets.series.splits import Periods, SplitSpec
from stconv.datasets.series.store import MEMORY_SHARE, Series, load_series
from stconv.datasets.series.windows import WindowSpec, forecast_index, reference_indices
from stconv.datasets.source import time_axis
from stconv.datasets.source.cycles import calendar_months
from stconv.datasets.source.cycles import cycles as cycles_of
from stconv.datasets.source.grid import GridSpec, open_series
from stconv.datasets.source.reading import find_files
from stconv.datasets.source.static import read_static
from stconv.datasets.source.time_axis import iso
from stconv.errors import ConfigError, WindowError
from stconv.plain import to_plain


class GridDataModule(pl.LightningDataModule):
    """Windows of a gridded series, split in time, with the preparation fitted on the training period.

    `c_in`, `c_out`, `t_in` and `leads` are known from the arguments alone; everything else after `setup`.

    Args:
        inputs: Variables the network sees.
        targets: Variables to forecast; default: the inputs. If targets are no inputs, their history serves
            for truth and persistence only and is kept from the network; all of them are inputs, or none.
        paths: File, files or pattern to read.
        recipe: Name of a recipe to fetch and read, instead of paths.
        grid: How to read the files; a recipe has its own.
        t_in: Number of consecutive input steps.
        leads: Number of steps to forecast.
        input_offsets: Input steps relative to the newest one, instead of t_in, as in [-24, -2, -1, 0].
        split: Training, validation and test periods.
        scaling: zscore, minmax, none, or anomaly (departures from a harmonic climatology).
        per_cell: Scale each cell by its own statistics.
        transforms: log1p or sqrt by variable, before scaling.
        impute: What stands in for a missing input: mean, climatology, or persistence (what the window last
            knew of the cell); none refuses missing values.
        mask_channel: Show the network which inputs were there.
        static_fields: Static inputs among latitude, longitude, position, valid, and climate (of each input
            the mean, the amplitudes of year and day, and the spread in the training period).
        static_files: File by name of a static variable in it (orography, land mask); one input more each.
        time_features: Show the network sine and cosine of day and year.
        solar_zenith: Show the network the cosine of the solar zenith angle.
        bounds: Least and greatest physical value of a forecast by target, as in {rain: [0, null]}.
        weekly_cycle: Let the climatology follow the week, too, and time_features show sine and cosine of the
            week: for what people do (traffic, consumption, air quality). `stconv inspect` says if it pays.
        climatology_at_leads: Show the network the climatology of the targets at the leads, in the newest
            frames: in counts and rain the error depends on how much there is on average.
        usual: The former name of climatology_at_leads.
        max_missing: Leave out windows whose inputs or targets miss more than this share of their values,
            cells that never hold one aside; in all three periods. Default: keep all.
        batch_size: Windows per batch; with several processes (DDP) of all of them together.
        stride: Train on every stride-th window; validation and test use all.
        num_workers: Worker processes; 0 loads in the main process, which is fastest for a series in memory.
        memory_share: Share of the available memory that the series may take; a larger one is cached on disk
            once, below STCONV_CACHE, and read from there.
        seed: Seed of the order of training windows.
        name: What to call the data; default: the recipe or the first file.
        event: Forecast the probability that this happens, with an event network, instead of the fields.
    """

    series: Series
    periods: Periods
    preparation: Preparation
    references: dict[str, list[int]]
    left_out: dict[str, int]

    def __init__(
        self,
        inputs: list[str],
        targets: list[str] | None = None,
        paths: str | list[str] | None = None,
        recipe: str | None = None,
        grid: GridSpec = GridSpec(),  # noqa: B008 - frozen
        t_in: int = 5,
        leads: int = 5,
        input_offsets: list[int] | None = None,
        split: SplitSpec = SplitSpec(),  # noqa: B008 - frozen
        scaling: Scaling = "zscore",
        per_cell: bool = False,
        transforms: dict[str, Transform] | None = None,
        impute: Impute = "mean",
        mask_channel: bool = False,
        static_fields: list[StaticField] | None = None,
        static_files: dict[str, str] | None = None,
        time_features: bool = False,
        solar_zenith: bool = False,
        weekly_cycle: bool = False,
        climatology_at_leads: bool = False,
        usual: bool = False,
        bounds: dict[str, list[float | None]] | None = None,
        max_missing: float | None = None,
        batch_size: int = 15,
        stride: int = 1,
        num_workers: int = 0,
        memory_share: float = MEMORY_SHARE,
        seed: int = 0,
        name: str | None = None,
        event: Event | None = None,
    ) -> None:
        super().__init__()
        if (paths is None) == (recipe is None):
            found = "both" if paths is not None else "neither"
            raise ConfigError(f"data needs either paths or recipe; found {found}.")
        if batch_size < 1 or num_workers < 0:
            raise ConfigError(
                f"batch_size is {batch_size} and num_workers {num_workers}; "
                "expected at least 1 and at least 0."
            )
        self.settings = PreparationSettings(
            inputs=tuple(inputs),
            targets=tuple(targets or ()),
            scaling=scaling,
            per_cell=per_cell,
            transforms=dict(transforms or {}),
            impute=impute,
            mask_channel=mask_channel,
            static_fields=tuple(static_fields or ()),
            static_files=dict(static_files or {}),
            time_features=time_features,
            solar_zenith=solar_zenith,
            weekly_cycle=weekly_cycle,
            climatology_at_leads=climatology_at_leads or usual,
            bounds=dict(bounds or {}),
        )
        self.variables = self.settings.variables
        self.inputs, self.targets = list(inputs), list(inputs if targets is None else targets)
        self.paths = [paths] if isinstance(paths, str) else paths
        self.recipe, self.grid = recipe, grid
        self.spec = (
            WindowSpec.consecutive(t_in, leads)
            if input_offsets is None
            else WindowSpec(tuple(input_offsets), leads)
        )
        self.t_in, self.leads = self.spec.t_in, leads
        self.split = split
        self.memory_share = memory_share
        self.max_missing = max_missing
        if max_missing is not None and not 0 <= max_missing < 1:
            raise ConfigError(f"max_missing is {max_missing}; expected a share of 0 or more and below 1.")
        self.c_in = self.settings.c_in
        self.event = event
        self.c_out = len(self.targets) if event is None else event.n_classes
        self.batch_size, self.stride, self.num_workers, self.seed = batch_size, stride, num_workers, seed
        self.name = name or recipe or Path((self.paths or ["data"])[0]).stem
        self._is_set_up = False

    def prepare_data(self) -> None:
        """Fetch the files of a recipe, once per machine."""
        if self.recipe is not None:
            from stconv.datasets.recipes.fetch import fetch

            fetch(self.recipe)

    def setup(self, stage: str | None = None) -> None:
        """Read the series, split it and fit the preparation; later calls do nothing.

        Raises:
            DataError: The source can not be read, or what is asked for is not in it.
            SplitError: A period is empty.
            WindowError: A period holds no window.
        """
        if self._is_set_up:
            return
        paths: Any = self.paths
        if self.recipe is not None:
            from stconv.datasets.recipes.fetch import fetch
            from stconv.datasets.recipes.recipe import load_recipe

            paths = fetch(self.recipe)
            if self.grid == GridSpec():
                self.grid = load_recipe(self.recipe).grid
        elif len(paths) == 1:
            paths = paths[0]
        ds, origin = open_series(paths, self.grid, self.variables)
        with ds:
            self.series = load_series(
                ds,
                origin,
                self.inputs,
                self.targets,
                files=find_files(paths),
                settings=self.grid,
                memory_share=self.memory_share,
            )
            self.series.static = read_static(self.settings.static_files, ds)
        self.periods = self.split.apply(self.series.times, self.spec.span)
        if self.settings.weekly_cycle:
            check_weekly(self.series.step, self.series.calendar, len(self.periods.train))
        self.references = {
            name: reference_indices(
                period,
                self.spec,
                self.series.breaks,
                self.stride if name == "train" else 1,
                self.split.first_input(name, period),
            )
            for name, period in self.periods.items()
        }
        self._refuse_empty(f"one spans {self.spec.span} steps without a gap")
        self.preparation = Preparation.fit(self.series, self.periods.train, self.settings)
        if self.event is not None:
            self.preparation = EventPreparation.of(
                self.preparation, self.event, self.series, self.periods.train
            )
        self.left_out = dict.fromkeys(self.references, 0)
        if self.max_missing is not None:
            shares = missing_per_step(self.series, self.preparation.never_valid.numpy())
            for name, references in self.references.items():
                kept = sufficient(references, self.spec, shares, self.max_missing)
                self.references[name], self.left_out[name] = kept, len(references) - len(kept)
            self._refuse_empty(f"each misses more than max_missing {self.max_missing} of their values")
        self._is_set_up = True

    def _refuse_empty(self, reason: str) -> None:
        for name, period in self.periods.items():
            if not self.references[name]:
                raise WindowError(
                    f"the {name} period has {len(period)} steps "
                    f"({self._date(period[0])} to {self._date(period[-1])}) and holds no window: {reason}. "
                    "Use fewer input steps or leads, more data, or another split."
                )

    @property
    def purge(self) -> int:
        """Steps left out between periods."""
        return self.spec.span if self.split.purge is None else self.split.purge

    @property
    def outputs(self) -> dict[str, str]:
        """Units by name of what is forecast: the targets, or the probability of an event. After `setup`."""
        if self.event is not None:
            return dict.fromkeys(self.event.names, "1")
        return {name: self.series.units.get(name, "") for name in self.targets}

    def _describe_event(self) -> dict[str, Any]:
        preparation = self.preparation
        if not isinstance(preparation, EventPreparation):
            return {}
        text = preparation.event.text(preparation.fitted.units)
        return {"event": {"text": text, "training_frequency": list(preparation.fitted.frequency)}}

    def describe(self) -> dict[str, Any]:
        """What the data are, as JSON values: for a run, a report and a bundle. After `setup`."""
        series = self.series
        dims = ("lat", "lon") if series.geographic else ("y", "x")
        return {
            "name": self.name,
            "hash": series.content_hash,
            "files": [Path(path).name for path in self.paths or []],
            "recipe": self.recipe,
            "inputs": self.inputs,
            "targets": self.targets,
            "units": series.units,
            "missing_share": {
                name: round(float(share), 6)
                for name, share in zip(series.variables, self.preparation.missing_share, strict=True)
            },
            "grid": {
                dim: {"size": len(axis), "first": float(axis[0]), "last": float(axis[-1])}
                for dim, axis in zip(dims, (series.lat, series.lon), strict=True)
            },
            "step": series.step.label,
            "calendar": series.calendar,
            "n_steps": len(series),
            "breaks": [self._date(i) for i in series.breaks],
            "input_offsets": list(self.spec.input_offsets),
            "leads": self.leads,
            "purge": self.purge,
            "inputs_before": self.split.inputs_before,
            "periods": {
                name: {
                    "start": self._date(period[0]),
                    "end": self._date(period[-1]),
                    "n_steps": len(period),
                    "n_windows": len(self.references[name]),
                    "n_left_out": self.left_out[name],
                }
                for name, period in self.periods.items()
            },
            "unknown_months": self._unknown_months(),
            "static_files": self.settings.without_folders().static_files,
            "max_missing": self.max_missing,
            "preparation": to_plain(self.settings.without_folders()),
            **self._describe_event(),
        }

    def _unknown_months(self) -> list[int]:
        """Months of the year that the test has, and neither training nor validation."""
        months = {
            name: calendar_months(self.series.times[period.start : period.stop])
            for name, period in self.periods.items()
        }
        return sorted(months["test"] - months["train"] - months["val"])

    def train_dataloader(self) -> DataLoader[Any]:
        """Training windows, shuffled by seed and epoch."""
        n, frame_bytes = len(self.references["train"]), self.series.values[0].nbytes
        return self._loader("train", epoch_order(n, self.seed, frame_bytes, self.series.on_disk))

    def val_dataloader(self) -> DataLoader[Any]:
        """Validation windows, in order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Test windows, in order."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """The newest window of the series alone, whose targets are still to come."""
        series = self.series
        i = forecast_index(len(series), self.spec, series.breaks)
        coming = np.array([time_axis.advance(series.times[i], series.step, k + 1) for k in range(self.leads)])
        cycles = np.concatenate([series.cycles[: i + 1], cycles_of(coming)])
        newest = WindowDataset(series, self.spec, [i])
        newest.cycles, newest.n_targets = torch.from_numpy(cycles.astype(np.float32)), 0
        return DataLoader(newest)

    def _loader(self, name: str, sampler: Sampler[int] | None = None) -> DataLoader[Any]:
        n_ranks = self.trainer.world_size if self.trainer is not None else 1
        if self.batch_size % n_ranks:
            raise ConfigError(
                f"batch_size is {self.batch_size} for {n_ranks} processes together; expected a multiple of "
                f"{n_ranks}. Set `data.batch_size` to one."
            )
        if n_ranks > 1 and self.trainer is not None:
            n, even = len(self.references[name]), name == "train"
            sampler = Shard(
                sampler or SequentialSampler(range(n)), n, self.trainer.global_rank, n_ranks, even
            )
        return DataLoader(
            BatchDataset(WindowDataset(self.series, self.spec, self.references[name])),
            collate_fn=as_it_is,
            batch_size=self.batch_size // n_ranks,
            sampler=sampler,
            num_workers=self.num_workers,
            # HDF5 handles and the threads of Zarr do not survive a fork.
            multiprocessing_context="spawn" if self.num_workers else None,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def _date(self, i: int) -> str:
        return iso(self.series.times[i])
