"""Other engines forecast as PyTorch does, in int8 nearly so, calibrated on the training period alone."""

import dataclasses
import json
import typing
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

from published_unet import published_unet
from stconv.bundle import Bundle, make_bundle
from stconv.cli.main import main
from stconv.compute import engine, quantization
from stconv.compute.engine import Engine, members_by
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.splits import SplitSpec
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.errors import ConfigError, SplitError
from stconv.forecast import Forecaster
from stconv.models import (
    Conv3D,
    ConvLSTM,
    FrameMixer,
    Gaussian,
    LeNet5,
    LinearResidual,
    ResNet2D,
    STConvS2S,
    UNet,
)

pytest.importorskip("openvino")
pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx")
numpy_helper = pytest.importorskip("onnx.numpy_helper")

SIZES, CPU = (2, 1, 3, 2), torch.device("cpu")
NETWORKS = {
    "UNet": lambda: LinearResidual(UNet(*SIZES, n_levels=2, n_filters=8), neighbors=True),
    "STConvS2S-R": lambda: STConvS2S(*SIZES, n_layers=1, n_filters=2, kernel=3),
    "LeNet5": lambda: LeNet5(*SIZES, grid=(16, 18)),
    "Gaussian": lambda: Gaussian(ResNet2D(2, 2, 3, 2, n_filters=2), n_members=3),
    "LinearResidual, by cell": lambda: LinearResidual(
        Conv3D(*SIZES, n_layers=1, n_filters=2, kernel=3), grid=(9, 11)
    ),
    "ConvLSTM": lambda: ConvLSTM(*SIZES, n_layers=1, n_filters=2),
    "FrameMixer": lambda: FrameMixer(*SIZES, n_layers=1, n_filters=2),
    "UNet, published": lambda: published_unet(*SIZES, n_levels=2, n_filters=2),
}
GRIDS = {"LeNet5": [(16, 18)], "LinearResidual, by cell": [(9, 11)]}
FAST = {"UNet", "STConvS2S-R", "LeNet5"}


pytestmark = pytest.mark.usefixtures("seeded")


def randomized(network):
    """Nothing starts at zero, and running statistics are not those of a new network."""
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and name != "low":
            tensor.copy_(torch.rand(tensor.shape) + 0.1 if "var" in name else 0.3 * torch.randn(tensor.shape))
    return network.eval()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in FAST else pytest.mark.slow) for n in NETWORKS]
)
def test_openvino_gives_the_members_of_the_network(name):
    network = randomized(NETWORKS[name]())
    members = members_by("openvino", SimpleNamespace(network=network, name=name), CPU)
    for n_windows, grid in zip((3, 1), GRIDS.get(name, [(8, 12), (20, 16)]) * 2, strict=False):
        x = torch.randn(n_windows, 2, 3, *grid)
        with torch.no_grad():
            expected = network.members(x)
        torch.testing.assert_close(members(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.fixture(scope="module")
def trained(service_server, tmp_path_factory):
    """Folder of a run: bundle and configuration; its test period holds values far beyond the others."""
    folder = tmp_path_factory.mktemp("run")
    ds = service_server.fields(120)
    ds["t2m"][100:] += 500
    ds.to_netcdf(folder / "air.nc")
    source, window = {"paths": str(folder / "air.nc")}, {"t_in": 3, "leads": 2}
    section = {"source": source, "preparation": {"inputs": ["t2m"]}, "window": window}
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": section}))
    data = GridDataModule(SourceSettings(**source), PreparationSettings(("t2m",)), WindowSettings(**window))
    data.setup()
    torch.manual_seed(0)
    network = LinearResidual(Conv3D(data.c_in, 1, 3, 2, n_layers=1, n_filters=4, kernel=3))
    make_bundle(SimpleNamespace(network=network.eval(), preparation=data.preparation), data, name="air").save(
        folder / "bundle"
    )
    return SimpleNamespace(folder=folder, data=data, ds=ds, bundle=Bundle.load(folder / "bundle"))


@pytest.fixture(scope="module")
def quantized(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8") / "air"
    assert main(["quantize", str(trained.folder), "--output", str(folder)]) == 0
    return folder


def test_a_forecast_by_openvino_in_tiles_is_the_forecast(trained, tmp_path):
    runs = {"torch.nc": [], "openvino.nc": ["--engine", "openvino", "--tile", "4"]}
    source = ["--model", str(trained.folder / "bundle"), "--input", str(trained.folder / "air.nc")]
    for name, options in runs.items():
        assert main(["forecast", *source, *options, "--output", str(tmp_path / name), "--steps", "3"]) == 0
    expected, found = (xr.load_dataset(tmp_path / name) for name in runs)
    xr.testing.assert_allclose(found, expected, rtol=1e-5)


def test_int8_is_in_the_bundle_and_near_float32(trained, quantized):
    bundle = Bundle.load(quantized)
    assert "int8.onnx" in json.loads((quantized / "manifest.json").read_text())["files"]
    assert bundle.hash != trained.bundle.hash
    ds = trained.ds.isel(time=slice(0, 60))
    exact, rounded = (
        Forecaster(bundle, engine=name).forecast(ds)["t2m"] for name in ("torch", "openvino-int8")
    )
    error = float(abs(rounded - exact).max())
    assert 0 < error < 0.05 * float(exact.std())
    before, after = bundle.spec["int8"]["rmse"]["t2m"]
    assert before == pytest.approx(rmse(trained, bundle.network), rel=1e-5)
    assert after != before
    assert after == pytest.approx(before, rel=0.02)


def rmse(trained, network):
    """Over the validation period, window by window, in NumPy."""
    errors = []
    for batch in trained.data.val_dataloader():
        with torch.no_grad():
            y = trained.data.preparation.physical(network(trained.data.preparation.inputs(batch)), batch)
        errors.append((y - batch["targets"]).numpy().ravel())
    return float(np.sqrt(np.nanmean(np.concatenate(errors).astype(float) ** 2)))


def test_levels_span_what_a_convolution_saw_in_the_training_period(trained, quantized):
    model = onnx.load_from_string(Bundle.load(quantized).int8)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made = {name: node for node in model.graph.node for name in node.output}
    read = [made.get(node.input[0]) for node in model.graph.node if node.op_type == "Conv"]
    assert len(read) == 2
    assert read[0] is None  # the frames themselves, and they are not rounded
    node = made[read[1].input[0]]
    assert (read[1].op_type, node.op_type) == ("DequantizeLinear", "QuantizeLinear")
    seen = []
    head = trained.bundle.network.network.head.convolution
    handle = head.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    with torch.no_grad():
        for batch in trained.data.train_dataloader():
            trained.bundle.network(trained.data.preparation.inputs(batch))
    handle.remove()
    low, high = min(float(x.min()) for x in seen), max(float(x.max()) for x in seen)
    # +500 K in the test period would be far off
    assert float(constants[node.input[1]]) == pytest.approx((high - min(low, 0)) / 255, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("tensorflow", "cpu", "expected one of: torch, openvino, openvino-int8"),
        ("openvino", "cuda", "computes on the CPU, and the device is 'cuda'. Use the device 'cpu'"),
        (
            "openvino-int8",
            "cpu",
            "'air' has no int8 network. Make a bundle that has one with `stconv quantize`",
        ),
    ],
)
def test_refuses_what_an_engine_cannot_do(trained, name, device, message):
    with pytest.raises(ConfigError, match=message):
        members_by(name, trained.bundle, torch.device(device))


def test_says_what_to_install(trained, monkeypatch):
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs openvino, .* pip install 'stconv\[openvino\]'"):
        Forecaster(trained.bundle, engine="openvino")
    with pytest.raises(ConfigError, match=r"needs onnxruntime and openvino. .*'stconv\[openvino\]'"):
        quantization.quantized(trained.bundle, trained.data)


def test_refuses_a_translation_that_fails_or_differs(trained, monkeypatch):
    monkeypatch.setattr(engine, "onnx_bytes", lambda network, members: b"no model")
    with pytest.raises(
        ConfigError, match=r"LinearResidual cannot be translated for the engine 'openvino'.*Use the eng"
    ):
        members_by("openvino", trained.bundle, CPU)
    monkeypatch.setattr(engine, "compiled", lambda model: lambda x: trained.bundle.network.members(x) + 1)
    with pytest.raises(ConfigError, match=r"differs from PyTorch by .*, relative; expected at most 0\.001"):
        members_by("openvino", trained.bundle, CPU)


def test_warns_of_an_int8_network_that_costs_much(trained, monkeypatch, tmp_path, capsys):
    costly = dataclasses.replace(
        trained.bundle,
        spec={**trained.bundle.spec, "int8": {"n_windows": 9, "rmse": {"t2m": [1.0, 1.006]}}},
        int8=b"-",
        _hash=None,
    )
    monkeypatch.setattr(quantization, "quantized", lambda *_: costly)
    assert main(["quantize", str(trained.folder), "--output", str(tmp_path / "air")]) == 0
    assert "int8 raises the RMSE of t2m by over 0.5 %; --engine openvino is exact" in capsys.readouterr().err


def test_refuses_to_slide_by_another_engine(trained, capsys):
    source = ["--model", str(trained.folder / "bundle"), "--input", "air.nc", "--output", "o.nc", "--slide"]
    assert main(["forecast", *source, "--engine", "openvino"]) == 1
    assert "--slide is not for --engine openvino" in capsys.readouterr().err


def test_refuses_to_calibrate_on_other_data(trained):
    paths = str(trained.folder / "air.nc")
    later = GridDataModule(
        SourceSettings(paths),
        PreparationSettings(("t2m",)),
        WindowSettings(t_in=3, leads=2),
        split=SplitSpec(fractions=[0.7, 0.1, 0.2]),
    )
    later.setup()
    with pytest.raises(SplitError, match=r"The training period ends .* in this configuration, and 2020"):
        quantization.quantized(trained.bundle, later)
    other = SimpleNamespace(series=SimpleNamespace(variables=("rain",)))
    with pytest.raises(ConfigError, match="trained on t2m, the data section names rain"):
        quantization.quantized(trained.bundle, other)


def test_the_service_offers_the_same_engines():
    from service.settings import Settings

    assert typing.get_args(Settings.model_fields["engine"].annotation) == typing.get_args(Engine)
