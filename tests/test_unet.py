"""The U-Net with every maker, and the networks that became it."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stconv.errors import ConfigError
from stconv.models import Conv2Plus1D, Conv3D, MixedConv, STConvS2S, UNet, UNet2Plus1D, build, describe
from stconv.nn import Convolution, LightFactored, Pool, residual_block
from stconv.nn.conv import Factored
from stconv.nn.frames import StackFrames
from stconv.nn.heads import LeadHead
from stconv.nn.pyramid import Finer, PadToMultiple
from stconv.nn.residual import start_at_zero, zero_residual
from stconv.nn.stack import stack

pytestmark = pytest.mark.usefixtures("seeded")

SIZES = (3, 2, 4, 3)
MAKERS = ("2d", "2plus1d", "3d", "mixed")


def alive(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, with no weight at zero, as some start from."""
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.is_floating_point():
            tensor.data.add_(torch.rand_like(tensor) * 0.2)
    return network.eval()


class FormerUNet2Plus1D(nn.Module):
    """The network of this name, as it was: the oracle of what its bundles forecast."""

    def __init__(self, n_layers: int, n_filters: int, encoder: str) -> None:
        super().__init__()
        c_in, c_out, t_in, leads = SIZES
        widths = [n_filters * 2**i for i in range(n_layers)]

        def level(before: int, after: int, shortcut: bool) -> nn.Module:
            return residual_block(Factored, before, after, 3) if shortcut else stack(
                Factored, before, [after, after], 3
            )  # fmt: skip

        self.whole = PadToMultiple(2 ** (n_layers - 1))
        self.down = nn.ModuleList(
            nn.Sequential(level(before, after, encoder == "resnet"), nn.Identity())
            for before, after in pairwise([c_in, *widths])
        )
        self.up = nn.ModuleList(
            level(fine + coarse, fine, False)
            for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.head = LeadHead(n_filters, c_out, t_in, leads, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n_lat, n_lon = x.shape[-2:]
        y, levels = self.whole(x), []
        for i, down in enumerate(self.down):
            y = down(Pool("max", (1, 2, 2))(y) if i else y)
            levels.append(y)
        for up, level in zip(self.up, reversed(levels[:-1]), strict=True):
            y = up(torch.cat((level, F.interpolate(y, scale_factor=(1, 2, 2))), dim=1))
        return self.head(y)[..., :n_lat, :n_lon]


class FormerUNet2D(nn.Module):
    """The network of this name with its defaults and 8 filters, as it was."""

    def __init__(self) -> None:
        super().__init__()
        c_in, c_out, t_in, leads = SIZES
        size, widths = (1, 3, 3), (8, 16, 24)
        settings = {"norm": "group", "activation": "gelu"}
        self.whole, self.frames = PadToMultiple(4), StackFrames()
        self.stem = Convolution(c_in * t_in, 8, size, **settings)
        self.down = nn.ModuleList(zero_residual(width, size) for width in widths[:-1])
        self.coarser = nn.ModuleList(
            Convolution(fine, coarse, size, stride=(1, 2, 2), **settings) for fine, coarse in pairwise(widths)
        )
        self.bottom = nn.Sequential(*(zero_residual(24, size) for _ in range(2)))
        self.finer = nn.ModuleList(
            nn.Sequential(Convolution(coarse, fine, 1, bias=True, norm="none", activation="none"), Finer())
            for fine, coarse in pairwise(widths)
        )
        self.up = nn.ModuleList(zero_residual(width, size) for width in widths[:-1])
        self.head = LeadHead(8, c_out, 1, leads, 3)
        start_at_zero(self.head.convolution)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n_lat, n_lon = x.shape[-2:]
        y, levels = self.stem(self.frames(self.whole(x))), []
        for down, coarser in zip(self.down, self.coarser, strict=True):
            levels.append(down(y))
            y = coarser(levels[-1])
        y = self.bottom(y)
        for finer, up in zip(reversed(self.finer), reversed(self.up), strict=True):
            y = up(levels.pop() + finer(y))
        return self.head(y)[..., :n_lat, :n_lon]


def specification(name: str, **settings: object) -> dict:
    sizes = dict(zip(("c_in", "c_out", "t_in", "leads"), SIZES, strict=True))
    return {"name": name, "arguments": {**sizes, **settings}}


@pytest.mark.parametrize(("n_layers", "encoder"), [(1, "resnet"), (2, "vgg"), (3, "resnet")])
def test_a_former_2plus1d_unet_forecasts_as_it_did(n_layers: int, encoder: str) -> None:
    before = alive(FormerUNet2Plus1D(n_layers, 3, encoder))
    with pytest.warns(FutureWarning, match="'UNet2Plus1D' is now 'UNet' with `maker: 2plus1d`"):
        now = build(specification("UNet2Plus1D", n_layers=n_layers, n_filters=3, encoder=encoder)).eval()
    state = before.state_dict()
    now.load_state_dict(state, strict=True)
    assert set(state) == set(before.state_dict())  # what was given is left as it was
    x = torch.randn(2, 3, 4, 7, 9)
    assert torch.equal(now(x), before(x))
    again = build(describe(now)).eval()  # and under its present name, with its present tensors
    again.load_state_dict(now.state_dict(), strict=True)
    assert (type(again), describe(again)["name"]) == (UNet, "UNet")
    assert torch.equal(again(x), before(x))
    inside = nn.ModuleDict({"network": build(describe(now))}).eval()  # as in a checkpoint
    inside.load_state_dict({f"network.{name}": tensor for name, tensor in state.items()})
    assert torch.equal(inside["network"](x), before(x))


def test_a_former_2d_unet_starts_and_forecasts_as_it_did() -> None:
    torch.manual_seed(1)
    before = FormerUNet2D()
    torch.manual_seed(1)
    with pytest.warns(FutureWarning, match="'UNet2D' is now called 'UNet'"):
        now = build(specification("UNet2D", n_filters=8))
    assert now.state_dict().keys() == before.state_dict().keys()
    for name, tensor in before.state_dict().items():
        assert torch.equal(now.state_dict()[name], tensor), name
    now.load_state_dict(alive(before).state_dict())
    x = torch.randn(2, 3, 4, 7, 9)
    assert torch.equal(now.eval()(x), before(x))


def test_the_former_class_is_a_unet() -> None:
    with pytest.warns(FutureWarning, match="'UNet2Plus1D' is now 'UNet' with `maker: 3d`, `encoder: vgg`"):
        network = UNet2Plus1D(*SIZES, n_layers=2, n_filters=3, encoder="vgg", convolution="depthwise")
    assert type(network) is UNet
    assert network.display_name == "UNet-3D"
    assert describe(network)["arguments"]["convolution"] == "depthwise"


@pytest.mark.parametrize("maker", MAKERS)
def test_training_starts_from_a_forecast_of_zero(maker: str) -> None:
    network = UNet(*SIZES, maker=maker, n_levels=2, n_filters=8)
    assert not network(torch.randn(2, 3, 4, 6, 8)).any()


def test_one_level_in_3d_is_what_torch_computes() -> None:
    network = alive(UNet(*SIZES, maker="3d", n_levels=1, n_blocks=1, n_filters=8, merge="head"))
    x = torch.randn(2, 3, 4, 6, 8)
    weights = network.state_dict()

    def activated(y: torch.Tensor, part: str) -> torch.Tensor:
        y = F.conv3d(y, weights[f"{part}.conv.weight"], padding=1)
        return F.gelu(F.group_norm(y, 8, weights[f"{part}.norm.weight"], weights[f"{part}.norm.bias"]))

    y = activated(x, "stem")
    last = "bottom.0.body.2.conv"
    inner = activated(y, "bottom.0.body.0")
    y = y + F.conv3d(inner, weights[f"{last}.weight"], weights[f"{last}.bias"], padding=1)
    head = "head.convolution.conv"
    y = F.conv3d(y, weights[f"{head}.weight"], weights[f"{head}.bias"], padding=(0, 1, 1))
    torch.testing.assert_close(network(x), y.view(2, 2, 3, 6, 8), rtol=1e-4, atol=1e-5)


def test_a_wide_decoder_is_what_torch_computes() -> None:
    network = alive(UNet(*SIZES, maker="3d", n_levels=2, n_blocks=1, n_filters=8, growth=1, widening=2))
    weights = network.state_dict()
    x = torch.randn(2, 3, 4, 6, 8)

    def convolved(y: torch.Tensor, part: str, **settings: object) -> torch.Tensor:
        return F.conv3d(y, weights[f"{part}.conv.weight"], weights.get(f"{part}.conv.bias"), **settings)

    def activated(y: torch.Tensor, part: str, **settings: object) -> torch.Tensor:
        y = convolved(y, part, **settings)
        return F.gelu(F.group_norm(y, 8, weights[f"{part}.norm.weight"], weights[f"{part}.norm.bias"]))

    def block(y: torch.Tensor, part: str, **settings: object) -> torch.Tensor:
        inner = activated(y, f"{part}.body.0", **settings)
        return y + convolved(inner, f"{part}.body.2", **settings)

    fine = block(activated(x, "stem", padding=1), "down.0", padding=1)
    coarse = block(
        activated(fine, "coarser.0", stride=(1, 2, 2), padding=1), "bottom.0", padding=1
    )  # fmt: skip
    coarse = convolved(coarse, "merge.1")
    assert coarse.shape == (2, 16, 1, 3, 4)
    fine = convolved(fine, "merge.0") + network.finer[0][1](convolved(coarse, "finer.0.0"))
    y = convolved(block(fine, "up.0", padding=(0, 1, 1)), "head.convolution", padding=(0, 1, 1))
    torch.testing.assert_close(network(x), y.view(2, 2, 3, 6, 8), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("maker", "merge", "expected"),
    [
        ("2d", "skips", {"down": {1}, "bottom": {1}, "up": {1}}),
        ("3d", "skips", {"down": {4}, "bottom": {4}, "up": {1}}),
        ("2plus1d", "head", {"down": {4}, "bottom": {4}, "up": {4}}),
        ("mixed", "skips", {"down": {1}, "bottom": {4}, "up": {1}}),
    ],
)
def test_frames_have_an_axis_where_the_maker_says_so(maker: str, merge: str, expected: dict) -> None:
    network = UNet(*SIZES, maker=maker, merge=merge, n_levels=2, n_filters=8)
    found: dict[str, set[int]] = {"down": set(), "bottom": set(), "up": set()}
    for name, steps in found.items():
        blocks = getattr(network, name)
        for block in blocks:
            block.register_forward_hook(lambda _, __, y, steps=steps: steps.add(y.shape[2]))
    network(torch.randn(1, 3, 4, 6, 8))
    assert found == expected


@pytest.mark.parametrize("maker", MAKERS)
def test_a_globe_has_no_seam(maker: str) -> None:
    network = alive(UNet(*SIZES, maker=maker, n_levels=2, n_filters=8, space_padding="periodic"))
    x = torch.randn(1, 3, 4, 6, 16)
    torch.testing.assert_close(network(x.roll(4, -1)), network(x).roll(4, -1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"maker": "4d"}, "maker of UNet is '4d'; expected one of: 2d, 2plus1d, 3d, mixed"),
        ({"maker": "2plus1d", "convolution": "full"}, "2plus1d is 'full'; expected factored or light"),
        ({"maker": "mixed", "encoder": "vgg"}, "maker mixed has merge 'skips' and encoder 'vgg'"),
        ({"maker": "mixed", "merge": "head"}, "maker mixed has merge 'head' and encoder 'residual'"),
        ({"interpolation": "cubic"}, "interpolation of UNet is 'cubic'; expected one of: linear, nearest"),
        ({"kernel_time": 2}, "kernel_time of UNet is 2; expected an odd number"),
        ({"widening": 2}, "widening of UNet is 2; expected 1 where frames are not joined on every level"),
        ({"maker": "3d", "merge": "head", "widening": 2}, "Set maker to 2plus1d or 3d, merge to skips"),
        ({"growth": 0.5}, "growth of UNet is 0.5; expected at least 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        UNet(*SIZES, **settings)


def test_a_light_convolution_is_two_of_torch_and_one_without_taps_in_time() -> None:
    block = LightFactored(3, 5, (3, 5, 5), stride=(1, 2, 2), bias=True, norm="none", activation="relu")
    x = torch.randn(2, 3, 4, 8, 9)
    y = F.conv3d(x, block.space.conv.weight, stride=(1, 2, 2), padding=(0, 2, 2))
    y = F.conv3d(y, block.time.conv.weight, block.time.conv.bias, padding=(1, 0, 0)).relu()
    torch.testing.assert_close(block(x), y, rtol=1e-4, atol=1e-5)
    flat = LightFactored(3, 5, (1, 3, 3), bias=True, norm="none", activation="relu")
    assert len(flat) == 1
    expected = F.conv3d(x, flat.space.conv.weight, flat.space.conv.bias, padding=(0, 1, 1)).relu()
    torch.testing.assert_close(flat(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", [Conv3D, Conv2Plus1D, MixedConv, STConvS2S])
def test_the_papers_networks_take_the_recipe_as_an_option(family: type) -> None:
    published = family(*SIZES, n_filters=4, kernel=3)
    assert any(isinstance(module, nn.BatchNorm3d) for module in published.modules())
    assert published(torch.randn(1, 3, 4, 6, 8)).any()
    network = family(*SIZES, n_filters=4, kernel=3, norm="group", zero_head=True, dropout=0.1)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in network.modules())
    assert not network(torch.randn(1, 3, 4, 6, 8)).any()
    shapes = {name: tensor.shape for name, tensor in network.named_parameters()}
    assert shapes == {name: tensor.shape for name, tensor in published.named_parameters()}
