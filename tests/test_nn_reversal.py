"""The settings that the layer of STConvS2S-R refuses; what it computes is in test_models_stconvs2s.py."""

import pytest
import torch

from stconv.errors import ConfigError
from stconv.nn.reversal import reversal_layer

REFUSED = [
    ({"stride": 2}, r"stride of reversal_layer is \(2, 2, 2\); expected \(1, 1, 1\)"),
    ({"dilation": (2, 1, 1)}, r"dilation of reversal_layer is \(2, 1, 1\)"),
    ({"time_padding": "causal"}, r"time_padding of reversal_layer is 'causal'; expected 'symmetric'"),
    (
        {"space_padding": "valid"},
        r"space_padding of reversal_layer is 'valid'; expected one of: zero, replicate",
    ),
]


@pytest.mark.parametrize(("setting", "message"), REFUSED)
def test_refused_settings_say_what_was_expected(setting, message):
    with pytest.raises(ConfigError, match=message):
        reversal_layer(1, 1, (3, 1, 1), **setting)


@pytest.mark.parametrize(("k", "branches"), [(1, 1), (2, 1), (3, 2), (5, 2)])
def test_short_spans_have_one_branch(k, branches):
    layer = reversal_layer(2, 3, (k, 3, 3))
    assert len([part for part in layer.modules() if isinstance(part, torch.nn.Conv3d)]) == branches
    assert layer(torch.randn(2, 2, max(k, 4), 3, 3)).shape == (2, 3, max(k, 4), 3, 3)
