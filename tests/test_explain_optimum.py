"""Feature visualization: of a linear filter the optimum is known, it is the filter."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stconv.cli.main import main
from stconv.errors import ConfigError
from stconv.explain.optimum import find_optimum
from stconv.models import Conv3D, LeNet5, Network
from stconv.resources import configs_dir

pytestmark = pytest.mark.usefixtures("one_thread")


def net() -> Conv3D:
    torch.manual_seed(0)
    return Conv3D(2, 1, 5, 2, n_layers=2, n_filters=4, kernel=3)


def test_the_optimum_of_a_first_layer_is_its_filter() -> None:
    network = net()
    kernel = network.features[0].conv.weight[3].detach().numpy()
    found = find_optimum(network, "features.0", 3, (15, 17), total_variation=0.0)
    expected = np.zeros((2, 5, 15, 17), "f4")
    filled = np.abs(found.field).max(axis=(0, 2, 3)) > 0.05  # the frames that the filter lies on
    assert filled.sum() == 3
    first = int(np.argmax(filled))
    expected[:, first : first + 3, 6:9, 7:10] = kernel
    assert np.corrcoef(expected.ravel(), found.field.ravel())[0, 1] > 0.999
    np.testing.assert_allclose(found.field, expected / np.linalg.norm(kernel) / 0.1, atol=0.02)
    assert found.response > found.start
    smooth = find_optimum(network, "features.0", 3, (15, 17))
    assert np.corrcoef(expected.ravel(), smooth.field.ravel())[0, 1] > 0.7
    roughness = [sum(np.abs(np.diff(f.field, axis=a)).sum() for a in (1, 2, 3)) for f in (found, smooth)]
    assert roughness[1] < roughness[0]


def test_the_same_seed_gives_the_same_field_and_the_network_is_left_as_it_is() -> None:
    network = LeNet5(1, 1, 3, 2, grid=(16, 20), kernel_time=3).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, again = (find_optimum(network, "features.2", 1, seed=4) for _ in range(2))
    assert np.array_equal(first.field, again.field)
    assert first.field.shape == (1, 3, 16, 20)
    assert first.response > first.start
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


class Blind(Network):
    """A layer that nothing reaches, and one whose output is no field."""

    def __init__(self) -> None:
        super().__init__(1, 1, 2, 1)
        self.blind, self.dense = nn.Conv3d(1, 1, 1), nn.Linear(4, 4)

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        self.dense(torch.zeros(4))
        return x[:, :, -1:] + self.blind(torch.zeros_like(x))[:, :, -1:]


@pytest.mark.parametrize(
    ("network", "layer", "channel", "message"),
    [
        (
            net(),
            "features.9",
            0,
            r"Conv3D has no layer 'features\.9'\. Convolutions there are: features\.0",
        ),
        (net(), "features.0", 4, r"'features\.0' has the channels 0 to 3; found 4"),
        (Blind(), "blind", 0, "Nothing in the input changes channel 0 of 'blind'"),
        (Blind(), "dense", 0, "The output of 'dense' is not a field"),
    ],
)
def test_what_is_not_there_is_refused(network: Network, layer: str, channel: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_optimum(network, layer, channel, (8, 8))


def test_explain_draws_a_picture_per_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path))
    config = str(configs_dir() / "ncep_air_temperature_event_lenet5.yaml")
    words = ["explain", config, "--plot", "drawn", "--json", "--visualize", "features.0:2", "features.2:1"]
    assert main(words) == 0
    pictures = json.loads(capsys.readouterr().out)["pictures"]
    drawn = {Path(path).name for path in pictures}
    assert {"optimum_features.0_2.png", "optimum_features.2_1.png"} <= drawn
    assert all(Path(path).stat().st_size > 1000 for path in pictures)
    assert main(["explain", config, "--visualize", "features.0:2"]) == 1
    assert "--visualize needs --plot DIR or --run RUN" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words[:-1], "features.0:red"])
    assert "LAYER or LAYER:CHANNEL is expected, found 'features.0:red'" in capsys.readouterr().err
