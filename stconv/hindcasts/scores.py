"""Scores alone: the errors of a hindcast beside persistence and climatology, chunk by chunk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from stconv.contenders import MODEL
from stconv.datasets.references.baselines import baseline_forecasts
from stconv.datasets.source.cycles import cycles
from stconv.datasets.source.time_axis import advance, text
from stconv.durable import write_whole
from stconv.errors import ConfigError, FileError
from stconv.forecast import Forecaster
from stconv.hindcasts.forecasts import Forecasts, Frames
from stconv.hindcasts.journal import Origin, read_origin
from stconv.hindcasts.store import full_disk
from stconv.sphere import DEGREE
from stconv.verification import ScoreSums, Verification, lead_labels
from stconv.verification.scores.circular import circles, known_angles, with_angles

JOURNAL, PARTS = "hindcast.json", "parts"


def refuse_unscorable(forecaster: Forecaster, steps: int) -> None:
    """Refuse what has no scores without the data module of a test.

    Raises:
        ConfigError: The model forecasts an event or a variable that it does not read, or there are more leads
            than it was trained with.
    """
    contract, remedy = forecaster.contract, "Write a store (--output FILE.zarr), and evaluate that"
    if contract.of_event:
        raise ConfigError(f"'{forecaster.bundle.name}' forecasts the probability of an event. {remedy}.")
    unread = [target.name for target in contract.targets if not target.input]
    if unread:
        raise ConfigError(
            f"'{forecaster.bundle.name}' forecasts {', '.join(unread)} without reading it, so that its truth "
            f"is not among the inputs. {remedy}."
        )
    if steps > forecaster.leads:
        raise ConfigError(
            f"Scores alone end at the {forecaster.leads} leads of the training; {steps} were asked for. "
            "Leave --steps out, or write a store."
        )


def empty_sums(forecaster: Forecaster, steps: int) -> ScoreSums:
    """Return the sums of no window yet."""
    units = {target.name: target.units for target in forecaster.targets}
    units |= dict.fromkeys(forecaster.directions, DEGREE)
    return ScoreSums(list(units), steps, units, forecaster.directions)


def score(forecasts: Forecasts, references: Sequence[int], frames: Frames) -> ScoreSums:
    """Score the forecasts from some reference times, as a test does.

    Args:
        forecasts: Model and archive.
        references: Positions of the reference times, whose inputs are usable.
        frames: Frames of the inputs and of the truth.
    """
    forecaster, steps = forecasts.forecaster, forecasts.task.steps
    preparation, targets = forecaster.preparation, [target.name for target in forecaster.targets]
    turning = circles(forecaster.directions, targets)
    possible = known_angles(preparation.forecastable, turning)
    sums, leads = empty_sums(forecaster, steps), range(1, steps + 1)
    for chosen, fields in forecasts.batches(references, frames):
        times = [advance(forecasts.archive.times[i], forecaster.step, lead) for i in chosen for lead in leads]
        ahead = cycles(np.array(times)).astype(np.float32).reshape(len(chosen), steps, -1)
        batch = {
            "inputs": torch.from_numpy(frames.at(chosen, forecaster.offsets)),
            "target_cycles": torch.from_numpy(ahead),
        }
        truth = torch.from_numpy(frames.at(chosen, leads)[:, : len(targets)])
        found = {MODEL: torch.from_numpy(fields[0]), **baseline_forecasts(preparation, batch)}
        turned = {name: with_angles(field, turning) for name, field in found.items()}
        sums.add(with_angles(truth, turning), turned, preparation.score_weight, chosen, possible)
    return sums


def verification(forecasts: Forecasts, positions: Sequence[int], folder: Path) -> Verification:
    """Return the scores of all chunks of a complete folder, as a test returns them."""
    forecaster, steps, times = forecasts.forecaster, forecasts.task.steps, forecasts.archive.times
    return Verification(
        ScoreFolder(folder, len(positions)).merged(empty_sums(forecaster, steps)),
        model=forecaster.bundle.name,
        data=forecaster.bundle.data.name or "the archive",
        period=(text(times[positions[0] + 1])[:10], text(times[positions[-1] + steps])[:10]),
        lead_labels=lead_labels(forecaster.step, steps),
        span=1 - forecaster.offsets[0] + steps,
    )


class ScoreFolder:
    """The scores of a hindcast on the disk: a part for each chunk, which is there as a whole or not at all.

    Args:
        path: The folder.
        n: Number of reference times.
    """

    def __init__(self, path: Path, n: int) -> None:
        self.path, self._n = path, n

    @classmethod
    def create(cls, path: Path, n: int, per_chunk: int, origin: Origin) -> ScoreFolder:
        """Begin a folder.

        Raises:
            FileError: The path holds something else, or the disk is full.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileError(f"'{path}' exists and holds no scores of a hindcast. Name another folder.")
        with full_disk(path):
            (path / PARTS).mkdir(parents=True, exist_ok=True)
            journal = {"origin": origin.to_text(), "per_chunk": per_chunk}
            write_whole(path / JOURNAL, json.dumps(journal).encode())
        return cls(path, n)

    @property
    def origin(self) -> dict[str, Any]:
        """What the scores are made from; see `Store.origin`."""
        return read_origin(self._journal()["origin"], str(self.path))

    @property
    def per_chunk(self) -> int:
        """Number of reference times in a chunk."""
        return int(self._journal()["per_chunk"])

    def open_chunks(self) -> list[int]:
        """Return the numbers of the chunks that are not complete."""
        return [i for i in range(-(-self._n // self.per_chunk)) if not self._part(i).exists()]

    def write(self, number: int, sums: ScoreSums | None) -> None:
        """Write the sums of a chunk; None for a chunk whose inputs all miss too much.

        Raises:
            FileError: The disk is full.
        """
        content = b"" if sums is None else bytes(sums.to_dataset().to_netcdf(engine="h5netcdf"))
        with full_disk(self.path):
            write_whole(self._part(number), content)

    def merged(self, none: ScoreSums) -> ScoreSums:
        """Return the sums of all chunks, as those of one pass.

        Args:
            none: Sums of no window.
        """
        parts = []
        for file in sorted((self.path / PARTS).glob("*.nc")):
            content = file.read_bytes()
            if content:
                with xr.open_dataset(BytesIO(content), engine="h5netcdf") as ds:
                    parts.append(ScoreSums.from_dataset(ds.load()))
        return none.merge(*parts)

    def sweep(self) -> None:
        """Remove the files that a killed worker has not renamed."""
        for file in (self.path / PARTS).glob(".*"):
            file.unlink(missing_ok=True)

    def _part(self, number: int) -> Path:
        return self.path / PARTS / f"{number:07d}.nc"

    def _journal(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / JOURNAL).read_text()))
        except (OSError, ValueError) as error:
            raise FileError(
                f"'{self.path}' holds no journal of a hindcast that can be read ({error}). Name another "
                "folder."
            ) from error
