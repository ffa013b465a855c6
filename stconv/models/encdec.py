"""An encoder-decoder in 3D: fewer cells and more channels on the way in, the reverse on the way out."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from stconv.models.registry import Network, register
from stconv.nn.conv import Convolution
from stconv.nn.ending import Alignment, ending
from stconv.nn.pool import Pool
from stconv.nn.pyramid import PadToMultiple
from stconv.nn.residual import channel_dropout
from stconv.nn.settings import check_count, check_odd
from stconv.nn.transposed import Transposed


@register
class EncoderDecoder3D(Network):
    """Convolutions (k, k, k) with d, 2d, 4d, ... filters, pooling between them, and transposed ones back.

    Before every encoder layer but the first, max pooling (1, 2, 2) halves the grid; each transposed
    convolution (1, 2, 2) doubles it. There are no connections past the bottleneck. A grid of any size is
    lengthened to a multiple of 2^(layers - 1), and the forecast cut back.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        n_layers: Number of layers of the encoder; the decoder has one fewer.
        n_filters: Number of filters d of the first layer.
        kernel: Odd kernel size along time, lat and lon.
        alignment: `lead`: every lead sees every frame. `paper`: lead l is step l.
        dropout: Share of channels dropped after the encoder, in training.

    With three layers of 32 filters and `alignment` "paper" it has the 1,329,601 parameters that are published
    for it. Of the 18,209 published for two layers of 8 filters, convolutions and head leave 208 for decoder
    and normalization, and a transposed convolution (1, 2, 2) from 16 to 8 channels takes 512: that must have
    been another network. This one has 18,577.

    Raises:
        ConfigError: A setting is out of its range.
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
        check_count("n_filters", n_filters, where)
        widths = [n_filters * 2**i for i in range(check_count("n_layers", n_layers, where))]
        self.whole = PadToMultiple(2 ** (n_layers - 1))
        self.encoder = nn.Sequential(Convolution(c_in, n_filters, kernel))
        for fine, coarse in pairwise(widths):
            self.encoder.extend([Pool("max", (1, 2, 2)), Convolution(fine, coarse, kernel)])
        self.decoder = nn.Sequential(
            *(
                Transposed(coarse, fine, (1, 2, 2), stride=(1, 2, 2))
                for coarse, fine in pairwise(widths[::-1])
            )
        )
        self.dropout = channel_dropout(dropout)
        self.generator, self.head = ending(alignment, n_filters, c_out, t_in, leads, kernel)

    def compute(self, x: Tensor) -> Tensor:
        """Run encoder, decoder, generator (if any) and head, and cut."""
        n_lat, n_lon = x.shape[-2:]
        y: Tensor = self.head(self.generator(self.decoder(self.dropout(self.encoder(self.whole(x))))))
        return y[..., :n_lat, :n_lon]
