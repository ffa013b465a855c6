"""Kinds of convolution and stencils, chosen by name for every family that takes a maker."""

import inspect
import json

import jsonargparse
import pytest
import torch

from stconv.errors import ConfigError
from stconv.models import REGISTRY, Conv3D, Network, STConvS2S, UNet, build, describe

pytestmark = pytest.mark.usefixtures("seeded")

CHOOSING = [name for name in REGISTRY if "convolution" in inspect.signature(REGISTRY[name]).parameters]
FIRST = {"STConvS2S": {"spatial_first": True}}
"""Settings with which the first convolution looks around in space."""


def choosing(name, c_in=2, t_in=3, **options):
    network = REGISTRY[name](c_in, 1, t_in, 2, n_filters=8, **FIRST.get(name, {}), **options)
    return network, next(module for module in network.modules() if isinstance(module, torch.nn.Conv3d))


def test_every_family_that_takes_a_maker_takes_the_kind_of_convolution():
    assert {"Conv2Plus1D", "Conv3D", "MixedConv", "ResNet2D", "ResNet2Plus1D"} <= set(CHOOSING)
    assert {"STConvS2S", "UNet"} <= set(CHOOSING)


@pytest.mark.parametrize("name", CHOOSING)
def test_the_kind_of_convolution_is_what_the_first_one_is(name):
    c_in = 6 if name in {"ResNet2D", "UNet"} else 2  # these stack the frames
    _, full = choosing(name, convolution="full")
    assert (full.groups, full.in_channels, full.out_channels) == (1, c_in, 8 if name != "STConvS2S" else 16)
    _, depthwise = choosing(name, convolution="depthwise")
    assert depthwise.groups == depthwise.in_channels == depthwise.out_channels == c_in
    _, separable = choosing(name, convolution="separable")
    assert separable.kernel_size[1] > 1
    assert (separable.kernel_size[0], separable.kernel_size[2]) == (1, 1)
    _, factored = choosing(name, convolution="factored")
    assert factored.kernel_size[0] == 1
    assert min(factored.kernel_size[1:]) > 1


def test_a_depthwise_stack_is_that_of_torch():
    torch.manual_seed(0)
    network = Conv3D(2, 1, 3, 2, n_layers=1, n_filters=4, kernel=3, convolution="depthwise").eval()
    block = network.features[0]
    depth = torch.nn.Conv3d(2, 2, 3, padding=1, groups=2, bias=False)
    point = torch.nn.Conv3d(2, 4, 1, bias=False)
    depth.weight, point.weight = block.depth.conv.weight, block.point.conv.weight
    x = torch.randn(2, 2, 3, 6, 7)
    norm = [torch.nn.BatchNorm3d(n).eval() for n in (2, 4)]
    y = torch.nn.functional.leaky_relu(norm[1](point(torch.nn.functional.leaky_relu(norm[0](depth(x))))))
    torch.testing.assert_close(network(x), network.head(y))


@pytest.mark.parametrize("name", CHOOSING)
@pytest.mark.parametrize("convolution", ["full", "factored", "depthwise"])
def test_the_first_filters_are_stencils(name, convolution):
    _, conv = choosing(name, convolution=convolution, filters="sobel")
    plane = torch.tensor([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]])
    last, middle = conv.weight[:2, 0, -1].detach(), conv.kernel_size[1] // 2
    window = (slice(middle - 1, middle + 2),) * 2
    torch.testing.assert_close(last[0][window], plane)
    torch.testing.assert_close(last[1][window], plane.T)
    assert conv.weight[:2].abs().sum() == 2 * plane.abs().sum()
    network, _ = choosing(name, convolution=convolution, filters=["laplacian", "identity"])
    again = build(json.loads(json.dumps(describe(network))))
    again.load_state_dict(network.state_dict())
    x = torch.randn(1, 2, 3, 8, 9)
    assert torch.equal(again.eval()(x), network.eval()(x))


@pytest.mark.parametrize("variant", ["R", "C"])
def test_a_tendency_is_the_newest_frame_less_the_one_before_in_either_direction_of_time(variant):
    network = STConvS2S(1, 1, 4, 2, variant=variant, n_filters=2, kernel=3, filters="tendency").eval()
    conv = next(module for module in network.modules() if isinstance(module, torch.nn.Conv3d))
    seen = []
    conv.register_forward_hook(lambda _module, args, output: seen.append(output))
    x = torch.randn(1, 1, 4, 5, 6)
    network(x)
    tendency = x[:, :, 1:] - x[:, :, :-1]
    found = seen[0][:, :1]
    if variant == "R":  # runs from the newest frame to the oldest, valid with three taps
        torch.testing.assert_close(found, tendency[:, :, 1:].flip(2))
    else:
        torch.testing.assert_close(found[:, :, 1:], tendency)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"convolution": "dense"},
            r"convolution of Conv3D is 'dense'; expected one of: full, factored, light, depth",
        ),
        ({"filters": "prewitt"}, r"filters of Conv3D is 'prewitt'; expected one of: identity, gradient,"),
        ({"filters": ["sobel", "x"]}, r"filters of Conv3D is 'x'"),
        ({"filters": []}, r"filters of Conv3D is an empty list"),
        (
            {"filters": "sobel", "convolution": "separable"},
            r"'sobel_lat' is \(1, 3, 3\) and does not fit into the",
        ),
        ({"filters": "tendency", "kernel": 1}, r"'tendency' is \(2, 1, 1\) and does not fit"),
    ],
)
def test_a_kind_or_a_stencil_that_does_not_fit_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Conv3D(1, 1, 3, 2, **options)


def test_a_configuration_chooses_kind_and_stencils():
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Network, "network")
    sizes = {"c_in": 1, "c_out": 1, "t_in": 3, "leads": 2}
    init = {**sizes, "convolution": "depthwise", "filters": ["sobel", "laplacian"]}
    spec = {"class_path": "stconv.models.UNet", "init_args": init}
    found = parser.instantiate(parser.parse_object({"network": spec})).network
    assert describe(found) == describe(UNet(**init))
