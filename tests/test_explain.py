"""The output of `stconv explain`: sizes, cost, receptive fields, frames, pictures."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from published_unet import published_unet
from stconv.cli.main import main
from stconv.datasets.recipes.recipe import load_recipe
from stconv.datasets.recipes.synthetic import generate
from stconv.errors import ConfigError
from stconv.experiments.networks import network_of_config
from stconv.explain import anatomy, explain, frames_in_reach, reach
from stconv.explain.chain import chain_reaches
from stconv.explain.pictures import FeatureMaps, features_plot, filters_plot
from stconv.explain.reach import phases
from stconv.models import (
    REGISTRY,
    Advected,
    Climatology,
    Conv2Plus1D,
    Conv3D,
    ConvLSTM,
    EncoderDecoder3D,
    FrameMixer,
    Increment,
    LeNet5,
    Linear3x3,
    LinearResidual,
    Network,
    Persistence,
    ResNet2D,
    ResNet18,
    ScaleMix,
    STConvS2S,
    UNet,
    register,
)
from stconv.nn.cells import only_torch
from stconv.resources import configs_dir
from stconv.tracking import RunLogger, download, find_run

SIZES = (2, 1, 3, 2)
NETWORKS = [
    STConvS2S(*SIZES, n_layers=1, n_filters=2, kernel=3),
    STConvS2S(1, 1, 2, 5, n_layers=1, n_filters=2, kernel=3, alignment="paper"),
    ConvLSTM(*SIZES, n_filters=2),
    published_unet(*SIZES, n_levels=2, n_filters=2),
    FrameMixer(*SIZES, n_layers=1, n_filters=2),
    EncoderDecoder3D(*SIZES, n_layers=2, n_filters=2, kernel=3),
]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_sizes_by_the_formula_are_the_sizes_and_products_are_counted(network):
    layers = anatomy(network, (network.c_in, network.t_in, 7, 9))
    found, macs = {}, []

    def record(name, module):
        def hook(_module, args, output):
            if isinstance(output, tuple):  # a recurrent cell
                return
            found[name] = (output.shape[1], tuple(output.shape[2:]))
            if isinstance(module, nn.Conv3d):
                macs.append(output[0].numel() * module.weight[0].numel())
            elif isinstance(module, nn.ConvTranspose3d):
                macs.append(args[0][0].numel() * module.weight[0].numel())

        return hook

    for name, module in network.named_modules():
        module.register_forward_hook(record(name, module))
    network.eval()(torch.randn(1, network.c_in, network.t_in, 7, 9))
    assert layers
    for layer in layers:
        assert (layer.channels, layer.size) == found.get(f"{layer.name}.conv", found.get(layer.name))
    assert sum(layer.multiply_adds for layer in layers) == sum(macs)
    assert sum(layer.parameters for layer in layers) == sum(p.numel() for p in network.parameters())


FIELDS = [
    (Conv3D(1, 1, 5, 5, n_layers=2, n_filters=2, kernel=3), 5, (7, 7)),  # 1 + 3 * 2
    (Conv3D(1, 1, 2, 3, n_layers=1, n_filters=2, kernel=5), 2, (9, 9)),  # 1 + 2 * 4
    (Increment(Linear3x3(1, 1, 4, 2)), 4, (3, 3)),
    (ResNet2D(1, 1, 3, 2, n_filters=2, norm="batch"), 3, (33, 33)),  # 1 + 2 + 2 * 2 * (1 + 2 + 4) + 2
    (ConvLSTM(1, 1, 2, 1, n_layers=1, n_filters=2), 2, (7, 7)),  # 1 + 2 (read) + 2 * 2 (gates)
    (Persistence(1, 1, 3, 2), 1, (1, 1)),
    (EncoderDecoder3D(1, 1, 1, 1, n_layers=2, n_filters=2, kernel=3), 1, (12, 12)),
]


@pytest.mark.parametrize(("network", "steps", "cells"), FIELDS)
def test_receptive_field_worked_by_hand(network, steps, cells):
    found = reach(network)
    assert (found.steps, found.whole_grid) == (steps, False)
    if isinstance(network, EncoderDecoder3D):
        # A cell at the head looks 1 to each side, there at two coarse cells, these 1 coarse cell further,
        # pooled from 2, and 1 to each side: from an even cell 1 + 2 + (0 or 1) ... at most 5 + 1 to a side.
        assert found.cells <= cells
        assert found.cells > (7, 7)
    else:
        assert found.cells == cells


def test_a_change_outside_the_receptive_field_changes_nothing_and_at_its_edge_something():
    network = published_unet(1, 1, 2, 2, n_levels=2, n_filters=2).eval()
    field = reach(network)
    x = torch.randn(1, 1, 2, 64, 64)
    y = network(x)
    changed = []
    for row in range(64):
        other = x.clone()
        other[..., row, :] += 10
        if (network(other) - y)[..., 32:34, :].abs().max() > 0:
            changed.append(row)
    assert min(changed) >= 32 - field.before[0]
    assert max(changed) <= 33 + field.after[0]
    assert len(changed) > field.cells[0] / 2


class Soil(nn.Module):
    """Rain runs off beyond the capacity of a cell, and half of the rest goes to the western neighbor."""

    def __init__(self, cells):
        super().__init__()
        self.capacity = nn.Buffer(torch.zeros(cells))

    def open_paths(self):
        self.capacity = torch.tensor(torch.inf)

    def forward(self, x):
        kept = torch.minimum(x, self.capacity)
        return (kept + kept.roll(-1, dims=-1)) / 2


class Halves(nn.Module):
    """Means of 2 x 2 cells, of which the grid has to be a multiple."""

    grid_period = 2

    def forward(self, x):
        return nn.functional.interpolate(nn.functional.avg_pool3d(x, (1, 2, 2)), scale_factor=(1.0, 2.0, 2.0))


class OwnLayer(Network):
    def __init__(self, layer):
        super().__init__(1, 1, 1, 1)
        self.layer = layer

    def compute(self, x):
        return self.layer(x)


def test_a_layer_of_ones_own_declares_what_the_search_for_the_field_must_know():
    found = reach(OwnLayer(Soil((5, 7))))
    assert (found.before, found.after, found.whole_grid) == ((0, 0), (0, 1), False)
    assert phases(OwnLayer(Halves())) == 2
    assert reach(OwnLayer(Halves())).cells == (3, 3)  # one cell to either side, over both phases of a pair
    assert phases(OwnLayer(Soil((5, 7)))) == 1


def test_a_norm_over_the_grid_sees_all_of_it():
    found = explain(ResNet2D(1, 1, 3, 2, n_filters=4), 8, 8)
    assert found.output.whole_grid
    assert found.reaches[0].cells == (3, 3)
    assert found.to_json()["receptive_field"]["cells"] is None


def test_frames_in_reach_do_not_depend_on_the_weights():
    assert frames_in_reach(ResNet2D(1, 1, 3, 2, n_filters=2)).all()  # although its head starts at zero
    causal = STConvS2S(1, 1, 3, 3, variant="C", n_layers=1, n_filters=2, kernel=3, alignment="paper")
    assert frames_in_reach(causal).tolist()[0] == [True, True, False]  # the head looks one step ahead
    assert not frames_in_reach(Climatology(1, 1, 3, 2)).any()


def test_extent_in_degrees_and_shares():
    found = explain(Conv2Plus1D(1, 1, 3, 2, n_layers=1, n_filters=2, kernel=3), 8, 9, (2.5, 1.25))
    assert found.output.cells == (5, 5)
    assert found.degrees(found.output) == (12.5, 6.25)
    document = json.loads(json.dumps(found.to_json()))
    for share in ("share_of_parameters", "share_of_multiply_adds"):
        assert sum(layer[share] for layer in document["layers"]) == pytest.approx(1)
    np.testing.assert_allclose(np.sum(document["weight_of_frames"], axis=1), 1, rtol=1e-5)


CONFIG = """\
data: {paths: nowhere.nc, inputs: [t2m, slp], targets: [t2m], t_in: 3, leads: 2}
model:
  network:
    class_path: stconv.models.Increment
    init_args:
      network: {class_path: stconv.models.Conv3D, init_args: {n_layers: 1, n_filters: 2, kernel: 3}}
"""


def test_a_configuration_is_explained_without_its_data(tmp_path, capsys):
    path = tmp_path / "experiment.yaml"
    path.write_text(CONFIG)
    assert main(["explain", str(path), "--grid", "25x53"]) == 0
    text = capsys.readouterr().out
    assert "Increment(Conv3D) on 25x53 cells" in text
    assert "sees 3 steps and 5x5 cells" in text
    assert main(["explain", str(path), "--json", "--plot", str(tmp_path / "pictures")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["parameters"] == 2 * 2 * 27 + 4 + 2 * 2 * 27 + 2
    assert document["grid"] == [32, 32]
    assert (tmp_path / "pictures" / "filters.png").read_bytes().startswith(b"\x89PNG")


def test_a_bundle_is_explained_on_its_grid_with_its_feature_maps(
    service_bundle, service_data, tmp_path, capsys
):
    arguments = ["--plot", str(tmp_path), "--input", str(service_data)]
    assert main(["explain", str(service_bundle), "--json", *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["spacing"] is not None
    assert document["receptive_field"]["extent"] == [
        cells * spacing
        for cells, spacing in zip(document["receptive_field"]["cells"], document["spacing"], strict=True)
    ]
    assert [path.rpartition("/")[2] for path in document["pictures"]] == ["filters.png", "features.png"]


EVENT = """\
data: {inputs: [air], paths: absent.nc, t_in: 3, leads: 2, event: {variable: air, threshold: 280}}
model: {network: {class_path: stconv.models.LeNet5, init_args: {grid: [25, 53]}}}
"""


def test_event_networks_are_explained_by_the_formula_and_on_their_grid(tmp_path, capsys):
    network = LeNet5(1, 1, 3, 2, grid=(16, 20), kernel_time=3)
    found = explain(network, 16, 20)
    cells = {layer.name: field.cells for layer, field in zip(found.layers, found.reaches, strict=True)}
    features = [cells[f"features.{i}"] for i in range(4)]
    assert features == [(5, 5), (6, 6), (14, 14), (16, 16)]  # 5, +1, +4 * 2, +1 * 2
    assert (found.output.cells, found.output.steps) == ((16, 20), 3)
    assert found.parameters == sum(p.numel() for p in network.parameters())
    assert all(all(row) for row in found.frames)
    x = torch.randn(1, 1, 3, 16, 20, requires_grad=True)
    network.features(x)[0, :, 1, 0, 1].sum().backward()
    hit = x.grad.abs().amax(dim=(0, 1, 2)).nonzero()
    assert (hit.amax(dim=0) - hit.amin(dim=0) + 1 <= torch.tensor([16, 16])).all()
    with torch.device("meta"):
        deep = ResNet18(1, 1, 1, 1, grid=(224, 224))
    names = [layer.name for layer in anatomy(deep, (1, 1, 224, 224))]
    fields, _ = chain_reaches(deep, anatomy(deep, (1, 1, 224, 224)))
    last = [f for name, f in zip(names, fields, strict=True) if name.startswith("features.10.body")][-1]
    assert last.cells == (435, 435)  # as published for ResNet-18
    (tmp_path / "event.yaml").write_text(EVENT)
    assert main(["explain", str(tmp_path / "event.yaml"), "--plot", str(tmp_path / "p"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["grid"] == [25, 53]
    assert document["receptive_field"]["cells"] == [25, 53]


def test_an_explanation_is_put_on_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logger = RunLogger("air", run_name="small")
    logger.start()
    logger.finalize("success")
    (tmp_path / "experiment.yaml").write_text(CONFIG)
    assert main(["explain", "experiment.yaml", "--run", "small"]) == 0
    assert find_run("small").status == "FINISHED"
    folder = download(f"runs:/{logger.run_id}", "explain")
    assert {path.name for path in folder.iterdir()} == {"explanation.json", "explanation.txt", "filters.png"}
    assert json.loads((folder / "explanation.json").read_text())["parameters"] > 0
    assert "multiply-adds" in (folder / "explanation.txt").read_text()


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (None, [], r"No configuration '.*'\. `stconv configs list`"),
        ("data: 3\n", [], "is not an experiment with `data` and `model.network`"),
        (CONFIG, ["--input", "x.nc"], "--input needs a bundle"),
        (CONFIG.replace("Conv3D", "Conv4D"), [], "unknown network 'Conv4D'"),
    ],
)
def test_what_cannot_be_explained_is_refused(tmp_path, capsys, text, arguments, message):
    path = tmp_path / "experiment.yaml"
    if text is not None:
        path.write_text(text)
    assert main(["explain", str(path), *arguments]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_feature_maps_are_what_the_blocks_put_out(tmp_path):
    network, x = Conv3D(1, 1, 3, 2, n_layers=2, n_filters=2, kernel=3).eval(), torch.randn(2, 1, 3, 6, 7)
    with FeatureMaps(network) as seen:
        network(x)
    assert list(seen.maps) == ["features.0", "features.1", "head.convolution"]
    np.testing.assert_allclose(seen.maps["features.0"], network.features[0](x)[0, :, -1].detach().numpy())
    assert features_plot(seen.maps, tmp_path / "maps.png").stat().st_size > 1000
    with pytest.raises(ConfigError, match="no convolution, so there are no filters"):
        filters_plot(Persistence(1, 1, 3, 2), tmp_path / "none.png")
    with pytest.raises(ConfigError, match="no feature maps to draw"):
        features_plot({}, tmp_path / "none.png")
    assert isinstance(network, Network)


CONFIGS = sorted(configs_dir().glob("*.yaml"))
WITHOUT_WEIGHTS = {"ncep_air_temperature_climatology", "ncep_air_temperature_persistence"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_explained(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # no data are here
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path))
    assert main(["explain", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    config = yaml.safe_load(path.read_text())
    recipe = config["data"]["source"].get("recipe")
    assert document["grid"] == (list(load_recipe(recipe).cells) if recipe else [32, 32])
    network, data = network_of_config(path)
    assert document["parameters"] == sum(p.numel() for p in network.parameters())
    assert (document["multiply_adds"] == 0) == (path.stem in WITHOUT_WEIGHTS)
    assert len(document["frames_seen"]) == data.leads


def test_the_grid_of_a_configuration_is_that_of_its_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generate("nowhere.nc", n_steps=40, n_lat=6, n_lon=9)
    config = CONFIG.replace("[t2m, slp]", "[t2m]")
    Path("experiment.yaml").write_text(config)
    assert main(["explain", "experiment.yaml", "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["grid"], err) == ([6, 9], "")
    assert json.loads(out)["spacing"] is not None
    Path("nowhere.nc").unlink()
    assert main(["explain", "experiment.yaml", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["grid"] == [32, 32]
    assert "choose others with --grid LATxLON" in err


class Plain(Network):
    """Layers of torch alone: two dimensions, a stride, attention, a matrix of its own."""

    def __init__(self, c_in, c_out, t_in, leads, *, width=8):
        super().__init__(c_in, c_out, t_in, leads)
        self.stem = nn.Conv2d(c_in * t_in, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mix = nn.Parameter(torch.randn(width, width))
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.up = nn.ConvTranspose2d(width, c_out * leads, 2, stride=2)

    def compute(self, x):
        coarse = self.norm(self.stem(x.flatten(1, 2)))
        cells = coarse.flatten(2).transpose(1, 2)
        seen, _ = self.attention(cells, cells, cells)
        seen = self.inner(seen @ self.mix)
        y = self.up(coarse + seen.transpose(1, 2).unflatten(2, coarse.shape[2:]))
        return y.unflatten(1, (self.c_out, self.leads))


@pytest.fixture
def plain():
    try:
        yield register(Plain)(2, 1, 4, 3).eval()
    finally:
        del REGISTRY["Plain"]


def test_layers_of_torch_are_explained_and_all_they_multiply_is_counted(plain, tmp_path):
    found = explain(plain, 20, 24)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            plain(torch.randn(1, 2, 4, 20, 24))
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
    assert found.multiply_adds == counter.get_total_flops() // 2
    assert found.parameters == sum(p.numel() for p in plain.parameters())
    layers = {layer.name: layer for layer in found.layers}
    n = 10 * 12  # coarse cells
    assert layers["stem"].multiply_adds == 8 * 8 * 9 * n
    assert layers["stem"].kernel == (1, 3, 3)
    assert (layers["stem"].channels, layers["stem"].size) == (8, (1, 10, 12))
    assert layers["attention"].multiply_adds == 4 * n * 8 * 8 + 2 * n * n * 8  # q, k, v, out; q k', a v
    assert layers["attention"].parameters == 4 * (8 * 8 + 8)
    assert layers[""].multiply_adds == n * 8 * 8
    assert layers[""].parameters == 8 * 8
    assert layers["inner.0"].kind == "linear"
    assert found.output.whole_grid
    reaches = {layer.name: field for layer, field in zip(found.layers, found.reaches, strict=True)}
    assert reaches["stem"].cells == (3, 3)
    assert reaches["attention"].whole_grid
    with FeatureMaps(plain) as seen, torch.no_grad():
        plain(torch.randn(1, 2, 4, 20, 24))
    assert list(seen.maps) == ["stem", "up"]
    assert filters_plot(plain, tmp_path / "filters.png", ["a", "b"]).stat().st_size > 1000


@pytest.mark.parametrize(
    "network",
    [
        ScaleMix(*SIZES),
        LinearResidual(UNet(*SIZES, n_levels=2, n_filters=8), neighbors=True),
        Advected(UNet(*SIZES, n_levels=2, n_filters=8)),
        LeNet5(*SIZES, grid=(20, 24)),
    ],
    ids=lambda network: type(network).__name__,
)
def test_products_outside_of_convolution_layers_are_counted(network):
    with only_torch(), FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.randn(1, 2, 3, 20, 24))
    assert explain(network, 20, 24).multiply_adds == counter.get_total_flops() // 2


def test_nothing_is_folded_in_a_pipe(tmp_path):
    (tmp_path / "experiment.yaml").write_text(CONFIG.replace("n_layers: 1", "n_layers: 2"))
    done = subprocess.run(
        [sys.executable, "-m", "stconv", "explain", "experiment.yaml", "--grid", "200x300"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": ""},
    )
    rows = [line for line in done.stdout.splitlines() if "network.features.0 " in line]
    assert len(rows) == 1
    assert "2x3x200x300" in rows[0]
    assert rows[0].rstrip().endswith("%")


class Outside(Network):
    """Makes tensors without asking for a device, and decides by values, as networks from outside may do."""

    def __init__(self, c_in: int, c_out: int, t_in: int, leads: int, by_values: bool) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        self.by_values = by_values
        self.conv = torch.nn.Conv2d(c_in * t_in, c_out * leads, 3, padding=1)

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x.flatten(1, 2)) * torch.linspace(1, 2, x.shape[-1], dtype=x.dtype)
        if self.by_values and y.max() > 1e9:
            y = y / y.max()
        return y.unflatten(1, (self.c_out, self.leads))


@pytest.mark.parametrize("by_values", [False, True])
def test_a_network_that_makes_tensors_or_decides_by_values_is_followed(by_values):
    (layer,) = anatomy(Outside(2, 1, 3, 2, by_values), (2, 3, 10, 12))
    assert (layer.name, layer.multiply_adds) == ("conv", 9 * 6 * 2 * 10 * 12)
    assert layer.parameters == 9 * 6 * 2 + 2
