"""Weights that FSDP spreads over processes: here over a single one, over two nodes in `make test-nodes`."""

import copy
from pathlib import Path

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

from stconv.cli.main import main
from stconv.models import LinearResidual, ResNet2D
from stconv.optimizers import Muon
from stconv.sharding import AveragedShards, gather, scatter, shard, whole_weights

QUICKSTART = Path(__file__).resolve().parents[1] / "configs" / "quickstart.yaml"


@pytest.fixture
def mesh():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.fixture
def network(seeded):
    return LinearResidual(
        ResNet2D(c_in=1, c_out=1, t_in=3, leads=2, n_filters=4, dilations=[1], norm="layer")
    )


def trained(network, x, average=None):
    optimizer = Muon([weight for weight in network.parameters() if weight.requires_grad], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        network.members(x).square().mean().backward()
        optimizer.step()
        if average is not None:
            average.update_parameters(network)


def test_muon_takes_the_steps_of_whole_weights(mesh, network):
    first, whole, into = (copy.deepcopy(network) for _ in range(3))
    x = torch.randn(4, 1, 3, 6, 7)
    trained(whole, x)
    shard(network, mesh)
    trained(network, x)
    gather(network, into)
    assert set(into.state_dict()) == set(whole.state_dict())
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(into.state_dict()[name], weight)
    assert any(
        not torch.equal(before, after)
        for before, after in zip(first.parameters(), into.parameters(), strict=True)
    )


def test_averages_of_parts_are_those_of_whole_weights(mesh, network):
    whole, into = copy.deepcopy(network), copy.deepcopy(network)
    x = torch.randn(4, 1, 3, 6, 7)
    averaged = AveragedModel(whole, avg_fn=get_ema_avg_fn(0.6))
    trained(whole, x, averaged)
    shard(network, mesh)
    shards = AveragedShards(network, 0.6)
    trained(network, x, shards)
    with torch.no_grad():
        for weight, average in zip(network.parameters(), shards.parameters(), strict=True):
            weight.copy_(average)
    gather(network, into)
    for name, weight in averaged.module.state_dict().items():
        torch.testing.assert_close(into.state_dict()[name], weight)
    assert shards.n_averaged == int(averaged.n_averaged) == 3
    scatter(whole.state_dict(), network)
    shards.take(network, 5)
    gather(network, into)
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(into.state_dict()[name], weight)
    assert shards.n_averaged == 5


def test_what_is_not_trained_stays_whole(mesh, network):
    shard(network, mesh)
    for weight in network.parameters():
        assert isinstance(weight, DTensor) == weight.requires_grad
    with whole_weights(network):
        assert not any(isinstance(weight, DTensor) for weight in network.parameters())
        network.network(torch.randn(4, 1, 3, 6, 7))  # a part alone
    assert any(isinstance(weight, DTensor) for weight in network.parameters())


def test_version_1_is_refused_with_the_remedy(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", str(QUICKSTART), "--trainer.strategy", "fsdp"]) == 1
    assert "trainer.strategy is fsdp, which flattens the weights" in capsys.readouterr().err
