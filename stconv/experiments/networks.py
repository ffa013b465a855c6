"""The untrained network of a configuration, and the grid that a configuration or a bundle is for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stconv.bundle import Bundle
    from stconv.datasets.datamodule import GridDataModule
    from stconv.models import Network

DEFAULT_GRID = (32, 32)


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

    from stconv.datasets.datamodule import GridDataModule
    from stconv.errors import ConfigError
    from stconv.experiments.configuration import config_text, modules_of_config
    from stconv.experiments.former_keys import grouped
    from stconv.models import build
    from stconv.models.outside import import_modules

    if not path.is_file():
        raise ConfigError(
            f"No configuration '{path}'. `stconv configs list` names those that come with stconv."
        )
    try:
        config = yaml.safe_load(config_text(path))
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


def grid_of_config(
    network: Network, data: GridDataModule, say: Callable[[str], None]
) -> tuple[tuple[int, int], tuple[float, float] | None]:
    """Find the grid of a configuration, and its spacing if a file is available.

    The grid is that of the network if it is built for one, else that of the recipe if stated, else that of
    the files if available, else `DEFAULT_GRID`, with a remark through `say`.
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
            say(f"the grid of the data is unknown: {error}")
    lat, lon = DEFAULT_GRID
    say(f"counted for {lat}x{lon} cells; choose others with --grid LATxLON.")
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
