"""Exported networks forecast what the network does, for batches and grids they were not traced with."""

import numpy as np
import pytest
import torch

from published_unet import published_unet
from stconv.cli.main import main
from stconv.compute.export import to_onnx, to_program
from stconv.models import (
    Bounded,
    Conv2Plus1D,
    Conv3D,
    ConvLSTM,
    EncoderDecoder3D,
    FrameMixer,
    Increment,
    LeNet5,
    LinearResidual,
    MixedConv,
    PredRNN,
    ResNet2D,
    ResNet2Plus1D,
    ResNet18,
    STConvS2S,
)

SIZES = (2, 1, 3, 2)
NETWORKS = {
    "STConvS2S": lambda: Increment(
        STConvS2S(*SIZES, n_layers=1, n_filters=2, kernel=3, space_padding="periodic")
    ),
    "ResNet2D": lambda: Bounded(LinearResidual(ResNet2D(*SIZES, n_filters=4)), lower=-0.5),
    "ConvLSTM": lambda: ConvLSTM(*SIZES, n_layers=1, n_filters=2),
    "PredRNN": lambda: PredRNN(*SIZES, n_layers=1, n_filters=2),
    "UNet": lambda: published_unet(*SIZES, n_levels=2, n_filters=2),
    "FrameMixer": lambda: FrameMixer(*SIZES, n_layers=1, n_filters=2),
}
NETWORKS |= {
    "Conv3D": lambda: Conv3D(*SIZES, n_layers=1, n_filters=2, kernel=3),
    "Conv2Plus1D": lambda: Conv2Plus1D(*SIZES, n_layers=1, n_filters=2, kernel=3),
    "MixedConv": lambda: MixedConv(*SIZES, n_layers=2, n_3d=1, n_filters=2),
    "ResNet2Plus1D": lambda: ResNet2Plus1D(*SIZES, n_layers=1, n_filters=2),
    "EncoderDecoder3D": lambda: EncoderDecoder3D(*SIZES, n_layers=2, n_filters=2, kernel=3),
    "STConvS2S-C": lambda: STConvS2S(*SIZES, variant="C", n_layers=1, n_filters=2, kernel=3),
    "STConvS2S-paper": lambda: STConvS2S(2, 1, 3, 7, n_layers=1, n_filters=2, kernel=3, alignment="paper"),
    "LeNet5": lambda: LeNet5(*SIZES, grid=(16, 18)),
    "ResNet18": lambda: ResNet18(*SIZES, grid=(16, 18)),
}
HALVING = {"UNet": 2, "FrameMixer": 2, "EncoderDecoder3D": 4}
"""Take grids of a multiple."""


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def windows(name):
    step = HALVING.get(name, 1)
    if name in {"LeNet5", "ResNet18"}:
        return [torch.randn(n, 2, 3, lat, lon) for n, lat, lon in [(1, 16, 18), (3, 16, 18)]]
    return [torch.randn(n, 2, 3, lat * step, lon * step) for n, lat, lon in [(1, 9, 11), (3, 7, 6)]]


def fast(names):
    """All of them; those not named are slow, a trace of each takes seconds."""
    return [pytest.param(n, marks=[] if n in names else pytest.mark.slow) for n in NETWORKS]


@pytest.mark.parametrize("name", fast(["UNet", "ResNet2D", "LeNet5"]))
def test_program_equals_the_network(name):
    network = NETWORKS[name]().eval()
    program = to_program(network).module()
    for x in windows(name):
        torch.testing.assert_close(program(x), network(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", fast(["STConvS2S"]))
def test_onnx_equals_the_network(name, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = NETWORKS[name]().eval()
    session = runtime.InferenceSession(to_onnx(network, tmp_path / "network.onnx"))
    for x in windows(name):
        (y,) = session.run(["forecast"], {"frames": x.numpy()})
        np.testing.assert_allclose(y, network(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_network_of_one_grid_is_exported_for_that_grid():
    network = LinearResidual(ResNet2D(*SIZES, n_filters=2), grid=[5, 7]).eval()
    x = torch.randn(3, 2, 3, 5, 7)
    torch.testing.assert_close(to_program(network).module()(x), network(x))


def test_exporting_leaves_the_network_in_training():
    network = ResNet2D(*SIZES, n_filters=2).train()
    to_program(network)
    assert network.training


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch.export.load of torch 2.10
def test_a_bundle_is_exported_from_the_command_line(service_bundle, tmp_path, capsys):
    path = tmp_path / "deep" / "air.pt2"
    assert main(["export", str(service_bundle), "--output", str(path)]) == 0
    assert "air.pt2: " in capsys.readouterr().out
    from stconv.bundle import Bundle

    network = Bundle.load(service_bundle).network
    x = torch.randn(2, network.c_in, network.t_in, 6, 7)
    torch.testing.assert_close(torch.export.load(path).module()(x), network(x))
    assert main(["export", str(service_bundle), "--output", "air.tflite"]) == 1
    assert "ends in '.tflite'; expected .onnx or .pt2" in capsys.readouterr().err
