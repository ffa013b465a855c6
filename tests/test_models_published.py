"""Networks that have a published name are the published networks: the same layers, counts and values."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stconv.errors import ConfigError, FileError
from stconv.models import EncoderDecoder3D, R2Plus1D18, SimVP, build, load_video_weights
from stconv.nn.cells import only_torch
from stconv.nn.mixer import conv_mixer


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def count(network):
    return sum(p.numel() for p in network.parameters())


def alive(network):
    """Weights and statistics that are not those of a new network."""
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) * 0.2)
    return network.eval()


@pytest.mark.parametrize(("n_layers", "n_filters", "published"), [(3, 32, 1_329_601), (2, 8, 18_209)])
def test_the_encoder_decoder_has_both_published_counts(n_layers, n_filters, published):
    sizes = {"n_layers": n_layers, "n_filters": n_filters, "kernel": 5, "alignment": "paper"}
    assert count(EncoderDecoder3D(1, 1, 5, 5, **sizes)) == published


def test_the_encoder_decoder_is_strided_convolutions_one_norm_transposed_ones_and_a_head():
    ours = alive(EncoderDecoder3D(2, 1, 5, 5, n_layers=2, n_filters=4, kernel=3, alignment="paper"))
    down, up = {"stride": (1, 2, 2), "padding": 1}, {"kernel_size": (1, 2, 2), "stride": (1, 2, 2)}
    theirs = nn.Sequential(
        nn.Conv3d(2, 4, 3, **down), nn.LeakyReLU(0.01),
        nn.Conv3d(4, 8, 3, **down), nn.BatchNorm3d(8), nn.LeakyReLU(0.01),
        nn.ConvTranspose3d(8, 4, **up), nn.LeakyReLU(0.01),
        nn.ConvTranspose3d(4, 2, **up), nn.LeakyReLU(0.01),
        nn.Conv3d(2, 1, 3, padding=1),
    ).eval()  # fmt: skip
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(2, 2, 5, 8, 12)
    with only_torch():
        assert torch.equal(ours(x), theirs(x))
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_a_conv_mixer_normalizes_after_the_activation():
    ours = alive(conv_mixer(4, kernel=5))
    depthwise, first, pointwise, second = (
        nn.Conv2d(4, 4, 5, padding=2, groups=4), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4),
    )  # fmt: skip
    theirs = nn.ModuleList([depthwise, first, pointwise, second]).eval()
    for (_, tensor), value in zip(theirs.state_dict().items(), ours.state_dict().values(), strict=True):
        tensor.copy_(value.view_as(tensor))
    x = torch.randn(2, 4, 9, 8)
    y = x + first(F.gelu(depthwise(x)))
    torch.testing.assert_close(ours(x[:, :, None])[:, :, 0], second(F.gelu(pointwise(y))))


def simvp_by_its_description(x, state, n_s, n_t, training=False):
    """The published network for as many leads as frames, as a function of the weights in their order."""
    weights = iter(value for name, value in state.items() if not name.endswith("num_batches_tracked"))

    def take(n):
        return [next(weights) for _ in range(n)]

    def layer(y, stride=1, shuffled=False):
        kernel, bias, scale, shift = take(4)
        y = F.conv2d(y, kernel, bias, stride, kernel.shape[-1] // 2)
        return F.silu(F.group_norm(F.pixel_shuffle(y, 2) if shuffled else y, 2, scale, shift))

    def normalized(y):
        scale, shift, mean, variance = take(4)
        return F.batch_norm(y, mean, variance, scale, shift, training)

    def block(y):
        scale_attention, scale_feed = take(2)
        z = normalized(y)
        width = y.shape[1]
        a = F.gelu(F.conv2d(z, *take(2)))
        a = F.conv2d(a, *take(2), padding=2, groups=width)
        a = F.conv2d(a, *take(2), padding=9, dilation=3, groups=width)
        value, gate = F.conv2d(a, *take(2)).chunk(2, 1)
        y = y + scale_attention * (z + F.conv2d(torch.sigmoid(gate) * value, *take(2)))
        z = F.conv2d(normalized(y), *take(2))
        z = F.gelu(F.conv2d(z, *take(2), padding=1, groups=z.shape[1]))
        return y + scale_feed * F.conv2d(z, *take(2))

    b, c, t, h, w = x.shape
    skip = y = layer(x.transpose(1, 2).reshape(b * t, c, h, w))
    for i in range(1, n_s):
        y = layer(y, 2 if i % 2 else 1)
    y = y.reshape(b, -1, *y.shape[2:])
    channels = y.shape[1]
    for i in range(n_t):
        y = block(y)
        if i in (0, n_t - 1):  # the widths of the translator differ from those around it
            y = F.conv2d(y, *take(2))
    assert y.shape[1] == channels
    y = y.reshape(b * t, -1, *y.shape[2:])
    for i in range(n_s - 1, 0, -1):
        y = layer(y, shuffled=bool(i % 2))
    y = F.conv2d(layer(y + skip), *take(2))
    assert next(weights, None) is None
    return y.reshape(b, t, -1, h, w).transpose(1, 2)


def test_simvp_is_the_published_network():
    ours = alive(SimVP(2, 1, 3, 3, hid_s=4, hid_t=10, n_s=4, n_t=3, mlp_ratio=2))
    x = torch.randn(2, 2, 3, 16, 12)
    torch.testing.assert_close(
        ours(x), simvp_by_its_description(x, ours.state_dict(), 4, 3), rtol=1e-5, atol=1e-5
    )
    with torch.device("meta"):
        assert round(count(SimVP(1, 1, 10, 10)) / 1e6, 1) == 46.8


def test_simvp_is_trained_as_the_published_network():
    ours = alive(SimVP(2, 1, 3, 3, hid_s=4, hid_t=10, n_s=4, n_t=3, mlp_ratio=2)).train()
    learned = dict(ours.named_parameters())
    state = {
        name: value.detach().clone().requires_grad_(name in learned)
        for name, value in ours.state_dict().items()
    }
    theirs = [state[name] for name in learned]
    optimizers = [torch.optim.Adam(ours.parameters(), 1e-3), torch.optim.Adam(theirs, 1e-3)]
    for step in range(3):
        x, truth = torch.randn(4, 2, 3, 16, 12), torch.randn(4, 1, 3, 16, 12)
        losses = [
            F.mse_loss(ours(x), truth),
            F.mse_loss(simvp_by_its_description(x, state, 4, 3, True), truth),
        ]
        assert float(losses[0].detach()) == pytest.approx(float(losses[1].detach()), rel=1e-5)
        for optimizer, loss in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss.backward()
        if not step:
            for parameter, other in zip(ours.parameters(), theirs, strict=True):
                torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-3, atol=1e-6)
        for optimizer in optimizers:
            optimizer.step()
    for name, value in ours.named_buffers():
        torch.testing.assert_close(value.float(), state[name].float() + (3 if "tracked" in name else 0))


def test_settings_of_the_former_network_of_that_name_are_told_where_it_is():
    spec = {
        "name": "SimVP",
        "arguments": {"c_in": 1, "c_out": 1, "t_in": 2, "leads": 2, "translator": "gsta"},
    }
    with pytest.raises(ConfigError, match=r"cannot be built.*write `FrameMixer` instead of `SimVP`"):
        build(spec)


def test_a_configuration_of_the_former_network_of_that_name_is_told_where_it_is(tmp_path):
    from stconv.experiments.running import run_experiment

    path = tmp_path / "old.yaml"
    path.write_text(
        "model:\n  network:\n    class_path: stconv.models.SimVP\n    init_args: {translator: convmixer}\n"
    )
    with pytest.raises(ConfigError, match=r"write `FrameMixer` instead of `SimVP`"):
        run_experiment("fit", ["--config", str(path)])


class VideoBlock(nn.Module):
    """A block of the published R(2+1)D-18, with the names of its published weights."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        middle = c_in * c_out * 27 // (c_in * 9 + 3 * c_out)

        def factored(before, step):
            return nn.Sequential(
                nn.Conv3d(before, middle, (1, 3, 3), (1, step, step), (0, 1, 1), bias=False),
                nn.BatchNorm3d(middle), nn.ReLU(),
                nn.Conv3d(middle, c_out, (3, 1, 1), (step, 1, 1), (1, 0, 0), bias=False),
            )  # fmt: skip

        self.conv1 = nn.Sequential(factored(c_in, stride), nn.BatchNorm3d(c_out), nn.ReLU())
        self.conv2 = nn.Sequential(factored(c_out, 1), nn.BatchNorm3d(c_out))
        self.downsample = None
        if stride > 1 or c_in != c_out:
            self.downsample = nn.Sequential(
                nn.Conv3d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm3d(c_out)
            )

    def forward(self, x):
        beside = x if self.downsample is None else self.downsample(x)
        return F.relu(self.conv2(self.conv1(x)) + beside)


def video_network(classes):
    """The published R(2+1)D-18 in plain torch."""
    network = nn.Module()
    network.stem = nn.Sequential(
        nn.Conv3d(3, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False), nn.BatchNorm3d(45), nn.ReLU(),
        nn.Conv3d(45, 64, (3, 1, 1), 1, (1, 0, 0), bias=False), nn.BatchNorm3d(64), nn.ReLU(),
    )  # fmt: skip
    before = 64
    for i, width in enumerate((64, 128, 256, 512), start=1):
        blocks = VideoBlock(before, width, 1 if i == 1 else 2), VideoBlock(width, width, 1)
        setattr(network, f"layer{i}", nn.Sequential(*blocks))
        before = width
    network.fc = nn.Linear(512, classes)

    def forward(x):
        y = network.stem(x)
        for i in range(1, 5):
            y = getattr(network, f"layer{i}")(y)
        return network.fc(F.adaptive_avg_pool3d(y, 1).flatten(1))

    network.forward = forward
    return network


def test_the_video_network_is_the_published_one_with_weights_from_a_file(tmp_path):
    theirs, x = video_network(5), torch.randn(2, 3, 5, 24, 20)
    with torch.no_grad():
        theirs(torch.randn(4, 3, 5, 24, 20))  # running statistics of data
    assert count(video_network(400)) == 31_505_325
    torch.save(theirs.state_dict(), tmp_path / "published.pth")
    ours = R2Plus1D18(3, 5, 5, 1, grid=(24, 20))
    assert load_video_weights(ours, tmp_path / "published.pth") == []
    torch.testing.assert_close(ours.eval()(x).flatten(1), theirs.eval()(x), rtol=1e-5, atol=1e-6)
    for network in (ours.train(), theirs.train()):
        network(x).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    found = {name: p.grad for name, p in ours.named_parameters()}
    assert len(found) == len(gradients)
    for ours_, theirs_ in zip(found.values(), gradients.values(), strict=True):
        difference = (ours_.flatten() - theirs_.flatten()).norm() / theirs_.norm()
        assert float(difference) < 1e-4


def published_video_state(network):
    """The weights of a network in the names of published files, the dense layer as a matrix."""
    state = {}
    for name, value in network.state_dict().items():
        name = name.replace(".body.", ".").replace(".shortcut.", ".downsample.").removeprefix("features.")
        name = name.replace("classifier.2.conv.", "fc.")
        state[name] = value.clone().flatten(1) if name == "fc.weight" else value.clone()
    return state


def test_the_video_network_has_the_published_count_and_middle_widths():
    network = R2Plus1D18(3, 400, 16, 1, grid=(112, 112))
    assert count(network) == 31_505_325
    names = published_video_state(network)
    assert names["layer1.0.conv1.0.0.weight"].shape == (144, 64, 1, 3, 3)
    assert names["layer2.0.conv1.0.0.weight"].shape == (230, 64, 1, 3, 3)
    assert names["layer2.0.conv2.0.0.weight"].shape == (230, 128, 1, 3, 3), "once per block"
    assert names["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1, 1)
    assert names["fc.weight"].shape == (400, 512)


@pytest.mark.parametrize("kind", [".pth", ".safetensors"])
def test_published_weights_come_from_a_file(kind, tmp_path):
    import safetensors.torch

    theirs = R2Plus1D18(3, 5, 8, 1, grid=(16, 16)).eval()
    for name, statistics in theirs.named_buffers():
        if name.endswith(("mean", "var")):
            statistics.add_(0.2 * torch.rand_like(statistics))
    path = tmp_path / f"weights{kind}"
    state = published_video_state(theirs)
    (safetensors.torch.save_file if kind == ".safetensors" else torch.save)(state, path)
    ours = R2Plus1D18(3, 5, 8, 1, grid=(16, 16)).eval()
    assert load_video_weights(ours, path) == []
    x = torch.randn(1, 3, 8, 16, 16)
    assert ours(x).isfinite().all()
    assert torch.equal(ours(x), theirs(x))
    other = R2Plus1D18(3, 1, 5, 2, grid=(16, 16))
    kept = copy.deepcopy(other.classifier.state_dict())
    assert load_video_weights(other, path) == ["fc.bias", "fc.weight"]
    assert all(torch.equal(kept[name], value) for name, value in other.classifier.state_dict().items())
    assert torch.equal(other.features.stem[0].weight, theirs.features.stem[0].weight)
    with pytest.raises(
        ConfigError, match=r"stem.0.weight has \(45, 3, 1, 7, 7\) instead of \(45, 2, 1, 7, 7\)"
    ):
        load_video_weights(R2Plus1D18(2, 1, 5, 2, grid=(16, 16)), path)


def test_a_file_with_anything_but_tensors_is_refused(tmp_path):
    network = R2Plus1D18(3, 1, 4, 1, grid=(16, 16))
    with pytest.raises(FileError, match="no file"):
        load_video_weights(network, tmp_path / "none.pth")
    torch.save(network, tmp_path / "whole.pth")
    with pytest.raises(FileError, match="cannot be read as tensors"):
        load_video_weights(network, tmp_path / "whole.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(FileError, match="holds list; expected a state dictionary"):
        load_video_weights(network, tmp_path / "list.pth")
