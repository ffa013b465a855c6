"""Layers that turn frames into channels and back, for networks in two dimensions."""

from __future__ import annotations

from torch import Tensor, nn


class StackFrames(nn.Module):
    """Turn frames into channels: (batch, c, t, lat, lon) to (batch, c t, 1, lat, lon)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the frames as channels; the frames of one channel are adjacent, the newest last."""
        return x.flatten(1, 2).unsqueeze(2)


class UnstackFrames(nn.Module):
    """Undo `StackFrames`: (batch, c t, 1, lat, lon) to (batch, c, t, lat, lon).

    Args:
        steps: Number of frames t.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels as frames."""
        return x.squeeze(2).unflatten(1, (-1, self.steps))
