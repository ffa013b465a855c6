"""Pooling against the oracle, and stencils by what they find in fields whose derivatives are known."""

import numpy as np
import pytest
import torch
from torch import nn

from stconv.errors import ConfigError
from stconv.explain.anatomy import formula_size
from stconv.nn.pool import Pool
from stconv.nn.stencils import start_from_stencils, stencil


@pytest.mark.parametrize(
    ("kind", "reduce"), [("max", np.max), ("min", np.min), ("average", np.mean), ("sum", np.sum)]
)
@pytest.mark.parametrize(
    ("kernel", "stride"), [((2, 2, 2), None), ((1, 3, 3), (1, 2, 2)), ((2, 1, 3), (1, 1, 1))]
)
def test_pool_equals_the_oracle(oracle, kind, reduce, kernel, stride):
    x = torch.randn(2, 3, 4, 7, 6, generator=torch.Generator().manual_seed(0))
    expected = oracle.pooled(x.numpy(), kernel, stride or kernel, reduce)
    np.testing.assert_allclose(Pool(kind, kernel, stride)(x).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padding", [1, (0, 1, 1), (1, 0, 1)])
def test_padded_pools_equal_those_of_torch(padding):
    x = torch.randn(2, 3, 5, 7, 6, generator=torch.Generator().manual_seed(0)) - 3  # negative beside zeros
    kernel, stride = (3, 2, 3), (2, 2, 1)
    largest = nn.MaxPool3d(kernel, stride, padding)
    mean = nn.AvgPool3d(kernel, stride, padding)
    assert torch.equal(Pool("max", kernel, stride, padding)(x), largest(x))
    assert torch.equal(Pool("min", kernel, stride, padding)(x), -largest(-x))
    assert torch.equal(Pool("average", kernel, stride, padding)(x), mean(x))
    torch.testing.assert_close(Pool("sum", kernel, stride, padding)(x), 18 * mean(x))
    pool = Pool("max", kernel, stride, padding)
    assert formula_size(pool, (5, 7, 6)) == tuple(pool(x).shape[2:])


def test_pooling_two_by_two_keeps_a_quarter_of_the_values():
    x = torch.randn(1, 1, 1, 8, 8)
    y = Pool("max", (1, 2, 2))(x)
    assert y.numel() / x.numel() == 0.25
    assert set(y.flatten().tolist()) <= set(x.flatten().tolist())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("median", 2), "kind of Pool is 'median'; expected one of: max, min, average, sum"),
        (("max", 0), "kernel along time of Pool is 0"),
        (
            ("max", 3, 2, (0, 2, 1)),
            r"padding of Pool is \(0, 2, 1\), more than half of the kernel \(3, 3, 3\)",
        ),
        (("max", 3, 2, -1), "padding along time of Pool is -1; expected an integer of at least 0"),
        (("max", 2, (1, 1)), r"stride of Pool has 2 values \(1, 1\); expected three"),
    ],
)
def test_refused_pools_say_what_was_expected(settings, message):
    with pytest.raises(ConfigError, match=message):
        Pool(*settings)


def layer(*names, channels=1, kernel=(2, 3, 3), filters=None):
    conv = nn.Conv3d(channels, filters or len(names), kernel, bias=False)
    start_from_stencils(conv, names)
    return conv


@pytest.mark.parametrize("kernel", [(2, 3, 3), (3, 5, 7)])
def test_stencils_differentiate(kernel):
    """Of the field t + 2 lat + 3 lon + lat^2 the derivatives are known in every cell."""
    t, lat, lon = torch.meshgrid(torch.arange(4.0), torch.arange(9.0), torch.arange(10.0), indexing="ij")
    field = (t + 2 * lat + 3 * lon + lat**2)[None, None]
    names = ("identity", "gradient_lat", "gradient_lon", "laplacian", "sobel_lat", "sobel_lon", "tendency")
    with torch.no_grad():
        y = layer(*names, kernel=kernel)(field)[0]
    newest = (
        slice(kernel[0] - 1, None),
        slice(kernel[1] // 2, 9 - kernel[1] // 2),
        slice(kernel[2] // 2, 10 - kernel[2] // 2),
    )
    slope = (2 + 2 * lat)[newest]
    ones = torch.ones_like(slope)
    expected = [field[0, 0][newest], slope, 3 * ones, 2 * ones, 8 * slope, 24 * ones, ones]
    torch.testing.assert_close(y, torch.stack(expected))


def test_each_channel_has_its_turn_and_the_rest_stays_random():
    torch.manual_seed(0)
    conv = layer("laplacian", "tendency", channels=2, filters=6)
    used = conv.weight.detach().abs().amax(dim=(2, 3, 4)) > 0
    assert used.tolist() == [[True, False]] * 2 + [[False, True]] * 2 + [[True, True]] * 2


def test_refused_stencils_say_what_was_expected():
    with pytest.raises(
        ConfigError, match="stencil of the first layer is 'roberts'; expected one of: identity"
    ):
        stencil("roberts")
    with pytest.raises(
        ConfigError, match=r"'laplacian' is \(1, 3, 3\) and does not fit into the kernel \(1, 1, 3\)"
    ):
        layer("laplacian", kernel=(1, 1, 3))
    with pytest.raises(ConfigError, match=r"'laplacian' is .* kernel \(1, 4, 3\).*odd along lat and lon"):
        layer("laplacian", kernel=(1, 4, 3))
