"""Tested runs side by side: `stconv.compare`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.front.contained import contained
from stconv.front.run import Run

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from stconv.experiments.comparison import Entry
    from stconv.tracking import RunInfo


@dataclass(frozen=True, repr=False)
class Comparison:
    """Runs that were tested on the same windows, best first.

    Attributes:
        entries: The runs and their scores.
    """

    entries: Sequence[Entry]

    @property
    def table(self) -> pd.DataFrame:
        """A row for each run: RMSE over all leads, skill per lead, verdict against the best, what differs."""
        from stconv.experiments.comparison import comparison_table

        return comparison_table(self.entries)

    def plot(self, interactive: bool = False) -> Any:
        """Draw error and skill against lead of the best runs.

        Args:
            interactive: Draw with plotly (`pip install 'stconv[interactive]'`) instead of matplotlib.

        Returns:
            A figure of matplotlib or of plotly.
        """
        if interactive:
            from stconv.front.interactive import comparison_figure

            return comparison_figure(self.entries)
        from stconv.experiments.comparison import draw

        return draw(self.entries)

    def save_plot(self, path: str | Path) -> Path:
        """Write the picture of `plot` as .png, .svg or .pdf."""
        from stconv.verification.report.plots import save

        return save(self.plot(), Path(path))

    def text(self, width: int) -> Iterator[RenderableType]:
        """Yield tables for a console of rich: scores, and the parameters in which the runs differ.

        Args:
            width: Number of characters in a line.
        """
        from stconv.front.comparison_tables import comparison_tables

        return comparison_tables(self.entries, width)

    def to_json(self) -> dict[str, Any]:
        """Return data, runs and scores as JSON values."""
        from stconv.experiments.comparison import group_json

        return group_json(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        table = self.table.to_string(float_format="{:.4g}".format, line_width=200)
        return f"{self.entries[0].result.title}\n{table}"

    def _repr_html_(self) -> str:
        from stconv.front.html import comparison_html

        return comparison_html(self.entries[0].result.title, self.table, self.plot())


@dataclass(frozen=True)
class Comparisons:
    """All tested runs, by the data that they were tested on.

    Attributes:
        groups: Runs on the same data; those of the newest run first.
        unscored: Runs that were not tested, or whose scores are not on this machine.
    """

    groups: Sequence[Comparison]
    unscored: Sequence[RunInfo]


@contained
def comparisons(experiment: str | None = None, *, latest: bool = False) -> Comparisons:
    """Compare all tested runs, those on the same data together.

    Args:
        experiment: Compare runs of this experiment only.
        latest: Keep only the newest of the runs with the same name.

    Raises:
        TrackingError: No run was tested.
    """
    from stconv.experiments.comparison import find_entries

    groups, unscored = find_entries(experiment, latest)
    return Comparisons([Comparison(group) for group in groups], unscored)


@contained
def compare(what: str | Run | Iterable[Run | str] | None = None, *, latest: bool = False) -> Comparison:
    """Compare tested runs on the same data, best first.

    Args:
        what: An experiment's name, or runs, or their names or ids; default: all runs.
        latest: Keep only the newest of the runs with the same name.

    Returns:
        The runs on the data of the newest of them: a DataFrame as `table`, and a picture by `plot`.

    Raises:
        TrackingError: None of them was tested, or one is unknown.
        ConfigError: The runs that are named were tested on different data.
    """
    from stconv.errors import ConfigError
    from stconv.experiments.comparison import find_entries
    from stconv.tracking import find_run

    if what is None or isinstance(what, str):
        groups, _ = find_entries(what, latest)
        return Comparison(groups[0])
    wanted = [what] if isinstance(what, Run) else list(what)
    infos = [find_run(run.id if isinstance(run, Run) else run) for run in wanted]
    groups, _ = find_entries(None, latest, infos)
    if len(groups) > 1:
        ends = "; ".join(
            f"{group[0].result.data}: {', '.join(entry.run.name for entry in group)}" for group in groups
        )
        raise ConfigError(
            f"The runs were tested on different data or windows ({ends}). Compare each group alone."
        )
    return Comparison(groups[0])
