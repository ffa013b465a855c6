"""The result of a test: verdict, table, curves and maps."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stconv.verification import Verification

WIDTH = 110
"""Characters in a line of the table as text."""


@dataclass(frozen=True, repr=False)
class Scores:
    """Scores of a model on the test period beside its references.

    Attributes:
        verification: The scores as numbers, with intervals.
        folder: Folder of the report page and the pictures.
    """

    verification: Verification
    folder: Path

    @property
    def verdict(self) -> str:
        """Which references the model beats, and at which leads."""
        return self.verification.verdict()

    @property
    def report(self) -> Path:
        """The report page, which needs no network."""
        from stconv.results import REPORT

        return self.folder / REPORT

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON values."""
        return self.verification.to_json()

    def plot(self, interactive: bool = False) -> Any:
        """Draw error and skill against lead, with intervals, beside the references.

        Args:
            interactive: Draw with plotly (`pip install 'stconv[interactive]'`) instead of matplotlib, without
                intervals.

        Returns:
            A figure of matplotlib or of plotly.
        """
        if interactive:
            from stconv.front.interactive import scores_figure

            return scores_figure(self.verification)
        from stconv.verification.report.plots import skill_figure

        return skill_figure(self.verification)

    def text(self, width: int, verdict_first: bool = False) -> RenderableType:
        """Tables and verdict for a console of rich.

        Args:
            width: Number of characters in a line.
            verdict_first: Begin with the verdict, instead of ending with it.
        """
        from rich.console import Group

        from stconv.verification.report.table import render_table
        from stconv.verification.scores.events import event_table

        result = self.verification
        table = render_table(result, width=width, verdict_first=verdict_first)
        if "event" not in result.diagnostics:
            return table
        return Group(table, event_table(result.diagnostics["event"], result.labels))

    def __repr__(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), width=WIDTH, color_system=None)
        console.print(self.text(WIDTH, verdict_first=True))
        return f"{console.file.getvalue().rstrip()}\nReport: {self.report}"  # type: ignore[attr-defined]

    def _repr_html_(self) -> str:
        from stconv.front.html import scores_html

        return scores_html(self.verification, self.folder)
