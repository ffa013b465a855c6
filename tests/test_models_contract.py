"""The contract of every registered network; a new one is tested once it is registered."""

import inspect
import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stconv.errors import ConfigError, ShapeError
from stconv.explain import frames_in_reach
from stconv.models import (
    REGISTRY,
    Climatology,
    EventNetwork,
    Increment,
    Network,
    Persistence,
    build,
    describe,
)

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "own-network.md"
exec(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1], {"__name__": "page"})  # its example

SMALL = {"n_layers": 2, "n_filters": 2, "kernel": 3, "n_3d": 1}
"""Settings that keep a test short, for the networks that have them."""
FITTED = {"LinearResidual": 2}
"""Weights that are fitted in closed form before the training, and not trained."""
WRAPPERS = {
    "Advected": {},
    "Increment": {},
    "LinearResidual": {},
    "Bounded": {"lower": -9.0},
    "Quantiles": {},
    "Gaussian": {},
    "MembersInTurn": {"n_members": 2},
}
"""Networks around a network, and settings that they do not do without."""


pytestmark = pytest.mark.usefixtures("seeded")


def make(name, c_in=3, c_out=2, t_in=4, leads=3, **options):
    """Build a registered network small, by name, with no weight at zero, as some start from."""
    if name == "Ensemble":
        network = REGISTRY[name]([make("Conv2Plus1D", c_in, c_out, t_in, leads, **options) for _ in "ab"])
    elif name == "MonteCarloDropout":
        network = REGISTRY[name](make("ResNet2D", c_in, c_out, t_in, leads, dropout=0.1))
    elif name in WRAPPERS:
        network = REGISTRY[name](make("Conv2Plus1D", c_in, c_out, t_in, leads, **options), **WRAPPERS[name])
    else:
        small = {key: value for key, value in SMALL.items() if takes(name, key)}
        network = REGISTRY[name](c_in, c_out, t_in, leads, **small, **options)
    for weight in network.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    return network


AROUND = {*WRAPPERS, "Ensemble", "MonteCarloDropout"}


def takes(name, option):
    return option in inspect.signature(REGISTRY["Conv2Plus1D" if name in AROUND else name]).parameters


NAMES = [
    name
    for name, network in REGISTRY.items()
    if not issubclass(network, EventNetwork)
    and (network.__module__.startswith("stconv.") or network.__module__ == "page")  # not of other tests
]
LEARNED = [name for name in NAMES if any(True for _ in make(name).parameters())]
FROM_HISTORY = [*WRAPPERS, "DampedPersistence", "Persistence", "ScaleMix"]
"""Those that start from the targets' own newest frame."""
ALTERNATIVES = {
    "alignment": ("lead", "paper"),
    "encoder": ("vgg", "resnet", "residual"),
    "maker": ("2d", "2plus1d", "3d", "mixed"),
    "merge": ("skips", "head"),
    "interpolation": ("linear", "nearest"),
    "translator": ("gsta", "convmixer"),
    "convolution": ("full", "factored", "light", "depthwise", "separable"),
}
REFUSED = {"2plus1d": ("convolution",), "mixed": ("encoder", "merge")}
"""Options that a maker of `UNet` does not take."""
VARIANTS = [(name, {}) for name in LEARNED] + [
    (name, {option: choice})
    for name in LEARNED
    for option, choices in ALTERNATIVES.items()
    for choice in choices
    if takes(name, option)
]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10)
@given(data=st.data())
def test_any_frames_leads_grid_and_channels(name, data):
    size = st.integers(1, 7)
    c_out, t_in, leads, lat, lon = (data.draw(size) for _ in range(5))
    c_in = c_out + data.draw(st.integers(0, 2))
    options = {
        option: data.draw(st.sampled_from(choices))
        for option, choices in ALTERNATIVES.items()
        if takes(name, option)
    }
    for option in REFUSED.get(options.get("maker"), ()):
        del options[option]
    network = make(name, c_in, c_out, t_in, leads, **options).eval()
    y = network(torch.randn(2, c_in, t_in, lat, lon))
    assert y.shape == (2, c_out, leads, lat, lon)
    assert y.dtype == torch.float32
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("name", LEARNED)
def test_fewer_inputs_than_targets(name):
    if name not in FROM_HISTORY:
        assert make(name, c_in=1, c_out=3)(torch.randn(2, 1, 4, 5, 6)).shape == (2, 3, 3, 5, 6)


@pytest.mark.parametrize("name", NAMES)
def test_specification_and_weights_give_the_same_network(name):
    network = make(name).eval()
    spec = describe(network)
    copy = build(json.loads(json.dumps(spec))).eval()
    assert describe(copy) == spec
    assert spec["name"] == name
    copy.load_state_dict(network.state_dict())
    x = torch.randn(2, 3, 4, 5, 6)
    assert torch.equal(copy(x), network(x))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("t_in", "leads"), [(1, 1), (1, 4), (3, 1), (5, 2), (5, 5), (2, 9)])
def test_every_lead_sees_the_newest_frame(name, t_in, leads):
    if name == "Climatology":
        assert not frames_in_reach(make(name, t_in=t_in, leads=leads)).any()
    else:
        assert frames_in_reach(make(name, t_in=t_in, leads=leads))[:, -1].all()


def test_persistence_sees_nothing_but_the_newest_frame():
    assert frames_in_reach(make("Persistence")).tolist() == [[False, False, False, True]] * 3


@pytest.mark.parametrize("name", NAMES)
def test_forecast_is_the_same_twice_and_leaves_the_input_alone(name):
    network, x = make(name).eval(), torch.randn(2, 3, 4, 5, 6)
    before = x.clone()
    assert torch.equal(network(x), network(x))
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", NAMES)
def test_windows_of_a_batch_do_not_mix(name):
    network, x = make(name).eval(), torch.randn(3, 3, 4, 5, 6)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]))


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_every_weight_learns(name, options):
    network = make(name, leads=6, **options).train(
        name != "MembersInTurn"
    )  # in training one of its networks learns
    network(torch.randn(2, 3, 4, 5, 6)).square().sum().backward()
    learned = [p for p in network.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in learned)
    assert len(list(network.parameters())) - len(learned) == FITTED.get(name, 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 4, 4, 5, 6), "has 4 along 'channel', expected 3"),
        (torch.zeros(2, 3, 5, 5, 6), "has 5 along 'time', expected 4"),
        (torch.zeros(3, 4, 5, 6), "has 4 dimensions"),
        (torch.zeros(2, 3, 4, 5, 6, dtype=torch.float64), "is torch.float64; expected torch.float32"),
    ],
)
def test_another_input_is_refused(name, x, message):
    with pytest.raises(ShapeError, match=f"input of {name} {message}"):
        make(name)(x)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in AROUND])
@pytest.mark.parametrize("size", ["c_in", "c_out", "t_in", "leads"])
def test_sizes_are_positive_integers(name, size):
    for value in (0, -1, 1.5, True, "3"):
        with pytest.raises(
            ConfigError, match=f"{size} of {name} is {value!r}; expected an integer of at least 1"
        ):
            make(name, **{size: value})


def test_only_climatology_needs_anomalies():
    assert [name for name in NAMES if REGISTRY[name].anomalies_only] == ["Climatology"]


def test_values_of_the_baselines():
    x = torch.arange(24.0).view(1, 2, 3, 2, 2)
    persistence = Persistence(2, 1, 3, 2)(x)
    assert persistence.tolist() == [[[[[8, 9], [10, 11]], [[8, 9], [10, 11]]]]]
    assert not Climatology(2, 1, 3, 2)(x).any()


def test_increment_starts_from_persistence():
    x = torch.randn(2, 3, 4, 5, 6)
    inner = make("Conv3D").eval()
    torch.testing.assert_close(Increment(inner)(x), Persistence(3, 2, 4, 3)(x) + inner(x))
    torch.testing.assert_close(Increment(Climatology(3, 2, 4, 3))(x), Persistence(3, 2, 4, 3)(x))
    assert isinstance(Increment(inner), Network)


@pytest.mark.parametrize("name", [n for n in LEARNED if takes(n, "dropout") and n not in AROUND])
def test_dropout_drops_in_training_only(name):
    network, x = make(name, dropout=0.5), torch.randn(2, 3, 4, 5, 6)
    assert not torch.equal(network(x), network(x))
    assert torch.equal(network.eval()(x), network(x))
    with pytest.raises(ConfigError, match=r"dropout is 1\.0; expected a share of channels"):
        make(name, dropout=1.0)


@pytest.mark.parametrize(
    "name", [n for n in LEARNED if takes(n, "space_padding") and n not in {*AROUND, "UNet"}]
)
@settings(max_examples=3)
@given(shift=st.integers(1, 3))
def test_a_periodic_network_turns_with_the_globe(name, shift):
    # UNet does not: its interpolation to a finer grid ends at the seam.
    options = {"norm": "batch"} if takes(name, "norm") else {}
    network = make(name, space_padding="periodic", **options).eval()
    x = torch.randn(1, 3, 4, 8, 32)
    turned = network(x.roll(4 * shift, -1))  # of networks that halve the grid by whole coarse cells
    torch.testing.assert_close(turned, network(x).roll(4 * shift, -1), rtol=1e-4, atol=1e-5)
