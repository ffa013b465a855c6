"""The paper's 3D and (2+1)D baselines."""

import pytest

from stconv.errors import ConfigError
from stconv.models import Conv2Plus1D, Conv3D

CFSR, CHIRPS = {"n_layers": 3, "n_filters": 32}, {"n_layers": 2, "n_filters": 8}


@pytest.mark.parametrize(
    ("network", "size", "expected"),
    [
        (Conv3D, CFSR, 264_193),
        (Conv3D, CHIRPS, 10_033),
        (Conv2Plus1D, CFSR, 264_012),
        (Conv2Plus1D, CHIRPS, 10_024),
    ],
)
def test_published_parameter_counts(network, size, expected):
    assert sum(p.numel() for p in network(1, 1, 5, 5, alignment="paper", **size).parameters()) == expected


@pytest.mark.parametrize("network", [Conv3D, Conv2Plus1D])
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_layers": 0}, "n_layers of Conv.* is 0; expected an integer of at least 1"),
        ({"n_filters": 0}, "n_filters of Conv.* is 0; expected an integer of at least 1"),
        ({"kernel": 2}, "kernel of Conv.* is 2; expected an odd number.*1 or 3"),
        ({"alignment": "last"}, "alignment of the network is 'last'; expected one of: lead, paper"),
        ({"space_padding": "valid"}, "space_padding of the network is 'valid'"),
    ],
)
def test_refused_settings_say_what_was_expected(network, setting, message):
    with pytest.raises(ConfigError, match=message):
        network(1, 1, 5, 5, **setting)
