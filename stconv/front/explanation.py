"""A look inside a network: layers, cost, receptive field, pictures of filters and feature maps."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.errors import ConfigError
from stconv.front.contained import contained

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Console

    from stconv.bundle import Bundle
    from stconv.explain import Explanation
    from stconv.models import Network

CONFIGURATION = (".yaml", ".yml")
"""Endings of a configuration."""
UNFOLDED = 1000
"""Characters in a line where lines are not folded, as in a pipe or a file."""


@dataclass(frozen=True, repr=False)
class Explained:
    """Layers, cost and receptive field of a network.

    Attributes:
        explanation: All of it as numbers.
        pictures: Pictures that were drawn.
    """

    explanation: Explanation
    pictures: Sequence[Path] = ()

    def to_json(self) -> dict[str, Any]:
        """Return numbers, and the paths of the pictures, as JSON values."""
        return {**self.explanation.to_json(), "pictures": [str(path) for path in self.pictures]}

    def show(self, console: Console) -> None:
        """Print tables of layers and frames on a console of rich."""
        from stconv.explain.table import print_explanation

        print_explanation(self.explanation, console)

    def __repr__(self) -> str:
        from rich.console import Console

        written = io.StringIO()
        self.show(Console(file=written, width=UNFOLDED, highlight=False))
        return "\n".join(line.rstrip() for line in written.getvalue().rstrip().splitlines())

    def _repr_html_(self) -> str:
        from stconv.front.html import explanation_html

        return explanation_html(self.explanation, self.pictures)


@contained
def explain(
    what: str | Path,
    data: xr.Dataset | None = None,
    *,
    grid: tuple[int, int] | None = None,
    plot: str | Path | None = None,
    run: str | None = None,
    inputs: Sequence[str] | None = None,
    visualize: Sequence[tuple[str, int]] = (),
    say: Callable[[str], None] | None = None,
) -> Explained:
    """Explain the network of a configuration, untrained, or of a bundle.

    Args:
        what: File of a configuration (.yaml), or a reference as for `stconv.load`.
        data: The data of a configuration, if they are in memory.
        grid: Rows and columns to count for; default: those of the network, the data or the bundle.
        plot: Folder for pictures of the first layer's filters, and of what `inputs` and `visualize` ask for.
        run: Run in MLflow that table, JSON and pictures are put on: an id or a name.
        inputs: Files with the newest window of a bundle, which is run for feature maps.
        visualize: Layers and channels to draw the input for that maximizes them, by gradient ascent.
        say: Takes each remark on the way.

    Raises:
        ConfigError: The configuration is not understood, or an argument needs another.
    """
    from stconv.bundle import Bundle
    from stconv.experiments.networks import grid_of_bundle, grid_of_config, network_of_config
    from stconv.explain import explain
    from stconv.tracking.registry import resolve_bundle

    bundle = None
    if str(what).endswith(CONFIGURATION):
        network, module = network_of_config(Path(what))
        module.dataset = data
        channels = list(module.settings.visible)
    else:
        bundle = Bundle.load(resolve_bundle(str(what)))
        network, channels = bundle.network, list(bundle.preparation.settings.visible)
    _check_pictures(inputs, visualize, of_bundle=bundle is not None, has_folder=bool(plot or run))
    found, spacing = (
        grid_of_bundle(bundle)
        if bundle is not None
        else (grid, None)
        if grid is not None
        else grid_of_config(network, module, say or _nothing)
    )
    cells = grid or found
    explanation = explain(network, *cells, spacing)
    folder = None if plot is None else Path(plot)
    drawn = _pictures(explanation, network, channels, bundle, folder, run, inputs, visualize)
    return Explained(explanation, drawn)


def _pictures(
    explanation: Explanation,
    network: Network,
    channels: list[str],
    bundle: Bundle | None,
    folder: Path | None,
    run: str | None,
    inputs: Sequence[str] | None,
    visualize: Sequence[tuple[str, int]],
) -> list[Path]:
    """Draw to the folder, or to that of the run, and put all on the run."""
    from stconv.experiments.explanation import (
        draw_network,
        draw_optima,
        explanation_folder,
        logger_of_run,
        put_on_run,
    )

    logger = None if run is None else logger_of_run(run)
    folder = folder if logger is None else explanation_folder(logger)
    if folder is None:
        return []
    pictures = draw_network(network, channels, folder, bundle, list(inputs or []))
    pictures += draw_optima(network, channels, folder, list(visualize), explanation.grid)
    if logger is not None:
        put_on_run(explanation, folder, logger)
    return pictures


def _check_pictures(
    inputs: Sequence[str] | None, visualize: Sequence[tuple[str, int]], of_bundle: bool, has_folder: bool
) -> None:
    """Refuse pictures without a folder for them, or without trained weights."""
    if inputs and not (of_bundle and has_folder):
        raise ConfigError(
            "--input needs a bundle, whose network is trained and whose data are known, and --plot DIR "
            "or --run RUN. Give both, or leave --input out."
        )
    if visualize and not has_folder:
        raise ConfigError("--visualize needs --plot DIR or --run RUN, which say where the pictures go.")


def _nothing(text: str) -> None:
    """Say nothing."""
