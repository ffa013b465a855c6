"""Losses of training, averaged over valid cells and weighted by area.

Each is called as `loss(prediction, target, weight) -> scalar` on normalized values. `weight` is 0 where the
target is missing (`target` must be finite there too) and elsewhere proportional to the cell's area. A
`DistributionLoss` takes the members of a forecast (`Network.members`) instead of their mean.
"""

from stconv.losses.distribution import CRPS, DistributionLoss, GaussianCRPS
from stconv.losses.event import EventLoss
from stconv.losses.fields import (
    LogCosh,
    MaskedHuber,
    MaskedMAE,
    MaskedMSE,
    PointwiseLoss,
    Quantile,
    RootMSE,
    Spectral,
    weighted_mean,
)

__all__ = [
    "CRPS",
    "DistributionLoss",
    "EventLoss",
    "GaussianCRPS",
    "LogCosh",
    "MaskedHuber",
    "MaskedMAE",
    "MaskedMSE",
    "PointwiseLoss",
    "Quantile",
    "RootMSE",
    "Spectral",
    "weighted_mean",
]
