"""Complete networks, from and to tensors of shape (batch, channel, time, lat, lon)."""

from typing import Any

from stconv.models.advected import Advected
from stconv.models.baselines import Climatology, Increment, Persistence
from stconv.models.distribution import Ensemble, Gaussian, MembersInTurn, MonteCarloDropout, Quantiles
from stconv.models.encdec import EncoderDecoder3D
from stconv.models.events import VGG16, AlexNet, EventNetwork, LeNet5, ResNet18
from stconv.models.former import UNet2Plus1D  # noqa: F401 - configurations may still name it
from stconv.models.frame_mixer import FrameMixer
from stconv.models.linear import DampedPersistence, Linear3x3
from stconv.models.linear_residual import LinearResidual
from stconv.models.recurrent import ConvLSTM, PredRNN
from stconv.models.registry import (
    FORMER_NAMES,
    REGISTRY,
    Network,
    build,
    describe,
    modules_outside,
    present_name,
    register,
)
from stconv.models.residual import ResNet2D, ResNet2Plus1D
from stconv.models.scales import ScaleMix
from stconv.models.simvp import SimVP
from stconv.models.stacks import Conv2Plus1D, Conv3D, MixedConv
from stconv.models.stconvs2s import STConvS2S
from stconv.models.unet import UNet
from stconv.models.video import R2Plus1D18, load_video_weights
from stconv.models.wrappers import Bounded

__all__ = [
    "REGISTRY",
    "VGG16",
    "Advected",
    "AlexNet",
    "Bounded",
    "Climatology",
    "Conv2Plus1D",
    "Conv3D",
    "ConvLSTM",
    "DampedPersistence",
    "EncoderDecoder3D",
    "Ensemble",
    "EventNetwork",
    "FrameMixer",
    "Gaussian",
    "Increment",
    "LeNet5",
    "Linear3x3",
    "LinearResidual",
    "MembersInTurn",
    "MixedConv",
    "MonteCarloDropout",
    "Network",
    "Persistence",
    "PredRNN",
    "Quantiles",
    "R2Plus1D18",
    "ResNet2D",
    "ResNet2Plus1D",
    "ResNet18",
    "STConvS2S",
    "ScaleMix",
    "SimVP",
    "UNet",
    "build",
    "describe",
    "load_video_weights",
    "modules_outside",
    "register",
]


def __getattr__(name: str) -> Any:
    """Find a network by its former name, as in `class_path: stconv.models.Damped`."""
    if name not in FORMER_NAMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return REGISTRY[present_name(name)]
