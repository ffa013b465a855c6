"""Padding of (batch, channel, time, lat, lon) tensors, in time and in space.

| time      | outputs            | each step sees                                        |
|-----------|--------------------|-------------------------------------------------------|
| symmetric | as many as inputs  | (k-1)/2 steps before and after itself; zeros outside  |
| causal    | as many as inputs  | itself and the k-1 steps before it; zeros outside     |
| valid     | k-1 fewer          | k steps, none outside the frames                      |

| space     | outputs            | outside the grid                                      |
|-----------|--------------------|-------------------------------------------------------|
| zero      | as many as inputs  | zeros                                                 |
| replicate | as many as inputs  | the nearest cell of the grid                          |
| periodic  | as many as inputs  | in longitude the opposite edge; in latitude zeros     |
| valid     | k-1 fewer          | not used                                              |

k is the dilated size, dilation * (kernel - 1) + 1; the numbers of outputs are for stride 1.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.nn.cells import channels_innermost, from_cells, in_cells, to_cells
from stconv.nn.fast_paths import takes_fast_paths
from stconv.nn.settings import Triple, check_choice

TimePadding = Literal["symmetric", "causal", "valid"]
Steps = tuple[int, int]
"""Steps of zeros before and after the frames; a negative number drops frames."""
GridPadding = Literal["zero", "replicate", "periodic"]
"""Paddings that keep the grid, as a forecast requires."""
SpacePadding = Literal[GridPadding, "valid"]


class Pad(nn.Module):
    """Pad time with zeros, and space with zeros, edge values or periodically.

    Args:
        time: Steps to add before the oldest and after the newest frame; a negative number crops.
        lat: Rows to add on either side.
        lon: Columns to add on either side.
        space: Values of the added rows and columns: zero, replicate or periodic.
    """

    def __init__(
        self, time: tuple[int, int], lat: int = 0, lon: int = 0, space: GridPadding = "zero"
    ) -> None:
        super().__init__()
        self.time, self.lat, self.lon, self.space = time, lat, lon, space
        rows, columns = (lat, lat), (lon, lon)
        self._zeros: tuple[int, ...] = {
            "zero": columns + rows + time,
            "periodic": (0, 0, *rows, *time),
            "replicate": (0, 0, 0, 0, *time),
        }[space]
        self._copies: tuple[int, ...] = {
            "zero": (0, 0, 0, 0, 0, 0),
            "periodic": (*columns, 0, 0, 0, 0),
            "replicate": (*columns, *rows, 0, 0),
        }[space]
        self._mode = "circular" if space == "periodic" else "replicate"

    def forward(self, x: Tensor) -> Tensor:
        """Return the padded tensor."""
        if any(self._copies):
            x = F.pad(x, self._copies, mode=self._mode)
        if not any(self._zeros):
            return x
        in_time = self.lat == self.lon == 0  # such padding mostly precedes a convolution in time
        if takes_fast_paths(x) and (in_cells(x) or (in_time and channels_innermost(x))):
            columns, rows, time = (self._zeros[i : i + 2] for i in (0, 2, 4))
            return from_cells(F.pad(to_cells(x), (0, 0, *time, 0, 0, *columns, *rows)))
        return F.pad(x, self._zeros)

    def extra_repr(self) -> str:
        """Return the settings shown when the module is printed."""
        return f"time={self.time}, lat={self.lat}, lon={self.lon}, space={self.space}"


def plan_padding(
    kernel: Triple, dilation: Triple, time: TimePadding | Steps, space: SpacePadding, where: str
) -> tuple[nn.Module, Triple, Steps]:
    """Divide the padding between a module that runs first and the convolution's own zeros.

    Copied cells are added by the module. Zeros are left to the convolution, which need not multiply them.

    Returns:
        The module (an identity if nothing is copied), the convolution's own padding along (time, lat, lon),
        the same on both sides, and further steps of zeros before and after the frames.

    Raises:
        ConfigError: A mode is unknown, or an even window has no center to pad around.
    """
    if isinstance(time, str):
        check_choice("time_padding", time, get_args(TimePadding), where)
    check_choice("space_padding", space, get_args(SpacePadding), where)
    t, lat, lon = (d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    for dim, extra, centered in (
        ("time", t, time == "symmetric"),
        ("lat", lat, space != "valid"),
        ("lon", lon, space != "valid"),
    ):
        if centered and extra % 2:
            raise ConfigError(
                f"the kernel of {where} spans {extra + 1} along {dim}, which has no center to pad around; "
                f"expected an odd span. Use an odd kernel or the padding 'valid'"
                f"{', or causal padding' if dim == 'time' else ''}."
            )
    around = (t, 0) if time == "causal" else (0, 0) if isinstance(time, str) else time
    centered_space = (lat // 2, lon // 2)
    copied = centered_space if space in ("replicate", "periodic") else (0, 0)
    own = (t // 2 if time == "symmetric" else 0, *(centered_space if space == "zero" else (0, 0)))
    if space != "valid" and any(copied):
        return Pad((0, 0), *copied, space), own, around
    return nn.Identity(), own, around
