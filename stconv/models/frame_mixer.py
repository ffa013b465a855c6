"""A lighter relative of SimVP, which encodes frames separately and mixes them together."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from stconv.models.registry import Network, register
from stconv.nn.conv import Convolution
from stconv.nn.frames import StackFrames, UnstackFrames
from stconv.nn.heads import LeadHead
from stconv.nn.mixer import conv_mixer, gated_block
from stconv.nn.norm import Norm
from stconv.nn.padding import GridPadding
from stconv.nn.pyramid import PadToMultiple
from stconv.nn.residual import channel_dropout
from stconv.nn.settings import check_choice, check_count, check_odd

Translator = Literal["gsta", "convmixer"]


@register
class FrameMixer(Network):
    """Frames are encoded separately on a coarser grid, mixed as channels of one field, and decoded.

    The encoder has `n_stages` convolutions (1, k, k), every second one with stride 2. The decoder mirrors it,
    with a skip connection from the encoder's first layer. A head with filters for each lead sees all decoded
    frames, so that any number of leads is possible. The published network is `SimVP`.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        translator: `gsta` (gated attention with a wide window) or `convmixer`.
        n_layers: Number of blocks of the translator.
        n_filters: Number of filters of the encoder.
        n_hidden: Number of channels of the translator; n_filters * t_in by default.
        n_stages: Number of convolutions of the encoder.
        kernel: Odd kernel size along lat and lon of encoder, decoder and head.
        norm: batch, group, layer or none; `group`, as published, sees the whole grid at once.
        space_padding: Values beyond the grid: zero, replicate, or periodic in longitude.
        dropout: Share of channels dropped after the translator, in training.

    Raises:
        ConfigError: A setting is out of its range.

    Source:
        Gao et al. (2022), arXiv 2206.05099; Tan et al. (2022), arXiv 2211.12509 (gSTA).
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        translator: Translator = "gsta",
        n_layers: int = 4,
        n_filters: int = 16,
        n_hidden: int | None = None,
        n_stages: int = 2,
        kernel: int = 3,
        norm: Norm = "batch",
        space_padding: GridPadding = "zero",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        d, where = n_filters, type(self).__name__
        check_choice("translator", translator, get_args(Translator), where)
        check_count("n_filters", d, where)
        size = (1, check_odd("kernel", kernel, where), kernel)
        halved = [i % 2 == 1 for i in range(check_count("n_stages", n_stages, where))]
        hidden = d * t_in if n_hidden is None else check_count("n_hidden", n_hidden, where)

        def layer(before: int, after: int, stride: int = 1) -> Convolution:
            return Convolution(
                before, after, size, stride=(1, stride, stride), space_padding=space_padding,
                norm=norm, activation="silu",
            )  # fmt: skip

        def block() -> nn.Module:
            if translator == "gsta":
                return gated_block(hidden, norm, space_padding)
            return conv_mixer(hidden, norm=norm, space_padding=space_padding)

        self.whole = PadToMultiple(2 ** sum(halved), space_padding)
        self.first = layer(c_in, d)
        self.encoder = nn.Sequential(*(layer(d, d, 2 if half else 1) for half in halved[1:]))
        self.translator = nn.Sequential(
            StackFrames(),
            Convolution(d * t_in, hidden, 1, norm=norm, activation="none"),
            *(block() for _ in range(check_count("n_layers", n_layers, where))),
            Convolution(hidden, d * t_in, 1, norm=norm, activation="none"),
            UnstackFrames(t_in),
        )
        self.dropout = channel_dropout(dropout)
        self.decoder = nn.Sequential()
        for half in reversed(halved[1:]):
            if half:
                self.decoder.append(nn.Upsample(scale_factor=(1, 2, 2), mode="nearest"))
            self.decoder.append(layer(d, d))
        self.last = layer(2 * d, d)
        self.head = LeadHead(d, c_out, t_in, leads, kernel, space_padding)

    def compute(self, x: Tensor) -> Tensor:
        """Encode, translate, decode, run the head, and crop."""
        n_lat, n_lon = x.shape[-2:]
        first = self.first(self.whole(x))
        y = self.decoder(self.dropout(self.translator(self.encoder(first))))
        return self.head(self.last(torch.cat((y, first), dim=1)))[..., :n_lat, :n_lon]
