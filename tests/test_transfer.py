"""Training that starts from the weights of a bundle: which layers are taken, and what is recorded."""

from pathlib import Path

import pytest
import torch

from stconv.bundle import Bundle
from stconv.cli.main import main
from stconv.datasets.recipes.synthetic import generate
from stconv.errors import ConfigError
from stconv.models import Bounded, Conv3D, Increment
from stconv.models.transfer import Transfer, take_weights
from stconv.tracking import find_run

CONFIG = """\
seed_everything: 0
data:
  source: {paths: made.nc}
  window: {t_in: 3, leads: LEADS}
  preparation: {inputs: [t2m]}
model:
  network: {class_path: Conv3D, init_args: {n_layers: 2, n_filters: 4, kernel: 3}}
  loss: {class_path: MaskedMSE}
  optimizer: {class_path: torch.optim.SGD, init_args: {lr: 1.0e-2}}
trainer:
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  enable_model_summary: false
  logger: {class_path: stconv.tracking.RunLogger, init_args: {experiment_name: made, run_name: NAME}}
  callbacks:
    - class_path: pytorch_lightning.callbacks.ModelCheckpoint
      init_args: {monitor: val_loss, filename: best, save_last: true}
"""


def conv(seed: int, **settings: int) -> Conv3D:
    torch.manual_seed(seed)
    return Conv3D(1, 1, 3, **{"leads": 2, "n_layers": 2, "n_filters": 4, "kernel": 3, **settings})


def test_layers_that_fit_are_taken_whole_and_the_others_named() -> None:
    old, new = conv(0), conv(1, leads=3, n_layers=3)
    with torch.no_grad():
        old.features[0].norm.running_mean.fill_(5.0)
    fresh = {name: value.clone() for name, value in new.state_dict().items()}
    found = take_weights(new, old.state_dict(), "runs:/old", "abc")
    same = {name for name, value in new.state_dict().items() if torch.equal(value, fresh[name])}
    theirs = old.state_dict()
    for layer in ("features.0.conv", "features.0.norm", "features.1.conv", "features.1.norm"):
        assert layer in found.taken
        for name in (name for name in theirs if name.startswith(layer)):
            assert torch.equal(new.state_dict()[name], theirs[name])
    assert found.other_shape == ("head.convolution.conv",)
    assert set(found.only_here) == {"features.2.conv", "features.2.norm"}
    for layer in (*found.other_shape, *found.only_here):
        assert {name for name in fresh if name.rpartition(".")[0] == layer} <= same
    assert "4 of 7 layers start from runs:/old" in str(found)
    assert Transfer.from_json(found.to_json()) == found


def test_bounds_belong_to_the_data_and_stay() -> None:
    old, new = Bounded(conv(0), lower=0.0), Bounded(conv(1), lower=-3.0)
    take_weights(new, old.state_dict(), "old", "abc")
    x = torch.randn(1, 1, 3, 5, 5)
    assert torch.equal(new.network.eval()(x), old.network.eval()(x))
    assert float(new.low.min()) == -3.0


def test_a_network_without_a_layer_that_fits_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"No layer of Increment fits one of old: its layers are network\.features\.0"
    ):
        take_weights(Increment(conv(0)), conv(1).state_dict(), "old", "abc")


def test_fit_from_a_bundle_through_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    generate("made.nc", n_steps=120, n_lat=6, n_lon=7)
    Path("first.yaml").write_text(CONFIG.replace("LEADS", "2").replace("NAME", "first"))
    assert main(["fit", "--config", "first.yaml"]) == 0
    first = find_run("first", "made")
    folder = Path(first.tags["stconv.folder"], "bundle")
    more = f"init_from: runs:/{first.run_id}\n"
    second = CONFIG.replace("LEADS", "3").replace("NAME", "second")
    Path("second.yaml").write_text(more + second.replace("  loss:", '  freeze: ["features.*"]\n  loss:'))
    capsys.readouterr()
    assert main(["fit", "--config", "second.yaml"]) == 0
    assert f"4 of 5 layers start from runs:/{first.run_id}" in capsys.readouterr().out
    assert main(["test", "--config", "second.yaml"]) == 0  # writes the bundle again, with scores
    run = find_run("second", "made")
    bundle, source = Bundle.load(Path(run.tags["stconv.folder"], "bundle")), Bundle.load(folder)
    for name, value in source.network.state_dict().items():
        if name.startswith("features."):
            assert torch.equal(bundle.network.state_dict()[name], value), name
    assert bundle.spec["start"]["hash"] == source.hash
    assert set(bundle.spec["start"]["taken"]) == {
        f"features.{i}.{part}" for i in (0, 1) for part in ("conv", "norm")
    }
    assert bundle.spec["frozen"] == ["features.*"]
    assert run.params["start.hash"] == source.hash
    assert run.params["init_from"] == f"runs:/{first.run_id}"

    Path("third.yaml").write_text(second.replace("LEADS", "3").replace("second", "third"))
    assert main(["fit", "--config", "third.yaml", "--init-from", str(folder)]) == 0
    assert f"start from {folder}" in capsys.readouterr().out
    narrow = ["--model.network.init_args.n_filters", "3", "--model.network.init_args.n_layers", "1"]
    assert main(["fit", "--config", "third.yaml", f"--init-from={folder}", *narrow]) == 1
    assert "No layer of Conv3D fits one of" in capsys.readouterr().err
