"""Public data sets by name: `stconv.recipes` and `stconv.fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stconv.front.contained import contained

if TYPE_CHECKING:
    from stconv.datasets.recipes.recipe import Recipe


@contained
def recipes() -> dict[str, Recipe]:
    """List the public data sets that stconv knows, by name, each with title, license and sources."""
    from stconv.datasets.recipes.recipe import list_recipes, load_recipe

    return {name: load_recipe(name) for name in list_recipes()}


@contained
def fetch(name: str, *, progress: bool = True) -> list[Path]:
    """Download a public data set, check its hashes, and return the paths to open as one series.

    Args:
        name: Name of a recipe, see `stconv.recipes`, or path of a recipe of your own.
        progress: Show a progress bar while downloading.

    Raises:
        RecipeError: The recipe is unknown, or a file is not what it says.
    """
    from stconv.datasets.recipes.fetch import fetch

    return fetch(name, progress=progress)


@contained
def fetched(name: str) -> list[Path]:
    """Paths of a data set that is downloaded already.

    Raises:
        RecipeError: It is not.
    """
    from stconv.datasets.recipes.fetch import find_fetched

    return find_fetched(name)


@contained
def clean(name: str | None = None) -> int:
    """Remove the downloads of a recipe, or all downloads and cached series; returns the bytes freed."""
    from stconv.datasets.recipes.fetch import clean

    return clean(name)
