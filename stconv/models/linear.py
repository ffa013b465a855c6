"""The simplest learned forecasts: damped persistence, and a linear regression on the neighborhood."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from stconv.models.baselines import check_history
from stconv.models.registry import Network, register
from stconv.nn.damping import Damping
from stconv.nn.heads import LeadHead
from stconv.nn.padding import GridPadding
from stconv.nn.regression import Windows


@register
class DampedPersistence(Network):
    """Damped persistence: the newest frame, damped towards zero more and more with the lead.

    y[l] = damping[l] x[:, :c_out, t_in - 1]. Zero is the climatology if the data are anomalies, otherwise
    the mean of the training period.

    Args:
        c_in: Number of input channels; the targets' own history comes first.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        grid: (lat, lon) cells of the data, for a separate damping in each cell; by default all cells share
            one.

    Raises:
        ConfigError: There are fewer input than target channels, or a setting is out of its range.
    """

    def __init__(
        self, c_in: int, c_out: int, t_in: int, leads: int, *, grid: Sequence[int] | None = None
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        check_history(self)
        self.damping = Damping(c_out, leads, grid)

    @property
    def grid(self) -> tuple[int, int] | None:  # type: ignore[override]
        """Grid (lat, lon) that the damping is fitted for; None for any."""
        return self.damping.grid

    def before_training(self, training: Windows, validation: Windows) -> None:
        """Fit the damping in closed form; training starts from it."""
        self.damping.fit(training)

    def compute(self, x: Tensor) -> Tensor:
        """Damp the newest frame of the targets."""
        y: Tensor = self.damping(x)
        return y


@register
class Linear3x3(Network):
    """A linear regression on all frames of a cell and its eight neighbors, separate for each lead.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        space_padding: Values beyond the grid: zero, replicate, or periodic in longitude.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(
        self, c_in: int, c_out: int, t_in: int, leads: int, *, space_padding: GridPadding = "zero"
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        self.regression = LeadHead(c_in, c_out, t_in, leads, 3, space_padding)

    def compute(self, x: Tensor) -> Tensor:
        """Run the regression."""
        y: Tensor = self.regression(x)
        return y
