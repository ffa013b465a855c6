"""`stconv explain`: layers, receptive field and cost of a network; pictures of filters and feature maps."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stconv.bundle import Bundle
    from stconv.datasets.datamodule import GridDataModule
    from stconv.explain import Explanation
    from stconv.models import Network
    from stconv.tracking import RunLogger

EPILOG = """examples:
  stconv explain configs/quickstart.yaml
  stconv explain configs/quickstart.yaml --grid 721x1440 --json
  stconv explain models:/air@champion --plot pictures --input analysis.nc
  stconv explain models:/air@champion --plot pictures --visualize network.features.0:3
"""
DEFAULT_GRID = (32, 32)
UNFOLDED = 1000
"""Longest line in a pipe or a file, where lines are not folded."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv explain`."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add(
        "what",
        metavar="CONFIG|MODEL",
        help="a configuration (.yaml), or a bundle: folder, runs:/..., models:/...",
    )
    add(
        "--grid",
        type=_grid,
        metavar="LATxLON",
        help="grid to count for (default: that of the network, recipe, files or bundle, or 32x32)",
    )
    add("--json", action="store_true", help="print JSON instead of a table")
    add(
        "--plot",
        type=Path,
        metavar="DIR",
        help="draw the first layer's filters, and feature maps with --input",
    )
    add(
        "--run",
        metavar="RUN",
        help="put table, JSON and pictures on this run in MLflow: an id or a name",
    )
    add(
        "--input",
        nargs="+",
        metavar="FILE",
        help="data of a bundle, whose newest window is run for feature maps",
    )
    add(
        "--visualize",
        nargs="+",
        type=_channel,
        default=[],
        metavar="LAYER[:CHANNEL]",
        help="draw the input that maximizes a channel of a layer (default: channel 0), by gradient ascent",
    )


def run(args: argparse.Namespace) -> int:
    """Explain the network; returns the exit status."""
    import json

    from stconv.errors import ConfigError
    from stconv.explain import explain
    from stconv.explain.table import print_explanation

    bundle = None
    if args.what.endswith((".yaml", ".yml")):
        network, data = network_of_config(Path(args.what))
        channels = list(data.settings.visible)
    else:
        bundle = _load(args.what)
        network, channels = bundle.network, list(bundle.preparation.settings.visible)
    if args.input and (bundle is None or (args.plot is None and args.run is None)):
        raise ConfigError(
            "--input needs a bundle, whose network is trained and whose data are known, and --plot DIR "
            "or --run RUN. Give both, or leave --input out."
        )
    if args.visualize and args.plot is None and args.run is None:
        raise ConfigError("--visualize needs --plot DIR or --run RUN, which say where the pictures go.")
    if args.grid:
        (n_lat, n_lon), spacing = args.grid, None if bundle is None else grid_of_bundle(bundle)[1]
    else:
        (n_lat, n_lon), spacing = grid_of_config(network, data) if bundle is None else grid_of_bundle(bundle)
    explanation = explain(network, n_lat, n_lon, spacing)
    run = None if args.run is None else _run_logger(args.run)
    folder = args.plot if run is None else _folder_of(run)
    pictures = []
    if folder is not None:
        pictures = _draw(network, channels, folder, bundle, args.input)
        pictures += _draw_optima(network, channels, folder, args.visualize, (n_lat, n_lon))
    if run is not None:
        _put_on_run(explanation, folder, run)
    if args.json:
        print(json.dumps({**explanation.to_json(), "pictures": [str(path) for path in pictures]}, indent=2))
    else:
        from rich.console import Console

        print_explanation(
            explanation, Console(highlight=False, width=None if sys.stdout.isatty() else UNFOLDED)
        )
        for path in pictures:
            print(f"Picture: {path}")
    return 0


def network_of_config(path: Path) -> tuple[Network, GridDataModule]:
    """Build the network of an experiment with the sizes of its data, without opening the data.

    Modules that the configuration names, under `import` or in a class path, are imported as in `stconv fit`.

    Returns:
        The untrained network, and its data module before `setup`.

    Raises:
        ConfigError: The file does not exist, or is not an experiment.
    """
    import jsonargparse
    import yaml

    from stconv.cli.former_keys import grouped
    from stconv.cli.lightning import modules_of_config
    from stconv.datasets.datamodule import GridDataModule
    from stconv.errors import ConfigError
    from stconv.models import build
    from stconv.models.outside import import_modules

    if not path.is_file():
        raise ConfigError(
            f"No configuration '{path}'. `stconv configs list` names those that come with stconv."
        )
    try:
        config = yaml.safe_load(path.read_text())
        described = config["model"]["network"]
        modules = _modules(described)
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(GridDataModule, "data")
        data = parser.instantiate(parser.parse_object({"data": grouped(config)["data"]})).data
    except (yaml.YAMLError, KeyError, TypeError, argparse.ArgumentError) as error:
        raise ConfigError(
            f"'{path}' is not an experiment with `data` and `model.network`: {error}. Compare it with "
            "those of `stconv configs list`."
        ) from error
    import_modules([*modules_of_config(path), *modules])
    sizes = {name: getattr(data, name) for name in ("c_in", "c_out", "t_in", "leads")}
    assert isinstance(data, GridDataModule)
    return build(_specification(described, sizes)), data


def _modules(described: Any) -> list[str]:
    """Modules outside of stconv in the class paths of a network and its inner networks."""
    if isinstance(described, str):
        described = {"class_path": described}
    module = str(described["class_path"]).rpartition(".")[0]
    inner = (described.get("init_args") or {}).get("network")
    found = [module] if module and module.partition(".")[0] != "stconv" else []
    return found + (_modules(inner) if inner else [])


def _specification(described: Any, sizes: dict[str, int]) -> dict[str, Any]:
    """Convert jsonargparse's description of a network to the registry's; the innermost has the sizes."""
    if isinstance(described, str):
        described = {"class_path": described}
    arguments = dict(described.get("init_args") or {})
    if "network" in arguments:
        arguments["network"] = _specification(arguments["network"], sizes)
    else:
        arguments = {**sizes, **arguments}
    return {"name": str(described["class_path"]).rpartition(".")[2], "arguments": arguments}


def _load(reference: str) -> Bundle:
    from stconv.bundle import Bundle
    from stconv.tracking.registry import resolve_bundle

    return Bundle.load(resolve_bundle(reference))


def _run_logger(reference: str) -> RunLogger:
    from stconv.tracking import RunLogger, find_run

    return RunLogger.going_on(find_run(reference))


def _folder_of(run: RunLogger) -> Path:
    from stconv.tracking.run_layout import EXPLANATION

    return Path(run.log_dir, EXPLANATION)


def _put_on_run(found: Explanation, folder: Path, logger: RunLogger) -> None:
    import json

    from rich.console import Console

    from stconv.explain.table import print_explanation

    with (folder / "explanation.txt").open("w") as file:
        print_explanation(found, Console(file=file, width=UNFOLDED, highlight=False))
    (folder / "explanation.json").write_text(json.dumps(found.to_json(), indent=2))
    logger.log_artifact(folder)
    logger.finalize("success")


def grid_of_config(
    network: Network, data: GridDataModule
) -> tuple[tuple[int, int], tuple[float, float] | None]:
    """Find the grid of a configuration, and its spacing if a file is available.

    The grid is that of the network if it is built for one, else that of the recipe if stated, else that of
    the files if available, else `DEFAULT_GRID`, with a remark.
    """
    from stconv.datasets.recipes.recipe import load_recipe
    from stconv.errors import DataError

    if network.own_grid is not None:
        return network.own_grid, None
    recipe = data.source.recipe
    if recipe is not None and load_recipe(recipe).cells:
        n_lat, n_lon = load_recipe(recipe).cells
        return (n_lat, n_lon), None
    if recipe is None:
        try:
            ds, _ = data.open()
            return _grid_along(*(ds[dim].values.tolist() for dim in ds[data.settings.variables[0]].dims[-2:]))
        except DataError as error:
            print(f"stconv: the grid of the data is unknown: {error}", file=sys.stderr)
    lat, lon = DEFAULT_GRID
    print(f"stconv: counted for {lat}x{lon} cells; choose others with --grid LATxLON.", file=sys.stderr)
    return DEFAULT_GRID, None


def grid_of_bundle(bundle: Bundle) -> tuple[tuple[int, int], tuple[float, float] | None]:
    """The grid that a bundle was trained on, and its spacing."""
    grid = bundle.contract.grid
    return _grid_along(*(grid.axes[dim] for dim in grid.dims))


def _grid_along(
    rows: list[float], columns: list[float]
) -> tuple[tuple[int, int], tuple[float, float] | None]:
    spacing = None
    if min(len(rows), len(columns)) > 1:
        spacing = (_spacing(rows), _spacing(columns))
    return (len(rows), len(columns)), spacing


def _spacing(axis: list[float]) -> float:
    return abs(axis[-1] - axis[0]) / (len(axis) - 1)


def _draw(
    network: Network, channels: list[str], folder: Path, bundle: Bundle | None, files: list[str] | None
) -> list[Path]:
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


def _draw_optima(
    network: Network,
    channels: list[str],
    folder: Path,
    wanted: list[tuple[str, int]],
    grid: tuple[int, int],
) -> list[Path]:
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


def _channel(text: str) -> tuple[str, int]:
    layer, has_channel, channel = text.partition(":")
    if not layer or (has_channel and not channel.isdecimal()):
        raise argparse.ArgumentTypeError(f"LAYER or LAYER:CHANNEL is expected, found '{text}'")
    return layer, int(channel or 0)


def _grid(text: str) -> tuple[int, int]:
    try:
        lat, lon = (int(part) for part in text.lower().split("x"))
    except ValueError:
        lat = lon = 0
    if min(lat, lon) < 1:
        raise argparse.ArgumentTypeError(f"expected two sizes such as 25x53, found '{text}'")
    return lat, lon
