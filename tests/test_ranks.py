"""The loss of several processes is that of one with all of their windows, whatever each of them misses."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from stconv.datasets.preparation.preparation import Preparation
from stconv.losses import MaskedMAE, MaskedMSE, RootMSE, Spectral, weighted_mean
from stconv.ranks import pooled, sums_of_all

GRID = SimpleNamespace(
    cell_weight=torch.linspace(0.1, 1, 5, dtype=torch.float64)[:, None].expand(5, 6)
)  # all that the weights of a batch depend on
RANKS = (slice(0, 2), slice(2, 4))


@pytest.fixture
def windows(seeded):
    x, y = torch.randn(2, 4, 1, 2, 5, 6, dtype=torch.float64)
    y[:2, ..., 1:, :] = torch.nan  # the first process knows a fifth of its values
    return x, y


@pytest.fixture
def threads(monkeypatch):
    """Two threads in place of two processes, which add up when both have come."""
    barrier, parts = threading.Barrier(2, timeout=60), {}

    def all_reduce(tensor):
        parts[threading.get_ident()] = tensor.clone()
        barrier.wait()
        total = sum(parts.values())
        barrier.wait()
        tensor.copy_(total)

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    with ThreadPoolExecutor(2) as pool:
        yield pool


def loss_and_gradient(loss, x, y):
    factor = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    target, weight = Preparation._weighted(GRID, y)
    value = loss(factor * x, target, weight)
    value.backward()
    return torch.stack([value.detach(), factor.grad])


@pytest.mark.parametrize("loss", [MaskedMSE(), RootMSE(), MaskedMAE(at_least=0.1), Spectral()])
def test_two_processes_have_the_loss_and_gradient_of_one(windows, threads, loss):
    x, y = windows

    def of_rank(part):
        with pooled(2):
            return loss_and_gradient(loss, x[part], y[part])

    one = loss_and_gradient(loss, x, y)
    torch.testing.assert_close(sum(threads.map(of_rank, RANKS)) / 2, one, rtol=1e-12, atol=0)
    means = sum(loss_and_gradient(loss, x[part], y[part]) for part in RANKS) / 2
    assert (means / one - 1).abs().max() > 1e-3, "the control: the mean of the processes' means"


def test_a_single_process_adds_nothing_up(seeded):
    sums = torch.randn(2, requires_grad=True)
    assert sums_of_all(sums) is sums
    with pooled(1):
        assert sums_of_all(sums) is sums
    values, weight = torch.randn(3, 4), torch.rand(3, 4)
    assert weighted_mean(values, weight) == (values * weight).sum() / weight.sum()
    assert weighted_mean(values, 0 * weight) == 0
