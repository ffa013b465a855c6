"""A model in production that is renewed as its data grow: `stconv refresh`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from stconv.bundle import Bundle
from stconv.contenders import PERSISTENCE
from stconv.errors import ConfigError, DataError, FileError
from stconv.experiments.engine import silence
from stconv.experiments.refitting import judge_at, train_on_all
from stconv.experiments.verified_run import Verified, find_verified
from stconv.tracking.registry import Promotion, bundle_of, find_version, promote, register
from stconv.verification import ScoreSums

GROWN = 0.1
"""Default share by which the data have to grow."""
HELD_BACK = 0.5
"""Newest share of the grown data that the comparison with the champion holds back."""


@dataclass(frozen=True)
class Occasion:
    """The reasons to refresh a model.

    Attributes:
        grown: Share of its steps by which the data have to grow.
        scores: Scores of the live verification (scores.nc in the archive of a server), if they count.
        least_skill: Live skill over persistence below which the model is refreshed whatever its data.

    Raises:
        ConfigError: A share is not above zero, or one of scores and least_skill is given without the other.
    """

    grown: float = GROWN
    scores: Path | None = None
    least_skill: float | None = None

    def __post_init__(self) -> None:
        if not self.grown > 0:
            raise ConfigError(f"--grown is {self.grown}; expected a share above 0, such as 0.1.")
        if (self.scores is None) != (self.least_skill is None):
            raise ConfigError(
                "--scores and --least-skill belong together: the scores of the live verification, and the "
                "skill below which the model is refreshed. Give both, or neither."
            )

    def reason(self, n_known: int, n_now: int) -> str:
        """Say why the model is refreshed.

        Args:
            n_known: Steps that the champion has seen.
            n_now: Steps that there are.

        Raises:
            DataError: There is no reason; the message says how far the data have grown.
        """
        share = (n_now - n_known) / n_known
        grown = f"The data have grown from {n_known} to {n_now} steps ({100 * share:+.1f} %)"
        if share >= self.grown:
            return f"{grown}."
        skill = None if self.scores is None else live_skill(self.scores)
        if (
            skill is not None
            and self.least_skill is not None
            and skill < self.least_skill
            and n_now > n_known
        ):
            return f"The live skill over persistence is {skill:.3f}, below {self.least_skill}."
        live = "" if skill is None else f", and the live skill over persistence is {skill:.3f}"
        raise DataError(
            f"{grown}{live}: no reason to refresh. It is refreshed once the data have grown by "
            f"{100 * self.grown:g} %; choose another share with --grown."
        )


def live_skill(scores: Path) -> float:
    """Return the skill over persistence of a live verification, over all variables and leads, at its worst.

    Raises:
        FileError: The file holds no scores.
    """
    try:
        with xr.open_dataset(scores, engine="h5netcdf") as ds:
            sums = ScoreSums.from_dataset(ds.load())
        skill = sums.over_leads().skill(sums.model, PERSISTENCE)
    except (OSError, KeyError, ValueError) as error:
        raise FileError(
            f"'{scores}' holds no scores of a live verification ({type(error).__name__}: {error}); expected "
            "scores.nc of a version in the archive of a server."
        ) from error
    return float(np.nanmin(skill))


def refresh(
    name: str,
    occasion: Occasion,
    dataset: xr.Dataset | None = None,
    say: Callable[[str], None] = silence,
) -> Promotion:
    """Refit the champion of a registered model, and make the refit the champion unless it is worse.

    The experiment is trained on all but the newest half of what the champion has not seen, compared with the
    champion on that half, then trained on all data, registered and promoted through the gate.

    Args:
        name: Registered model, or models:/NAME.
        occasion: Reasons to refresh.
        dataset: The data, if they are in memory.
        say: Takes each remark on the way.

    Raises:
        DataError: There is no reason to refresh, or the source has changed.
        SkillGateError: The refit is worse than the champion, or the gate refuses it.
        TrackingError: There is no such model, or its run was not tested.
    """
    name = name.removeprefix("models:/").partition("@")[0]
    version = find_version(f"models:/{name}")
    champion = Bundle.load(bundle_of(version))
    verified = find_verified(str(version.run_id), dataset)
    n_known, n_now = steps_seen(champion, verified), len(verified.data.series)
    say(occasion.reason(n_known, n_now))
    origin = n_now - max(1, round(HELD_BACK * (n_now - n_known)))
    label = f"the champion, version {version.version}"
    judged = judge_at(verified, origin, champion, label, dataset, say)
    found = train_on_all(verified, judged, dataset, say)
    register(found.run_id, name)
    return promote(name)


def steps_seen(champion: Bundle, verified: Verified) -> int:
    """Return the number of steps that the data of a champion had, its test period included."""
    return max(champion.data.n_steps, verified.n_known)
