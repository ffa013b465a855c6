"""Tiles with a halo give what the whole grid gives."""

import copy
import json
import subprocess
import sys

import pytest
import torch

from published_unet import published_unet
from stconv.compute.tiling import Tiled, bytes_of, stretches, tiled, tiles_of
from stconv.errors import ConfigError
from stconv.explain import explain, frames_in_reach, reach
from stconv.models import (
    REGISTRY,
    Conv2Plus1D,
    ConvLSTM,
    EncoderDecoder3D,
    FrameMixer,
    Increment,
    Linear3x3,
    LinearResidual,
    Network,
    Persistence,
    PredRNN,
    ResNet2D,
    STConvS2S,
    register,
)

SIZES = (2, 1, 2, 2)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def alive(network):
    """Weights and statistics that are not those of a new network."""
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.is_floating_point():
            tensor.data.add_(torch.rand_like(tensor) * 0.2)
    return network.eval()


NETWORKS = {
    "STConvS2S": lambda space: Increment(
        STConvS2S(*SIZES, n_layers=1, n_filters=2, kernel=3, space_padding=space)
    ),
    "Conv2Plus1D": lambda space: Conv2Plus1D(*SIZES, n_layers=2, n_filters=2, space_padding=space),
    "ResNet2D": lambda space: LinearResidual(
        ResNet2D(*SIZES, n_filters=2, norm="layer", space_padding=space)
    ),
    "ConvLSTM": lambda space: ConvLSTM(*SIZES, n_layers=1, n_filters=2, space_padding=space),
    "UNet": lambda space: published_unet(*SIZES, n_levels=2, n_filters=2, space_padding=space),
    "FrameMixer": lambda space: FrameMixer(
        *SIZES, n_layers=1, n_filters=2, translator="convmixer", space_padding=space
    ),
    "Linear3x3": lambda space: Linear3x3(*SIZES, space_padding=space),
}


@pytest.mark.parametrize("space", ["zero", "replicate", "periodic"])
@pytest.mark.parametrize("name", NETWORKS)
def test_tiled_equals_untiled(name, space):
    network = alive(NETWORKS[name](space))
    x = torch.randn(1, 2, 2, 83, 96)
    field = reach(network)
    sizes = []
    handle = network.register_forward_hook(lambda _m, args, _y: sizes.append(args[0].shape[-2:].numel()))
    y = tiled(network, x, (16, 24), field)
    handle.remove()
    torch.testing.assert_close(y, network(x), rtol=1e-5, atol=1e-5)
    assert len(sizes) >= 8
    assert max(sizes) < 83 * 96


@pytest.mark.parametrize("n", [37, 40])
def test_an_odd_grid_is_lengthened_only_at_its_own_end(n):
    network = alive(EncoderDecoder3D(1, 1, 2, 2, n_layers=2, n_filters=2, kernel=3))
    x = torch.randn(2, 1, 2, n, n + 3)
    torch.testing.assert_close(tiled(network, x, (8, 8)), network(x), rtol=1e-5, atol=1e-5)


def test_too_narrow_a_halo_is_seen():
    network = alive(NETWORKS["Conv2Plus1D"]("zero"))
    x, field = torch.randn(1, 2, 2, 48, 48), reach(network)
    narrow = type(field)(field.steps, (field.before[0] - 1, field.before[1]), field.after)
    assert (tiled(network, x, (16, 16), narrow) - network(x)).abs().max() > 1e-4


def test_stretches_cover_an_axis_once():
    for n, tile, before, after, period in [
        (20, 4, 2, 1, 1),
        (21, 5, 3, 3, 2),
        (7, 4, 9, 9, 1),
        (24, 4, 1, 1, 4),
    ]:
        for periodic in (False, True):
            found = stretches(n, tile, before, after, period=period, periodic=periodic)
            kept = [i for s in found for i in range(s.keep.start, s.keep.stop)]
            assert kept == list(range(n))
            for s in found:
                assert s.read[s.offset] == s.keep.start
                assert s.read.start % period == 0
    first = stretches(20, 4, 2, 1, periodic=True)[0]
    assert (first.read, first.offset) == (range(-2, 5), 2)


def test_memory_is_that_of_a_tile_on_a_global_quarter_degree_grid():
    network = Linear3x3(1, 1, 1, 1, space_padding="periodic").eval()
    sizes = []
    network.register_forward_hook(lambda _m, args, _y: sizes.append(tuple(args[0].shape[-2:])))
    x = torch.randn(1, 1, 1, 721, 1440)
    y = tiled(network, x, (256, 256))
    assert max(rows for rows, _ in sizes) <= 258
    assert max(columns for _, columns in sizes) <= 258
    torch.testing.assert_close(y[..., 300:420, :], network(x)[..., 300:420, :], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (ResNet2D(*SIZES, n_filters=4).eval(), "sees the whole grid at once.*Use norm 'batch' or 'layer'"),
        (Linear3x3(*SIZES).train(), "in training mode, in which tiles would differ"),
        (
            published_unet(*SIZES, n_levels=3, n_filters=2, space_padding="periodic").eval(),
            "has 41 columns.*of 4",
        ),
    ],
)
def test_what_cannot_be_tiled_is_refused(network, message):
    with pytest.raises(ConfigError, match=message):
        tiled(network, torch.zeros(1, 2, 2, 40, 41), (8, 8))
    with pytest.raises(ConfigError, match="tile of tiled is 0"):
        tiled(Persistence(*SIZES).eval(), torch.zeros(1, 2, 2, 4, 4), (0, 8))


def test_memory_decides_about_tiles_and_small_grids_have_none():
    network = alive(NETWORKS["Conv2Plus1D"]("periodic"))
    sizes = []

    def remember(_module, args, _output):
        if not args[0].is_meta:  # what is asked for its sizes alone
            sizes.append(tuple(args[0].shape[-2:]))

    network.register_forward_hook(remember)
    x = torch.randn(1, 2, 2, 96, 100)
    needed = bytes_of(network, 96, 100) / (96 * 100)
    assert torch.equal(Tiled(network, memory=int(96 * 100 * needed))(x), network(x))
    sizes.clear()
    whole, y = network(x), Tiled(network, memory=int(60 * 60 * needed))(x)
    torch.testing.assert_close(y, whole, rtol=1e-5, atol=1e-5)
    pieces = sizes[1:]
    assert len(pieces) > 2
    assert max(rows * columns for rows, columns in pieces) <= 60 * 60
    small = torch.randn(1, 2, 2, 64, 64)
    assert torch.equal(Tiled(network, memory=1)(small), network(small))


def test_the_memory_that_a_grid_needs_is_estimated_once():
    network = LinearResidual(ResNet2D(*SIZES, n_filters=4), grid=[70, 72]).eval()
    x = torch.randn(1, 2, 2, 70, 72)
    walks = []
    handle = network.register_forward_hook(lambda _m, args, _y: walks.append(args[0].is_meta))
    whole = Tiled(network)
    assert torch.equal(whole(x), whole(x))
    assert sum(walks) == 1
    handle.remove()
    assert torch.equal(whole(x), network(x))


@pytest.mark.parametrize("space", ["zero", "periodic"])
def test_tiles_take_the_parameters_of_their_own_cells(space):
    inner = ResNet2D(*SIZES, n_filters=4, norm="layer", space_padding=space)
    network = alive(LinearResidual(inner, grid=[70, 72]))
    x = torch.randn(1, 2, 2, 70, 72)
    sizes = []
    network.register_forward_hook(lambda _m, args, _y: sizes.append(tuple(args[0].shape[-2:])))
    tiles = tiled(network, x, (16, 24))
    assert max(sizes[1:])[0] < 70
    torch.testing.assert_close(tiles, network(x), rtol=1e-5, atol=1e-5)
    assert tiles_of(network)["refused"] is None
    with pytest.raises(ConfigError, match="this engine takes the whole grid only"):
        Tiled(network, 16, members=lambda x: network(x)[None])


def test_what_cannot_be_tiled_is_said_and_done_in_one_piece_unless_tiles_were_asked_for():
    network = ResNet2D(*SIZES, n_filters=4).eval()
    x = torch.randn(1, 2, 2, 70, 70)
    with pytest.warns(
        UserWarning, match="needs about .* GiB in one piece: ResNet2D sees the whole grid at once"
    ):
        y = Tiled(network, memory=1000)(x)
    assert torch.equal(y, network(x))
    with pytest.raises(ConfigError, match="ResNet2D sees the whole grid at once"):
        Tiled(network, tile=32)
    with pytest.raises(ConfigError, match="tile of a forecast is -1; expected an integer of at least 0"):
        Tiled(network, tile=-1)


class Halved(Network):
    """Halves its grid and does not lengthen it first, as a network from elsewhere may do."""

    def __init__(self, c_in=1, c_out=1, t_in=2, leads=1):
        super().__init__(c_in, c_out, t_in, leads)
        self.down = torch.nn.Conv3d(c_in, 3, 3, stride=(1, 2, 2), padding=1)
        self.head = torch.nn.Conv3d(3, 1, (2, 3, 3), padding=(0, 1, 1))

    def compute(self, x):
        return self.head(torch.nn.functional.interpolate(self.down(x), x.shape[-3:]))


class Placed(Network):
    """Adds to every cell where it lies."""

    def compute(self, x):
        return x[:, :1, -1:] + torch.linspace(0, 1, x.shape[-1], dtype=x.dtype)


class ByChance(Network):
    """Throws dice in evaluation mode too."""

    def compute(self, x):
        return torch.nn.functional.dropout(x[:, :1, -1:], 0.5, training=True)


class Deep(Network):
    """A U-Net in plain torch, without padding: it runs only on multiples of 2^depth cells."""

    def __init__(self, c_in: int, c_out: int, t_in: int, leads: int, depth: int) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        self.first = torch.nn.Conv2d(c_in * t_in, 2, 3, padding=1)
        self.down = torch.nn.ModuleList(torch.nn.Conv2d(2, 2, 3, 2, 1) for _ in range(depth))
        self.up = torch.nn.ModuleList(torch.nn.ConvTranspose2d(2, 2, 2, 2) for _ in range(depth))
        self.last = torch.nn.Conv2d(2, c_out * leads, 1)

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        y, kept = self.first(x.flatten(1, 2)).relu(), []
        for layer in self.down:
            kept.append(y)
            y = layer(y).relu()
        for layer in self.up:
            y = layer(y) + kept.pop()
        return self.last(y).unflatten(1, (self.c_out, self.leads))


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_a_network_that_runs_only_on_multiples_is_explained_and_tiled(depth):
    register(Deep)
    try:
        network, side = Deep(1, 1, 2, 1, depth).eval(), 2**depth
        found = explain(network, 2 * side, 3 * side).output
        # coarse cell m sees side * m - side to side * m + side; side * m to side * m + side - 1 see m
        assert (found.before, found.after) == ((2 * side - 1,) * 2, (side, side))
        assert found.period == side
        x = torch.randn(1, 1, 2, 6 * side, 7 * side)
        with torch.no_grad():
            torch.testing.assert_close(tiled(network, x, (side, side)), network(x))
    finally:
        del REGISTRY["Deep"]


def test_a_network_that_runs_on_no_grid_tried_is_told():
    register(Deep)
    try:
        with pytest.raises(
            ConfigError, match=r"Deep runs on no grid of 24, 32, 64, 128 cells.*attribute `grid`"
        ):
            reach(Deep(1, 1, 2, 1, 8).eval())
    finally:
        del REGISTRY["Deep"]


def test_a_network_that_halves_its_grid_itself_is_tiled_in_phase_or_refused():
    network = Halved().eval()
    field = reach(network)
    assert field.period == 2
    # cell 2m sees the coarse cells m - 1 and m, 2m + 1 sees m and m + 1; m sees 2m - 1 to 2m + 1
    assert (field.before, field.after) == ((3, 3), (2, 2))
    x = torch.randn(1, 1, 2, 64, 66)
    for tile in (8, 9, 25):
        torch.testing.assert_close(tiled(network, x, (tile, tile)), network(x))
    with pytest.raises(ConfigError, match=r"64 x 65 cells.*needs multiples of 2 to be tiled"):
        tiled(network, x[..., 1:], (8, 8))


@pytest.mark.parametrize("network", [Placed(1, 1, 2, 1), ByChance(1, 1, 2, 1)])
def test_a_network_whose_tiles_differ_is_refused(network):
    with pytest.raises(
        ConfigError, match=r"differ from the whole grid|does not treat the cells of a grid alike"
    ):
        tiled(network.eval(), torch.randn(1, 1, 2, 64, 64), (16, 16))


def test_small_gradients_are_not_lost():
    network = PredRNN(1, 1, 4, 3, n_filters=2)
    ghost = copy.deepcopy(network).double()
    with torch.no_grad():
        for parameter in ghost.parameters():
            parameter.fill_(0.01)
    x = torch.full((1, 1, 4, 65, 65), 0.1, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(ghost(x)[..., 32, 32].sum(), x)
    seen = gradient.abs().amax((0, 1, 2, 3)).nonzero().flatten()
    field = reach(network)
    assert (field.before[1], field.after[1]) == (32 - int(seen[0]), int(seen[-1]) - 32)


def test_tiles_are_found_while_no_gradient_may_be_recorded():
    network = alive(NETWORKS["UNet"]("periodic"))
    field, steps, explained = reach(network), frames_in_reach(network), explain(network)
    x = torch.randn(1, 2, 2, 48, 48)
    for context in (torch.inference_mode, torch.no_grad):
        with context():
            assert reach(network) == field, context
            assert torch.equal(frames_in_reach(network), steps), context
            assert explain(network) == explained, context
            torch.testing.assert_close(tiled(network, x, (16, 16)), network(x), rtol=1e-5, atol=1e-5)
            built = NETWORKS["UNet"]("periodic").eval()
            assert reach(built) == field, context


def test_what_a_bundle_says_of_tiles_is_enough():
    network = alive(NETWORKS["UNet"]("zero"))
    tiles = json.loads(json.dumps(tiles_of(network)))
    assert tiles["refused"] is None
    assert Tiled(network, 16, tiles=tiles).field == reach(network)
    refused = json.loads(json.dumps(tiles_of(ResNet2D(*SIZES, n_filters=4).eval())))
    with pytest.raises(ConfigError, match="ResNet2D sees the whole grid at once"):
        Tiled(network, 16, tiles=refused)
    assert Tiled(network, tiles=refused)(torch.zeros(1, 2, 2, 8, 8)).shape == (1, 1, 2, 8, 8)


@pytest.mark.slow
def test_a_forecast_of_a_quarter_degree_globe_stays_in_bounded_memory():
    """721 x 1440 cells through STConvS2S-R, whose features in one piece take more than a GiB."""
    program = """
import resource, torch
from stconv.models import STConvS2S
from stconv.compute.tiling import Tiled
torch.set_num_threads(1)
torch.manual_seed(0)
network = STConvS2S(1, 1, 5, 5, n_layers=2, n_filters=16, space_padding="periodic").eval()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.inference_mode():
    y = Tiled(network, memory=2**29)(torch.randn(1, 1, 5, 721, 1440))
assert y.isfinite().all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1024, "MiB more than at the start, of which 36 are input and forecast"


class Dilated(Network):
    """Sees two points far away and nothing between them."""

    def __init__(self, c_in: int = 1, c_out: int = 1, t_in: int = 2, leads: int = 1) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        self.conv = torch.nn.Conv2d(c_in * t_in, 1, 3, padding=20, dilation=20)

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.flatten(1, 2))[:, :, None]


def test_a_dilation_wider_than_the_first_grid_is_seen():
    network, x = Dilated().eval(), torch.randn(1, 1, 2, 90, 80)
    assert (reach(network).before, reach(network).after) == ((20, 20), (20, 20))
    with torch.no_grad():
        torch.testing.assert_close(tiled(network, x, (16, 16)), network(x))
