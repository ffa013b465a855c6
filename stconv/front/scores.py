"""The result of a test: verdict, table, curves and maps."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stconv.verification import Verification


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

    def __repr__(self) -> str:
        from rich.console import Console

        from stconv.verification.report.table import render_table

        console = Console(file=io.StringIO(), width=110, color_system=None)
        console.print(render_table(self.verification, width=110, verdict_first=True))
        return f"{console.file.getvalue().rstrip()}\nReport: {self.report}"  # type: ignore[attr-defined]

    def _repr_html_(self) -> str:
        from stconv.front.html import scores_html

        return scores_html(self.verification, self.folder)
