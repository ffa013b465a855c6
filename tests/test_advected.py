"""Motion of fields that move, values that are advected, and networks in the moving frame."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from stconv.errors import ConfigError
from stconv.models import Advected, Increment, Persistence, ResNet2D, ScaleMix
from stconv.models.advected import matched
from stconv.nn.motion import carry, motion, paths

ROWS, COLUMNS = 48, 64


pytestmark = pytest.mark.usefixtures("seeded")


def moving(down, right, n_time, rows=ROWS, columns=COLUMNS):
    """A rough field cut from a larger one that moves so many cells a step: (1, 1, time, lat, lon)."""
    random, edge = np.random.default_rng(1), 60
    large = ndimage.gaussian_filter(random.standard_normal((rows + 2 * edge, columns + 2 * edge)), 2.5) * 10
    frames = [
        ndimage.shift(large, (down * k, right * k), order=3)[edge:-edge, edge:-edge] for k in range(n_time)
    ]
    return torch.from_numpy(np.stack(frames).astype(np.float32))[None, None]


@pytest.mark.parametrize(("down", "right"), [(0.0, 0.0), (1.5, -2.0), (-3.0, 5.5), (0.4, 9.0)])
def test_finds_the_motion_of_a_field_that_moves(down, right):
    velocity = motion(moving(down, right, 3))[0]
    cells = velocity * torch.tensor([COLUMNS, ROWS]).view(2, 1, 1) / 2
    inner = cells[:, 12:-12, 12:-12]
    assert inner[0].median().item() == pytest.approx(right, abs=0.25)
    assert inner[1].median().item() == pytest.approx(down, abs=0.25)


def test_a_field_of_several_channels_has_one_motion_and_a_single_frame_none():
    still_beside_moving = torch.cat([moving(2, 3, 3), torch.zeros(1, 1, 3, ROWS, COLUMNS)], 1)
    torch.testing.assert_close(motion(still_beside_moving), motion(moving(2, 3, 3)), rtol=1e-3, atol=1e-4)
    assert not motion(torch.randn(2, 1, 1, 9, 7)).any()
    assert not motion(torch.full((2, 1, 3, 9, 7), 3.0)).any()


def test_paths_of_a_turning_field_are_circles():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 81), torch.linspace(-1, 1, 81), indexing="ij")
    angle = 0.1
    for steps, displacement in enumerate(paths(angle * torch.stack([-y, x])[None], 8), 1):
        from_x, from_y = x - displacement[0, 0], y - displacement[0, 1]
        turned = torch.tensor(angle * steps)
        near = x.hypot(y) < 0.7
        torch.testing.assert_close(
            from_x[near], (x * turned.cos() + y * turned.sin())[near], rtol=0, atol=0.02
        )
        torch.testing.assert_close(
            from_y[near], (y * turned.cos() - x * turned.sin())[near], rtol=0, atol=0.02
        )


def test_whole_cells_are_carried_exactly_and_what_comes_from_outside_stays():
    field = torch.randn(1, 2, 6, 8)
    by = torch.tensor([2 * 3 / 8, 2 * -2 / 6]).view(1, 2, 1, 1).expand(1, 2, 6, 8)  # 3 right, 2 up
    expected = field.clone()
    expected[..., :4, 3:] = field[..., 2:, :5]
    torch.testing.assert_close(carry(field, by), expected)


def test_around_persistence_the_newest_frame_moves_on():
    x = moving(-1.0, 2.0, 7)
    forecast = Advected(Persistence(1, 1, 4, 3))(x[:, :, :4])
    truth, newest = x[:, :, 4:], x[:, :, 3:4]
    inner = (..., slice(8, -8), slice(8, -8))
    error, still = (forecast - truth)[inner].square().mean(), (newest - truth)[inner].square().mean()
    assert error < 0.05 * still


def test_the_network_sees_a_field_at_rest():
    seen, inner = [], Persistence(2, 1, 4, 1)
    inner.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    beside = torch.randn(1, 1, 4, ROWS, COLUMNS)
    Advected(inner)(torch.cat([moving(1.0, -2.0, 4), beside], 1))
    frames = seen[0][0, 0, :, 10:-10, 10:-10]
    assert (frames - frames[-1]).square().mean() < 0.05 * frames[-1].square().mean()
    assert torch.equal(seen[0][:, 1:], beside)


def test_matching_keeps_the_order_and_takes_the_values():
    field, values = torch.tensor([[0.1, 0.4], [0.3, 0.2]]), torch.tensor([[0.0, 7.0], [0.0, 2.0]])
    assert matched(field.view(1, 1, 2, 2), values.view(1, 1, 2, 2)).tolist() == [[[[0, 7], [2, 0]]]]


def test_a_matched_forecast_has_the_values_of_the_carried_frame_except_in_training():
    inner = Increment(ResNet2D(1, 1, 4, 3, n_filters=4))
    torch.nn.init.normal_(inner.network.head.convolution.conv.weight)
    x = moving(1.0, 1.0, 4)
    network, plain = Advected(inner, match=True).eval(), Advected(inner).eval()
    carried = Advected(Persistence(1, 1, 4, 3))(x)
    assert torch.equal(network(x).flatten(3).sort(-1).values, carried.flatten(3).sort(-1).values)
    assert not torch.allclose(network(x), plain(x))
    torch.testing.assert_close(network.train()(x), plain.train()(x))


def test_a_mix_of_scales_starts_from_persistence_and_blurs():
    network, x = ScaleMix(3, 2, 4, 3, n_scales=4), torch.randn(2, 3, 4, 10, 13)
    torch.testing.assert_close(network(x), Persistence(3, 2, 4, 3)(x))
    with torch.no_grad():
        network.mix[0].weight.zero_()
        network.mix[3].weight.view(2, 3, 3, 4)[1, 2, 1, 3] = 1
    y = network(x)
    assert not y[:, 0].any()
    assert not y[:, 1, :2].any()
    assert 0 < y[:, 1, 2].std() < 0.3 * x[:, 1, 3].std()
    flat = torch.ones(1, 3, 4, 9, 7)
    torch.testing.assert_close(network(flat)[:, 1, 2], flat[:, 1, 3])


def test_a_mix_of_scales_may_start_blurred_and_more_so_with_the_lead():
    x = torch.randn(1, 1, 3, 32, 32)
    spread = ScaleMix(1, 1, 3, 4, n_scales=3, blur=1)(x).std((-2, -1))[0, 0]
    assert torch.equal(ScaleMix(1, 1, 3, 4, n_scales=3, blur=1)(x)[:, :, 0], x[:, :, -1])
    assert spread[1] < 0.5 * spread[0]
    assert spread[3] < spread[1]
    torch.testing.assert_close(spread[3], ScaleMix(1, 1, 3, 1, n_scales=3, blur=99)(x).std())
    with pytest.raises(ConfigError, match=r"blur of ScaleMix is -1; expected a number of cells"):
        ScaleMix(1, 1, 3, 4, blur=-1)
