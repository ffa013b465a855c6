"""The video network R(2+1)D-18 as an event network, with published weights from a file."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from stconv.errors import ConfigError, FileError
from stconv.models.events import EventNetwork, LayerStyle
from stconv.models.registry import register
from stconv.nn.conv import middle_width
from stconv.nn.dense import Dense
from stconv.nn.norm import Norm
from stconv.nn.pool import Pool
from stconv.nn.residual import Residual, channel_dropout

PUBLISHED_HEAD = "fc."
"""Names of the dense layer in published files; it is specific to the classes of their data set."""


def _factored(c_in: int, c_out: int, middle: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(c_in, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        nn.BatchNorm3d(middle), nn.ReLU(),
        nn.Conv3d(middle, c_out, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
    )  # fmt: skip


def _block(c_in: int, c_out: int, stride: int) -> Residual:
    """Two (2+1)D convolutions that share the middle width of the first, with a shortcut."""
    middle = middle_width(c_in, c_out, (3, 3, 3))
    body = nn.Sequential(
        OrderedDict(
            conv1=nn.Sequential(_factored(c_in, c_out, middle, stride), nn.BatchNorm3d(c_out), nn.ReLU()),
            conv2=nn.Sequential(_factored(c_out, c_out, middle, 1), nn.BatchNorm3d(c_out)),
        )
    )
    shortcut = None
    if stride > 1 or c_in != c_out:
        shortcut = nn.Sequential(nn.Conv3d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm3d(c_out))
    return Residual(body, shortcut, "relu")


@register
class R2Plus1D18(EventNetwork):
    """Eight residual blocks of two (2+1)D convolutions, three halvings of time and grid, and a dense layer.

    The middle width is computed once per block, from its first convolution, as in the published network; with
    three input channels and 400 classes it has the published 31,505,325 parameters. Any number of frames is
    accepted.

    Source:
        Tran et al. (2018), arXiv 1711.11248, R(2+1)D-18; the widths of torchvision's `r2plus1d_18`.
    """

    averaged = True
    published_norm = "batch"

    @staticmethod
    def make_features(c_in: int, style: LayerStyle) -> nn.Sequential:
        """Return the stem and four pairs of blocks.

        Raises:
            ConfigError: The time kernel or the normalization is not the published one.
        """
        if (style.kernel_time, style.norm) != (3, "batch"):
            raise ConfigError(
                f"kernel_time and norm of R2Plus1D18 are {style.kernel_time} and {style.norm!r}; expected 3 "
                "and 'batch', as published."
            )
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["stem"] = nn.Sequential(
            nn.Conv3d(c_in, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False), nn.BatchNorm3d(45), nn.ReLU(),
            nn.Conv3d(45, 64, (3, 1, 1), 1, (1, 0, 0), bias=False), nn.BatchNorm3d(64), nn.ReLU(),
        )  # fmt: skip
        before = 64
        for i, width in enumerate((64, 128, 256, 512), start=1):
            stride = 1 if i == 1 else 2
            parts[f"layer{i}"] = nn.Sequential(_block(before, width, stride), _block(width, width, 1))
            before = width
        return nn.Sequential(parts)

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        grid: tuple[int, int] | list[int],
        kernel_time: int = 3,
        norm: Norm | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            c_in, c_out, t_in, leads, grid=grid, kernel_time=kernel_time, norm=norm, dropout=dropout
        )

    def _dense(self, dropout: float, style: LayerStyle) -> nn.Sequential:
        """Return a global average followed by a dense layer."""
        channels, size = self._left(self.grid)
        steps = -(-self.t_in // 8)
        return nn.Sequential(
            Pool("average", (steps, *size), 1),
            channel_dropout(dropout),
            Dense(channels, self.c_out * self.leads, 1, activation="none"),
        )


def load_video_weights(network: R2Plus1D18, path: str | Path) -> list[str]:
    """Load published weights from a file, except the dense layer if its size differs.

    Args:
        network: Network that receives the weights.
        path: State dictionary with the names of torchvision, as .safetensors or from `torch.save`; only
            tensors are read, and no code is run.

    Returns:
        The names in the file that were not loaded.

    Raises:
        FileError: The file is missing or cannot be read as tensors.
        ConfigError: A tensor is missing, left over, or has another shape.
    """
    found, own = _read(Path(path)), network.state_dict()
    named = {_own_name(name): (name, tensor) for name, tensor in found.items()}
    dense = next(name for name in own if name.startswith("classifier.") and name.endswith("weight"))
    weight = named.get(dense)
    if weight is not None and weight[1].ndim == 2:
        named[dense] = (weight[0], weight[1][:, :, None, None, None])
    left_out = []
    if dense not in named or named[dense][1].shape != own[dense].shape:
        left_out = sorted(named.pop(name)[0] for name in [n for n in named if n.startswith("classifier.")])
        named |= {name: (name, own[name]) for name in own if name.startswith("classifier.")}
    wrong = sorted(
        [f"{name} is missing" for name in own.keys() - named.keys()]
        + [f"{named[name][0]} is unknown" for name in named.keys() - own.keys()]
        + [
            f"{named[name][0]} has {tuple(named[name][1].shape)} instead of {tuple(own[name].shape)}"
            for name in own.keys() & named.keys()
            if named[name][1].shape != own[name].shape
        ]
    )
    if wrong:
        raise ConfigError(
            f"'{path}' does not hold the weights of this {type(network).__name__}: {'; '.join(wrong[:5])}"
            f"{f' and {len(wrong) - 5} more' if len(wrong) > 5 else ''}. Expected those of r2plus1d_18, "
            "whose input has three channels."
        )
    network.load_state_dict({name: tensor for name, (_, tensor) in named.items()})
    return left_out


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileError(f"no file '{path}'; expected a state dictionary as .safetensors or .pth.")
    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader raises its own types of error
        raise FileError(f"'{path}' cannot be read as tensors ({error}). Save a state dictionary.") from error
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise FileError(
            f"'{path}' holds {type(found).__name__}; expected a state dictionary: names to tensors."
        )
    return found


def _own_name(name: str) -> str:
    """Translate a parameter name of torchvision to the one used here."""
    if name.startswith(PUBLISHED_HEAD):
        return "classifier.2.conv." + name.removeprefix(PUBLISHED_HEAD)
    for theirs, ours in (
        (".conv1.", ".body.conv1."),
        (".conv2.", ".body.conv2."),
        (".downsample.", ".shortcut."),
    ):
        name = name.replace(theirs, ours)
    return "features." + name
