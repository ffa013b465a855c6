"""Fast paths step aside wherever torch's own layers do what they cannot; results are torch's."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jvp, vjp, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parametrizations

from stconv.errors import ShapeError
from stconv.models import Conv2Plus1D, STConvS2S
from stconv.nn import conv3d
from stconv.nn.cells import from_cells, only_torch, to_cells
from stconv.nn.conv import Convolution
from stconv.nn.conv3d import Conv3d
from stconv.nn.fast_paths import is_plain, takes_fast_paths
from stconv.nn.reversal import reversal_layer
from stconv.nn.taps import tap_convolution

pytestmark = pytest.mark.usefixtures("one_thread")

LAYERS = {
    "temporal": (lambda: Conv3d(3, 4, (3, 1, 1), padding=(1, 0, 0)), (2, 3, 5, 4, 3)),
    "spectral": (lambda: Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1)), (2, 3, 2, 5, 6)),
    "tap": (lambda: Conv3d(6, 1, (3, 3, 3), padding=1), (2, 6, 3, 5, 4)),
    "block in time": (lambda: Convolution(3, 4, (3, 1, 1), time_padding="causal"), (2, 3, 4, 3, 3)),
    "block in space": (lambda: Convolution(3, 4, (1, 3, 3), activation="relu"), (2, 3, 2, 5, 4)),
    "reversal": (lambda: reversal_layer(2, 3, (3, 1, 1)), (2, 2, 3, 3, 3)),
    "network": (lambda: STConvS2S(2, 1, 3, 2, n_layers=1, n_filters=2, kernel=3), (2, 2, 3, 6, 5)),
}


@pytest.fixture(autouse=True)
def _spectral_always(monkeypatch):
    monkeypatch.setattr(conv3d, "MANY_ROWS", 1)
    monkeypatch.setattr(conv3d, "WORTH", 0)


def made(name, dtype=torch.float64, cells=True, training=True):
    torch.manual_seed(3)
    make, shape = LAYERS[name]
    x = torch.randn(shape, dtype=dtype)
    return make().to(dtype).train(training), from_cells(to_cells(x)) if cells else x


def close(found, expected, tolerance=1e-9):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def squares(layer):
    return lambda x: layer(x).square().sum()


def gradient_penalty(layer, x):
    x = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    parameters = list(layer.parameters())
    return torch.autograd.grad(first.pow(3).sum(), [x, *parameters], allow_unused=True)


def forward_mode(layer, x):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(layer(forward_ad.make_dual(x, torch.ones_like(x)))).tangent


def batched_gradients(layer, x):
    x = x.clone().requires_grad_()
    y = layer(x)
    directions = torch.stack((torch.ones_like(y), torch.linspace(0, 1, y.numel()).view_as(y).to(y)))
    return torch.autograd.grad(y, x, directions, is_grads_batched=True)[0]


def over_members(layer, x):
    state = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    stacked = {key: torch.stack((value, value)).detach() for key, value in state.items()}
    return vmap(lambda q, v: functional_call(layer, q, (v,)), (0, None))(stacked, x)


def own_parameters(layer, x):
    return grad(lambda q: functional_call(layer, q, (x,)).square().sum())(dict(layer.named_parameters()))


def per_sample(layer, x):
    one = grad(lambda q, v: functional_call(layer, q, (v[None],)).square().sum())
    return vmap(one, (None, 0))(dict(layer.named_parameters()), x)


def hessian_vector(layer, x):
    return torch.autograd.functional.hvp(squares(layer), x, x)[1]


def jacobian(layer, x):
    return torch.autograd.functional.jacobian(layer, x, vectorize=True)


USES = {
    "derivative of the derivative": gradient_penalty,
    "Hessian times vector": hessian_vector,
    "batched gradients": batched_gradients,
    "vectorized Jacobian": jacobian,
    "forward mode": forward_mode,
    "func.grad": own_parameters,
    "func.vjp": lambda layer, x: vjp(layer, x)[1](torch.ones_like(layer(x))),
    "func.jvp": lambda layer, x: jvp(layer, (x,), (x,)),
    "func.hessian": lambda layer, x: hessian(squares(layer))(x[:1]) if x[:1].numel() < 100 else None,
    "func.jacfwd": lambda layer, x: jacfwd(squares(layer))(x),
    "vmap over members": over_members,
    "gradients of each sample": per_sample,
    "vmap": lambda layer, x: vmap(layer)(x.expand(2, *x.shape)),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", LAYERS)
def test_whatever_autograd_is_asked_for_the_answer_is_that_of_torch(name, use):
    training = (
        use != "gradients of each sample"
    )  # one sample's own statistics, updated under vmap: not torch's
    training &= not use.startswith(("func.", "vmap", "forward"))
    layer, x = made(name, training=training)
    theirs = copy.deepcopy(layer)
    found = USES[use](layer, x)
    with only_torch():
        expected = USES[use](theirs, x)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_layers_and_gradients_are_those_of_torch_whatever_their_settings(data):
    draw = data.draw
    torch.manual_seed(0)
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
    kernel = draw(st.sampled_from([(3, 1, 1), (1, 3, 3), (3, 3, 3), (2, 1, 1), (1, 1, 1)]))
    time = draw(st.sampled_from(["causal", "valid", (2, -1), (-1, 1), (0, 2)]))
    space = draw(st.sampled_from(["zero", "replicate", "periodic"]))
    stride, groups = draw(st.sampled_from([1, (1, 2, 2), (2, 1, 1)])), draw(st.sampled_from([1, 2]))
    block = Convolution(
        4, 2, kernel, stride=stride, time_padding=time, space_padding=space, bias=draw(st.booleans()),
        norm=draw(st.sampled_from(["batch", "layer", "none"])), groups=groups,
        activation=draw(st.sampled_from(["leaky_relu", "relu", "gelu", "tanh", "sigmoid", "none"])),
    ).to(dtype).train(draw(st.booleans()))  # fmt: skip
    theirs = copy.deepcopy(block)
    x = torch.randn(2, 4, 5, 6, 5).to(dtype)
    order = draw(st.sampled_from(["plain", "cells", "last", "strided", "expanded"]))
    x = {
        "plain": x,
        "cells": from_cells(to_cells(x)),
        "last": x.contiguous(memory_format=torch.channels_last_3d),
        "strided": torch.stack((x, x), -1)[..., 0],
        "expanded": x[:1].expand_as(x),
    }[order]
    graph = draw(st.booleans())
    ours, other = x.detach().clone(memory_format=torch.preserve_format), x.detach()
    ours.requires_grad_(graph), other.requires_grad_(graph)
    with torch.set_grad_enabled(graph):
        found = block(ours)
        with only_torch():
            expected = theirs(other)
    tolerance = {torch.float32: 2e-5, torch.float64: 1e-10, torch.bfloat16: 1e-2}[dtype]
    close(found, expected, tolerance)
    if graph:
        weight = torch.randn_like(expected)
        found.backward(weight), expected.backward(weight)
        pairs = zip([ours, *block.parameters()], [other, *theirs.parameters()], strict=True)
        for a, b in pairs:
            close(a.grad, b.grad, 50 * tolerance)
    for a, b in zip(block.buffers(), theirs.buffers(), strict=True):
        close(a, b, tolerance)


@pytest.mark.parametrize("name", ["temporal", "spectral", "tap"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e4, 1e6, 1e30])
def test_one_bad_value_stays_where_it_is(name, value):
    layer, x = made(name, torch.float32)
    x = x[..., :3, :3].repeat(1, 1, 1, 4, 4).clone()
    x[0, 0, 0, 2, 3] = value
    x.requires_grad_()
    found = layer(x)
    exact = copy.deepcopy(layer).double()
    with only_torch():
        expected = exact(x.double())
        untouched = exact(torch.nan_to_num(x.detach().clip(-10, 10), 0, 0, 0).double())
    far = (untouched - expected).abs() < 1e-3
    assert far.any()
    assert (found.double() - expected)[far].abs().max() < 1e-5 * untouched.abs().max()
    assert torch.equal(found.isfinite() & (found.abs() < 1e30), expected.isfinite() & (expected.abs() < 1e30))
    dy = torch.ones_like(found)
    dy[0, 0, 0, 2, 3] = value
    clean = x.detach().nan_to_num(0, 0, 0).clip(-10, 10)
    ours, theirs = clean.clone().requires_grad_(), clean.clone().requires_grad_()
    layer(ours).backward(dy)
    with only_torch():
        layer(theirs).backward(dy)
    near = theirs.grad.isfinite() & (theirs.grad.abs() < 100)
    assert near.any()
    assert (ours.grad - theirs.grad)[near].abs().max() < 1e-4


def test_half_a_frame_may_be_a_million_times_fainter_than_the_other():
    layer, x = made("spectral", torch.float32)
    x = x.repeat(1, 1, 1, 4, 4).clone()
    x[..., 12:] *= 1e-6
    layer.bias.data.zero_()
    expected = copy.deepcopy(layer).double()(x.double())[..., 14:]
    assert (layer(x)[..., 14:] - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", ["temporal", "spectral", "tap"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_says_so_where_torch_does(name, value):
    layer, x = made(name, torch.float32)
    layer.weight.data.flatten()[0] = value
    found = layer(x)
    with only_torch():
        assert torch.equal(found.isfinite(), layer(x).isfinite())


@pytest.mark.parametrize(
    ("activation", "training"),  # in evaluation torch itself keeps the result of `relu`
    [(a, t) for a in ("none", "leaky_relu", "relu", "gelu") for t in (True, False) if t or a != "relu"],
)
def test_what_a_block_returns_may_be_changed_in_place(activation, training):
    x = from_cells(torch.randn(4, 4, 2, 5, 3, dtype=torch.float64))
    block = Convolution(3, 3, (3, 1, 1), activation=activation).double().train(training)

    def step(in_place):
        block.zero_grad()
        y = block(x)
        if in_place:
            y += x
            y.mul_(2)
        else:
            y = (y + x) * 2
        y.square().sum().backward()
        return block.conv.weight.grad.clone()

    with only_torch():
        expected = step(False)
    close(step(True), expected)


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "network"])
def test_no_function_returns_a_view(name):
    layer, x = made(name)
    y = layer(x)
    y += 1
    F.relu(y, inplace=True).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


class Low(nn.Module):
    """An adapter of low rank around a convolution."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv
        self.down, self.up = nn.Conv3d(4, 1, 1), nn.Conv3d(1, 4, 1)

    def forward(self, x):
        return self.conv(x) + self.up(self.down(x))


class Doubled(Conv3d):
    """A convolution of somebody else's."""

    def forward(self, x):
        return 2 * super().forward(x)


def _replace(what):
    block = Convolution(4, 4, 1)
    nn.init.normal_(block.norm.running_mean)
    if what == "adapter":
        block.conv = Low(block.conv)
    elif what == "sequence":
        block.conv = nn.Sequential(block.conv)
    elif what == "subclass":
        block.conv = Doubled(4, 4, 1)
    elif what == "method":
        conv = block.conv
        conv.forward = lambda x: 3 * Conv3d.forward(conv, x)
    elif what == "parametrized weight":
        parametrizations.weight_norm(block.conv)
    elif what == "parametrized scale":
        parametrizations.weight_norm(block.norm, dim=0)
    elif what == "activation":
        block.activation = type("Mine", (nn.LeakyReLU,), {"forward": lambda self, x: x.square()})()
    elif what == "norm":
        block.norm = type("Other", (nn.BatchNorm3d,), {"forward": lambda self, x: x - 1})(4)
    return block


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "what",
    ["adapter", "sequence", "subclass", "method", "parametrized weight", "parametrized scale", "activation",
     "norm"],
)  # fmt: skip
def test_a_part_that_was_replaced_is_run(what, training):
    torch.manual_seed(0)
    block = _replace(what).train(training)
    x = from_cells(torch.randn(3, 3, 2, 5, 4))
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            expected = block.activation(block.norm(block.conv(x)))
            close(block(x), expected, 1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("part", ["conv", "norm", "activation"])
@pytest.mark.parametrize(
    "hook",
    ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
     "register_full_backward_pre_hook", "all modules"],
)  # fmt: skip
def test_every_hook_fires(hook, part, training):
    block = Convolution(3, 3, (3, 1, 1)).train(training)
    module, seen = getattr(block, part), []
    if hook == "all modules":
        handle = nn.modules.module.register_module_forward_hook(lambda m, *_: seen.append(m))
    else:
        handle = getattr(module, hook)(lambda m, *_: seen.append(m))
    try:
        with torch.set_grad_enabled("backward" in hook):
            y = block(from_cells(torch.randn(3, 3, 2, 5, 3)).requires_grad_())
        if "backward" in hook:
            y.sum().backward()
    finally:
        handle.remove()
    assert module in seen


def test_the_second_branch_is_run_by_itself_if_it_is_watched():
    layer, x = made("reversal")
    seen = []
    layer.last.register_forward_hook(lambda *_: seen.append(1))
    layer(x)
    assert seen


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # checks of shapes are not recorded
def test_a_graph_that_is_recorded_holds_torch_s_own_layers():
    layer, x = made("network", torch.float32, training=False)
    with torch.no_grad():
        graph = make_fx(layer)(x)
        assert "convolution" in graph.code
        assert "baddbmm" not in graph.code
        close(graph(x), layer(x), 1e-5)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    close(compiled(x), layer(x), 1e-5)
    close(torch.jit.trace(layer, x)(x), layer(x), 1e-5)
    program = torch.export.export(layer, (x,))
    close(program.module()(x), layer(x), 1e-5)


def test_fake_tensors_and_other_devices_leave_nothing_behind():
    layer = Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1))
    x = torch.randn(2, 3, 2, 17, 19)
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake = Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1))(torch.randn(2, 3, 2, 17, 19))
        assert not takes_fast_paths(fake)
        layer(x)
    torch.set_default_device("meta")
    try:
        y = layer(x)
    finally:
        torch.set_default_device("cpu")
    with only_torch():
        close(y, layer(x), 1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("network", [STConvS2S, Conv2Plus1D])
def test_a_converted_network_forecasts_in_its_own_type(network, dtype):
    torch.manual_seed(0)
    net = network(1, 1, 4, 3, n_layers=1, n_filters=4, kernel=3).eval()
    x = torch.randn(2, 1, 4, 8, 8)
    expected, found = net(x), copy.deepcopy(net).to(dtype)(x.to(dtype))
    assert found.dtype is dtype
    close(found.float(), expected, 2e-2 if dtype is torch.bfloat16 else 1e-5)
    with pytest.raises(ShapeError, match=f"is torch.float32; expected {dtype}. Convert it with"):
        copy.deepcopy(net).to(dtype)(x)


def test_minus_infinity_becomes_zero_behind_a_rectifier():
    block = Convolution(1, 1, 1, activation="relu").eval()
    nn.init.ones_(block.conv.weight)
    with torch.no_grad():
        y = block(torch.full((1, 1, 1, 1, 2), -torch.inf))
    assert torch.equal(y, torch.zeros_like(y))


def test_one_value_has_no_variance():
    block = Convolution(4, 4, 1)
    before = copy.deepcopy(block.norm.state_dict())
    message = r"size \(1, 4, 1, 1, 1\); expected more than 1 value per channel"
    for context in (only_torch, torch.enable_grad):
        with context(), pytest.raises(ShapeError, match=message):
            block(torch.randn(1, 4, 1, 1, 1))
    for name, value in block.norm.state_dict().items():
        assert torch.equal(value, before[name])
    assert block.eval()(torch.randn(1, 4, 1, 1, 1)).isfinite().all()


@pytest.mark.parametrize(("steps", "padding"), [(1, (3, -2)), (2, (0, -3)), (2, (-3, 4)), (2, (-1, -1))])
def test_no_more_frames_are_left_out_than_there_are(steps, padding):
    block = Convolution(2, 2, 1, time_padding=padding, norm="none", activation="none")
    with pytest.raises(ShapeError, match=f"has {steps} along time; expected at least"):
        block(torch.randn(1, 2, steps, 3, 3))


@pytest.mark.parametrize("scratch", [1, 100, 10**6])
def test_taps_band_by_band_are_the_whole(scratch, monkeypatch):
    monkeypatch.setattr("stconv.nn.taps.SCRATCH", scratch)
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 7, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, 3, 3, 5, dtype=torch.float64, requires_grad=True)
    for padding in ((1, 2), (0, 0), (3, 1)):
        found = tap_convolution(to_cells(x), weight, None, (2, 0), padding)
        expected = F.conv3d(F.pad(x, (0, 0, 0, 0, 2, 0)), weight, padding=(0, *padding))
        close(found, expected)
        dy = torch.randn_like(expected)
        for a, b in zip(*(torch.autograd.grad(y, (x, weight), dy) for y in (found, expected)), strict=True):
            close(a, b)


def test_one_frame_of_one_window_has_the_gradient_of_torch_behind_a_normalization():
    torch.manual_seed(0)
    block = Convolution(2, 2, (2, 1, 1), time_padding="valid").double().eval()
    after = nn.Conv3d(2, 2, (1, 3, 3), padding=(0, 1, 1)).double()
    x = torch.randn(1, 2, 2, 9, 7, dtype=torch.float64, requires_grad=True)

    def gradient():
        return torch.autograd.grad(after(block(x))[0, 0, 0, 4, 3], x)[0]

    with only_torch():
        expected = gradient()
    close(gradient(), expected)


def test_a_pickled_and_a_copied_network_take_the_same_ways():
    layer, x = made("network", torch.float32, training=False)
    kept = io.BytesIO()
    torch.save(layer, kept)
    kept.seek(0)
    again = torch.load(kept, weights_only=False)
    assert torch.equal(again(x), layer(x))
    assert is_plain(again.head.convolution.conv, Conv3d)


@pytest.mark.parametrize("name", ["temporal", "spectral", "tap"])
def test_a_window_without_a_batch_dimension_is_computed_as_by_torch(name):
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(shape)
    torch.testing.assert_close(layer(x[0]), layer(x)[0])
    with pytest.raises(RuntimeError, match=r"Expected 4D .* or 5D"):
        layer(x[0, 0])
