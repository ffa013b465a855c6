"""SimVP with gated attention (gSTA), as published."""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.models.network import Network
from stconv.models.registry import register
from stconv.nn.pyramid import PadToMultiple
from stconv.nn.settings import check_count, check_odd


class FrameLayer(nn.Sequential):
    """A 2D convolution, group normalization with two groups and SiLU, at half, equal or double resolution.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels.
        kernel: Odd kernel size.
        scale: Change of resolution: 0.5 by stride 2, 2 by `PixelShuffle`, or 1.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, scale: float = 1) -> None:
        wide = 4 * c_out if scale == 2 else c_out
        convolution = nn.Conv2d(c_in, wide, kernel, 2 if scale == 0.5 else 1, kernel // 2)
        super().__init__(
            convolution, *([nn.PixelShuffle(2)] if scale == 2 else []), nn.GroupNorm(2, c_out), nn.SiLU()
        )


class GatedUnit(nn.Module):
    """Gated attention with a shortcut, x + project(gate(gelu(project(x)))), on a depthwise 21 x 21 window."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = nn.Conv2d(width, width, 1)
        self.local = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.dilated = nn.Conv2d(width, width, 7, padding=9, dilation=3, groups=width)
        self.mix = nn.Conv2d(width, 2 * width, 1)
        self.after = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, lat, lon) to the same shape."""
        values, gate = self.mix(self.dilated(self.local(nn.functional.gelu(self.before(x))))).chunk(2, 1)
        y: Tensor = x + self.after(gate.sigmoid() * values)
        return y


class TranslatorBlock(nn.Module):
    """A gSTA block: x + a attention(norm(x)), then x + b feed(norm(x)), with a and b learned per channel.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels; a last convolution (1, 1) changes it where it differs from c_in.
        expansion: Ratio of the feed-forward part's width to c_in.
    """

    def __init__(self, c_in: int, c_out: int, expansion: int) -> None:
        super().__init__()
        wide = expansion * c_in
        self.norm_attention, self.attention = nn.BatchNorm2d(c_in), GatedUnit(c_in)
        self.norm_feed = nn.BatchNorm2d(c_in)
        self.feed = nn.Sequential(
            nn.Conv2d(c_in, wide, 1), nn.Conv2d(wide, wide, 3, padding=1, groups=wide), nn.GELU(),
            nn.Conv2d(wide, c_in, 1),
        )  # fmt: skip
        self.scale_attention = nn.Parameter(torch.full((c_in, 1, 1), 0.01))
        self.scale_feed = nn.Parameter(torch.full((c_in, 1, 1), 0.01))
        self.project = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, c_in, lat, lon) to (batch, c_out, lat, lon)."""
        x = x + self.scale_attention * self.attention(self.norm_attention(x))
        y: Tensor = self.project(x + self.scale_feed * self.feed(self.norm_feed(x)))
        return y


@register
class SimVP(Network):
    """Frames are encoded separately on a coarser grid, translated as channels of one field, and decoded.

    The encoder has n_s layers (k, k), every second one with stride 2. The translator has n_t blocks of gated
    attention over all frames. The decoder mirrors the encoder with `PixelShuffle`; its last layer has a skip
    connection from the encoder's first, and a convolution (1, 1) gives the targets.

    Lead l is frame l of the translator's output, as published. For more leads than input frames the
    translator has more output frames (the published network feeds its forecast back, for which all inputs
    must be targets). A grid of any size is padded to a multiple of 2^(n_s // 2), and the forecast is cropped.

    With the defaults, ten frames in and ten out it has 46.8 million parameters, as published.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        hid_s: Number of channels of encoder and decoder, even.
        hid_t: Number of channels of the translator.
        n_s: Number of layers of the encoder.
        n_t: Number of blocks of the translator, at least 2.
        mlp_ratio: Ratio of the feed-forward part's width to that of its block.
        kernel: Odd kernel size of encoder and decoder.

    Raises:
        ConfigError: A setting is out of its range.

    Source:
        Gao et al. (2022), arXiv 2206.05099; Tan et al. (2022), arXiv 2211.12509 (gSTA), with the defaults of
        OpenSTL (Tan et al. 2023, arXiv 2306.11249).
    """

    former: ClassVar[str] = (
        "The network formerly called SimVP, with translator, n_filters and n_hidden, is now FrameMixer: "
        "write `FrameMixer` instead of `SimVP`."
    )

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        hid_s: int = 64,
        hid_t: int = 512,
        n_s: int = 4,
        n_t: int = 8,
        mlp_ratio: int = 8,
        kernel: int = 3,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        where = type(self).__name__
        if check_count("hid_s", hid_s, where) % 2:
            raise ConfigError(f"hid_s of {where} is {hid_s}; expected an even number, for two groups.")
        check_count("hid_t", hid_t, where)
        check_count("n_t", n_t, where, at_least=2)
        check_count("mlp_ratio", mlp_ratio, where)
        check_odd("kernel", kernel, where)
        halved = [i % 2 == 1 for i in range(check_count("n_s", n_s, where))]
        self.whole = PadToMultiple(2 ** sum(halved))
        self.repeats = ceil(leads / t_in)
        self.first = FrameLayer(c_in, hid_s, kernel)
        self.encoder = nn.Sequential(
            *(FrameLayer(hid_s, hid_s, kernel, 0.5 if half else 1) for half in halved[1:])
        )
        widths = [t_in * hid_s, *[hid_t] * (n_t - 1), self.repeats * t_in * hid_s]
        self.translator = nn.Sequential(*(TranslatorBlock(a, b, mlp_ratio) for a, b in pairwise(widths)))
        self.decoder = nn.Sequential(
            *(FrameLayer(hid_s, hid_s, kernel, 2 if half else 1) for half in halved[:0:-1])
        )
        self.last = FrameLayer(hid_s, hid_s, kernel)
        self.readout = nn.Conv2d(hid_s, c_out, 1)

    def compute(self, x: Tensor) -> Tensor:
        """Encode, translate, decode, and crop."""
        n_lat, n_lon = x.shape[-2:]
        frames = self.whole(x).transpose(1, 2)  # (batch, time, channel, lat, lon)
        first = self.first(frames.flatten(0, 1))
        coarse = self.encoder(first)
        mixed = self.translator(coarse.unflatten(0, (len(x), self.t_in)).flatten(1, 2))
        fine = self.decoder(mixed.unflatten(1, (-1, coarse.shape[1])).flatten(0, 1))
        beside = first.unflatten(0, (len(x), self.t_in)).repeat(1, self.repeats, 1, 1, 1).flatten(0, 1)
        y: Tensor = self.readout(self.last(fine + beside)).unflatten(0, (len(x), -1)).transpose(1, 2)
        return y[:, :, : self.leads, :n_lat, :n_lon]
