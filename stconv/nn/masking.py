"""Random masks of windows, for training that reconstructs what is masked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from stconv.errors import ConfigError
from stconv.nn.settings import check_choice, check_count

Kind = Literal["frames", "patches", "tubes"]


@dataclass(frozen=True)
class Masking:
    """The part of each window that is masked.

    The same number of units is masked in every window: round(share * units), at least one, and at least one
    is left. Which ones is drawn uniformly without replacement. A unit is masked in all input variables.

    Attributes:
        kind: Units of the mask: whole frames, patches (squares of cells in one frame), or tubes (squares of
            cells in all frames).
        share: Share of the units that is masked, between 0 and 1.
        patch: Cells along each side of a square; squares at the end of the grid may be smaller.

    Raises:
        ConfigError: A setting is out of its range.

    Source:
        He et al. (2022), arXiv 2111.06377, section 3 (a fixed share of patches, drawn uniformly); Tong et al.
        (2022), arXiv 2203.12602, section 3.3 (tubes).
    """

    kind: Kind = "frames"
    share: float = 0.4
    patch: int = 4

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, get_args(Kind), "masking")
        if not 0 < self.share < 1:
            raise ConfigError(f"share of masking is {self.share}; expected above 0 and below 1, such as 0.4.")
        check_count("patch", self.patch, "masking")

    def units(self, t_in: int, n_lat: int, n_lon: int) -> tuple[int, int, int]:
        """Return the number of units along (time, lat, lon).

        Raises:
            ConfigError: The window has a single unit, so that nothing would be left to reconstruct it from.
        """
        rows, columns = -(-n_lat // self.patch), -(-n_lon // self.patch)
        found = {
            "frames": (t_in, 1, 1),
            "patches": (t_in, rows, columns),
            "tubes": (1, rows, columns),
        }[self.kind]
        if found == (1, 1, 1):
            raise ConfigError(
                f"masking by {self.kind} makes one unit of a window with {t_in} frames of {n_lat} x {n_lon} "
                f"cells (patch {self.patch}); expected at least two. Use more input frames, a smaller patch, "
                "or another kind."
            )
        return found

    def draw(self, t_in: int, n_lat: int, n_lon: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw the mask of one window.

        Args:
            t_in: Number of input frames.
            n_lat: Number of cells along lat.
            n_lon: Number of cells along lon.
            generator: Source of randomness; torch's own by default.

        Returns:
            True where the window is masked, bool, (time, lat, lon).
        """
        shape = self.units(t_in, n_lat, n_lon)
        n = shape[0] * shape[1] * shape[2]
        masked = torch.zeros(n, dtype=torch.bool)
        masked[torch.randperm(n, generator=generator)[: min(max(round(self.share * n), 1), n - 1)]] = True
        mask = masked.view(shape)
        if self.kind != "frames":
            mask = mask.repeat_interleave(self.patch, 1).repeat_interleave(self.patch, 2)
        return mask[:, :n_lat, :n_lon].expand(t_in, n_lat, n_lon)
