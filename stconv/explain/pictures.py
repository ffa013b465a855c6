"""Pictures of a network: the filters of its first layer, and the feature maps of a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.explain.optimum import Optimum
from stconv.models.registry import Network
from stconv.spacing import evenly_spaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_FILTERS, MAX_CHANNELS, MAX_LAYERS = 12, 8, 7
CONVOLUTIONS = nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d
SIGNED, FIELD = "RdBu_r", "viridis"
DPI = 110


def filters_plot(network: Network, path: str | Path, channels: Sequence[str] = ()) -> Path:
    """Draw the filters of the first convolution, one per row, with a column for each channel and tap in time.

    It is the first convolution to run whose kernel is larger than a single cell. If there are many filters,
    those with the largest weights are drawn. All share one color scale, symmetric about zero.

    Args:
        network: Network.
        path: File to write; its suffix determines the format.
        channels: Names of the input channels.

    Raises:
        ConfigError: The network has no convolution.
    """
    name, conv = _first_convolution(network)
    weight = conv.weight.detach().cpu().numpy()
    weight = weight.reshape(*weight.shape[:2], -1, *weight.shape[-2:])  # (filter, channel, time, lat, lon)
    order = np.argsort(-np.abs(weight).sum(axis=(1, 2, 3, 4)))[:MAX_FILTERS]
    shown = weight[np.sort(order)]
    labels = _columns(conv, network, channels)
    keep = min(len(labels), 3 * MAX_CHANNELS)
    planes = shown.reshape(len(shown), -1, *shown.shape[-2:])[:, :keep]
    limit = float(np.abs(planes).max()) or 1.0
    side = 0.62 if keep > 8 else 0.85
    figure = _figure(1.6 + side * keep, 1.35 + side * len(planes))
    axes = figure.subplots(len(planes), keep, squeeze=False)
    image: Any = None
    for row, (number, planes_of_one) in enumerate(zip(np.sort(order), planes, strict=True)):
        for column, plane in enumerate(planes_of_one):
            ax = axes[row, column]
            image = ax.imshow(plane, cmap=SIGNED, vmin=-limit, vmax=limit, origin="lower")
            ax.set(xticks=[], yticks=[])
            if row == 0:
                ax.set_title(labels[column], fontsize=7)
        axes[row, 0].set_ylabel(f"{number}", rotation=0, ha="right", va="center", fontsize=8)
    figure.colorbar(image, ax=axes, label="weight", shrink=0.9, aspect=30)
    count = f"{len(planes)} of {len(weight)}" if len(planes) < len(weight) else str(len(weight))
    figure.suptitle(f"Filters of the first convolution\n{name} ({count}; north is up)", fontsize=9)
    return _save(figure, path)


class FeatureMaps:
    """Context that records the outputs of a network's convolutions.

    Args:
        network: Network to record.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.maps: dict[str, np.ndarray] = {}
        """Output of each block for the first window at its newest step, (channel, lat, lon)."""
        self._handles: list[Any] = []

    def __enter__(self) -> FeatureMaps:
        hooked: set[str] = set()
        for name, module in self.network.named_modules():
            # the block around a convolution includes its normalization and activation
            block = name.rpartition(".")[0] or name
            if isinstance(module, CONVOLUTIONS) and block not in hooked:
                hooked.add(block)
                watched = self.network.get_submodule(block)
                self._handles.append(watched.register_forward_hook(self._hook(block)))
        return self

    def __exit__(self, *_error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Any:
        def remember(_module: nn.Module, _args: Any, output: Tensor) -> None:
            newest = output[0, :, -1] if output.ndim == 5 else output[0]
            self.maps.setdefault(name, newest.detach().cpu().numpy())

        return remember


def features_plot(maps: Mapping[str, np.ndarray], path: str | Path, title: str = "") -> Path:
    """Draw feature maps, one layer per row, with the channels of largest variance.

    Each map has its own color scale, with its range below, since layers differ by orders of magnitude.

    Args:
        maps: Feature maps by layer, (channel, lat, lon), as `FeatureMaps` records them.
        path: File to write; its suffix determines the format.
        title: Title of the picture.

    Raises:
        ConfigError: There are no maps.
    """
    maps = {name: values for name, values in maps.items() if values[0].size > 1}
    if not maps:
        raise ConfigError("The network has no convolution, so there are no feature maps to draw.")
    names = evenly_spaced(list(maps), MAX_LAYERS)
    n_columns = max(min(len(maps[name]), MAX_CHANNELS) for name in names)
    rows, columns = maps[names[0]].shape[-2:]
    width = 1.5
    height = min(max(width * rows / columns, 0.7), 2.2) + 0.36
    figure = _figure(1.3 + width * n_columns, 0.6 + height * len(names))
    axes = figure.subplots(len(names), n_columns, squeeze=False)
    for row, name in enumerate(names):
        values = maps[name]
        chosen = np.sort(np.argsort(-values.var(axis=(1, 2)))[:n_columns])
        for column in range(n_columns):
            ax = axes[row, column]
            if column >= len(chosen):
                ax.axis("off")
                continue
            plane = values[chosen[column]]
            ax.imshow(plane, cmap=FIELD, origin="lower", aspect="auto")
            ax.set(xticks=[], yticks=[])
            ax.set_xlabel(f"{plane.min():.2g} to {plane.max():.2g}", fontsize=6.5, labelpad=2)
            ax.set_title(f"channel {chosen[column]}", fontsize=7, pad=2)
        label = f"{name}\n{len(values)} ch., {values.shape[-2]}x{values.shape[-1]}"
        axes[row, 0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=7.5, labelpad=8)
    figure.suptitle(title or "Feature maps at the newest step", fontsize=10)
    return _save(figure, path)


def optimum_plot(found: Optimum, path: str | Path, channels: Sequence[str] = ()) -> Path:
    """Draw the input that a channel responds to most: a row for each input channel, a column per frame.

    All share one color scale, symmetric about zero, in normalized units.

    Args:
        found: As `find_optimum` returns it.
        path: File to write; its suffix sets the format.
        channels: Names of the input channels.
    """
    n_channels, n_frames, n_lat, n_lon = found.field.shape
    shown = min(n_channels, MAX_CHANNELS)
    names = channels if len(channels) == n_channels else [f"ch. {i}" for i in range(n_channels)]
    limit = float(np.abs(found.field).max()) or 1.0
    width = 1.5
    height = min(max(width * n_lat / n_lon, 0.5), 2.2)
    figure = _figure(1.8 + width * n_frames, 0.8 + height * shown)
    axes = figure.subplots(shown, n_frames, squeeze=False)
    image: Any = None
    for row in range(shown):
        for frame in range(n_frames):
            ax = axes[row, frame]
            plane = found.field[row, frame]
            image = ax.imshow(plane, cmap=SIGNED, vmin=-limit, vmax=limit, origin="lower", aspect="auto")
            ax.set(xticks=[], yticks=[])
            if row == 0:
                ax.set_title(f"t{frame - n_frames + 1:+d}" if frame < n_frames - 1 else "t", fontsize=8)
        axes[row, 0].set_ylabel(names[row], fontsize=8)
    figure.colorbar(image, ax=axes, label="normalized", shrink=0.9, aspect=30)
    count = f", {shown} of {n_channels} input channels" if shown < n_channels else ""
    figure.suptitle(f"Input that maximizes channel {found.channel} of {found.layer}{count}", fontsize=9)
    return _save(figure, path)


def _first_convolution(network: Network) -> tuple[str, nn.Conv2d | nn.Conv3d]:
    """Return the first convolution to run, preferably not one of a single cell, such as a projection."""
    from stconv.explain.anatomy import anatomy

    modules, found = dict(network.named_modules()), []
    for layer in anatomy(network, (network.c_in, network.t_in, *(network.own_grid or (16, 16)))):
        module = modules.get(f"{layer.name}.conv", modules[layer.name])
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            found.append((layer.name, module))
    if not found:
        raise ConfigError(f"{type(network).__name__} has no convolution, so there are no filters to draw.")
    return next((pair for pair in found if max(pair[1].kernel_size[-2:]) > 1), found[0])


def _columns(conv: nn.Conv2d | nn.Conv3d, network: Network, channels: Sequence[str]) -> list[str]:
    """Return the title of each plane (channel, tap) of the filter."""
    taps = conv.kernel_size[0] if isinstance(conv, nn.Conv3d) else 1
    stacked = conv.in_channels == network.c_in * network.t_in and taps == 1 and network.t_in > 1
    n_times = network.t_in if stacked else taps
    n_channels = conv.in_channels // (network.t_in if stacked else 1)
    names = channels if len(channels) == n_channels else [f"ch. {i}" for i in range(n_channels)]
    times = [f"t{i - n_times + 1:+d}" if i < n_times - 1 else "t" for i in range(n_times)]
    return [f"{name}\n{time}" if n_times > 1 else name for name in names for time in times]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, bbox_inches="tight", pad_inches=0.15)
    return path
