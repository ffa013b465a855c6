"""STConvS2S against a reference written here, in NumPy, from the description of the paper's networks."""

import numpy as np
import pytest
import torch

from stconv.errors import ConfigError
from stconv.explain import frames_in_reach
from stconv.models import STConvS2S
from stconv.nn.reversal import Reversed, reversal_layer

CFSR, CHIRPS = {"n_layers": 3, "n_filters": 32, "kernel": 5}, {"n_layers": 2, "n_filters": 8, "kernel": 5}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def count(network):
    return sum(p.numel() for p in network.parameters())


PUBLISHED = [
    ("R", CFSR, 5, 450_209),
    ("R", CFSR, 15, 582_625),
    ("R", CHIRPS, 5, 8_553),
    ("R", CHIRPS, 15, 16_889),
    ("C", CFSR, 5, 425_057),
    ("C", CFSR, 15, 557_473),
    ("C", CHIRPS, 5, 8_217),
    ("C", CHIRPS, 15, 16_553),
]


@pytest.mark.parametrize(("variant", "size", "leads", "expected"), PUBLISHED)
def test_published_parameter_counts(variant, size, leads, expected):
    assert count(STConvS2S(1, 1, 5, leads, variant=variant, alignment="paper", **size)) == expected


ABLATIONS = [
    ({"variant": "R", "widen": False}, 95_937),
    ({"variant": "C", "widen": False}, 91_585),
    ({"variant": "R", "widen": False, "factored": False}, 268_545),
    ({"variant": "C", "widen": False, "factored": False}, 264_193),
    ({"variant": "R", "spatial_first": True}, 414_497),
    ({"variant": "C", "spatial_first": True}, 385_377),
    ({"variant": "spatial"}, 313_249),
    ({"variant": "symmetric"}, 425_057),
]


@pytest.mark.parametrize(("options", "expected"), ABLATIONS)
def test_parameter_counts_of_the_ablations(options, expected):
    assert count(STConvS2S(1, 1, 5, 5, alignment="paper", **CFSR, **options)) == expected


class Reference:
    """The published network in NumPy, from a list of weights in the order of its layers."""

    def __init__(self, oracle, tensors, n_layers, n_filters, kernel):
        self.oracle, self.weights = oracle, iter(tensors)
        self.n_layers, self.k, self.d = n_layers, kernel, n_filters

    def take(self, n):
        return [next(self.weights) for _ in range(n)]

    def normed(self, y):
        """Batch norm in evaluation mode, LeakyReLU."""
        factor, offset, mean, var, _ = self.take(5)
        return self.oracle.leaky_relu(self.oracle.batch_norm(y, factor, offset, mean, var))

    def layer(self, x, padding=None):
        (w,) = self.take(1)
        return self.normed(self.oracle.im2col(x, w, padding=padding))

    def around(self, *axes):
        return tuple((self.k // 2,) * 2 if axis in axes else (0, 0) for axis in range(3))

    def reversed_block(self, x):
        x = x[:, :, ::-1]
        for _ in range(self.n_layers):
            a = self.layer(x)
            b = self.layer(x[:, :, -self.k :])
            b = np.concatenate([b, b[:, :, -1:]], axis=2)
            x = np.concatenate([a[:, :, :-1], np.repeat(a[:, :, -1:], self.k, axis=2) - b], axis=2)
        return x[:, :, ::-1]

    def causal_block(self, x):
        for _ in range(self.n_layers):
            x = self.layer(x, ((self.k - 1, 0), (0, 0), (0, 0)))
        return x

    def generator(self, x, horizon):
        t = x.shape[2]
        longer = x
        for _ in range(int(np.ceil((horizon - t) / (2 * t)))):
            (w,) = self.take(1)
            longer = self.normed(self.oracle.transposed(longer, w, (2, 1, 1), ((1, 1), (0, 0), (0, 0))))
        x = np.concatenate([x, longer], axis=2)
        start = (x.shape[2] - horizon) // 2
        x = x[:, :, start : start + horizon]
        for _ in range(horizon // t):
            x = self.layer(x, self.around(1, 2))
        return x

    def __call__(self, x, variant, horizon):
        x = self.reversed_block(x) if variant == "R" else self.causal_block(x)
        for _ in range(self.n_layers):
            x = self.layer(x, self.around(1, 2))
        if horizon > x.shape[2]:
            x = self.generator(x, horizon)
        w, b = self.take(2)
        y = self.oracle.im2col(x, w, b, padding=self.around(0, 1, 2))
        assert next(self.weights, None) is None, "every weight has been used"
        return y


def trained_looking(network, seed=0):
    """Weights and statistics that are not the neutral ones of a new network, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


SMALL = {"n_layers": 3, "n_filters": 3, "kernel": 3}
CASES = [
    (1, 1, 5, 5, (8, 9), CHIRPS),
    (1, 1, 5, 15, (8, 9), CHIRPS),
    (2, 1, 5, 10, (6, 7), SMALL),
    (1, 2, 3, 3, (6, 7), SMALL),
    (2, 3, 4, 15, (5, 6), SMALL),  # two doublings
    (1, 1, 7, 7, (5, 6), SMALL),  # more steps than taps
    (1, 1, 3, 25, (5, 6), SMALL),  # four doublings, eight refinements
]


@pytest.mark.parametrize("variant", ["R", "C"])
@pytest.mark.parametrize(("c_in", "c_out", "t_in", "leads", "grid", "size"), CASES)
def test_equals_the_reference_under_copied_weights(oracle, variant, c_in, c_out, t_in, leads, grid, size):
    torch.manual_seed(t_in + leads)
    network = STConvS2S(c_in, c_out, t_in, leads, variant=variant, alignment="paper", **size)
    tensors = [tensor.numpy() for tensor in trained_looking(network).state_dict().values()]
    x = torch.randn(2, c_in, t_in, *grid)
    with torch.no_grad():
        found = network(x).numpy()
    expected = Reference(oracle, tensors, **size)(x.numpy(), variant, leads)
    assert found.shape == (2, c_out, leads, *grid)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["R", "C"])
@pytest.mark.parametrize("leads", [5, 15])
def test_equals_the_reference_at_the_published_size(oracle, variant, leads):
    network = trained_looking(STConvS2S(1, 1, 5, leads, variant=variant, alignment="paper", **CFSR))
    tensors = [tensor.numpy() for tensor in network.state_dict().values()]
    x = torch.randn(1, 1, 5, 32, 32)
    with torch.no_grad():
        found = network(x).numpy()
    expected = Reference(oracle, tensors, **CFSR)(x.numpy(), variant, leads)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("variant", ["R", "C"])
def test_fewer_leads_are_the_first_steps(variant):
    """A network for two leads is the one for five without its last three."""
    five = trained_looking(STConvS2S(1, 1, 5, 5, variant=variant, alignment="paper", **SMALL))
    x = torch.randn(2, 1, 5, 6, 7)
    for leads in range(1, 5):
        fewer = STConvS2S(1, 1, 5, leads, variant=variant, alignment="paper", **SMALL).eval()
        fewer.load_state_dict(five.state_dict())
        torch.testing.assert_close(fewer(x), five(x)[:, :, :leads])


def test_steps_that_are_not_forecast_are_not_computed_by_the_head():
    network, computed = STConvS2S(1, 1, 5, 2, alignment="paper", **SMALL), []
    network.head.convolution.conv.register_forward_hook(lambda module, inputs, y: computed.append(y.shape[2]))
    network(torch.randn(2, 1, 5, 6, 7))
    assert computed == [2]


def test_reversed_layer_by_hand():
    """One filter, weights 1, no norm: t = 4 steps 1 2 3 4, k = 3.

    Reversed: 4 3 2 1. A: 9 6. B over the last three: 5 3, and 3 again.
    So 9, 6-5, 6-3, 6-3; reversed back: 3 3 1 9.
    """
    layer = reversal_layer(1, 1, (3, 1, 1), norm="none", activation="none")
    for weight in layer.parameters():
        torch.nn.init.ones_(weight)
    x = torch.tensor([1.0, 2, 3, 4]).view(1, 1, 4, 1, 1)
    assert Reversed(layer)(x).flatten().tolist() == [3, 3, 1, 9]
    pair = reversal_layer(1, 1, (2, 1, 1), norm="none", activation="none")
    torch.nn.init.ones_(next(pair.parameters()))
    assert Reversed(pair)(x).flatten().tolist() == [3, 3, 5, 7]  # 7 5 3 3 before it is reversed back


def test_frames_seen_in_the_papers_alignment():
    """Of C, step l sees frames 1 to l, and by the head's k // 2 = 1 steps to either side one more."""
    causal = STConvS2S(1, 1, 5, 5, variant="C", alignment="paper", **SMALL)
    seen = [[frame <= lead + 1 for frame in range(5)] for lead in range(5)]
    assert frames_in_reach(causal).tolist() == seen
    reversed_ = STConvS2S(1, 1, 5, 5, variant="R", alignment="paper", n_layers=3, n_filters=3, kernel=5)
    assert frames_in_reach(reversed_).all()


@pytest.mark.parametrize("variant", ["R", "C", "symmetric", "spatial"])
@pytest.mark.parametrize("t_in", [1, 2, 5, 7])
@pytest.mark.parametrize("leads", [1, 4, 16])
def test_every_lead_sees_every_frame_by_default(variant, t_in, leads):
    assert frames_in_reach(STConvS2S(2, 1, t_in, leads, variant=variant, **SMALL)).all()


REFUSED = [
    ({"variant": "B"}, r"variant of STConvS2S is 'B'; expected one of: R, C, symmetric, spatial"),
    ({"kernel": 4}, r"kernel of STConvS2S is 4; expected an odd number.*3 or 5"),
    ({"n_layers": 0}, r"n_layers of STConvS2S is 0; expected an integer of at least 1"),
    ({"n_filters": -1}, r"n_filters of STConvS2S is -1"),
    ({"alignment": "newest"}, r"alignment of the network is 'newest'; expected one of: lead, paper"),
    (
        {"space_padding": "valid"},
        r"space_padding of .* is 'valid'; expected one of: zero, replicate, periodic",
    ),
    (
        {"variant": "spatial", "factored": False},
        r"no block left\. Set factored to true, or name another variant",
    ),
]


@pytest.mark.parametrize(("setting", "message"), REFUSED)
@pytest.mark.parametrize("variant", ["R", "C"])
def test_refused_settings_say_what_was_expected(variant, setting, message):
    with pytest.raises(ConfigError, match=message):
        STConvS2S(1, 1, 5, 5, **{"variant": variant, **setting})
