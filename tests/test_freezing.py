"""Frozen layers stay as they are in training; the others change as in a step of plain torch."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from small_training import FirstBatch, data_module, net, trainer, weighted_loss
from stconv.datasets.recipes.synthetic import generate
from stconv.errors import ConfigError
from stconv.losses import MaskedMSE
from stconv.models import Network, register
from stconv.nn.freezing import Freezing
from stconv.nn.regression import Windows
from stconv.task import ForecastTask

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("data") / "made.nc", n_steps=120, n_lat=6, n_lon=7)


def test_a_step_is_that_of_torch_on_the_free_parameters(path: Path, tmp_path: Path) -> None:
    task = ForecastTask(
        net(), MaskedMSE(), lambda p: torch.optim.SGD(p, 0.1), freeze=["features.0.*"], decay_all=False
    )
    seen = FirstBatch()
    trainer(tmp_path, 1, callbacks=[seen]).fit(task, data_module(path))
    plain = seen.network.train()
    plain.features[0].norm.eval()
    free = [p for name, p in plain.named_parameters() if not name.startswith("features.0.")]
    gradients = torch.autograd.grad(weighted_loss(task, plain, seen.batch), free)
    with torch.no_grad():
        for parameter, gradient in zip(free, gradients, strict=True):
            parameter -= 0.1 * gradient
    for name, value in task.network.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)
    assert int(task.network.features[1].norm.num_batches_tracked) == 1


def test_frozen_parts_stay_bit_for_bit_through_epochs_with_validation(path: Path, tmp_path: Path) -> None:
    network = net()
    before = copy.deepcopy(network.state_dict())
    task = ForecastTask(network, MaskedMSE(), lambda p: torch.optim.AdamW(p, 0.01), freeze=["features.1.*"])
    trainer(tmp_path, 20).fit(task, data_module(path))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not {name for name in changed if name.startswith("features.1.")}
    assert {name for name in before if name.startswith("features.0.")} <= changed


@register
class FitsItself(Network):
    """Its factor is fitted before the training, to 7."""

    def __init__(self, c_in: int, c_out: int, t_in: int, leads: int) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        self.factor = nn.Parameter(torch.ones(1))
        self.shift = nn.Parameter(torch.zeros(1))

    def before_training(self, training: Windows, validation: Windows) -> None:
        with torch.no_grad():
            self.factor.fill_(7.0)

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        return self.shift + self.factor * x[:, : self.c_out, -1:].expand(-1, -1, self.leads, -1, -1)


@pytest.mark.parametrize(("freeze", "factor"), [([], 7.0), (["factor"], 1.0)])
def test_what_is_fitted_in_closed_form_stays_as_well(
    path: Path, tmp_path: Path, freeze: list[str], factor: float
) -> None:
    task = ForecastTask(
        FitsItself(1, 1, 3, 2), MaskedMSE(), lambda p: torch.optim.SGD(p, 1e-9), freeze=freeze
    )
    trainer(tmp_path, 1, limit_val_batches=0).fit(task, data_module(path))
    assert task.network.get_parameter("factor").item() == pytest.approx(factor)


def test_refused_patterns(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'feature\.\*', which matches no parameter of Conv3D.*features"):
        Freezing(net(), ["features.*", "feature.*"])
    task = ForecastTask(net(), MaskedMSE(), freeze=["*"])
    with pytest.raises(ConfigError, match=r"freeze \(\*\) matches every parameter of Conv3D"):
        trainer(tmp_path, 1).fit(task, data_module(path))
