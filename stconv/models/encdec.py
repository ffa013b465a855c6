"""A 3D encoder-decoder that trades cells for channels and back."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.models.registry import Network, register
from stconv.nn.conv import Convolution
from stconv.nn.leads import Alignment, features_to_leads
from stconv.nn.norm import Norm
from stconv.nn.pyramid import PadToMultiple
from stconv.nn.residual import channel_dropout
from stconv.nn.settings import check_count, check_odd
from stconv.nn.transposed import Transposed


@register
class EncoderDecoder3D(Network):
    """Convolutions (k, k, k) with d, 2d, 4d, ... filters that halve the grid, then transposed ones.

    Each of the L layers of the encoder has a stride of (1, 2, 2) and a bias; one batch normalization follows
    the last. Each of the L transposed convolutions (1, 2, 2) halves the channels and doubles the grid, so
    that the head has d / 2 input channels. Every layer except the head ends in LeakyReLU. There are no skip
    connections. A grid of any size is padded to a multiple of 2^L, and the forecast is cropped.

    With `alignment` "paper" it has the published numbers of parameters, with k = 5: 1,329,601 for three
    layers of 32 filters and 18,209 for two of 8. No other arrangement of these parts has both.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        n_layers: Number of layers L of the encoder, and of the decoder.
        n_filters: Number of filters d of the first layer, even.
        kernel: Odd kernel size along time, lat and lon.
        alignment: `lead`: every lead sees every frame. `paper`: lead l is step l.
        dropout: Share of channels dropped after the encoder, in training.

    Raises:
        ConfigError: A setting is out of its range.

    Source:
        Castro et al. (2021), Neurocomputing 426, the encoder-decoder of the baselines.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        n_layers: int = 3,
        n_filters: int = 32,
        kernel: int = 5,
        alignment: Alignment = "lead",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        where = type(self).__name__
        check_odd("kernel", kernel, where)
        if check_count("n_filters", n_filters, where) % 2:
            raise ConfigError(
                f"n_filters of {where} is {n_filters}; expected an even number, which the head halves."
            )
        widths = [n_filters * 2**i for i in range(check_count("n_layers", n_layers, where))]
        self.whole = PadToMultiple(2**n_layers)
        self.encoder = nn.Sequential()
        for i, (before, after) in enumerate(pairwise([c_in, *widths]), start=1):
            norm: Norm = "batch" if i == n_layers else "none"
            self.encoder.append(Convolution(before, after, kernel, stride=(1, 2, 2), bias=True, norm=norm))
        self.decoder = nn.Sequential(
            *(
                Transposed(coarse, fine, (1, 2, 2), stride=(1, 2, 2), bias=True, norm="none")
                for coarse, fine in pairwise([*widths[::-1], n_filters // 2])
            )
        )
        self.dropout = channel_dropout(dropout)
        self.generator, self.head = features_to_leads(alignment, n_filters // 2, c_out, t_in, leads, kernel)

    def compute(self, x: Tensor) -> Tensor:
        """Run encoder, decoder, generator (if any) and head, and crop."""
        n_lat, n_lon = x.shape[-2:]
        y: Tensor = self.head(self.generator(self.decoder(self.dropout(self.encoder(self.whole(x))))))
        return y[..., :n_lat, :n_lon]
