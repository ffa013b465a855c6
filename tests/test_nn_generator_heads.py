"""The generator and the heads against the oracle, and the settings they refuse."""

import numpy as np
import pytest
import torch

from stconv.errors import ConfigError, ShapeError
from stconv.nn.generator import Generator
from stconv.nn.heads import LeadHead, PaperHead
from stconv.nn.leads import features_to_leads


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def numbers(module):
    return [p.detach().numpy() for p in module.parameters()]


@pytest.mark.parametrize(
    ("t_in", "steps", "n_doublings", "widths"),
    [
        (5, 15, 1, [16, 8, 8]),
        (5, 10, 1, [16, 8]),
        (5, 6, 1, [8]),
        (5, 16, 2, [16, 8, 8]),
        (1, 2, 1, [16, 8]),
        (2, 17, 4, [16, *[8] * 7]),
    ],
)
def test_generator_lengthens_as_the_paper_says(t_in, steps, n_doublings, widths):
    generator = Generator(8, t_in, steps, 3)
    assert len(generator.doublings) == n_doublings
    assert [layer.conv.out_channels for layer in generator.refinements] == widths
    assert generator(torch.randn(2, 8, t_in, 3, 3)).shape == (2, 8, steps, 3, 3)


def test_generator_keeps_the_central_steps():
    """Two steps 1 2, doubled to 5 5 5 5, give 1 2 5 5 5 5; the central three are 2 5 5."""
    generator = Generator(1, 2, 3, 1)
    generator.doublings = torch.nn.Sequential(torch.nn.Upsample(scale_factor=(2, 1, 1)), Constant(5.0))
    generator.refinements = torch.nn.Identity()
    x = torch.tensor([1.0, 2.0]).view(1, 1, 2, 1, 1)
    assert generator(x).flatten().tolist() == [2, 5, 5]


class Constant(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return torch.full_like(x, self.value)


def test_lead_head_is_one_convolution_per_target_and_lead(oracle):
    head = LeadHead(2, 3, t_in=4, leads=5, kernel=3)
    x = torch.randn(2, 2, 4, 6, 7)
    w, b = numbers(head)
    y = head(x).detach().numpy()
    assert y.shape == (2, 3, 5, 6, 7)
    for target in range(3):
        for lead in range(5):
            row = target * 5 + lead
            expected = oracle.direct(x.numpy(), w[[row]], b[[row]], padding=((0, 0), (1, 1), (1, 1)))
            np.testing.assert_allclose(y[:, [target], [lead]], expected[:, :, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("t_in", "leads"), [(5, 5), (5, 1), (5, 3), (1, 1), (2, 2), (9, 2)])
def test_paper_head_is_a_same_convolution_cut_to_its_leads(oracle, t_in, leads):
    head = PaperHead(2, 3, t_in, leads, kernel=5)
    x = torch.randn(2, 2, t_in, 4, 4)
    expected = oracle.im2col(x.numpy(), *numbers(head), padding=((2, 2),) * 3)[:, :, :leads]
    np.testing.assert_allclose(head(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_lead_head_refuses_another_number_of_frames():
    with pytest.raises(ShapeError, match="LeadHead got 6 steps, expected 4"):
        LeadHead(1, 1, t_in=4, leads=2, kernel=3)(torch.zeros(2, 1, 6, 3, 3))


REFUSED = [
    (lambda: LeadHead(1, 1, 0, 1, 3), "t_in of LeadHead is 0; expected an integer of at least 1"),
    (lambda: LeadHead(1, 1, 1, 0, 3), "leads of LeadHead is 0"),
    (lambda: LeadHead(1, 1, 1, 1, 4), "kernel of LeadHead is 4; expected an odd number.*3 or 5"),
    (
        lambda: PaperHead(1, 1, 2, 3, 3),
        "t_in of PaperHead with 3 leads is 2; expected an integer of at least 3",
    ),
    (lambda: Generator(1, 5, 5, 3), "Generator makes 5 steps from 5; expected more steps out than in"),
    (lambda: Generator(0, 5, 6, 3), "channels of Generator is 0"),
    (
        lambda: features_to_leads("first", 1, 1, 1, 1, 3),
        "alignment of the network is 'first'; expected one of: lead, paper",
    ),
    (lambda: features_to_leads("lead", 1, 1, 1, 1, 3, "valid"), "space_padding of the network is 'valid'"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_refused_settings_say_what_was_expected(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
