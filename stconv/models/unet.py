"""A U-Net in two dimensions, in (2+1)D, in 3D, or mixed."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.models.registry import Network, register
from stconv.nn.frames import StackFrames
from stconv.nn.heads import LeadHead
from stconv.nn.kinds import Kind, maker_of
from stconv.nn.levels import (
    Interpolation,
    Levels,
    MixedLevels,
    PublishedLevels,
    PublishedResidualLevels,
    ResidualLevels,
)
from stconv.nn.norm import Norm
from stconv.nn.padding import GridPadding
from stconv.nn.pyramid import PadToMultiple
from stconv.nn.residual import start_at_zero
from stconv.nn.settings import Triple, check_choice, check_count, check_odd
from stconv.nn.stencils import Filters, first_filters

Maker = Literal["2d", "2plus1d", "3d", "mixed"]
"""`2d`: frames are channels of one field. `2plus1d`: in space, then in time. `3d`: over all three axes.
`mixed`: frames are channels on the full grid, and have an axis of their own on the coarser ones."""
Encoder = Literal["residual", "resnet", "vgg"]
"""`residual`: residual blocks that start at zero. `vgg`: two convolutions, as published. `resnet`: the same
with a shortcut."""
Merge = Literal["skips", "head"]
"""Place in which the frames of a network with an axis of time become one field."""

GROUP = 8
"""Divisor of the channels of every level, so that they can be divided into the groups of `group`."""
NAMES: dict[Maker, str] = {"2d": "2D", "2plus1d": "(2+1)D", "3d": "3D", "mixed": "mixed"}
"""Names of the makers for people."""
FAMILIES: dict[Encoder, type[Levels]] = {
    "residual": ResidualLevels,
    "resnet": PublishedResidualLevels,
    "vgg": PublishedLevels,
}


@register
class UNet(Network):
    """Blocks of convolutions on successively coarser grids and back; every level has half the resolution.

    By default the last convolutions of each block and of the head start at zero: inside `LinearResidual`,
    training starts from its linear start, and the coarse field in the decoder, interpolated and projected, is
    added to the finer one. Time is not halved. With `merge: skips` the frames of each level become one by a
    convolution over all of them, where the level enters the decoder; the decoder then costs no more than in
    two dimensions. A grid of any size is padded to a multiple of 2^(n_levels - 1), and the forecast is
    cropped.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        maker: Axes of the convolutions: `2d` (frames are channels of one field), `2plus1d`, `3d`, or `mixed`
            (frames are channels on the full grid, where most cells lie, and an axis on the coarser ones).
        n_levels: Number of levels, the full grid included.
        n_filters: Number of filters of the first level.
        growth: Ratio of the filters of a level to those of the level above; with residual blocks their number
            is rounded up to a multiple of 8.
        widening: Ratio of the filters of a level in the decoder to those in the encoder, where the frames of
            a level become one. Frames cost time: a thin encoder leaves it to the single field behind it.
        n_blocks: Number of blocks at the coarsest level; the others have one in the encoder and one in the
            decoder.
        kernel: Odd kernel size along lat and lon.
        kernel_time: Odd kernel size along time; without effect in two dimensions.
        merge: Place at which the frames become one field: the `skips` to the decoder, or the `head`.
        encoder: `residual` blocks; or as published, two convolutions (`vgg`) or a residual block of them
            (`resnet`), a maximum between levels, and levels of the decoder that see both fields side by side.
        interpolation: From a coarse grid to the finer one: linear or nearest.
        norm: batch, group, layer or none; `group` sees the whole grid at once.
        dropout: Share of channels dropped inside each residual block, or after each published level of the
            encoder, in training.
        space_padding: Values beyond the grid: zero, replicate, or periodic in longitude.
        convolution: Kind of every convolution except the head; by default `factored` in (2+1)D and `full`
            otherwise.
        filters: Stencil, such as `sobel`, or list of stencils that the first convolution starts from; random
            by default.

    Raises:
        ConfigError: A setting is out of its range, or contradicts another.

    Source:
        Ronneberger et al. (2015), arXiv 1505.04597, in 3D Çiçek et al. (2016), arXiv 1606.06650, with blocks
        of He et al. (2016), arXiv 1603.05027, and convolutions of Tran et al. (2018), arXiv 1711.11248.
    """

    stem: nn.Module
    down: nn.ModuleList
    coarser: nn.ModuleList
    bottom: nn.Module
    finer: nn.ModuleList
    up: nn.ModuleList
    merge: nn.ModuleList

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        maker: Maker = "2d",
        n_levels: int = 3,
        n_filters: int = 32,
        growth: float = 1.5,
        widening: int = 1,
        n_blocks: int = 2,
        kernel: int = 3,
        kernel_time: int = 3,
        merge: Merge = "skips",
        encoder: Encoder = "residual",
        interpolation: Interpolation = "linear",
        norm: Norm = "group",
        dropout: float = 0.0,
        space_padding: GridPadding = "zero",
        convolution: Kind | None = None,
        filters: Filters = None,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        _check_choices(maker, merge, encoder, interpolation)
        steps = 1 if maker == "2d" else t_in
        merged = merge == "skips" and steps > 1
        levels = (MixedLevels if maker == "mixed" else FAMILIES[encoder])(
            maker_of(_kind(maker, convolution), "UNet"), c_in * (t_in if maker == "2d" else 1),
            _widths(encoder, n_levels, n_filters, growth), _kernels(maker, n_levels, kernel, kernel_time),
            steps, merged, norm, dropout, space_padding, interpolation,
            _widening(widening, merged and maker != "mixed"),
        )  # fmt: skip
        self.maker, self.encoder, self.join = maker, encoder, levels.join
        self.frames = StackFrames() if maker == "2d" else nn.Identity()
        self.whole = PadToMultiple(2 ** (n_levels - 1), space_padding)
        for name, part in levels.parts(check_count("n_blocks", n_blocks, "UNet")):
            self.add_module(name, part)
        first_filters(self, filters, "UNet")
        self.head = LeadHead(
            levels.merged_widths[0], c_out, 1 if merged else steps, leads, kernel, space_padding
        )
        if encoder == "residual":
            start_at_zero(self.head.convolution)

    @property
    def display_name(self) -> str:
        """The class with its axes, such as UNet-(2+1)D."""
        return f"{type(self).__name__}-{NAMES[self.maker]}"

    def compute(self, x: Tensor) -> Tensor:
        """Run encoder, decoder and head, and crop."""
        n_lat, n_lon = x.shape[-2:]
        y, levels = self.stem(self.frames(self.whole(x))), []
        for down, coarser in zip(self.down, self.coarser, strict=True):
            levels.append(down(y))
            y = coarser(y if self.maker == "mixed" and len(levels) == 1 else levels[-1])
        *merges, last = self.merge
        y = last(self.bottom(y))
        for merge, finer, up in zip(reversed(merges), reversed(self.finer), reversed(self.up), strict=True):
            y = up(self.join(merge(levels.pop()), finer(y)))
        return self.head(y)[..., :n_lat, :n_lon]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take the tensors of a UNet2Plus1D as well: its levels had another order."""
        n_fine = len(self.down)
        if self.encoder != "residual" and any(k.startswith(f"{prefix}down.{n_fine}.") for k in state_dict):
            present = {f"down.{n_fine}.": "bottom.0."}
            present |= {f"up.{i}.": f"up.{n_fine - 1 - i}." for i in range(n_fine)}
            renamed = {
                key: prefix + new + key.removeprefix(prefix + old)
                for old, new in present.items()
                for key in state_dict
                if key.startswith(prefix + old)
            }
            values = {new: state_dict.pop(old) for old, new in renamed.items()}
            state_dict.update(values)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _check_choices(maker: Maker, merge: Merge, encoder: Encoder, interpolation: Interpolation) -> None:
    check_choice("maker", maker, get_args(Maker), "UNet")
    check_choice("merge", merge, get_args(Merge), "UNet")
    check_choice("encoder", encoder, get_args(Encoder), "UNet")
    check_choice("interpolation", interpolation, get_args(Interpolation), "UNet")
    if maker == "mixed" and (merge, encoder) != ("skips", "residual"):
        raise ConfigError(
            f"UNet with maker mixed has merge {merge!r} and encoder {encoder!r}; expected 'skips' and "
            "'residual', since it has no axis of time on the full grid. Leave both at their defaults, or set "
            "maker to 3d."
        )


def _kind(maker: Maker, convolution: Kind | None) -> Kind:
    """Kind of the convolutions: `convolution`, or that of the maker."""
    if maker == "2plus1d" and convolution not in (None, "factored", "light"):
        raise ConfigError(
            f"convolution of UNet with maker 2plus1d is {convolution!r}; expected factored or light, which "
            "convolve in space, then in time. For another one set maker to 3d."
        )
    return convolution or ("factored" if maker == "2plus1d" else "full")


def _widths(encoder: Encoder, n_levels: int, n_filters: int, growth: float) -> tuple[int, ...]:
    """Number of channels of each level."""
    if not growth >= 1:
        raise ConfigError(f"growth of UNet is {growth}; expected at least 1.")
    divisor = GROUP if encoder == "residual" else 1
    widths = [check_count("n_filters", n_filters, "UNet")]
    for _ in range(check_count("n_levels", n_levels, "UNet") - 1):
        widths.append(-(-round(widths[-1] * growth) // divisor) * divisor)
    return tuple(widths)


def _widening(widening: int, merged: bool) -> int:
    """Ratio of the filters of the decoder to those of the encoder."""
    if check_count("widening", widening, "UNet") > 1 and not merged:
        raise ConfigError(
            f"widening of UNet is {widening}; expected 1 where frames are not joined on every level. Set "
            "maker to 2plus1d or 3d, merge to skips, and give several frames, or leave it at its default."
        )
    return widening


def _kernels(maker: Maker, n_levels: int, kernel: int, kernel_time: int) -> tuple[Triple, ...]:
    """Kernel of each level."""
    k, t = check_odd("kernel", kernel, "UNet"), check_odd("kernel_time", kernel_time, "UNet")
    first = 1 if maker in ("2d", "mixed") else t
    others = 1 if maker == "2d" else t
    return ((first, k, k), *[(others, k, k)] * (n_levels - 1))
