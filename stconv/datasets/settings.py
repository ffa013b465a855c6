"""Settings of a data module besides split and preparation: source, window, loading; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from stconv.datasets.remote.address import refuse_secrets
from stconv.datasets.series.store import MEMORY_SHARE
from stconv.datasets.series.windows import WindowSpec
from stconv.datasets.source.grid_spec import GridSpec
from stconv.errors import ConfigError, WindowError


@dataclass(frozen=True)
class SourceSettings:
    """Files and how to read them.

    Attributes:
        paths: File, files, folder or pattern to read, or their addresses (``s3://``, ``gs://``, ``az://``,
            ``https://``); credentials come from the environment, never from here.
        recipe: Name of a recipe, instead of paths; its files are downloaded.
        grid: Options for files that do not describe themselves; a recipe has its own.
        name: Name of the data; default: the recipe or the first file.
        memory_share: Fraction of the available memory that the series may take; a larger series is cached on
            disk once, in the folder STCONV_CACHE, and read from there.
        in_memory: The data are a Dataset of a Python program instead of files; see `stconv.suggest`.

    Raises:
        ConfigError: Not exactly one of paths, recipe and in_memory is given, or memory_share is negative.
        FileError: An address holds a password or a key, or is of a kind that is not read.
    """

    paths: str | list[str] | None = None
    recipe: str | None = None
    grid: GridSpec = field(default_factory=GridSpec)
    name: str | None = None
    memory_share: float = MEMORY_SHARE
    in_memory: bool = False

    def __post_init__(self) -> None:
        if self.in_memory:
            if self.paths is not None or self.recipe is not None:
                raise ConfigError(
                    "data.source says in_memory and names files as well; remove in_memory, or paths and "
                    "recipe."
                )
        elif (self.paths is None) == (self.recipe is None):
            found = "both" if self.paths is not None else "neither"
            raise ConfigError(f"data.source is expected to give either paths or recipe; found {found}.")
        refuse_secrets(self.files)
        if self.memory_share < 0:
            raise ConfigError(f"memory_share is {self.memory_share}; expected a fraction of 0 or more.")

    @property
    def files(self) -> list[str]:
        """Paths as a list; empty with a recipe."""
        return [self.paths] if isinstance(self.paths, str) else list(self.paths or ())

    @property
    def title(self) -> str:
        """Name of the data."""
        return self.name or self.recipe or Path((self.files or ["data"])[0]).stem


@dataclass(frozen=True)
class WindowSettings:
    """Shape of a window, and the choice of windows.

    Attributes:
        t_in: Number of consecutive input steps.
        leads: Number of forecast steps.
        input_offsets: Input steps relative to the newest one, instead of t_in, as in [-24, -2, -1, 0].
        stride: Distance between training windows, in steps; validation and test use every window.
        max_missing: Largest missing fraction of the inputs and of the targets; windows with more are left out
            in all three periods. Cells that never hold a value do not count. Default: keep all windows.
        crop: Rows and columns of the part of the grid that a training step sees, as in [128, 128], read with
            the surroundings that the network needs; validation, test and forecasts use the whole grid, in
            tiles. Default: the whole grid.

    Raises:
        WindowError: A count is below 1, or the offsets do not ascend to 0.
        ConfigError: max_missing is not a fraction, or crop not two sizes.
    """

    t_in: int = 5
    leads: int = 5
    input_offsets: list[int] | None = None
    stride: int = 1
    max_missing: float | None = None
    crop: list[int] | None = None

    def __post_init__(self) -> None:
        self.spec  # noqa: B018 - it checks itself
        if self.stride < 1:
            raise WindowError(f"stride is {self.stride}; expected 1 or more.")
        if self.crop is not None and (len(self.crop) != 2 or min(self.crop) < 1):
            raise ConfigError(f"crop is {list(self.crop)}; expected two sizes of 1 or more, [lat, lon].")
        if self.max_missing is not None and not 0 <= self.max_missing < 1:
            raise ConfigError(
                f"max_missing is {self.max_missing}; expected a fraction of 0 or more and below 1."
            )

    @property
    def spec(self) -> WindowSpec:
        """Offsets of the steps of a window from its reference time."""
        if self.input_offsets is None:
            return WindowSpec.consecutive(self.t_in, self.leads)
        return WindowSpec(tuple(self.input_offsets), self.leads)


@dataclass(frozen=True)
class LoadingSettings:
    """Batches and worker processes.

    Attributes:
        batch_size: Windows per batch; with several processes (DDP), the total over all processes.
        num_workers: Worker processes; 0 loads in the main process, which is fastest for a series in memory.
        seed: Seed for the order of the training windows.

    Raises:
        ConfigError: batch_size or num_workers is too small.
    """

    batch_size: int = 15
    num_workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.num_workers < 0:
            raise ConfigError(
                f"batch_size is {self.batch_size} and num_workers {self.num_workers}; expected at least 1 "
                "and at least 0."
            )
