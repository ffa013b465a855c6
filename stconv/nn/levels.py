"""The parts of a U-Net, level by level: with residual blocks that start at zero, or as published."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stconv.nn.conv import Convolution, ConvolutionMaker, Sizes
from stconv.nn.frames import StackFrames
from stconv.nn.norm import Norm
from stconv.nn.padding import GridPadding
from stconv.nn.pool import Pool
from stconv.nn.pyramid import Finer
from stconv.nn.residual import channel_dropout, residual_block, zero_residual
from stconv.nn.settings import Triple
from stconv.nn.stack import stack

Interpolation = Literal["linear", "nearest"]
"""How the values of a coarse grid reach the finer one."""


@dataclass(frozen=True)
class Levels(ABC):
    """Makes the parts of a U-Net; level 0 is the full grid, and each further level has half its resolution.

    Args:
        maker: Maker of the convolutions.
        c_in: Number of input channels.
        widths: Number of channels of each level.
        kernels: Kernel (time, lat, lon) of each level.
        steps: Number of frames on the axis of time.
        merged: Whether they become one where a level enters the decoder.
        widening: Ratio of the channels of a level in the decoder to those in the encoder.
        norm: batch, group, layer or none.
        dropout: Share of channels dropped, in training.
        space_padding: zero, replicate or periodic.
        interpolation: linear or nearest.
    """

    maker: ConvolutionMaker
    c_in: int
    widths: tuple[int, ...]
    kernels: tuple[Triple, ...]
    steps: int
    merged: bool
    norm: Norm = "group"
    dropout: float = 0.0
    space_padding: GridPadding = "zero"
    interpolation: Interpolation = "linear"
    widening: int = 1

    @property
    def merged_widths(self) -> tuple[int, ...]:
        """Number of channels of each level in the decoder."""
        return tuple(self.widening * width for width in self.widths)

    @abstractmethod
    def stem(self) -> nn.Module:
        """Return what precedes the first level."""

    @abstractmethod
    def down(self, level: int, widened: bool = False) -> nn.Module:
        """Return a block of the encoder.

        Args:
            level: Number of the level.
            widened: Whether the input has the channels of this level already.
        """

    @abstractmethod
    def coarser(self, level: int) -> nn.Module:
        """Return the step from a level to the next coarser one."""

    @abstractmethod
    def finer(self, level: int) -> nn.Module:
        """Return the step to a level from the next coarser one."""

    @abstractmethod
    def up(self, level: int) -> nn.Module:
        """Return a block of the decoder."""

    @staticmethod
    @abstractmethod
    def join(fine: Tensor, coarse: Tensor) -> Tensor:
        """Join a level of the encoder and the interpolated field of the decoder."""

    def merge(self, level: int) -> nn.Module:
        """Return what makes one field of the frames of a level."""
        if not self.merged:
            return nn.Identity()
        return Convolution(
            self.widths[level], self.merged_widths[level], (self.steps, 1, 1),
            time_padding="valid", norm="none", activation="none",
        )  # fmt: skip

    def parts(self, n_blocks: int) -> Iterator[tuple[str, nn.Module]]:
        """Make all parts, by name; lists begin with the full grid.

        Args:
            n_blocks: Number of blocks at the coarsest level.
        """
        last = len(self.widths) - 1
        yield "stem", self.stem()
        yield "down", nn.ModuleList(self.down(level) for level in range(last))
        yield "coarser", nn.ModuleList(self.coarser(level) for level in range(last))
        yield "bottom", nn.Sequential(*(self.down(last, widened=i > 0) for i in range(n_blocks)))
        yield "finer", nn.ModuleList(self.finer(level) for level in range(last))
        yield "up", nn.ModuleList(self.up(level) for level in range(last))
        yield "merge", nn.ModuleList(self.merge(level) for level in range(last + 1))

    def interpolate(self) -> nn.Module:
        """Return the interpolation to a grid of twice the resolution."""
        if self.interpolation == "nearest":
            return nn.Upsample(scale_factor=(1, 2, 2), mode="nearest")
        return Finer(self.space_padding)

    def up_kernel(self, level: int) -> Triple:
        """Return the kernel of a level of the decoder."""
        t, *space = self.kernels[level]
        return (1 if self.merged else t, space[0], space[1])


class ResidualLevels(Levels):
    """Residual blocks whose last convolution starts at zero, and convolutions with stride 2 between levels.

    The coarse field of the decoder, projected and interpolated, is added to the finer one.
    """

    def stem(self) -> nn.Module:
        """Return the first convolution."""
        return self._convolution(self.c_in, self.widths[0], self.kernels[0])

    def down(self, level: int, widened: bool = False) -> nn.Module:
        """Return a residual block; the stem or the step before it has widened the input."""
        return self._block(self.widths[level], self.kernels[level])

    def coarser(self, level: int) -> nn.Module:
        """Return a convolution with stride 2."""
        fine, coarse = self.widths[level : level + 2]
        return self._convolution(fine, coarse, self.kernels[level + 1], stride=(1, 2, 2))

    def finer(self, level: int) -> nn.Module:
        """Return a projection and the interpolation."""
        fine, coarse = self.merged_widths[level : level + 2]
        project = Convolution(coarse, fine, 1, bias=True, norm="none", activation="none")
        return nn.Sequential(project, self.interpolate())

    def up(self, level: int) -> nn.Module:
        """Return a residual block."""
        return self._block(self.merged_widths[level], self.up_kernel(level))

    @staticmethod
    def join(fine: Tensor, coarse: Tensor) -> Tensor:
        """Return the sum of both fields."""
        return fine + coarse

    def _convolution(self, c_in: int, c_out: int, kernel: Triple, stride: Sizes = 1) -> nn.Module:
        return self.maker(
            c_in, c_out, kernel, stride=stride, space_padding=self.space_padding, norm=self.norm,
            activation="gelu",
        )  # fmt: skip

    def _block(self, width: int, kernel: Triple) -> nn.Module:
        return zero_residual(
            width, kernel, norm=self.norm, dropout=self.dropout, space_padding=self.space_padding,
            maker=self.maker,
        )  # fmt: skip


class MixedLevels(ResidualLevels):
    """Frames are channels on the full grid, and have an axis of their own on the coarser ones.

    So the full grid, on which most cells lie, costs no more than in two dimensions. The coarser levels read
    the frames, not the first level.
    """

    def stem(self) -> nn.Module:
        """Return an identity: the frames are read on both sides."""
        return nn.Identity()

    def down(self, level: int, widened: bool = False) -> nn.Module:
        """Return a residual block, on the full grid behind the first convolution."""
        block = super().down(level, widened)
        if level or widened:
            return block
        first = self._convolution(self.c_in * self.steps, self.widths[0], self.kernels[0])
        return nn.Sequential(StackFrames(), first, block)

    def coarser(self, level: int) -> nn.Module:
        """Return a convolution with stride 2, from the full grid on the frames."""
        fine, coarse = self.c_in if level == 0 else self.widths[level], self.widths[level + 1]
        return self._convolution(fine, coarse, self.kernels[level + 1], stride=(1, 2, 2))

    def merge(self, level: int) -> nn.Module:
        """Return what makes one field of the frames of a coarser level."""
        return super().merge(level) if level else nn.Identity()


class PublishedLevels(Levels):
    """Two convolutions on each level, a maximum between levels, and both fields side by side in the decoder.

    Source:
        Ronneberger et al. (2015), arXiv 1505.04597.
    """

    def stem(self) -> nn.Module:
        """Return an identity: the first level reads the inputs."""
        return nn.Identity()

    def down(self, level: int, widened: bool = False) -> nn.Module:
        """Return two convolutions and the dropout."""
        width = self.widths[level]
        before = width if widened else self.widths[level - 1] if level else self.c_in
        return nn.Sequential(self.two(before, width, self.kernels[level]), channel_dropout(self.dropout))

    def coarser(self, level: int) -> nn.Module:
        """Return the maximum over 2 x 2 cells."""
        return Pool("max", (1, 2, 2))

    def finer(self, level: int) -> nn.Module:
        """Return the interpolation."""
        return self.interpolate()

    def up(self, level: int) -> nn.Module:
        """Return two convolutions."""
        fine, coarse = self.merged_widths[level : level + 2]
        return PublishedLevels.two(self, fine + coarse, fine, self.up_kernel(level))

    @staticmethod
    def join(fine: Tensor, coarse: Tensor) -> Tensor:
        """Return the channels of both fields."""
        return torch.cat((fine, coarse), dim=1)

    def two(self, before: int, after: int, kernel: Triple) -> nn.Module:
        """Return the convolutions of a level."""
        return stack(
            self.maker, before, [after, after], kernel, norm=self.norm, space_padding=self.space_padding
        )


class PublishedResidualLevels(PublishedLevels):
    """The same with a shortcut around the two convolutions of each level of the encoder."""

    def two(self, before: int, after: int, kernel: Triple) -> nn.Module:
        """Return a residual block."""
        return residual_block(
            self.maker, before, after, kernel, norm=self.norm, space_padding=self.space_padding
        )
