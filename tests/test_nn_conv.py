"""Every convolution block against the NumPy oracle, its properties, and the settings it refuses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stconv.errors import ConfigError
from stconv.nn.conv import Convolution, Factored, middle_width
from stconv.nn.reversal import reversal_layer
from stconv.nn.separable import AxisSeparable, DepthwiseSeparable
from stconv.nn.stack import stack, widening

MAKERS = [Convolution, Factored, reversal_layer, DepthwiseSeparable, AxisSeparable]
RAW = {"norm": "none", "activation": "none"}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def random_norms(module, seed=0):
    """Give batch norms statistics and factors that are not the neutral ones of a new network."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm3d):
            for tensor in (part.weight, part.bias, part.running_mean, part.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
    return module


def amounts(kernel, dilation, time_padding):
    spans = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    time = {"symmetric": (spans[0] // 2,) * 2, "causal": (spans[0], 0), "valid": (0, 0)}[time_padding]
    return time, (spans[1] // 2,) * 2, (spans[2] // 2,) * 2


def padded(oracle, x, kernel, dilation, time_padding, space_padding):
    """What the tables in stconv.nn.padding say, by NumPy."""
    time, lat, lon = amounts(kernel, dilation, time_padding)
    x, none = oracle.pad(x, (time, (0, 0), (0, 0))), (0, 0)
    if space_padding == "periodic":
        return oracle.pad(oracle.pad(x, (none, none, lon), "periodic"), (none, lat, none))
    return x if space_padding == "valid" else oracle.pad(x, (none, lat, lon), space_padding)


@st.composite
def layers(draw):
    """Settings of one convolution, and a shape that it can take."""
    dilation = [draw(st.integers(1, 2)) for _ in range(3)]
    kernel = [draw(st.sampled_from([1, 3])) for _ in range(3)]
    time, space = (
        draw(st.sampled_from(["symmetric", "causal", "valid"])),
        draw(st.sampled_from(["zero", "replicate", "periodic", "valid"])),
    )
    if time != "symmetric":
        kernel[0] = draw(st.integers(1, 3))
    least = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    shape = [draw(st.integers(1, 2)), draw(st.integers(1, 3)), *(n + draw(st.integers(0, 3)) for n in least)]
    how = {
        "stride": [draw(st.integers(1, 2)) for _ in range(3)],
        "dilation": dilation,
        "time_padding": time,
        "space_padding": space,
        "bias": draw(st.booleans()),
    }
    return kernel, how, shape, draw(st.integers(1, 3)), draw(st.integers(0, 2**31))


@settings(max_examples=60)
@given(layer=layers())
def test_convolution_equals_the_oracle_forward_and_backward(oracle, layer):
    kernel, how, shape, c_out, seed = layer
    torch.manual_seed(seed)
    block = Convolution(shape[1], c_out, kernel, **how, **RAW)
    x = torch.randn(shape, requires_grad=True)
    y = block(x)
    dy = torch.randn(y.shape)
    y.backward(dy)

    pad_to = padded(
        oracle, x.detach().numpy(), kernel, how["dilation"], how["time_padding"], how["space_padding"]
    )
    w = block.conv.weight.detach().numpy()
    b = block.conv.bias.detach().numpy() if how["bias"] else None
    steps = {"stride": how["stride"], "dilation": how["dilation"]}
    np.testing.assert_allclose(y.detach().numpy(), oracle.im2col(pad_to, w, b, **steps), rtol=1e-4, atol=1e-5)
    dx, dw, db = oracle.im2col_gradients(pad_to, w, dy.numpy(), **steps)
    np.testing.assert_allclose(block.conv.weight.grad.numpy(), dw, rtol=1e-4, atol=1e-4)
    if b is not None:
        np.testing.assert_allclose(block.conv.bias.grad.numpy(), db, rtol=1e-4, atol=1e-4)
    # Padding is linear: its gradient returns each copy of a cell to the cell.
    source = np.arange(np.prod(shape[2:]), dtype=float).reshape(1, 1, *shape[2:]) + 1
    came_from = padded(oracle, source, kernel, how["dilation"], how["time_padding"], how["space_padding"])
    came_from = came_from.astype(int).ravel()
    folded = np.zeros((shape[0], shape[1], source.size + 1))
    np.add.at(folded, (slice(None), slice(None), came_from), dx.reshape(*shape[:2], -1))
    np.testing.assert_allclose(x.grad.numpy(), folded[..., 1:].reshape(shape), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_normalization_and_activation_follow(oracle, training):
    block = random_norms(Convolution(2, 3, 3)).train(training)
    x = torch.randn(2, 2, 4, 5, 6)
    w, norm = block.conv.weight.detach().numpy(), block.norm
    statistics = () if training else (norm.running_mean.clone().numpy(), norm.running_var.clone().numpy())
    raw = oracle.im2col(x.numpy(), w, padding=((1, 1),) * 3)
    factors = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    expected = oracle.leaky_relu(oracle.batch_norm(raw, *factors, *statistics))
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_factored_is_space_then_time(oracle):
    block = random_norms(Factored(2, 3, (3, 5, 3))).eval()
    y = np.random.default_rng(0).normal(size=(1, 2, 4, 6, 5)).astype("float32")
    x = torch.tensor(y)
    for part, padding in ((block.space, ((0, 0), (2, 2), (1, 1))), (block.time, ((1, 1), (0, 0), (0, 0)))):
        y = oracle.im2col(y, part.conv.weight.detach().numpy(), padding=padding)
        norm = (
            getattr(part.norm, k).detach().numpy() for k in ("weight", "bias", "running_mean", "running_var")
        )
        y = oracle.leaky_relu(oracle.batch_norm(y, *norm))
    np.testing.assert_allclose(block(x).detach().numpy(), y, rtol=1e-4, atol=1e-5)


def test_middle_width_keeps_the_cost_of_the_3d_convolution():
    assert middle_width(1, 32, (5, 5, 5)) == 21  # 4000 / 185
    assert middle_width(32, 32, (5, 5, 5)) == 133  # 128000 / 960
    assert middle_width(64, 64, (3, 3, 3)) == 144  # R(2+1)D, first stage
    assert middle_width(1, 1, (1, 3, 3)) == 1  # 9 / 10, but there is a channel
    for c_in, c_out, k in [(4, 8, 3), (32, 32, 5), (3, 64, 3)]:
        block = Factored(c_in, c_out, k, **RAW)
        full, width = c_in * c_out * k**3, block.space.conv.out_channels
        one_more = full / width
        assert full - one_more <= sum(p.numel() for p in block.parameters()) <= full


@settings(max_examples=30)
@given(
    maker=st.sampled_from(MAKERS),
    kernel=st.tuples(st.sampled_from([1, 3]), st.sampled_from([1, 3, 5]), st.sampled_from([1, 3])),
    shape=st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(3, 6)] * 3),
    c_out=st.integers(1, 4),
    space=st.sampled_from(["zero", "replicate", "periodic"]),
)
def test_every_block_keeps_steps_and_grid(maker, kernel, shape, c_out, space):
    y = maker(shape[1], c_out, kernel, space_padding=space)(torch.randn(shape))
    assert y.shape == (shape[0], c_out, *shape[2:])
    assert y.dtype == torch.float32


@settings(max_examples=30)
@given(
    size=st.integers(1, 12), kernel=st.integers(1, 4), stride=st.integers(1, 3), dilation=st.integers(1, 2)
)
def test_sizes_follow_the_formula(oracle, size, kernel, stride, dilation):
    expected = oracle.out_size(size, kernel, stride, 0, dilation)
    if expected >= 1:
        how = {"stride": stride, "dilation": dilation, "time_padding": "valid", "space_padding": "valid"}
        assert (
            Convolution(1, 1, kernel, **how)(torch.zeros(2, 1, size, size, size)).shape[2:] == (expected,) * 3
        )
    span = dilation * (kernel - 1)
    same = Convolution(1, 1, (kernel, 1, 1), stride=(stride, 1, 1), dilation=dilation, time_padding="causal")
    assert same(torch.zeros(2, 1, size, 1, 1)).shape[2] == oracle.out_size(
        size, kernel, stride, span, dilation
    )


@pytest.mark.parametrize("maker", [Convolution, Factored, DepthwiseSeparable, AxisSeparable])
def test_causal_steps_do_not_see_the_future(maker):
    block = stack(maker, 1, [2, 2], 3, time_padding="causal").eval()
    x = torch.randn(1, 1, 6, 5, 5, requires_grad=True)
    for step in range(6):
        (gradient,) = torch.autograd.grad(block(x)[:, :, step].sum(), x)
        seen = gradient.abs().amax(dim=(0, 1, 3, 4)) > 0
        assert seen.tolist() == [step - 4 <= frame <= step for frame in range(6)]


def test_causal_convolution_computes_nothing_that_is_cropped():
    block = Convolution(1, 2, (5, 1, 1), time_padding="causal")
    computed = []
    block.conv.register_forward_hook(lambda module, inputs, output: computed.append(output.shape[2]))
    assert block(torch.randn(1, 1, 7, 3, 3)).shape[2] == 7
    assert computed == [7]


@pytest.mark.parametrize("maker", MAKERS)
def test_shifting_the_input_shifts_the_output(maker):
    """Around the globe everywhere; with zeros around the grid, in the interior."""
    x = torch.randn(1, 2, 5, 11, 12)
    globe = random_norms(maker(2, 3, 3, space_padding="periodic")).eval()
    torch.testing.assert_close(globe(x.roll(4, dims=4)), globe(x).roll(4, dims=4))
    island = random_norms(maker(2, 3, 3)).eval()
    shifted, inner = island(x.roll((2, 3), dims=(3, 4))), (..., slice(4, -2), slice(5, -2))
    torch.testing.assert_close(shifted[inner], island(x).roll((2, 3), dims=(3, 4))[inner])


def test_replicate_leaves_a_constant_field_constant():
    y = Convolution(1, 1, (1, 3, 3), space_padding="replicate", **RAW)(torch.ones(1, 1, 1, 4, 5))
    torch.testing.assert_close(y, y[..., :1, :1].expand_as(y))


@pytest.mark.parametrize("norm", ["batch", "group", "layer"])
def test_norms_leave_mean_zero_and_variance_one(norm):
    block = Convolution(2, 12, 1, norm=norm, activation="none")
    y = block(100 * torch.randn(2, 2, 4, 5, 6)).detach()  # beside which epsilon is nothing
    groups = {
        "batch": y.transpose(0, 1).flatten(1),
        "group": y.reshape(2 * 6, -1),
        "layer": y.movedim(1, -1).flatten(0, -2),
    }
    means, variances = groups[norm].mean(1), groups[norm].var(1, unbiased=False)
    torch.testing.assert_close(means, torch.zeros_like(means), atol=1e-5, rtol=0)
    torch.testing.assert_close(variances, torch.ones_like(variances), atol=0.02, rtol=0)


def test_widening_rule():
    assert widening(32, 3) == [64, 128, 32]
    assert widening(8, 2) == [16, 8]
    assert widening(8, 1) == [8]


REFUSED = [
    ({"c_in": 0}, r"c_in of Convolution is 0; expected an integer of at least 1"),
    ({"c_out": 2.0}, r"c_out of Convolution is 2\.0; expected an integer"),
    ({"kernel": (3, 3)}, r"kernel of Convolution has 2 values \(3, 3\); expected three: \(time, lat, lon\)"),
    ({"kernel": (3, 0, 3)}, r"kernel along lat of Convolution is 0"),
    ({"kernel": (2, 3, 3)}, r"spans 2 along time, which has no center.*odd.*causal"),
    ({"kernel": (3, 3, 4)}, r"spans 4 along lon, which has no center"),
    ({"stride": 0}, r"stride along time of Convolution is 0"),
    ({"dilation": (1, 1, -1)}, r"dilation along lon of Convolution is -1"),
    (
        {"time_padding": "future"},
        r"time_padding of Convolution is 'future'; expected one of: symmetric, causal, valid",
    ),
    (
        {"space_padding": "mirror"},
        r"space_padding of Convolution is 'mirror'; expected one of: zero, replicate",
    ),
    (
        {"norm": "batchnorm"},
        r"norm of Convolution is 'batchnorm'; expected one of: batch, group, layer, none",
    ),
    ({"groups": 2}, r"groups of Convolution is 2; expected a divisor of both c_in \(1\) and c_out \(1\)"),
    ({"activation": "elu"}, r"activation of Convolution is 'elu'; expected one of: leaky_relu"),
]


@pytest.mark.parametrize(("setting", "message"), REFUSED)
def test_refused_settings_say_what_was_expected(setting, message):
    with pytest.raises(ConfigError, match=message):
        Convolution(**{"c_in": 1, "c_out": 1, "kernel": 3, **setting})


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    "setting", [{"c_in": 0}, {"c_out": 0}, {"kernel": (1, 2, 2)}, {"norm": "no"}, {"stride": 0}]
)
def test_every_block_refuses_what_cannot_be(maker, setting):
    with pytest.raises(ConfigError):
        maker(**{"c_in": 1, "c_out": 1, "kernel": 3, **setting})
