"""A verified experiment trained once more, on all data: `stconv refit`.

Two trainings are made, both with the configuration, the number of steps and the weights of combination that
the verification chose. The first ends at an origin within the data; its errors after that origin are compared
with those of a rival on the same windows, and calibrate the bands together with the errors of the verified
model on its validation period. The second uses all data and becomes the production version.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
import xarray as xr
import yaml
from pytorch_lightning import Callback, LightningModule, Trainer

from stconv.bundle import Bundle
from stconv.contenders import RIVAL
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.series.splits import Periods
from stconv.datasets.source.time_axis import iso
from stconv.errors import DataError, SkillGateError, TrackingError
from stconv.evaluation.assessment import Assessment
from stconv.experiments.configuration import modules_of_config
from stconv.experiments.engine import ExperimentCLI, silence
from stconv.experiments.running import run_experiment
from stconv.experiments.trained_model import load_data
from stconv.models import Network
from stconv.models.outside import import_modules, load_entry_points
from stconv.task import ForecastTask, combination_of
from stconv.tracking.callbacks import ExportBundle, run_logger
from stconv.tracking.registry import resolve_bundle
from stconv.tracking.run_layout import (
    BEST_CHECKPOINT,
    CONFIG,
    TAG_REFIT,
    TAG_REFIT_OF,
    TAG_TRAINED,
)
from stconv.tracking.store import RunInfo, connect, download, explained, find_run
from stconv.uncertainty.conformal import HeldOut, cross_calibrate
from stconv.verification import ScoreSums, Verification
from stconv.verification.scores.pairing import pair
from stconv.verification.scores.verdict import LOSES

SUFFIX = " refit"
"""Ends the name of a refit's run, so that `stconv test` does not take it for the verified one."""
NOT_WORSE = 0.01
"""A refit whose error is higher than that of its rival by more than this fraction is worse, decided or
not."""


@dataclass(frozen=True)
class Verified:
    """A verified run, and the data that there are now.

    Attributes:
        run: The run.
        bundle: Its bundle.
        values: Its configuration.
        steps: Number of optimizer steps of its best weights.
        data: The data as they are now, set up with the split of the configuration.
    """

    run: RunInfo
    bundle: Bundle
    values: dict[str, Any]
    steps: int
    data: GridDataModule

    @property
    def n_known(self) -> int:
        """Number of steps that its data had."""
        return self.bundle.data.n_steps


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
    origin = _periods(verified).val.stop
    judged = judge_at(verified, origin, verified.bundle, "the verified model", dataset, say)
    return train_on_all(verified, judged, dataset, say)


def find_verified(reference: str, dataset: xr.Dataset | None = None) -> Verified:
    """Find a tested run, its bundle, configuration and number of steps, and open its data as they are now.

    Args:
        reference: Run id or name of a tested run, or of a refit of it.
        dataset: The data, if they are in memory.

    Raises:
        TrackingError: The run is unknown, untested, or has no bundle or checkpoint.
        DataError: The source is not the one that the run was trained on, or has changed.
    """
    run = find_run(reference)
    run = find_run(run.tags[TAG_REFIT_OF]) if TAG_REFIT_OF in run.tags else run
    if TAG_TRAINED not in run.tags:
        raise TrackingError(
            f"Run {run} has no bundle: its training did not finish ({run.status}). A refit repeats a "
            "training that was finished and tested; run `stconv fit` and `stconv test` first."
        )
    if not run.tested:
        raise TrackingError(
            f"Run {run} was not tested, so that nothing is known about the skill of its refit. Run `stconv "
            "test` with its configuration first."
        )
    try:
        checkpoint = download(run.run_id, BEST_CHECKPOINT)
    except TrackingError as error:
        raise TrackingError(
            f"Run {run} has no best checkpoint, which says after how many steps its training was best. Train "
            f"it with validation and ModelCheckpoint.\n{error}"
        ) from error
    config = download(run.run_id, CONFIG)
    load_entry_points()
    import_modules(modules_of_config(config))
    bundle = Bundle.load(resolve_bundle(f"runs:/{run.run_id}"))
    steps = int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    data = load_data(config)
    data.dataset = dataset
    data.prepare_data()
    data.setup("fit")
    verified = Verified(run, bundle, yaml.safe_load(config.read_text()), steps, data)
    _check_source(verified)
    return verified


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
    task = _train(verified, origin, None, None, dataset, silence).model
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
    validation = data.windows_within(_periods(verified).val)
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
        done = _train(verified, len(data.series), export, run, dataset, say)
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


class ExportRefit(ExportBundle):
    """Export a refit, with bands of the rolling origins and the scores of the verified run.

    Args:
        held_out: Models at rolling origins, with windows after their training.
        facts: The key `refit` of the bundle.
        scores: Scores of the verified run.
    """

    def __init__(self, held_out: list[HeldOut], facts: Mapping[str, Any], scores: dict[str, Any]) -> None:
        self._held_out, self._facts, self._scores = held_out, facts, scores

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Calibrate, export, and link the run to the verified one."""
        logger = run_logger(trainer)
        if logger is None or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, ForecastTask)
        pl_module.refit = dict(self._facts)
        device = pl_module.device
        held_out = [
            HeldOut(part.network.to(device), part.preparation.to(device), part.references)
            for part in self._held_out
        ]
        if pl_module.data.event is None:
            pl_module.bands = cross_calibrate(
                pl_module.network, pl_module.preparation, pl_module.data, held_out
            )
        self._export(trainer, pl_module, logger, self._scores)
        logger.set_tag(TAG_REFIT_OF, str(self._facts["sibling"]))
        logger.set_tag(TAG_TRAINED, "true")


class RefitCLI(ExperimentCLI):
    """Trainer, task and data of `stconv fit`, with the weights of combination of a verified network."""

    combination: ClassVar[list[dict[str, torch.Tensor]]] = []
    exporter: ClassVar[Callback | None] = None

    def _exporter(self) -> Callback:
        return self.exporter or super()._exporter()

    def train(self, **kwargs: Any) -> None:
        """Let the trainer fit."""
        self.model.combination = self.combination
        super().train(**kwargs)


def _train(
    verified: Verified,
    n_steps: int,
    export: ExportRefit | None,
    run: RunInfo | None,
    dataset: xr.Dataset | None,
    say: Callable[[str], None],
) -> ExperimentCLI:
    """Train on the first steps of the series; in a run of its own if there is something to export."""
    weights = combination_of(verified.bundle.network)
    kind = type("RefitOfRun", (RefitCLI,), {"combination": weights, "exporter": export})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "refit.yaml")
        file.write_text(yaml.safe_dump(refit_values(verified.values, verified.steps, n_steps, run)))
        return run_experiment(
            "fit", ["--config", str(file)], (), say, cli=kind, dataset=dataset, bar=lambda: None
        )


def refit_values(values: Mapping[str, Any], steps: int, n_steps: int, run: RunInfo | None) -> dict[str, Any]:
    """Change a configuration into that of a refit.

    Args:
        values: Configuration of the verified run.
        steps: Number of optimizer steps.
        n_steps: Number of steps of the series to train on.
        run: The verified run, in whose experiment the refit is recorded; None for no record.
    """
    found = copy.deepcopy(dict(values))
    found["data"]["split"] = {**(found["data"].get("split") or {}), "refit_steps": n_steps}
    trainer = found["trainer"]
    kept = [
        callback
        for callback in trainer.get("callbacks") or []
        if not str(callback.get("class_path", "")).endswith(("ModelCheckpoint", "EarlyStopping"))
    ]
    trainer |= {
        "max_steps": steps,
        "max_epochs": None,
        "max_time": None,
        "limit_val_batches": 0,
        "enable_checkpointing": False,
        "callbacks": kept or None,
    }
    if run is None:
        trainer["logger"] = False
    else:
        arguments = {"experiment_name": run.experiment, "run_name": f"{run.name}{SUFFIX}"}
        trainer["logger"] = {"class_path": "stconv.tracking.RunLogger", "init_args": arguments}
    return found


def _periods(verified: Verified) -> Periods:
    """The periods of the verified run, as steps."""
    data = verified.data
    return data.split.apply(data.series.times[: verified.n_known], data.spec.span)


def _check_source(verified: Verified) -> None:
    """Check that the source begins with the data of the verified run.

    Raises:
        DataError: It does not.
    """
    series, known, n = verified.data.series, verified.bundle.data, verified.n_known
    begun = f"The data of run {verified.run} had {n} steps"
    if len(series) < n:
        raise DataError(f"{begun}, and there are {len(series)} now. Give all files that it was trained on.")
    first = replace(series, values=series.values[:n], times=series.times[:n], values_hash="", content_hash="")
    if first.content_hash != known.hash:
        raise DataError(
            f"{begun}, and the first {n} steps of the source are not those: values, times or grid have "
            f"changed (sha256 {first.content_hash[:12]}, expected {known.hash[:12]}). Its scores are about "
            "other data. Train and test the configuration on the source as it is now: stconv fit, stconv "
            "test."
        )


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
