"""The generator of STConvS2S, which lengthens features in time."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.nn.conv import Convolution
from stconv.nn.padding import GridPadding
from stconv.nn.settings import check_count
from stconv.nn.stack import stack, widening
from stconv.nn.transposed import Transposed


class Generator(nn.Module):
    """Lengthen t_in steps by transposed convolutions in time, and refine them by convolutions in space.

    n = ceil((steps - t_in) / (2 t_in)) transposed convolutions (4, 1, 1) with stride 2 double the steps.
    Their result is appended to the input along time, and the central ones of these t_in (1 + 2^n) steps are
    kept. Then follow steps // t_in convolutions (1, k, k) with channels d, 2d, d, d, ... (a single one gives
    d).

    Args:
        channels: Number of channels d, in and out.
        t_in: Number of steps in.
        steps: Number of steps out, more than t_in.
        kernel: Odd size k along lat and lon.
        space_padding: zero, replicate or periodic.

    Raises:
        ConfigError: `steps` is not larger than `t_in`, or a setting is out of its range.

    Source:
        Castro et al. (2021), Neurocomputing 426.
    """

    def __init__(
        self, channels: int, t_in: int, steps: int, kernel: int, space_padding: GridPadding = "zero"
    ) -> None:
        super().__init__()
        where = type(self).__name__
        check_count("t_in", t_in, where)
        if check_count("steps", steps, where) <= t_in:
            raise ConfigError(
                f"Generator makes {steps} steps from {t_in}; expected more steps out than in. Leave it out."
            )
        n_doublings, n_refinements = ceil((steps - t_in) / (2 * t_in)), steps // t_in
        widths = [2 * channels] + [channels] * (n_refinements - 1) if n_refinements > 1 else [channels]
        doubled = widening(check_count("channels", channels, where), n_doublings)
        self.doublings = stack(Transposed, channels, doubled, (4, 1, 1), stride=(2, 1, 1))
        self.start, self.steps = (t_in * (1 + 2**n_doublings) - steps) // 2, steps
        self.refinements = stack(
            Convolution, channels, widths, (1, kernel, kernel), space_padding=space_padding
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, t_in, lat, lon) to (batch, channel, steps, lat, lon)."""
        longer = torch.cat((x, self.doublings(x)), dim=2)
        y: Tensor = self.refinements(longer.narrow(2, self.start, self.steps))
        return y
