"""Whole networks, each one (batch, channel, time, lat, lon) in and out."""

from stconv.models.baselines import Climatology, Increment, Persistence
from stconv.models.probe import frames_seen
from stconv.models.registry import REGISTRY, Network, build, describe, register
from stconv.models.stacks import Conv2Plus1D, Conv3D
from stconv.models.stconvs2s import STConvS2S

__all__ = [
    "REGISTRY",
    "Climatology",
    "Conv2Plus1D",
    "Conv3D",
    "Increment",
    "Network",
    "Persistence",
    "STConvS2S",
    "build",
    "describe",
    "frames_seen",
    "register",
]
