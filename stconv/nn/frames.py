"""Frames as channels: what a network in two dimensions makes of (batch, channel, time, lat, lon)."""

from __future__ import annotations

from torch import Tensor, nn


class StackFrames(nn.Module):
    """Lay the steps of each channel side by side: (batch, c, t, lat, lon) to (batch, c t, 1, lat, lon)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the frames as channels, those of a channel next to each other, the newest last."""
        return x.flatten(1, 2).unsqueeze(2)


class UnstackFrames(nn.Module):
    """The reverse of `StackFrames`: (batch, c t, 1, lat, lon) to (batch, c, t, lat, lon).

    Args:
        steps: t.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels as frames."""
        return x.squeeze(2).unflatten(1, (-1, self.steps))
