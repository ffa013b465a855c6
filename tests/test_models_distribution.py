"""Networks that forecast a distribution: their members ascend and are the quantiles that they state."""

import numpy as np
import pytest
import torch

from stconv.errors import ConfigError
from stconv.losses import CRPS, GaussianCRPS
from stconv.models import (
    Bounded,
    DampedPersistence,
    Ensemble,
    Gaussian,
    Increment,
    Linear3x3,
    LinearResidual,
    MonteCarloDropout,
    Network,
    Persistence,
    Quantiles,
    ResNet2D,
    build,
    describe,
)
from stconv.nn.normal_scores import normal_scores

SIZES = (3, 2, 4, 3)


pytestmark = pytest.mark.usefixtures("seeded")


def small(dropout: float = 0.0) -> ResNet2D:
    return ResNet2D(*SIZES, n_filters=4, dilations=(1,), dropout=dropout)


def shaken(network: Network) -> Network:
    """With random weights where it would start at zero."""
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return network.eval()


def distributions() -> list[Network]:
    return [
        Quantiles(small(), n_members=5),
        Gaussian(small(), n_members=4),
        Ensemble([small(), small(), small()]),
        MonteCarloDropout(small(0.5), n_members=6),
        LinearResidual(Quantiles(small(), n_members=5)),
        Increment(Gaussian(small(), n_members=4)),
        Ensemble([Quantiles(small(), n_members=5), LinearResidual(small())]),
    ]


@pytest.mark.parametrize(("i", "n"), list(enumerate([5, 4, 3, 6, 5, 4, 6])))
def test_members_ascend_around_the_forecast(i, n):
    network, x = shaken(distributions()[i]), torch.randn(2, 3, 4, 5, 6)
    members = network.members(x)
    assert members.shape == (n, 2, 2, 3, 5, 6)
    assert (members.diff(dim=0) >= 0).all()
    assert members.std(0).min() > 0
    if i != 6:  # an ensemble weighs its networks alike, however many members each has
        torch.testing.assert_close(network(x), members.mean(0), atol=1e-5, rtol=1e-5)
    copy = build(describe(network)).eval()
    copy.load_state_dict(network.state_dict())
    assert torch.equal(copy.members(x), members)


def test_a_single_forecast_is_its_only_member():
    x = torch.randn(2, 3, 4, 5, 6)
    assert torch.equal(Persistence(*SIZES).members(x), Persistence(*SIZES)(x)[None])


def test_gaussian_members_are_quantiles_of_mean_and_deviation():
    network, x = shaken(Gaussian(small(), n_members=9)), torch.randn(1, 3, 4, 5, 6)
    members = network.members(x)
    mean, log_variance = network.channels_of(x)
    torch.testing.assert_close(members[4], mean)
    expected = mean + (0.5 * log_variance).exp() * normal_scores(9)[-1]
    torch.testing.assert_close(members[-1], expected)


def test_wrappers_add_and_clamp_member_by_member():
    head, x = shaken(Quantiles(small())), torch.randn(2, 3, 4, 5, 6)
    inner = head.members(x)
    damped = LinearResidual(head)
    torch.testing.assert_close(damped.members(x) - inner, DampedPersistence(*SIZES)(x).expand_as(inner))
    torch.testing.assert_close(Increment(head).members(x) - inner, Persistence(*SIZES)(x).expand_as(inner))
    bounded = Bounded(head, lower=-0.1, upper=0.2).eval()
    torch.testing.assert_close(bounded.members(x), inner.clamp(-0.1, 0.2))


def test_dropout_passes_come_from_their_seed_and_leave_the_others_alone():
    network, x = shaken(MonteCarloDropout(small(0.5), n_members=4, seed=3)), torch.randn(3, 3, 4, 5, 6)
    state = torch.get_rng_state()
    first = network.members(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(network.members(x), first)
    torch.testing.assert_close(network.members(x[1:2]), first[:, 1:2])
    assert not any(module.training for module in network.modules())
    network.seed = 4
    assert not torch.equal(network.members(x), first)
    assert len(network.train().members(x)) == 1


@pytest.mark.parametrize("head", [Quantiles, Gaussian])
def test_training_finds_the_spread_of_the_noise(head):
    """Truth is noise with a deviation of 2: the quantiles have to become those of that distribution."""
    network = head(Linear3x3(1, 1, 1, 1), n_members=9)
    loss = CRPS() if head is Quantiles else GaussianCRPS()
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    for _ in range(150):
        target = 2 * torch.randn(32, 1, 1, 6, 6)
        optimizer.zero_grad()
        loss(network.members(torch.zeros(32, 1, 1, 6, 6)), target, torch.ones_like(target)).backward()
        optimizer.step()
    found = network.members(torch.zeros(1, 1, 1, 1, 1)).flatten()
    torch.testing.assert_close(found, 2 * normal_scores(9), atol=0.3, rtol=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Quantiles(small(), n_members=1),
            "n_members of Quantiles is 1; expected an integer of at least 2",
        ),
        (lambda: Gaussian(LinearResidual(small())), "Put Gaussian inside of it"),
        (lambda: Ensemble([small()]), "Ensemble has 1 networks; expected 2 or more"),
        (lambda: Ensemble([small(), ResNet2D(3, 2, 4, 5)]), r"differ in \(c_in, c_out, t_in, leads\)"),
        (lambda: MonteCarloDropout(small()), "ResNet2D drops none. Give it a `dropout` above 0"),
    ],
)
def test_what_cannot_be_a_distribution_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_quantiles_start_from_the_errors_of_the_linear_start():
    """Before training, the members are the start plus the quantiles of its errors, with mean 0."""
    network = LinearResidual(Quantiles(small(), n_members=4))
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(20, 3, 4, 5, 6, generator=generator)
    y = (
        x[:, :2, -1:] * torch.tensor([0.9, 0.5, 0.2]).view(3, 1, 1)
        - torch.rand(20, 2, 3, 5, 6, generator=generator).log()
    )
    weight = (torch.rand(y.shape, generator=generator) > 0.3).float()

    def windows():
        yield from zip(x.split(8), y.split(8), weight.split(8), strict=True)

    network.before_training(windows, windows)
    network.eval()
    start = network(x).detach()
    members = network.members(x).detach()
    torch.testing.assert_close(members.mean(0), start)
    for target in range(2):
        for lead in range(3):
            known = weight[:, target, lead] > 0
            errors = (y - start)[:, target, lead][known].numpy()
            expected = np.quantile(errors, [0.125, 0.375, 0.625, 0.875])
            found = (members - start)[:, :, target, lead].flatten(1).numpy()
            around = np.broadcast_to((expected - expected.mean())[:, None], found.shape)
            np.testing.assert_allclose(found, around, atol=1e-5)


def test_quantiles_of_earlier_bundles_have_no_first_spread():
    network = shaken(Quantiles(small(), n_members=5))
    former = {name: value for name, value in network.state_dict().items() if name != "first_spread"}
    other = Quantiles(small(), n_members=5)
    other.first_spread += 1
    other.load_state_dict(former)
    x = torch.randn(2, 3, 4, 5, 6)
    torch.testing.assert_close(other.eval().members(x), network.members(x))
