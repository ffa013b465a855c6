"""The data module: joins source, store, windows, split and preparation into batches."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytorch_lightning as pl
import torch
import xarray as xr
from torch.utils.data import DataLoader, Sampler, SequentialSampler

from stconv.datasets.preparation.event import Event
from stconv.datasets.preparation.event_preparation import EventPreparation
from stconv.datasets.preparation.harmonics import check_weekly
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.remote.address import Place
from stconv.datasets.series.crops import Crops, Halo
from stconv.datasets.series.dataset import BatchDataset, WindowDataset, unchanged
from stconv.datasets.series.loader import ResumableLoader
from stconv.datasets.series.missing import complete_enough, missing_per_step
from stconv.datasets.series.sampling import Shard, epoch_order
from stconv.datasets.series.splits import Periods, SplitSpec
from stconv.datasets.series.store import Cache, Series, load_series
from stconv.datasets.series.stream_order import StreamInOrder, stream_shuffle
from stconv.datasets.series.windows import forecast_index, reference_indices
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.datasets.source import time_axis
from stconv.datasets.source.cycles import calendar_months
from stconv.datasets.source.cycles import cycles as cycles_of
from stconv.datasets.source.directions import directions_in
from stconv.datasets.source.finding import find_files
from stconv.datasets.source.further import FurtherSource
from stconv.datasets.source.grid import GridSpec, Origin, open_series
from stconv.datasets.source.static import read_static
from stconv.datasets.source.time_axis import iso
from stconv.datasets.summary import AxisSummary, DataSummary, EventSummary, PeriodSummary
from stconv.errors import ConfigError, SplitError, WindowError

PERIOD_NAMES = {"train": "training", "val": "validation", "test": "test"}


class GridDataModule(pl.LightningDataModule):
    """Windows of a gridded series, split in time, with the preparation fitted on the training period.

    `c_in`, `c_out`, `t_in` and `leads` are known from the arguments alone, everything else after `setup`.

    Args:
        source: Files and how to read them.
        preparation: Variables of the network and their preparation.
        window: Shape of a window, and the choice of windows.
        split: Training, validation and test periods.
        loading: Batches and worker processes.
        event: Event whose probability is forecast, by an event network, instead of the fields.
        cache: Whether the series is copied to the disk: "auto" copies one that does not fit in memory, if the
            disk has room, and else reads windows from the source; "never" always reads them from there, with
            files of Zarr best; "always" copies small ones as well.
        sources: Further sources, whose variables are brought to the grid and the steps of `source`.

    Raises:
        ConfigError: cache is something else.
    """

    series: Series
    periods: Periods
    preparation: Preparation
    references: dict[str, list[int]]
    left_out: dict[str, int]

    def __init__(
        self,
        source: SourceSettings,
        preparation: PreparationSettings,
        window: WindowSettings = WindowSettings(),  # noqa: B008 - frozen
        split: SplitSpec = SplitSpec(),  # noqa: B008 - frozen
        loading: LoadingSettings = LoadingSettings(),  # noqa: B008 - frozen
        event: Event | None = None,
        cache: Cache = "auto",
        sources: list[FurtherSource] | None = None,
    ) -> None:
        super().__init__()
        if cache not in get_args(Cache):
            raise ConfigError(f"data.cache is {cache!r}; expected one of {', '.join(get_args(Cache))}.")
        self.cache = cache
        self.source, self.settings, self.window = source, preparation, window
        self.split, self.loading, self.event = split, loading, event
        self.spec, self.name = window.spec, source.title
        self.further = list(sources or ())
        self.grid = replace(source.grid, sources=[*source.grid.sources, *self.further])
        self.t_in, self.leads = self.spec.t_in, self.spec.leads
        self.c_in = preparation.c_in
        self.c_out = len(preparation.targets) if event is None else event.n_classes
        self._is_set_up = False
        self.crops: Crops | None = None
        self.dataset: xr.Dataset | None = None
        """The data, if `source.in_memory`; set before `setup`."""

    def prepare_data(self) -> None:
        """Download the files of a recipe, once per machine."""
        if self.source.recipe is not None:
            from stconv.datasets.recipes.fetch import fetch

            fetch(self.source.recipe)

    def setup(self, stage: str | None = None) -> None:
        """Read the series, split it and fit the preparation; repeated calls do nothing.

        Raises:
            DataError: The source cannot be read, or lacks a requested variable.
            SplitError: A period is empty.
            WindowError: A period holds no window.
        """
        if self._is_set_up:
            return
        self.series = self._read()
        self.periods = self.split.apply(self.series.times, self.spec.span)
        if self.settings.weekly_cycle:
            check_weekly(self.series.step, self.series.calendar, len(self.periods.train))
        self.references = {
            name: reference_indices(
                period,
                self.spec,
                self.series.breaks,
                self.window.stride if name == "train" else 1,
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
        if self.window.max_missing is not None:
            self._leave_out_incomplete(self.window.max_missing)
        self._is_set_up = True

    def _read(self) -> Series:
        ds, origin = self.open()
        with ds:
            series = load_series(
                ds,
                origin,
                self.settings.inputs,
                self.settings.targets,
                files=() if self.source.in_memory else self._files(),
                settings=self.grid,
                memory_share=self.source.memory_share,
                cache=self.cache,
            )
            series.static = read_static(self.settings.static_files, ds)
        return series

    def _leave_out_incomplete(self, most: float) -> None:
        """Drop the windows that miss more than this share of their values."""
        shares = missing_per_step(self.series, self.preparation.never_valid.numpy())
        for name, references in self.references.items():
            kept = complete_enough(references, self.spec, shares, most)
            self.references[name], self.left_out[name] = kept, len(references) - len(kept)
        self._refuse_empty(f"each misses more than max_missing {most} of their values")

    def windows_within(self, period: range, stride: int = 1) -> list[int]:
        """Find the complete windows whose targets lie in a range of steps; their inputs may lie before it.

        Args:
            period: Steps that the targets may use.
            stride: Distance between windows, in steps.

        Returns:
            Reference indices.
        """
        found = reference_indices(period, self.spec, self.series.breaks, stride, first_input=0)
        if self.window.max_missing is None:
            return found
        shares = missing_per_step(self.series, self.preparation.never_valid.numpy())
        return complete_enough(found, self.spec, shares, self.window.max_missing)

    def open(self) -> tuple[xr.Dataset, Origin]:
        """Open the source in canonical form; missing files of a recipe are downloaded.

        Raises:
            DataError: The source cannot be read, or a variable is not in it.
            ConfigError: The data were a Dataset in memory, and it was not handed over.
        """
        if self.source.in_memory:
            if self.dataset is None:
                raise ConfigError(
                    f"The data of this experiment, '{self.name}', were a Dataset in memory, which a "
                    "configuration cannot name. Hand it over in Python, `Experiment.from_yaml(FILE, "
                    "data=ds)`, or write it to a file and name that in data.source.paths instead of "
                    "in_memory."
                )
            return open_series(self.dataset, self.grid, self.settings.variables, strict=True)
        if self.source.recipe is not None and self.source.grid == GridSpec():
            from stconv.datasets.recipes.recipe import load_recipe

            self.grid = replace(load_recipe(self.source.recipe).grid, sources=self.further)
        return open_series(
            self._paths, self.grid, self.settings.variables, stay=self.cache == "never", strict=True
        )

    def _files(self) -> list[Place]:
        """All files, those of further sources included."""
        return [*find_files(self._paths), *(f for s in self.grid.sources for f in find_files(s.files))]

    @cached_property
    def _paths(self) -> Any:
        if self.source.recipe is not None:
            from stconv.datasets.recipes.fetch import fetch

            return fetch(self.source.recipe)
        files = self.source.files
        return files[0] if len(files) == 1 else files

    def _refuse_empty(self, reason: str) -> None:
        for name, period in self.periods.items():
            if not self.references[name]:
                raise WindowError(
                    f"the {name} period has {len(period)} steps ({self._date(period[0])} to "
                    f"{self._date(period[-1])}) and no window: {reason}. Use fewer input steps or leads, "
                    "a longer series, or another split."
                )

    @property
    def purge(self) -> int:
        """Number of steps left out between the periods."""
        return self.spec.span if self.split.purge is None else self.split.purge

    @property
    def outputs(self) -> dict[str, str]:
        """Units by forecast variable: the targets, or the probability of an event. After `setup`."""
        if self.event is not None:
            return dict.fromkeys(self.event.names, "1")
        return {name: self.series.units.get(name, "") for name in self.settings.targets}

    @property
    def directions(self) -> list[str]:
        """Directions whose sine and cosine are both forecast; they are scored on the circle."""
        return [] if self.event else directions_in(self.grid.components, self.settings.targets)

    def describe(self) -> DataSummary:
        """Summary of the data for a run, a report and a bundle. After `setup`."""
        series, preparation = self.series, self.settings.without_folders()
        dims = ("lat", "lon") if series.geographic else ("y", "x")
        return DataSummary(
            name=self.source.title,
            hash=series.content_hash,
            files=[Path(path).name for path in self.source.files]
            + [Path(path).name for source in self.grid.sources for path in source.files],
            recipe=self.source.recipe,
            inputs=list(preparation.inputs),
            targets=list(preparation.targets),
            units=series.units,
            missing_share={
                name: round(float(share), 6)
                for name, share in zip(series.variables, self.preparation.missing_share, strict=True)
            },
            grid={
                dim: AxisSummary(len(axis), float(axis[0]), float(axis[-1]))
                for dim, axis in zip(dims, (series.lat, series.lon), strict=True)
            },
            step=series.step.label,
            calendar=series.calendar,
            n_steps=len(series),
            breaks=[self._date(i) for i in series.breaks],
            input_offsets=list(self.spec.input_offsets),
            leads=self.leads,
            purge=self.purge,
            inputs_before=self.split.inputs_before,
            periods={
                name: PeriodSummary(
                    start=self._date(period[0]),
                    end=self._date(period[-1]),
                    n_steps=len(period),
                    n_windows=len(self.references[name]),
                    n_left_out=self.left_out[name],
                )
                for name, period in self.periods.items()
            },
            unknown_months=self._unknown_months(),
            static_files=preparation.static_files,
            max_missing=self.window.max_missing,
            preparation=preparation,
            event=self._describe_event(),
        )

    def _describe_event(self) -> EventSummary | None:
        if not isinstance(self.preparation, EventPreparation):
            return None
        fitted = self.preparation.fitted
        return EventSummary(fitted.settings.text(fitted.units), list(fitted.frequency))

    def _unknown_months(self) -> list[int]:
        """Months of the year in the test period that neither training nor validation contains."""
        if self.periods.refit:
            return []
        months = {
            name: calendar_months(self.series.times[period.start : period.stop])
            for name, period in self.periods.items()
        }
        return sorted(months["test"] - months["train"] - months["val"])

    def train_dataloader(self) -> DataLoader[Any]:
        """Training windows, shuffled by seed and epoch."""
        if self.window.crop is not None and self.crops is None:
            raise ConfigError(
                "data.window.crop is set, and this training does not know the surroundings that a crop "
                "needs. Leave it out; crops are for `stconv fit`."
            )
        if self.series.streamed:
            return self._loader("train")
        n, frame_bytes = len(self.references["train"]), self.series.values[0].nbytes
        return self._loader("train", epoch_order(n, self.loading.seed, frame_bytes, self.series.on_disk))

    def crop_with(self, halo: Halo) -> None:
        """Draw crops for training, read with the surroundings that a network needs. After `setup`."""
        assert self.window.crop is not None
        weight = self.preparation.cell_weight.cpu().numpy()
        self.crops = Crops(self.window.crop, weight, halo, self.loading.seed)

    def val_dataloader(self) -> DataLoader[Any]:
        """Validation windows, in order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Test windows, in order."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Only the newest window of the series, whose targets lie in the future."""
        series = self.series
        i = forecast_index(len(series), self.spec, series.breaks)
        coming = np.array([time_axis.advance(series.times[i], series.step, k + 1) for k in range(self.leads)])
        cycles = np.concatenate([series.cycles[: i + 1], cycles_of(coming)])
        newest = WindowDataset(series, self.spec, [i])
        newest.cycles, newest.n_targets = torch.from_numpy(cycles.astype(np.float32)), 0
        return DataLoader(newest)

    def _loader(self, name: str, sampler: Sampler[int] | None = None) -> DataLoader[Any]:
        if name not in self.references:
            raise SplitError(
                f"There is no {PERIOD_NAMES[name]} period: this is a refit, which is trained on all data. "
                "The run that it repeats was verified; test that one."
            )
        n_ranks = self.trainer.world_size if self.trainer is not None else 1
        batch_size, num_workers = self.loading.batch_size, self.loading.num_workers
        if batch_size % n_ranks:
            raise ConfigError(
                f"batch_size is {batch_size} for {n_ranks} processes; expected a multiple of {n_ranks}. "
                "Set `data.loading.batch_size` to one."
            )
        windows = WindowDataset(self.series, self.spec, self.references[name])
        rank = self.trainer.global_rank if self.trainer is not None else 0
        if windows.stream is not None:
            sampler = self._stream_order(name, windows, rank, n_ranks)
        elif n_ranks > 1:
            n, even = len(windows), name == "train"
            sampler = Shard(sampler or SequentialSampler(range(n)), n, rank, n_ranks, even)
        return ResumableLoader(
            BatchDataset(windows, self.crops if name == "train" else None),
            collate_fn=unchanged,
            batch_size=batch_size // n_ranks,
            sampler=sampler,
            num_workers=num_workers,
            # HDF5 handles and the threads of Zarr do not survive a fork.
            multiprocessing_context="spawn" if num_workers else None,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def _stream_order(self, name: str, windows: WindowDataset, rank: int, n_ranks: int) -> Sampler[int]:
        """The order of windows that are read from the source."""
        if self.loading.num_workers:
            raise ConfigError(
                f"data.loading.num_workers is {self.loading.num_workers}, and the series is read from its "
                "source by threads of the main process. Set num_workers to 0, or data.cache to always."
            )
        if name == "train":
            return stream_shuffle(windows, self.loading.seed, rank, n_ranks)
        return StreamInOrder(len(windows), windows.announce, rank, n_ranks)

    def _date(self, i: int) -> str:
        return iso(self.series.times[i])
