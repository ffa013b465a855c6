"""A look at data before training on them: `stconv.inspect`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from stconv.errors import ConfigError
from stconv.front.contained import contained
from stconv.front.reading import Reading, grid_spec, names_of, source_of
from stconv.front.remedies import in_keywords, said_in_keywords

if TYPE_CHECKING:
    import xarray as xr

    from stconv.datasets.inspection.description import Description
    from stconv.datasets.source.grid_spec import GridSpec
    from stconv.front.reading import Data


@dataclass(frozen=True, repr=False)
class Inspection:
    """Description of data: text in a terminal, a table with small maps in a notebook.

    Attributes:
        description: Axes, steps, gaps, variables, windows and advice, as numbers and sentences.
        dataset: The data in canonical form: (time, lat, lon) or (time, y, x), float32, ascending.
        source: The data as they were given: paths, or a Dataset.
        spec: Options that they were read with.
    """

    description: Description
    dataset: xr.Dataset
    source: xr.Dataset | list[str]
    spec: GridSpec

    @property
    def advice(self) -> list[str]:
        """Advice, the most urgent first, with remedies as keywords."""
        return [in_keywords(sentence) for sentence in self.description.advice]

    def plot(self, interactive: bool = False) -> Any:
        """Draw the last field and the mean over the grid of each variable.

        Args:
            interactive: Draw with plotly (`pip install 'stconv[interactive]'`) instead of matplotlib.

        Returns:
            A figure of matplotlib or of plotly.
        """
        if interactive:
            from stconv.front.interactive import inspection_figure

            return inspection_figure(self.dataset)
        from stconv.datasets.inspection.inspect import plot

        return plot(self.dataset)

    def save_plot(self, path: str | Path) -> Path:
        """Write the picture of `plot` as .png, .svg or .pdf."""
        from stconv.verification.report.plots import save

        return save(self.plot(), Path(path))

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON values."""
        return self.description.to_json()

    @contained
    def write_config(self, path: str | Path, minutes: float | None = None) -> str:
        """Write a first experiment on these files for `stconv fit --config`; an existing file is kept.

        Args:
            path: YAML file to write.
            minutes: Time that the training may take on this machine, which is measured; None: not limited.

        Returns:
            A sentence on the measured speed; empty without `minutes`.

        Raises:
            ConfigError: The file exists, the data were a Dataset in memory, which a file cannot name, they
                have too few steps to train on, or the time is too short.
        """
        from stconv.experiments.starter_file import write_starter

        if not isinstance(self.source, list):
            raise ConfigError(
                "The data are a Dataset in memory, which a configuration cannot name. Write "
                "`stconv.suggest(ds).to_yaml(FILE, data=NETCDF)` instead."
            )
        return write_starter(Path(path), self.description, self.source, self.spec, minutes)

    def __repr__(self) -> str:
        from stconv.datasets.inspection.text import description_text

        return in_keywords(description_text(self.description))

    def _repr_html_(self) -> str:
        from stconv.front.html import inspection_html

        return inspection_html(self.description, self.dataset, self.advice)


@contained
def inspect(
    data: Data,
    variables: Sequence[str] | str | None = None,
    *,
    t_in: int = 5,
    leads: int = 5,
    **reading: Unpack[Reading],
) -> Inspection:
    """Describe data: axes, time step, gaps, missing values, ranges, errors to beat, and advice.

    Args:
        data: A Dataset (eager or dask), a DataArray, an array (time, y, x) or (time, channel, y, x), or the
            path of a file, a folder, a pattern or a Zarr store, or several paths.
        variables: Variables to describe; default: every field.
        t_in: Input steps of the windows to count.
        leads: Steps to forecast of the windows to count.
        **reading: Keywords for data that do not describe themselves, such as `step="6h"` for an array, or
            `valid_range={"rain": [0, None]}`; see `stconv.datasets.source.grid_spec.GridSpec`.

    Returns:
        The description; a notebook shows it as a table with maps.

    Raises:
        DataError: The data cannot be used as they are; the message says why, and what to do.
        ConfigError: A keyword is unknown.
    """
    from stconv.datasets.inspection.inspect import describe
    from stconv.datasets.series.windows import WindowSpec
    from stconv.datasets.source.attributes import SourceWarning

    with said_in_keywords():
        WindowSpec.consecutive(t_in, leads)  # refuses sizes that are none
        wanted = names_of(variables, "variables")
        spec = grid_spec(reading, inspect)
        if "fill_gaps" not in reading:
            spec = replace(spec, fill_gaps=t_in // 2)
        with warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always", SourceWarning)
            source = source_of(data, spec)
        description, ds = describe(source, spec, wanted, t_in, leads)
        description.advice.extend(str(remark.message) for remark in remarks)
    return Inspection(description, ds, source, spec)
