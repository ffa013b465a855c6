"""The time of a training: said before the first epoch, kept within a budget, with its schedule complete."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch

from stconv.datasets.recipes.synthetic import generate
from stconv.errors import ConfigError
from stconv.experiments import budget
from stconv.experiments.budget import Pace, TrainingTime, as_timedelta, duration, measure
from stconv.experiments.running import run_experiment

CONFIG = """\
seed_everything: 0
data:
  source: {paths: [made.nc]}
  window: {t_in: 3, leads: 2}
  preparation: {inputs: [t2m], scaling: anomaly}
  loading: {batch_size: 16}
model:
  network:
    class_path: ResNet2D
    init_args: {dilations: [1], n_filters: 4, dropout: 0.2}
  loss: {class_path: MaskedMSE}
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-2}}
  lr_scheduler: {class_path: stconv.schedules.WarmupCosine}
trainer:
  accelerator: cpu
  logger: false
  max_epochs: 3
  enable_checkpointing: false
  enable_progress_bar: false
  enable_model_summary: false
  num_sanity_val_steps: 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a configuration."""
    folder = tmp_path_factory.mktemp("budget")
    generate(folder / "made.nc", n_steps=200, n_lat=6, n_lon=6)
    (folder / "made.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def fit(*words, say=None):
    return run_experiment("fit", ["--config", "made.yaml", *words], say=say)


def weights(cli):
    return torch.cat([p.detach().flatten() for p in cli.model.network.parameters()])


def test_the_time_is_said_before_the_first_epoch(monkeypatch):
    said = []
    monkeypatch.setattr(budget, "measure", lambda task, data: Pace(0.5, 8, 2.0))
    fit(say=said.append)
    assert said == ["3 epochs of 8 steps take about 18 s (6.0 s each)."]


def test_a_training_without_end_says_the_time_of_an_epoch(monkeypatch):
    said = []
    monkeypatch.setattr(budget, "measure", lambda task, data: Pace(0.5, 8, 2.0))
    monkeypatch.setattr(TrainingTime, "on_train_epoch_end", lambda self, trainer, task: _stop(trainer))
    lines = CONFIG.replace("max_epochs: 3", "max_epochs: -1").splitlines(keepends=True)
    Path("endless.yaml").write_text("".join(line for line in lines if "lr_scheduler" not in line))
    run_experiment("fit", ["--config", "endless.yaml"], say=said.append)
    assert said == ["An epoch of 8 steps takes about 6.0 s."]


def _stop(trainer):
    trainer.should_stop = True


def test_a_measurement_changes_nothing(monkeypatch):
    """Weights, random numbers and dropout are those of a training without a measurement."""
    measured = weights(fit())
    monkeypatch.setattr(budget, "measure", lambda task, data: Pace(0.5, 8, 2.0))
    assert torch.equal(measured, weights(fit()))


def test_a_measurement_counts_steps_and_batches():
    cli = fit("--trainer.max_epochs=1")
    pace = measure(cli.model, cli.datamodule)
    n_train, n_val = (len(cli.datamodule.references[period]) for period in ("train", "val"))
    assert pace.n_steps == -(-n_train // 16) == len(cli.datamodule.train_dataloader())
    assert pace.epoch_seconds == pytest.approx(pace.n_steps * pace.step_seconds + pace.validation_seconds)
    assert 0 < pace.validation_seconds / -(-n_val // 16) < pace.step_seconds


class Clock:
    """A clock that a test sets; an epoch takes the given seconds."""

    def __init__(self, monkeypatch, seconds, pace):
        self.now, self.seconds, self.rates = 0.0, seconds, []
        monkeypatch.setattr(budget.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(budget, "measure", lambda task, data: Pace(pace, 1, 0.0))
        correct = TrainingTime.on_train_epoch_end

        def after_an_epoch(callback, trainer, module):
            self.now += self.seconds[min(trainer.current_epoch, len(self.seconds) - 1)]
            correct(callback, trainer, module)
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

        monkeypatch.setattr(TrainingTime, "on_train_epoch_end", after_an_epoch)


@pytest.mark.parametrize(
    ("seconds", "pace", "epochs"),
    [
        ([10], 10, 6),  # as measured
        ([20], 10, 3),  # half as fast
        ([5], 10, 12),  # twice as fast
        ([10, 10, 100], 10, 3),  # another program takes the machine: one epoch too much at most
        ([100], 1000, 1),  # too long for the budget: one epoch
    ],
)
def test_a_training_ends_within_its_budget_and_one_epoch(monkeypatch, seconds, pace, epochs):
    clock = Clock(monkeypatch, seconds, pace)
    cli = fit("--trainer.max_time=00:00:01:00", "--trainer.max_epochs=100")
    assert cli.trainer.current_epoch == epochs
    assert clock.now <= 60 + max(seconds)


@pytest.mark.parametrize("seconds", [[10], [20], [5]])
def test_the_schedule_is_complete_when_the_budget_ends(monkeypatch, seconds):
    """The learning rate reaches its end, zero, with the last step, whatever the pace."""
    clock = Clock(monkeypatch, seconds, 10)
    fit("--trainer.max_time=00:00:01:00", "--trainer.max_epochs=100")
    assert clock.rates[-1] == pytest.approx(0, abs=1e-5)
    assert max(clock.rates) > 5e-3


def test_a_budget_does_not_prolong_a_training(monkeypatch):
    Clock(monkeypatch, [1], 1)
    assert fit("--trainer.max_time=00:00:01:00").trainer.current_epoch == 3


def test_a_budget_alone_is_enough(monkeypatch):
    Clock(monkeypatch, [20], 20)
    cli = fit("--trainer.max_time=00:00:01:00", "--trainer.max_epochs=null")
    assert cli.trainer.current_epoch == 3


def test_a_resumed_training_has_the_rest_of_the_budget(monkeypatch):
    clock = Clock(monkeypatch, [10], 10)
    callback = TrainingTime(print, timedelta(minutes=1))
    callback.load_state_dict({"spent": 40.0})
    assert callback.state_dict()["spent"] == pytest.approx(40.0)
    clock.now = 5.0
    assert callback.state_dict()["spent"] == pytest.approx(45.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("01:02:03:04", 93784), ({"minutes": 5}, 300), (timedelta(seconds=7), 7), (None, None)],
)
def test_times_are_read_as_lightning_reads_them(text, seconds):
    found = as_timedelta(text)
    assert (None if found is None else found.total_seconds()) == seconds


@pytest.mark.parametrize("text", ["5 min", "00:00:00:00", {"minuten": 5}, {"minutes": -1}])
def test_other_times_are_refused(text):
    with pytest.raises(ConfigError, match=r"trainer\.max_time is .*expected days, hours, minutes"):
        as_timedelta(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.44, "0.4 s"), (12.3, "12 s"), (210, "3.5 min"), (7560, "2.1 h")]
)
def test_durations_are_written_for_people(seconds, text):
    assert duration(seconds) == text
