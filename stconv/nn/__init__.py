"""Blocks in plain PyTorch for tensors (batch, channel, time, lat, lon); nothing else is needed for them.

Every convolution has the same constructor, `ConvolutionMaker`: `Convolution`, `Factored`,
`LightFactored`, `DepthwiseSeparable`, `AxisSeparable`, `Transposed` and `Dense` can take each other's place.
"""

from stconv.nn.conv import Convolution, ConvolutionMaker, Factored, LightFactored
from stconv.nn.conv3d import Conv3d
from stconv.nn.damping import Damping
from stconv.nn.dense import Dense
from stconv.nn.fast_paths import only_torch
from stconv.nn.freezing import Freezing
from stconv.nn.generator import Generator
from stconv.nn.heads import LeadHead
from stconv.nn.kinds import maker_of
from stconv.nn.mixed import mixed, spatial
from stconv.nn.mixer import GatedAttention
from stconv.nn.norm import ChannelNorm
from stconv.nn.padding import Pad
from stconv.nn.pool import Pool
from stconv.nn.recurrent import ConvLSTMCell, SpatioTemporalCell
from stconv.nn.residual import Residual, residual_block
from stconv.nn.reversal import reversal_layer
from stconv.nn.separable import AxisSeparable, DepthwiseSeparable
from stconv.nn.stack import stack
from stconv.nn.transposed import Transposed

__all__ = [
    "AxisSeparable",
    "ChannelNorm",
    "Conv3d",
    "ConvLSTMCell",
    "Convolution",
    "ConvolutionMaker",
    "Damping",
    "Dense",
    "DepthwiseSeparable",
    "Factored",
    "Freezing",
    "GatedAttention",
    "Generator",
    "LeadHead",
    "LightFactored",
    "Pad",
    "Pool",
    "Residual",
    "SpatioTemporalCell",
    "Transposed",
    "maker_of",
    "mixed",
    "only_torch",
    "residual_block",
    "reversal_layer",
    "spatial",
    "stack",
]
