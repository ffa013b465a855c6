"""A linear nowcast on several scales, since small scales lose their predictability first."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stconv.errors import ConfigError
from stconv.models.baselines import check_history
from stconv.models.registry import Network, register
from stconv.nn.frames import StackFrames
from stconv.nn.settings import check_count


@register
class ScaleMix(Network):
    """A linear combination of all frames blurred to 1, 2, 4, ... cells, initialized to the newest frame.

    y[l] = b[l] + sum over scales s, channels c and frames k of w[l, s, c, k] blur(x[c, k], 2^s cells)

    With a few hundred weights, it learns from a handful of windows how fast each scale becomes unpredictable.
    Inside `Advected` it is a learned form of a nowcast with scale filtering.

    Args:
        c_in: Number of input channels; the targets' own history comes first.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        n_scales: Number of scales, each twice as wide as the one before.
        blur: Initial blur of the newest frame, in cells per lead; 0 for none.

    Raises:
        ConfigError: A setting is out of its range, or there are fewer input than target channels.

    Source:
        Seed (2003), Journal of Applied Meteorology 42, 381-388 (S-PROG): a cascade in which each scale decays
        at its own rate.
    """

    def __init__(
        self, c_in: int, c_out: int, t_in: int, leads: int, *, n_scales: int = 6, blur: float = 0.0
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        check_history(self)
        check_count("n_scales", n_scales, type(self).__name__)
        if not blur >= 0:
            raise ConfigError(f"blur of ScaleMix is {blur}; expected a number of cells, 0 or more.")
        self.frames = StackFrames()
        mixes = [nn.Conv2d(c_in * t_in, c_out * leads, 1, bias=not s) for s in range(n_scales)]
        self.mix = nn.ModuleList(mixes)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            for lead in range(leads):
                scale = min(n_scales - 1, round(math.log2(max(1.0, blur * (lead + 1)))))
                weight = mixes[scale].weight.view(c_out, leads, c_in, t_in)
                for target in range(c_out):
                    weight[target, lead, target, -1] = 1

    def compute(self, x: Tensor) -> Tensor:
        """Blur, then combine from the coarsest scale on, so that only combined fields are interpolated."""
        fields = [self.frames(x).squeeze(2)]
        for _ in self.mix[1:]:
            half = F.avg_pool2d(fields[-1], 2, ceil_mode=True, count_include_pad=False)
            fields.append(F.avg_pool2d(half, 3, 1, 1, count_include_pad=False))
        y: Tensor = self.mix[-1](fields[-1])
        for mix, field in list(zip(self.mix, fields, strict=True))[-2::-1]:
            y = mix(field) + F.interpolate(y, field.shape[-2:], mode="bilinear", align_corners=False)
        return y.unflatten(1, (self.c_out, self.leads))
