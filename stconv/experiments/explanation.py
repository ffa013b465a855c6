"""Pictures of a network: its filters, feature maps, and the inputs that excite a channel most."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stconv.bundle import Bundle
    from stconv.explain import Explanation
    from stconv.models import Network
    from stconv.tracking import RunLogger

UNFOLDED = 1000
"""Longest line in a pipe or a file, where lines are not folded."""


def logger_of_run(reference: str) -> RunLogger:
    """Logger that adds to a finished run."""
    from stconv.tracking import RunLogger, find_run

    return RunLogger.going_on(find_run(reference))


def explanation_folder(run: RunLogger) -> Path:
    """Folder for the explanation, inside the folder of a run."""
    from stconv.tracking.run_layout import EXPLANATION

    return Path(run.log_dir, EXPLANATION)


def put_on_run(found: Explanation, folder: Path, logger: RunLogger) -> None:
    """Write table and JSON next to the pictures, and put them all on the run."""
    from rich.console import Console

    from stconv.explain.table import print_explanation

    with (folder / "explanation.txt").open("w") as file:
        print_explanation(found, Console(file=file, width=UNFOLDED, highlight=False))
    (folder / "explanation.json").write_text(json.dumps(found.to_json(), indent=2))
    logger.log_artifact(folder)
    logger.finalize("success")


def draw_network(
    network: Network, channels: list[str], folder: Path, bundle: Bundle | None, files: list[str] | None
) -> list[Path]:
    """Draw the first layer's filters, and with files and a bundle its feature maps."""
    from stconv.explain.pictures import FeatureMaps, features_plot, filters_plot

    pictures = [filters_plot(network, folder / "filters.png", channels)]
    if files and bundle is not None:
        from stconv.datasets.source.grid import open_series
        from stconv.forecast import Forecaster

        forecaster = Forecaster(bundle)
        ds, origin = open_series(files, forecaster.source, forecaster.names)
        with FeatureMaps(network) as seen:
            forecaster.forecast(ds, origin=origin)
        pictures.append(
            features_plot(
                seen.maps, folder / "features.png", f"{bundle.name}: feature maps at the newest step"
            )
        )
    return pictures


def draw_optima(
    network: Network,
    channels: list[str],
    folder: Path,
    wanted: list[tuple[str, int]],
    grid: tuple[int, int],
) -> list[Path]:
    """Draw the input that maximizes each wanted channel of a layer."""
    from stconv.explain.optimum import find_optimum
    from stconv.explain.pictures import optimum_plot

    return [
        optimum_plot(
            find_optimum(network, layer, channel, grid),
            folder / f"optimum_{layer}_{channel}.png",
            channels,
        )
        for layer, channel in wanted
    ]
