"""Event networks: the published sizes, probabilities, sliding over a larger grid."""

import json

import pytest
import torch
from torch import nn

from stconv.errors import ConfigError, ShapeError
from stconv.models import VGG16, AlexNet, LeNet5, ResNet18, build, describe
from stconv.nn.conv import Convolution


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


PUBLISHED = [
    (LeNet5, 1, 10, (32, 32), 61_706),
    (AlexNet, 3, 1000, (227, 227), 62_378_344),
    (VGG16, 3, 1000, (224, 224), 138_357_544),
    (ResNet18, 3, 1000, (224, 224), 11_689_512),
]


@pytest.mark.parametrize(("network", "c_in", "classes", "grid", "expected"), PUBLISHED)
def test_published_parameter_counts(network, c_in, classes, grid, expected):
    with torch.device("meta"):
        built = network(c_in, classes, 1, 1, grid=grid)
        y = built.eval()(torch.zeros(2, c_in, 1, *grid))
    assert sum(p.numel() for p in built.parameters()) == expected
    assert y.shape == (2, classes, 1, 1, 1)
    if network is AlexNet:
        dense = sum(p.numel() for p in built.classifier.parameters())
        assert dense / expected == pytest.approx(0.94, abs=0.005)


def test_the_width_scales_every_hidden_layer():
    """Counted by hand: 3 and 8 channels, dense layers of 60 and 42 on 5x5 cells."""
    network = LeNet5(1, 10, 1, 1, grid=(32, 32), width=0.5)
    by_hand = (25 + 1) * 3 + (3 * 25 + 1) * 8 + (8 * 25 + 1) * 60 + (60 + 1) * 42 + (42 + 1) * 10
    assert sum(p.numel() for p in network.parameters()) == by_hand
    for family, least in ((AlexNet, 67), (VGG16, 32), (ResNet18, 32)):
        narrow = family(1, 1, 1, 1, grid=(least, least), width=0.125)
        with torch.device("meta"):
            whole = family(1, 1, 1, 1, grid=(least, least))
        for thin, full in zip(narrow.parameters(), whole.parameters(), strict=True):
            assert all(n in (m, m // 8) for n, m in zip(thin.shape, full.shape, strict=True))
        assert narrow.eval()(torch.randn(1, 1, 1, least, least)).shape == (1, 1, 1, 1, 1)


@pytest.mark.parametrize(("network", "least"), [(LeNet5, 16), (AlexNet, 67), (VGG16, 32), (ResNet18, 32)])
def test_any_frames_leads_and_classes_on_the_least_grid(network, least):
    with torch.device("meta"):
        built = network(2, 3, 4, 5, grid=(least, least + 1), kernel_time=3).eval()
        assert built(torch.zeros(1, 2, 4, least, least + 1)).shape == (1, 3, 5, 1, 1)


@pytest.mark.parametrize(
    ("network", "small", "fits"),
    [(LeNet5, 15, ResNet18), (AlexNet, 66, LeNet5), (VGG16, 31, LeNet5), (VGG16, 15, ResNet18)],
)
def test_a_grid_that_pooling_leaves_nothing_of_is_refused(network, small, fits):
    with pytest.raises(
        ConfigError, match=r"too small for its poolings\. Use a larger grid, or (\w+)"
    ) as refused:
        network(1, 1, 1, 1, grid=(small, 300))
    assert f"or {fits.__name__}" in str(refused.value)
    with torch.device("meta"):
        fits(1, 1, 1, 1, grid=(small, 300))


def test_sliding_gives_the_probability_of_each_cube():
    network = LeNet5(2, 1, 3, 4, grid=(16, 20), kernel_time=3).eval()
    x = torch.randn(2, 2, 3, 24, 28)
    whole = network.probability(x)
    assert whole.shape == (2, 1, 4, 3, 3)  # the cube fits every 4 cells
    for i in range(3):
        for j in range(3):
            cube = x[..., 4 * i : 4 * i + 16, 4 * j : 4 * j + 20]
            torch.testing.assert_close(network.probability(cube)[..., 0, 0], whole[..., i, j])


@pytest.mark.parametrize(
    ("network", "least", "stride"), [(LeNet5, 16, 4), (AlexNet, 67, 32), (VGG16, 32, 32), (ResNet18, 33, 32)]
)
def test_positions_of_the_cube_on_a_larger_grid(network, least, stride):
    with torch.device("meta"):
        built = network(1, 1, 1, 2, grid=(least, least + 1)).eval()
        assert built.strides == (stride, stride)
        y = built(torch.zeros(1, 1, 1, least + 2 * stride, least + 1 + 3 * stride))
    assert y.shape == (1, 1, 2, 3, 4)


def test_specification_and_weights_give_the_same_network():
    network = LeNet5(2, 3, 4, 2, grid=[16, 18], kernel_time=3, norm="group", dropout=0.5).eval()
    copy = build(json.loads(json.dumps(describe(network)))).eval()
    copy.load_state_dict(network.state_dict())
    x = torch.randn(2, 2, 4, 16, 18)
    assert torch.equal(copy(x), network(x))
    assert not torch.equal(network.train()(x), network(x))


def test_probabilities_of_one_event_and_of_exclusive_ones():
    x = torch.randn(2, 1, 1, 16, 16)
    event = LeNet5(1, 1, 1, 3, grid=(16, 16))
    torch.testing.assert_close(event.probability(x), event(x).sigmoid())
    classes = LeNet5(1, 4, 1, 3, grid=(16, 16)).probability(x)
    torch.testing.assert_close(classes.sum(dim=1), torch.ones(2, 3, 1, 1))


@pytest.mark.parametrize(
    ("name", "activation"), [("relu", nn.ReLU()), ("tanh", nn.Tanh()), ("sigmoid", nn.Sigmoid())]
)
def test_lenet_is_lenet_with_dense_layers(name, activation):
    network = LeNet5(1, 10, 1, 1, grid=(32, 32), activation=name).eval()
    plain = nn.Sequential(
        nn.Conv2d(1, 6, 5), activation, nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), activation, nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), activation, nn.Linear(120, 84), activation, nn.Linear(84, 10),
    )  # fmt: skip
    ours = [layer for layer in network.modules() if isinstance(layer, Convolution)]
    theirs = [layer for layer in plain if isinstance(layer, nn.Conv2d | nn.Linear)]
    for mine, other in zip(ours, theirs, strict=True):
        other.weight.data = mine.conv.weight.data.reshape(other.weight.shape)
        other.bias.data = mine.conv.bias.data
    x = torch.randn(3, 1, 1, 32, 32)
    torch.testing.assert_close(network(x)[:, :, 0, 0, 0], plain(x[:, :, 0]), rtol=1e-4, atol=1e-5)


def test_padding_never_is_the_maximum_of_resnet_even_where_all_is_negative():
    """Its stem beside that of torch: a tanh leaves negative values, zeros of a padding would be larger."""
    network = ResNet18(2, 1, 1, 1, grid=(33, 34), activation="tanh").eval()
    first = network.features[0]
    x = torch.randn(1, 2, 1, 33, 34)
    with torch.no_grad():
        first.norm.bias.fill_(-3.0)
        y = nn.functional.conv2d(x[:, :, 0], first.conv.weight[:, :, 0], stride=2, padding=3)
        y = nn.functional.max_pool2d(torch.tanh(y / (1 + first.norm.eps) ** 0.5 - 3), 3, 2, 1)
        torch.testing.assert_close(network.features[:3](x)[:, :, 0], y, rtol=1e-4, atol=1e-5)
    assert (y < 0).all()


def test_a_network_learns_when_a_warm_patch_means_an_event():
    network = LeNet5(1, 1, 2, 1, grid=(16, 16))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    x = torch.randn(64, 1, 2, 16, 16)
    happens = (torch.arange(64) % 2).float()
    x[:, :, -1, 4:9, 4:9] += 2 * happens.view(-1, 1, 1, 1)
    for _ in range(25):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(x).flatten(), happens)
        loss.backward()
        optimizer.step()
    assert loss < 0.2


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            torch.zeros(1, 1, 1, 15, 16),
            r"has \(15, 16\) cells, expected at least the \(16, 16\) it was built",
        ),
        (torch.zeros(1, 2, 1, 16, 16), "input of LeNet5 has 2 along 'channel', expected 1"),
        (torch.zeros(1, 1, 2, 16, 16), "input of LeNet5 has 2 along 'time', expected 1"),
    ],
)
def test_another_input_is_refused(x, message):
    with pytest.raises(ShapeError, match=message):
        LeNet5(1, 1, 1, 1, grid=(16, 16))(x)


def test_refused_settings():
    with pytest.raises(ConfigError, match=r"grid of LeNet5 is \(16,\); expected two sizes"):
        LeNet5(1, 1, 1, 1, grid=(16,))
    with pytest.raises(ConfigError, match=r"width of LeNet5 is 0\.0; expected a share above 0"):
        LeNet5(1, 1, 1, 1, grid=(16, 16), width=0.0)
    with pytest.raises(ConfigError, match="kernel_time of VGG16 is 2; expected an odd number"):
        VGG16(1, 1, 1, 1, grid=(32, 32), kernel_time=2)
    with pytest.raises(ConfigError, match="c_out of ResNet18 is 0; expected an integer"):
        ResNet18(1, 0, 1, 1, grid=(32, 32))
