"""Two nodes of one process each train as one process does, also after one of them was lost.

It is no part of `make test`, because it needs root and the program `ip`, and takes minutes: `make
test-nodes`. The configuration is `configs/quickstart.yaml` on a smaller file, but that the last epoch is
kept instead of the best one.
"""

from pathlib import Path

import pytest
import torch
import yaml

from nodes.network import two_nodes
from nodes.training import train_on_one, train_on_two
from stconv.datasets.recipes.synthetic import generate
from stconv.tracking import list_runs

CONFIG, PLAIN = "quickstart.yaml", "plain.yaml"
SHIPPED = Path(__file__).resolve().parents[2] / "configs" / CONFIG
LEARNING_RATE = 3e-3
STEPS = 8
SHORT = ("--trainer.max_epochs", "2", "--trainer.limit_train_batches", str(STEPS))
"""Whole batches only: of the last, two processes see one window less if it is odd."""
KILLED_AT = STEPS + 4


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as names:
        yield names


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The current folder, with data and configuration."""
    folder = tmp_path_factory.mktemp("nodes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        generate(folder / "quickstart.nc", n_steps=260, n_lat=8, n_lon=10)
        config = yaml.safe_load(SHIPPED.read_text())
        checkpoint, averaging = config["trainer"]["callbacks"]
        assert averaging["class_path"].endswith("WeightAveraging")
        del checkpoint["init_args"]["monitor"]  # the last epoch is kept, also where it is not the best one
        (folder / CONFIG).write_text(yaml.safe_dump(config))
        yield folder


@pytest.fixture(scope="module")
def whole(nodes, folder):
    """Training on two nodes without a fault."""
    return train_on_two(nodes, CONFIG, "two nodes", *SHORT)


def close(one, other, rtol, atol):
    """Averaged and newest weights."""
    assert one.checkpoint["global_step"] == other.checkpoint["global_step"] == 2 * STEPS
    for weights in ("state_dict", "current_model_state"):
        assert set(one.checkpoint[weights]) == set(other.checkpoint[weights])
        for name, weight in one.checkpoint[weights].items():
            torch.testing.assert_close(
                other.checkpoint[weights][name], weight, rtol=rtol, atol=atol, equal_nan=True
            )
    averaged = other.checkpoint["averaging_state"]["n_averaged"]
    assert averaged == one.checkpoint["averaging_state"]["n_averaged"]


def test_no_window_is_seen_by_both_nodes_and_each_step_is_that_of_one_process(whole, folder):
    one = train_on_one(CONFIG, "one process", *SHORT)
    assert len(whole.windows) == 2
    for epoch in range(2):
        steps = range(epoch * STEPS, (epoch + 1) * STEPS)
        first, second = ({window for step in steps for window in rank[step]} for rank in whole.windows)
        assert len(first) == len(second) == STEPS * 16 // 2
        assert not first & second
    assert whole.together == one.together


@pytest.fixture(scope="module")
def one_plain(folder):
    """Training of one process with averaged weights, and without dropout, which draws for each process."""
    config = yaml.safe_load((folder / CONFIG).read_text())
    config["model"]["network"]["init_args"]["network"]["init_args"]["dropout"] = 0.0
    (folder / PLAIN).write_text(yaml.safe_dump(config))
    return train_on_one(PLAIN, "one plain process", *SHORT)


@pytest.fixture(scope="module")
def two_plain(nodes, one_plain):
    """The same training on two nodes, by strategy."""
    return {
        strategy: train_on_two(nodes, PLAIN, f"plain {strategy}", *SHORT, strategy=strategy)
        for strategy in ("ddp", "fsdp2")
    }


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_the_weights_are_those_of_one_process(one_plain, two_plain, strategy):
    """Muon, clipped gradients, a fitted start and averages, also where each process has a part of them."""
    two = two_plain[strategy]
    close(one_plain, two, rtol=1e-3, atol=LEARNING_RATE / 30)  # of rounding, after sums in another order
    for part in ("spec.json", "weights.safetensors"):
        assert (two.folder / "bundle" / part).is_file()


def test_spread_weights_and_averages_go_on_in_the_middle_of_an_epoch(nodes, two_plain):
    killed = f"0 {KILLED_AT}"
    resumed = train_on_two(
        nodes, PLAIN, "plain lost", *SHORT, "--ckpt_path", "resume", strategy="fsdp2", killed=killed
    )
    assert resumed.restarts == {0, 1}
    close(two_plain["fsdp2"], resumed, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_restarts_a_training_that_goes_on_in_the_middle_of_its_epoch(nodes, whole, folder, rank):
    name = f"node {rank} lost"
    killed = f"{rank} {KILLED_AT}"
    restarted = train_on_two(nodes, CONFIG, name, *SHORT, "--ckpt_path", "resume", killed=killed)
    assert restarted.restarts == {0, 1}
    assert restarted.together == whole.together
    close(whole, restarted, rtol=0, atol=1e-6)
    assert len(list_runs("quickstart", name)) == 1, "the restarted training is the same run"
    assert not list(folder.rglob("resume.ckpt"))
