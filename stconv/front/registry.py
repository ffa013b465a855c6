"""Registered models: their versions, the skill gate, and the refit of one whose data have grown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stconv.errors import TrackingError
from stconv.front.contained import contained

if TYPE_CHECKING:
    import xarray as xr

    from stconv.tracking.registry import Promotion


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        name: Name of the registered model.
        number: Number of the version.
    """

    name: str
    number: int

    @property
    def reference(self) -> str:
        """Address of the version, in the form `models:/NAME/NUMBER`, for `stconv.load` and `stconv.serve`."""
        return f"models:/{self.name}/{self.number}"

    @contained
    def promote(self, *, force: bool = False) -> Promotion:
        """Make the version the champion, models:/NAME@champion, if it has skill.

        Args:
            force: Promote in any case; the objections are recorded as a tag of the version.

        Raises:
            SkillGateError: It beats persistence, climatology or the present champion not significantly; the
                message says where.
            TrackingError: It is no longer the candidate, because a later version was registered.
        """
        from stconv.tracking.registry import CANDIDATE, find_version, promote

        candidate = int(find_version(f"models:/{self.name}@{CANDIDATE}").version)
        if candidate != self.number:
            raise TrackingError(
                f"Version {self.number} of '{self.name}' is not its candidate: version {candidate} was "
                "registered later. Promote that one, or register the run again."
            )
        return promote(self.name, force=force)


@contained
def promote(name: str, *, force: bool = False) -> Promotion:
    """Make the candidate of a registered model its champion, if it has skill; see `Version.promote`."""
    from stconv.tracking import promote

    return promote(name, force=force)


@contained
def champion(name: str) -> Version | None:
    """The champion of a registered model; None if it has none."""
    from stconv.tracking.registry import find_version

    try:
        return Version(name, int(find_version(f"models:/{name}@champion").version))
    except TrackingError:
        return None


@contained
def refresh(
    name: str,
    data: xr.Dataset | None = None,
    *,
    grown: float = 0.1,
    scores: str | Path | None = None,
    least_skill: float | None = None,
    say: Callable[[str], None] | None = None,
) -> Promotion:
    """Refit the champion of a registered model when its data have grown, and promote the refit.

    The refit is compared with the champion on the newest data, which neither has seen, and becomes the
    champion unless it is worse.

    Args:
        name: Name of the registered model.
        data: Dataset with all data, if the champion was trained on one in memory.
        grown: Share by which the data have to grow, above 0.
        scores: Scores of the live verification of the champion, in the archive of a server.
        least_skill: Live skill over persistence below which the model is refreshed in any case.
        say: Takes each remark on the way.

    Raises:
        DataError: The data have not grown by that share.
        SkillGateError: The refit is worse than the champion.
        TrackingError: There is no such model, or it has no champion.
    """
    from stconv.experiments.refreshing import Occasion, refresh

    occasion = Occasion(grown, None if scores is None else Path(scores), least_skill)
    return refresh(name, occasion, data, *([] if say is None else [say]))
