"""Pretraining on masked windows: the mask, the loss by hand, every family, and the way to `stconv fit`."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from stconv import models
from stconv.bundle import Bundle
from stconv.bundle.pretrained import load_weights, save_pretrained
from stconv.cli.main import main
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.series.store import Series
from stconv.datasets.source.time_axis import TimeStep
from stconv.errors import BundleError, ConfigError
from stconv.losses import CRPS, MaskedMAE, MaskedMSE
from stconv.models import REGISTRY, Bounded, Conv3D, Ensemble, Increment, MonteCarloDropout, Network, UNet
from stconv.models.reconstruction import reconstruction_of
from stconv.models.transfer import take_weights
from stconv.nn.masking import Masking
from stconv.pretraining import MaskedFrames
from stconv.task import ForecastTask
from stconv.tracking import find_run

pytestmark = pytest.mark.usefixtures("seeded")
NAN = math.nan


# The mask


def test_a_fixed_share_of_the_units_is_masked_uniformly() -> None:
    masking = Masking("frames", share=0.4)
    masks = torch.stack([masking.draw(5, 2, 3) for _ in range(2000)])
    whole = masks.flatten(2).float().mean(2)
    assert set(whole.unique().tolist()) == {0.0, 1.0}, "a frame is masked as a whole"
    assert set(whole.sum(1).tolist()) == {2.0}
    torch.testing.assert_close(whole.mean(0), torch.full((5,), 0.4), rtol=0, atol=0.05)


def test_patches_are_squares_in_a_frame_and_tubes_squares_in_all_frames() -> None:
    patches = Masking("patches", share=0.5, patch=2).draw(3, 4, 6)
    squares = patches.view(3, 2, 2, 3, 2).movedim(2, 3).reshape(3, 2, 3, 4)
    assert (squares.all(-1) == squares.any(-1)).all()
    assert int(squares.all(-1).sum()) == 9
    tubes = Masking("tubes", share=0.5, patch=2).draw(3, 5, 5)  # 3 x 3 squares, the last ones cut
    assert tubes.shape == (3, 5, 5)
    assert all(torch.equal(frame, tubes[0]) for frame in tubes)
    again = [Masking("tubes").draw(2, 9, 9, torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*again)


def test_something_is_masked_and_something_left_whatever_the_share() -> None:
    for share, n in ((0.01, 1), (0.99, 3)):
        assert int(Masking("frames", share).draw(4, 1, 1).sum()) == n


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "cubes"}, "kind of masking is 'cubes'; expected one of: frames, patches, tubes"),
        ({"share": 1.0}, r"share of masking is 1.0; expected above 0 and below 1"),
        ({"patch": 0}, "patch of masking is 0; expected an integer of at least 1"),
    ],
)
def test_wrong_settings_of_a_mask_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Masking(**settings)  # type: ignore[arg-type]


def test_a_window_of_a_single_unit_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"masking by frames makes one unit of a window with 1 frames of 8 x 8"
    ):
        Masking("frames").units(1, 8, 8)
    with pytest.raises(ConfigError, match=r"masking by tubes makes one unit.*\(patch 8\)"):
        Masking("tubes", patch=8).units(5, 8, 8)


# The loss


def series(values: np.ndarray, variables: tuple[str, ...], n_targets: int) -> Series:
    """A series on latitudes 0 and 60, whose cells weigh 1 and 1/2."""
    return Series(
        values=values.astype(np.float32),
        times=np.datetime64("2020-01-01", "ns") + np.arange(len(values)) * np.timedelta64(6, "h"),
        variables=variables,
        n_targets=n_targets,
        units=dict.fromkeys(variables, "K"),
        lat=np.array([0.0, 60.0]),
        lon=np.array([0.0, 1.0]),
        geographic=True,
        step=TimeStep("fixed", seconds=21600),
    )


@models.register
class Says(Network):
    """Forecasts one learned number everywhere, and keeps its input."""

    def __init__(self, c_in: int, c_out: int, t_in: int, leads: int) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        self.number = nn.Parameter(torch.tensor(1.0))
        self.first = nn.Conv3d(c_in, 1, 1)
        self.last = nn.Conv3d(1, c_out, 1)

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return self.number.expand(len(x), self.c_out, self.leads, *x.shape[3:])


def masked_frames(
    found: Series, loss: nn.Module, inputs: tuple[str, ...], **settings: object
) -> MaskedFrames:
    targets = found.variables[: found.n_targets]
    preparation = Preparation.fit(
        found,
        range(4),
        PreparationSettings(inputs, targets, scaling="none", **settings),  # type: ignore[arg-type]
    )
    network = Says(preparation.c_in, len(targets), 2, 3)
    task = MaskedFrames(ForecastTask(network, loss), len(inputs), Masking())
    task.preparation = preparation
    return task


WINDOW = torch.tensor([[[[3.0, NAN], [7.0, NAN]], [[4.0, NAN], [NAN, NAN]]]])
"""One variable in two frames; the second column is land."""


def batch(window: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"inputs": window[None], "input_cycles": torch.zeros(1, window.shape[1], 3)}


def frames(*masked: bool) -> torch.Tensor:
    return torch.tensor(masked).view(1, -1, 1, 1).expand(1, -1, 2, 2)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (MaskedMSE(), (1 * (3 - 1) ** 2 + 0.5 * (7 - 1) ** 2) / 1.5),
        (MaskedMAE(), (1 * (3 - 1) + 0.5 * (7 - 1)) / 1.5),
    ],
)
def test_the_loss_is_the_mean_over_masked_cells_by_hand(loss: nn.Module, expected: float) -> None:
    land = np.stack([WINDOW[0].numpy()] * 2)[:, :, None].reshape(4, 1, 2, 2)
    task = masked_frames(series(land, ("t",), 1), loss, ("t",))
    prediction, truth, weight, _ = task.reconstruct(batch(WINDOW), frames(True, False))
    assert float(loss(prediction, truth, weight).detach()) == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(loss(prediction, truth, weight), prediction)
    assert (gradient != 0).nonzero().tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 1, 0]], "no land, no other frame"


def test_a_missing_masked_cell_does_not_count() -> None:
    land = np.stack([WINDOW[0].numpy()] * 2)[:, :, None].reshape(4, 1, 2, 2)
    task = masked_frames(series(land, ("t",), 1), MaskedMSE(), ("t",))
    prediction, truth, weight, _ = task.reconstruct(batch(WINDOW), frames(False, True))
    assert float(MaskedMSE()(prediction, truth, weight).detach()) == pytest.approx((4 - 1) ** 2, rel=1e-6)


def test_the_network_sees_masked_cells_as_missing_ones() -> None:
    values = np.arange(16.0).reshape(4, 1, 2, 2)
    task = masked_frames(
        series(values, ("t",), 1), MaskedMSE(), ("t",), impute="persistence", mask_channel=True
    )
    window = torch.tensor([[[[3.0, 4.0], [5.0, 6.0]], [[30.0, 40.0], [50.0, 60.0]]]])
    _, truth, _, substitute = task.reconstruct(batch(window), frames(False, True))
    seen = task.network.seen[0]
    assert torch.equal(seen[0, 1], window[0, 0]), "the last value before it"
    assert torch.equal(substitute[0, 0, 1], window[0, 0])
    assert torch.equal(seen[1], torch.tensor([[[1.0] * 2] * 2, [[0.0] * 2] * 2])), "the mask channel"
    assert torch.equal(truth[0, 0, 1], window[0, 1])


def test_targets_that_the_network_does_not_see_are_not_reconstructed() -> None:
    values = np.random.default_rng(0).normal(size=(4, 2, 2, 2))
    task = masked_frames(series(values, ("hidden", "seen"), 1), MaskedMSE(), ("seen",))
    window = torch.from_numpy(values[:2].astype(np.float32)).transpose(0, 1)
    prediction, truth, weight, _ = task.reconstruct(batch(window), frames(True, False))
    assert prediction.shape == truth.shape == (1, 1, 2, 2, 2)
    assert torch.equal(truth[0, 0, 0], window[1, 0])
    assert weight[0, 0, 0, :, 0].tolist() == pytest.approx([4 / 3, 2 / 3]), "mean 1 over what counts"


@pytest.mark.parametrize(("loss", "found"), [(None, "there is none"), (CRPS(), "CRPS compares members")])
def test_a_loss_that_compares_no_fields_is_refused(loss: nn.Module | None, found: str) -> None:
    with pytest.raises(ConfigError, match=f"Pretraining needs a loss of fields; {found}. Set `model.loss`"):
        MaskedFrames(ForecastTask(Conv3D(1, 1, 3, 2), loss), 1, Masking())


# Every family

SIZES = (3, 2, 4, 3)
REASONS = {
    "Persistence": "has no parameters",
    "Climatology": "has no parameters",
    "DampedPersistence": "is fitted in closed form",
    "Linear3x3": "Every layer of Linear3x3 depends on the number of targets",
    "ScaleMix": "Every layer of ScaleMix depends on the number of targets",
    "Ensemble": "contains 2 networks",
    "MembersInTurn": "contains 3 networks",
    **dict.fromkeys(("LeNet5", "AlexNet", "VGG16", "ResNet18", "R2Plus1D18"), "forecasts an event"),
}
OURS = sorted(name for name, cls in REGISTRY.items() if cls.__module__.startswith("stconv."))


def small(name: str) -> Network:
    cls = REGISTRY[name]
    inner = UNet(*SIZES, n_levels=2, n_filters=4, dropout=0.1)
    around = {
        "Bounded": lambda: Bounded(inner, lower=0.0),
        "Ensemble": lambda: Ensemble([inner, copy.deepcopy(inner)]),
        "MonteCarloDropout": lambda: MonteCarloDropout(inner),
        "SimVP": lambda: cls(*SIZES, hid_s=4, hid_t=8, n_t=2, mlp_ratio=2),
    }
    if name in around:
        return around[name]()
    if issubclass(cls, models.EventNetwork):
        grid = (96, 96) if name in {"AlexNet", "VGG16"} else (32, 32)
        return cls(*SIZES, grid=grid, width=0.1) if name != "R2Plus1D18" else cls(*SIZES, grid=grid)
    try:
        return cls(*SIZES, n_filters=4)
    except TypeError:
        try:
            return cls(*SIZES)
        except TypeError:
            return cls(inner)


@pytest.mark.parametrize("name", OURS)
def test_every_family_reconstructs_or_says_why_not(name: str) -> None:
    network = small(name)
    if name in REASONS:
        with pytest.raises(ConfigError, match=REASONS[name]):
            reconstruction_of(network, 2)
        return
    made = reconstruction_of(network, 2)
    y = made.network(torch.randn(2, 3, 4, 8, 8))
    assert y.shape == (2, 2, 4, 8, 8)
    y.square().mean().backward()
    weights = made.weights()
    own = network.state_dict()
    assert {name for name in weights if weights[name].shape != own[name].shape} == set()
    learned = {name for name, _ in network.named_parameters()}
    left = {name.rpartition(".")[0] for name in learned - set(weights)}
    heads = {"head.convolution.conv", "head.conv", "read_forecast.conv", "readout"}
    fitted = {"climatology_start", "recent_start"}  # of `LinearResidual`, in closed form
    assert {path.removeprefix("network.") for path in left} - fitted <= heads
    assert set(take_weights(network, weights, "pretraining", "abc").taken) == {
        name.rpartition(".")[0] for name in weights
    }


def test_the_output_layer_is_left_out_even_if_it_would_fit() -> None:
    network = Increment(Conv3D(1, 1, 3, 3, n_layers=1, n_filters=2, kernel=3))
    assert set(reconstruction_of(network, 1).weights()) == {
        f"network.features.0.{name}"
        for name in (
            "conv.weight",
            *(f"norm.{part}" for part in Conv3D(1, 1, 1, 1).features[0].norm.state_dict()),
        )
    }


def test_a_network_without_a_size_is_refused() -> None:
    @models.register
    class OneLead(Network):
        def __init__(self, c_in: int, c_out: int, t_in: int) -> None:
            super().__init__(c_in, c_out, t_in, 1)
            self.conv = nn.Conv3d(c_in, c_out, 1)

    try:
        with pytest.raises(ConfigError, match="OneLead has no argument leads"):
            reconstruction_of(OneLead(1, 1, 3), 1)
    finally:
        del REGISTRY["OneLead"]


# The command line

CONFIG = """\
seed_everything: 0
data:
  source: {paths: made.nc}
  window: {t_in: 3, leads: 2}
  preparation: {inputs: [t2m]}
model:
  network:
    class_path: Increment
    init_args: {network: {class_path: Conv3D, init_args: {n_layers: 2, n_filters: 4, kernel: 3}}}
  loss: {class_path: MaskedMSE}
  freeze: ["network.features.0.*"]
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 2.0e-2}}
masking: {kind: patches, share: 0.5, patch: 3}
trainer:
  accelerator: cpu
  max_epochs: 3
  enable_progress_bar: false
  enable_model_summary: false
  logger: {class_path: stconv.tracking.RunLogger, init_args: {experiment_name: made, run_name: first}}
  callbacks:
    - class_path: pytorch_lightning.callbacks.ModelCheckpoint
      init_args: {monitor: val_loss, filename: best, save_last: true}
"""


def test_from_pretraining_to_a_frozen_first_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    generate("made.nc", n_steps=120, n_lat=6, n_lon=7)
    Path("made.yaml").write_text(CONFIG)
    assert main(["pretrain", "--config", "made.yaml", "--masking.share", "0.4"]) == 0
    said = capsys.readouterr().out
    run = find_run("first_pretraining", "made")
    assert f"stconv fit --config FILE --init-from runs:/{run.run_id}" in said
    assert "freeze is for `stconv fit`: the pretraining trains every layer." in said
    assert f"RMSE {run.metrics['val_rmse']:.3f} (normalized)" in said
    assert run.metrics["val_skill"] > 0, "better than the mean, which substitutes what is masked"
    assert run.params["masking.share"] == "0.4"
    assert "stconv.trained" not in run.tags
    folder = Path(run.tags["stconv.folder"], "bundle")
    spec = json.loads((folder / "pretrained.json").read_text())
    assert spec["masking"] == {"kind": "patches", "share": 0.4, "patch": 3}
    assert spec["data"]["hash"] == run.params["data.hash"]
    best = torch.load(folder.parent / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    weights = load_weights(folder).tensors
    assert all(torch.equal(weights[name], best[name]) for name in weights)

    assert main(["fit", "--config", "made.yaml", "--init-from", f"runs:/{run.run_id}"]) == 0
    said = capsys.readouterr().out
    assert f"4 of 5 layers start from runs:/{run.run_id}" in said
    assert "Not in the source, and new: network.head.convolution.conv." in said
    trained = find_run("first", "made")
    bundle = Bundle.load(Path(trained.tags["stconv.folder"], "bundle"))
    state = bundle.network.state_dict()
    for name in weights:
        kept = name.startswith("network.features.0.")
        assert torch.equal(weights[name], state[name]) == kept, name
    assert bundle.spec["start"]["hash"] == load_weights(folder).hash

    for reference in (str(folder), f"runs:/{run.run_id}"):
        assert main(["explain", reference]) == 1
        assert "holds weights of `stconv pretrain`, which cannot forecast" in capsys.readouterr().err
    assert main(["pretrain", "--config", "made.yaml", "--ckpt_path", "last"]) == 1
    assert "--ckpt_path last is for `stconv fit`. Name the file of a pretraining" in capsys.readouterr().err
    last = folder.parent / "checkpoints" / "last.ckpt"
    more = ["--ckpt_path", str(last), "--trainer.max_epochs", "4"]
    assert main(["pretrain", "--config", "made.yaml", *more]) == 0
    assert f"Run {run.run_id} is recorded" in capsys.readouterr().out


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    save_pretrained(tmp_path / "a", {"x": torch.ones(2)}, {"masking": {}})
    file = tmp_path / "a" / "pretrained.safetensors"
    file.write_bytes(safetensors.torch.save({"x": torch.zeros(2)}))
    with pytest.raises(BundleError, match=r"is not what the manifest\.json says"):
        load_weights(tmp_path / "a")
