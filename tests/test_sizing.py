"""The size and the epochs of a suggested experiment follow the time that its training may take."""

import math
from pathlib import Path

import pytest
import yaml

import stconv
from stconv.cli.main import main
from stconv.datasets.inspection.inspect import describe
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.settings import SourceSettings
from stconv.errors import ConfigError
from stconv.experiments import sizing
from stconv.experiments.budget import Pace
from stconv.experiments.starter import starter

N_STEPS = 70
"""Steps of an epoch, made up; 400 steps are six epochs."""


@pytest.fixture(scope="module")
def suggested(tmp_path_factory):
    """A suggested experiment with the widest network, of 14 epochs."""
    file = tmp_path_factory.mktemp("sizing") / "made.nc"
    generate(file, n_steps=2000, n_lat=6, n_lon=6)
    found, _ = describe([str(file)])
    values = starter(found, SourceSettings(paths=[str(file)]), "made")
    assert width_of(values) == 32
    assert values["trainer"]["max_epochs"] > 6
    return values


def width_of(values):
    return values["model"]["network"]["init_args"]["network"]["init_args"]["n_filters"]


@pytest.fixture
def machine(monkeypatch):
    """A machine on which a step takes a second per 32 filters, and everything before it two seconds."""

    def trial(values, dataset):
        return Pace(width_of(values) / 32, N_STEPS, 0.0), 2.0

    monkeypatch.setattr(sizing, "_trial", trial)


@pytest.mark.parametrize(
    ("minutes", "width", "epochs"),
    [
        (60, 32, None),  # all that was suggested
        (9, 32, 6),  # 420 s of 0.9 * 540 - 2: six epochs of 70 s
        (7, 16, 10),  # the wide one would get five: 376 s are ten epochs of 35 s
        (2, 8, 6),  # 106 s are six epochs of 17.5 s
        (0.4, 8, 1),  # not enough steps, but an epoch
    ],
)
def test_the_widest_network_is_taken_that_has_time_for_enough_steps(
    suggested, machine, minutes, width, epochs
):
    before = yaml.safe_dump(suggested)
    sized = sizing.fit_into(suggested, minutes)
    expected = suggested["trainer"]["max_epochs"] if epochs is None else epochs
    assert (width_of(sized.values), sized.values["trainer"]["max_epochs"]) == (width, expected)
    assert sized.said.startswith(f"On this machine {expected} epoch")
    (averaging,) = [
        one["init_args"]["decay"]
        for one in sized.values["trainer"]["callbacks"]
        if "Averaging" in one["class_path"]
    ]
    assert averaging == (0.995 if expected * N_STEPS >= 1000 else 0.98)
    assert yaml.safe_dump(suggested) == before


@pytest.mark.parametrize(
    ("minutes", "text"), [(5, "00:00:05:00"), (0.4, "00:00:00:24"), (60 * 25.5, "01:01:30:00")]
)
def test_the_time_is_a_budget_of_the_trainer_too(suggested, machine, minutes, text):
    assert sizing.fit_into(suggested, minutes).values["trainer"]["max_time"] == text


def test_a_time_too_short_to_train_anything_says_what_is_needed(suggested, machine):
    with pytest.raises(
        ConfigError,
        match=r"0\.1 min are too short to train anything: reading and preparing the data takes "
        r"2\.0 s, an epoch of the smallest network \(70 steps\) 18 s\. Give at least 0\.4 minutes, or train",
    ):
        sizing.fit_into(suggested, 0.1)
    assert sizing.fit_into(suggested, 0.4).values["trainer"]["max_epochs"] == 1


def test_data_that_take_all_of_the_time_are_prepared_once(suggested, monkeypatch):
    tried = []

    def trial(values, dataset):
        tried.append(width_of(values))
        return Pace(width_of(values) / 32, N_STEPS, 0.0), 60.0

    monkeypatch.setattr(sizing, "_trial", trial)
    with pytest.raises(
        ConfigError,
        match=r"1 min are too short to train anything: reading and preparing the data alone takes 60 s\. "
        r"Give 2\.5 minutes, or train on a part",  # (60 + 70) / 0.9 = 144 s
    ):
        sizing.fit_into(suggested, 1)
    assert tried == [32]
    sizing.fit_into(suggested, 1.7)  # 32 s are left: 16 filters need 17.5 s at least for each of six epochs
    assert tried == [32, 32, 8]


@pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf])
def test_minutes_are_a_number_above_zero(suggested, minutes):
    with pytest.raises(ConfigError, match=r"minutes is .*; expected a number above zero"):
        sizing.fit_into(suggested, minutes)


def test_a_step_is_measured_on_the_data_and_nothing_is_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generate("made.nc", n_steps=200, n_lat=6, n_lon=6)
    assert main(["inspect", "made.nc", "--write-config", "made.yaml", "--minutes", "3"]) == 0
    printed = capsys.readouterr()
    assert "On this machine " in printed.out.splitlines()[-1]
    assert printed.err == ""
    text = Path("made.yaml").read_text()
    values = yaml.safe_load(text)
    assert values["trainer"]["max_time"] == "00:00:03:00"
    assert "\n# On this machine " in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.nc", "made.yaml"]
    in_memory = stconv.suggest(stconv.inspect("made.nc", ["t2m"]), minutes=3)
    assert in_memory.trainer.max_time == "00:00:03:00"


def test_minutes_without_a_configuration_are_refused(capsys):
    assert main(["inspect", "made.nc", "--minutes", "3"]) == 1
    assert "--minutes is for the training of --write-config FILE, which is missing" in capsys.readouterr().err
