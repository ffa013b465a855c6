"""Muon against torch's own, which takes matrices alone, torch's AdamW, and singular values."""

import numpy as np
import pytest
import torch
from torch import nn

from stconv.errors import ConfigError
from stconv.optimizers import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (12, 12)])
def test_all_directions_of_an_orthogonal_step_are_alike(shape: tuple[int, int]):
    rng = np.random.default_rng(0)
    u, _, v = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    found = orthogonal(torch.from_numpy(u * np.geomspace(1, 0.01, len(v)) @ v).float()).double().numpy()
    values = np.diag(u.T @ found @ v.T)
    assert values.min() > 0.6
    assert values.max() < 1.25
    np.testing.assert_allclose(u * values @ v, found, atol=1e-4)  # the directions are kept
    assert torch.equal(orthogonal(torch.zeros(shape)), torch.zeros(shape))


def steps(optimizer, weights: list[nn.Parameter], n: int = 4) -> None:
    rng = np.random.default_rng(1)
    for _ in range(n):
        for weight in weights:
            weight.grad = torch.from_numpy(rng.normal(size=weight.shape)).float()
        optimizer.step()


def drawn(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.random.default_rng(2).normal(size=shape)).float())


def test_matrices_take_the_steps_of_torch():
    ours, theirs = [drawn(6, 40), drawn(40, 6)], [drawn(6, 40), drawn(40, 6)]
    first = [weight.detach().clone() for weight in ours]
    steps(Muon(ours, lr=0.01, weight_decay=0.1, momentum=0.9), ours)
    options = {"weight_decay": 0.1, "momentum": 0.9, "adjust_lr_fn": "match_rms_adamw"}
    steps(torch.optim.Muon(theirs, lr=0.01, **options), theirs)
    for mine, other, start in zip(ours, theirs, first, strict=True):
        moved = (other - start).norm()
        assert moved > 0.1
        assert (mine - other).norm() < 0.02 * moved  # theirs iterates in bfloat16


@pytest.mark.parametrize("shape", [(7,), (5, 1, 1, 3, 3), (1, 4, 1, 1, 1), ()])
def test_what_is_no_matrix_takes_the_steps_of_adamw(shape: tuple[int, ...]):
    ours, theirs = [drawn(*shape)], [drawn(*shape)]
    options = {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.95)}
    steps(Muon(ours, **options), ours)
    steps(torch.optim.AdamW(theirs, **options), theirs)
    torch.testing.assert_close(ours[0], theirs[0])


def test_a_filter_is_a_row_whatever_its_memory_format():
    flat, plain = drawn(4, 3 * 9), nn.Parameter(drawn(4, 3 * 9).detach().view(4, 3, 1, 3, 3))
    last = nn.Parameter(plain.detach().clone(memory_format=torch.channels_last_3d))
    for weight in (flat, plain, last):
        steps(Muon([weight]), [weight])
    assert torch.equal(plain.detach().flatten(1), flat)
    torch.testing.assert_close(last, plain)


def test_training_goes_on_where_it_was_saved():
    def model() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv3d(2, 3, 3), nn.BatchNorm3d(3))

    whole, halves = model(), model()
    optimizer = Muon(whole.parameters())
    steps(optimizer, list(whole.parameters()), 3)
    steps(optimizer, list(whole.parameters()), 3)
    first = Muon(halves.parameters())
    steps(first, list(halves.parameters()), 3)
    second = Muon(halves.parameters(), lr=9)
    second.load_state_dict(first.state_dict())
    steps(second, list(halves.parameters()), 3)
    for a, b in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_groups_and_weights_without_a_gradient():
    moved, kept, undecayed = drawn(3, 4), drawn(3, 4), drawn(5)
    optimizer = Muon([{"params": [moved, kept]}, {"params": [undecayed], "weight_decay": 0.0}], lr=0.1)
    moved.grad, undecayed.grad = torch.ones(3, 4), torch.zeros(5)
    assert optimizer.step(lambda: 7.0) == 7
    assert not torch.equal(moved, drawn(3, 4))
    assert torch.equal(kept, drawn(3, 4))
    assert torch.equal(undecayed, drawn(5))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"lr": -1.0}, "lr of Muon is -1.0; expected at least 0"),
        ({"weight_decay": float("nan")}, "weight_decay of Muon is nan; expected at least 0"),
        ({"momentum": 1.0}, "momentum of Muon has 1.0; expected at least 0 and less than 1"),
        ({"betas": (0.9, 2.0)}, "betas of Muon has 2.0; expected"),
    ],
)
def test_impossible_settings_are_refused(setting: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        Muon([drawn(2, 2)], **setting)
