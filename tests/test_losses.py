"""Losses against values worked by hand and against NumPy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from stconv.errors import ConfigError, ShapeError
from stconv.losses import MaskedHuber, MaskedMAE, MaskedMSE, RootMSE


def cells(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, 1, -1)


# errors 1, -2, 100 (missing), 4; weights 1, 0.5, 0, 0.5
PREDICTION, TARGET, WEIGHT = cells(1, 0, 100, 5), cells(0, 2, 0, 1), cells(1, 0.5, 0, 0.5)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (MaskedMSE(), (1 + 0.5 * 4 + 0.5 * 16) / 2),
        (MaskedMAE(), (1 + 0.5 * 2 + 0.5 * 4) / 2),
        (MaskedHuber(delta=1.5), (0.5 + 0.5 * 1.5 * (2 - 0.75) + 0.5 * 1.5 * (4 - 0.75)) / 2),
        (RootMSE(), np.sqrt(5.5 + 1e-6)),
    ],
)
def test_value_worked_by_hand(loss: nn.Module, expected: float) -> None:
    assert loss(PREDICTION, TARGET, WEIGHT).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", [MaskedMSE(), MaskedMAE(), MaskedHuber(), RootMSE()])
def test_missing_cells_have_no_gradient(loss: nn.Module) -> None:
    prediction = PREDICTION.clone().requires_grad_()
    loss(prediction, TARGET, WEIGHT).backward()
    assert prediction.grad[..., 2].item() == 0
    assert (prediction.grad[..., [0, 1, 3]] != 0).all()


@pytest.mark.parametrize("loss", [MaskedMSE(), MaskedMAE(), MaskedHuber(), RootMSE()])
def test_batch_without_valid_cells_is_finite(loss: nn.Module) -> None:
    prediction = PREDICTION.clone().requires_grad_()
    value = loss(prediction, TARGET, torch.zeros_like(WEIGHT))
    value.backward()
    assert torch.isfinite(value)
    assert prediction.grad.abs().sum() == 0


def test_perfect_forecast_has_finite_root_gradient() -> None:
    prediction = TARGET.clone().requires_grad_()
    RootMSE()(prediction, TARGET, WEIGHT).backward()
    assert torch.isfinite(prediction.grad).all()


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(
        ShapeError, match=r"one shape, found prediction \(1, 1, 1, 1, 4\), target \(1, 1, 1, 1, 1\)"
    ):
        MaskedMSE()(PREDICTION, cells(0), WEIGHT)


@pytest.mark.parametrize(
    ("build", "message"),
    [(lambda: MaskedHuber(delta=0), "delta is 0"), (lambda: RootMSE(epsilon=-1), "epsilon is -1")],
)
def test_impossible_settings_are_refused(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


def test_only_cells_with_enough_in_them_count() -> None:
    prediction = torch.tensor([4.0, 9.0, 5.0, 0.0], requires_grad=True)
    target, weight = torch.tensor([6.0, 8.0, 5.0, 9.0]), torch.tensor([1.0, 2.0, 1.0, 0.0])
    loss = MaskedMAE(at_least=6)(prediction, target, weight)
    loss.backward()
    assert loss.item() == pytest.approx((2 + 2 * 1) / 3)
    assert prediction.grad.tolist() == pytest.approx([-1 / 3, 2 / 3, 0, 0])
    assert MaskedMAE(at_least=10)(prediction, target, weight).item() == 0
