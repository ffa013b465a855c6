"""Gradient norms in the log, against those of plain torch."""

from pathlib import Path

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger

from small_training import FirstBatch, data_module, net, trainer, weighted_loss
from stconv.datasets.recipes.synthetic import generate
from stconv.errors import ConfigError
from stconv.losses import MaskedMSE
from stconv.task import ForecastTask
from stconv.tracking import GradientNorms

pytestmark = pytest.mark.usefixtures("one_thread")


class Kept(CSVLogger):
    """Keeps what is logged."""

    def log_metrics(self, metrics, step=None):  # type: ignore[no-untyped-def]
        self.__dict__.setdefault("kept", []).append((step, dict(metrics)))


def test_norms_are_those_of_torch_before_clipping_every_n_steps(tmp_path: Path) -> None:
    path = generate(tmp_path / "made.nc", n_steps=120, n_lat=6, n_lon=7)
    task = ForecastTask(net(), MaskedMSE(), lambda p: torch.optim.SGD(p, 0.1), freeze=["features.1.norm.*"])
    seen, logger = FirstBatch(), Kept(tmp_path)
    trainer(
        tmp_path, 5, callbacks=[seen, GradientNorms(every_n_steps=2)], logger=logger, gradient_clip_val=1e-3
    ).fit(task, data_module(path))
    logged = [(step, values) for step, values in logger.kept if any("grad_norm" in name for name in values)]
    assert [step for step, _ in logged] == [0, 2, 4]
    plain = seen.network.train()
    plain.features[1].norm.eval()
    weighted_loss(task, plain, seen.batch).backward()
    expected: dict[str, float] = {}
    for layer in ("features.0", "features.0.norm", "features.1", "head.convolution"):
        module = plain.get_submodule(layer)
        module = getattr(module, "conv", module)
        gradients = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
        expected[f"grad_norm/{layer}"] = float(torch.linalg.vector_norm(torch.cat(gradients)))
    assert logged[0][1] == pytest.approx(expected, rel=1e-4)


def test_refused_interval() -> None:
    with pytest.raises(ConfigError, match="every_n_steps of GradientNorms is 0; expected an integer"):
        GradientNorms(every_n_steps=0)
