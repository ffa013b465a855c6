"""Several bundles as one: the mean, the spread, and what does not go together."""

from pathlib import Path

import pytest
import torch
import yaml

from stconv.bundle import Bundle, make_bundle
from stconv.cli.main import main
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.recipes.synthetic import generate
from stconv.experiments.trained_model import load_data
from stconv.losses import MaskedMSE
from stconv.models import Linear3x3
from stconv.task import ForecastTask


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three bundles with random weights; the third sees another number of training steps."""
    folder = tmp_path_factory.mktemp("ensemble")
    path = generate(folder / "made.nc", n_steps=120, n_lat=4, n_lon=5)
    for i in range(3):
        torch.manual_seed(i)
        section = {"paths": str(path), "inputs": ["t2m"], "t_in": 2, "leads": 2}
        split = {"fractions": [0.6, 0.2, 0.2]} if i < 2 else {"fractions": [0.5, 0.3, 0.2]}
        (folder / f"{i}.yaml").write_text(yaml.safe_dump({"data": {**section, "split": split}}))
        data: GridDataModule = load_data(folder / f"{i}.yaml")
        data.setup()
        network = Linear3x3(1, 1, 2, 2)
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=0.2)
        task = ForecastTask(network, MaskedMSE())
        task.preparation = data.preparation
        make_bundle(task, data, name=f"member {i}").save(folder / f"bundle{i}")
    return folder


def test_two_bundles_become_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["ensemble", str(folder / "bundle0"), str(folder / "bundle1")]
    assert main([*words, "--config", str(folder / "0.yaml"), "--output", str(folder / "both")]) == 0
    assert "2 models combined, calibrated on" in capsys.readouterr().out
    both, *each = (Bundle.load(folder / name) for name in ("both", "bundle0", "bundle1"))
    x = torch.randn(3, 1, 2, 4, 5)
    torch.testing.assert_close(both.network(x), (each[0].network(x) + each[1].network(x)) / 2)
    assert both.network.members(x).shape == (2, 3, 1, 2, 4, 5)
    assert both.bands is not None
    assert both.bands.spread.min() > 0
    assert [member["bundle_sha256"] for member in both.spec["members"]] == [b.hash for b in each]


def test_bundles_of_other_data_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["ensemble", str(folder / "bundle0"), str(folder / "bundle2"), "--config", str(folder / "0.yaml")]
    assert main([*words, "--output", str(folder / "none")]) == 1
    assert "'member 2' was not trained on the same data" in capsys.readouterr().err
    assert main([*words[:2], *words[3:], "--output", str(folder / "none")]) == 1
    assert "Ensemble has 1 networks; expected 2 or more" in capsys.readouterr().err
    assert not (folder / "none").exists()
