"""A verified experiment trained once more, on all data: `stconv refit`.

Two trainings are made, both with the configuration, the number of steps and the weights of combination that
the verification chose. The first ends at an origin within the data; its errors after that origin are compared
with those of a rival on the same windows, and calibrate the bands together with the errors of the verified
model on its validation period. The second uses all data and becomes the production version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import xarray as xr

from stconv.bundle import Bundle
from stconv.contenders import RIVAL
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.source.time_axis import iso
from stconv.errors import DataError, SkillGateError
from stconv.evaluation.assessment import Assessment
from stconv.experiments.engine import silence
from stconv.experiments.refit_training import ExportRefit, train_refit
from stconv.experiments.verified_run import Verified, find_verified
from stconv.models import Network
from stconv.tracking.callbacks import run_logger
from stconv.tracking.run_layout import TAG_REFIT
from stconv.tracking.store import RunInfo, connect, explained, find_run
from stconv.uncertainty.conformal import HeldOut
from stconv.verification import ScoreSums, Verification
from stconv.verification.scores.pairing import pair
from stconv.verification.scores.verdict import LOSES

NOT_WORSE = 0.01
"""A refit whose error is higher than that of its rival by more than this fraction is worse, decided or
not."""


@dataclass(frozen=True)
class Judged:
    """The training up to an origin, beside a rival on windows after it.

    Attributes:
        held_out: The model of this training, with those windows.
        evidence: Findings, one sentence for each variable.
        objections: Findings against the refit.
    """

    held_out: HeldOut
    evidence: list[str]
    objections: list[str]


def refit(reference: str, dataset: xr.Dataset | None = None, say: Callable[[str], None] = silence) -> RunInfo:
    """Train a verified run's experiment on all data up to the newest, and record it in the same experiment.

    Args:
        reference: Run id or name of a tested run, or of a refit of it.
        dataset: The data, if they are in memory.
        say: Takes each remark on the way.

    Returns:
        The run of the refit.

    Raises:
        TrackingError: The run is unknown, untested, or has no bundle or checkpoint.
        DataError: The source is not the one that the run was trained on, or has changed.
        SkillGateError: Trained until the end of the validation period, the same experiment is worse on later
            windows than the verified model.
        KeyboardInterrupt: The refit was interrupted; nothing was registered.
    """
    verified = find_verified(reference, dataset)
    origin = verified.periods.val.stop
    judged = judge_at(verified, origin, verified.bundle, "the verified model", dataset, say)
    return train_on_all(verified, judged, dataset, say)


def judge_at(
    verified: Verified,
    origin: int,
    rival: Bundle,
    label: str,
    dataset: xr.Dataset | None = None,
    say: Callable[[str], None] = silence,
) -> Judged:
    """Train on the steps before an origin, and compare with a rival on all windows after it.

    Args:
        verified: The verified run.
        origin: Number of steps to train on; the rival knows none of the later ones.
        rival: Bundle of the rival.
        label: The rival in words.
        dataset: The data, if they are in memory.
        say: Takes each remark on the way.

    Raises:
        SkillGateError: The training is worse than the rival.
        DataError: There is no window after the origin.
    """
    data = verified.data
    references = data.windows_within(range(origin, len(data.series)))
    if not references:
        raise DataError(
            f"There is no complete window after step {origin} of {len(data.series)}, on which a refit could "
            "be compared. Wait for more data."
        )
    say(f"Training on the first {origin} of {len(data.series)} steps, to compare with {label} on later ones.")
    task = train_refit(verified, origin, None, None, dataset, silence).model
    task.network.eval()
    contenders = (task.network, task.preparation), (rival.network, rival.preparation)
    forecastable = contenders[0][1].forecastable.cpu() & contenders[1][1].forecastable.cpu()
    ours, theirs = (model_sums(data, references, forecastable, *contender) for contender in contenders)
    whole = Verification(pair(ours, theirs), span=data.spec.span).over_leads()
    sums = whole.sums
    evidence: list[str] = []
    objections: list[str] = []
    outcomes, skills = whole.outcome(RIVAL)[:, 0], sums.skill(sums.model, RIVAL)[:, 0]
    for i, variable in enumerate(sums.variables):
        mine, other = sums.rmse(sums.model)[i, 0], sums.rmse(RIVAL)[i, 0]
        sentence = (
            f"Trained until {_date(data, origin - 1)}, its RMSE of {variable} on {sums.n_windows} later "
            f"windows was {mine:.4g} {sums.units[variable]}, against {other:.4g} of {label} "
            f"({100 * skills[i]:+.1f} %)."
        )
        worse = str(outcomes[i]) == LOSES or skills[i] < -NOT_WORSE
        (objections if worse else evidence).append(sentence)
        say(sentence)
    if objections:
        raise SkillGateError(
            f"The refit of run {verified.run} is worse than {label} and was not made:\n"
            + "\n".join(f"  {sentence}" for sentence in objections)
            + f"\n{label[0].upper()}{label[1:]} stays. Look at the newest data, or train another one."
        )
    return Judged(HeldOut(task.network, task.preparation, references), evidence, objections)


def train_on_all(
    verified: Verified,
    judged: Judged,
    dataset: xr.Dataset | None = None,
    say: Callable[[str], None] = silence,
) -> RunInfo:
    """Train on all data, calibrate the bands at the rolling origins, and record and link the run.

    Args:
        verified: The verified run.
        judged: The training up to an origin.
        dataset: The data, if they are in memory.
        say: Takes each remark on the way.

    Returns:
        The run of the refit.
    """
    data, bundle, run = verified.data, verified.bundle, verified.run
    validation = data.windows_within(verified.periods.val)
    held_out = [HeldOut(bundle.network, bundle.preparation, validation), judged.held_out]
    facts = {
        "sibling": run.run_id,
        "steps": verified.steps,
        "trained_until": _date(data, len(data.series) - 1),
        "sibling_trained_until": bundle.data.periods["train"].end,
        "evidence": judged.evidence,
    }
    export = ExportRefit(held_out, facts, dict(bundle.spec.get("scores") or {}))
    say(f"Training on all {len(data.series)} steps, until {facts['trained_until']}.")
    try:
        done = train_refit(verified, len(data.series), export, run, dataset, say)
    except KeyboardInterrupt as stopped:
        raise KeyboardInterrupt(
            f"The refit of run {run} was interrupted; nothing was registered. Begin again: stconv refit "
            f"{run.run_id}"
        ) from stopped
    logger = run_logger(done.trainer)
    assert logger is not None
    run_id = str(logger.run_id)
    with explained(f"link run {run}"):
        connect().set_tag(run.run_id, TAG_REFIT, run_id)
    return find_run(run_id)


def model_sums(
    data: GridDataModule,
    references: Sequence[int],
    forecastable: torch.Tensor,
    network: Network,
    preparation: Preparation,
) -> ScoreSums:
    """Sum the errors of a model on some windows.

    Args:
        data: Data module after `setup`.
        references: Reference indices of the windows.
        forecastable: Cells that count, bool, (target, lat, lon): those that both contenders can forecast.
        network: Network of the model.
        preparation: Its preparation.
    """
    assessment = Assessment(data, preparation)
    windows = WindowDataset(data.series, data.spec, references)
    device = preparation.cell_weight.device
    with torch.inference_mode():
        for start in range(0, len(windows), data.loading.batch_size):
            batch = windows.batch(range(start, min(start + data.loading.batch_size, len(windows))))
            if data.event is None:
                batch["targets"] = batch["targets"].masked_fill(~forecastable[:, None], torch.nan)
            batch = {name: value.to(device) for name, value in batch.items()}
            assessment.add(batch, network.members(preparation.inputs(batch)))
    return assessment.sums


def _date(data: GridDataModule, step: int) -> str:
    return iso(data.series.times[step])
