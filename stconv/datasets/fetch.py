"""Fetching the files of a recipe: from a mirror folder, the cache, or the public source; always by hash."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from stconv.datasets.recipe import Recipe, RemoteFile, load_recipe
from stconv.errors import RecipeError


def cache_dir() -> Path:
    """Folder that downloads go to: ``STCONV_CACHE``, else ``~/.cache/stconv``."""
    return Path(os.environ.get("STCONV_CACHE") or Path.home() / ".cache" / "stconv").expanduser()


def fetch(name: str, progress: bool = True) -> list[Path]:
    """Get the files of a recipe and say what to open.

    With ``STCONV_DATA_MIRROR=FOLDER`` files are read in place from below that folder and nothing is
    downloaded. Else what the cache lacks is downloaded. Every file must have the hash that the recipe states.

    Args:
        name: Name of a shipped recipe, or path of a recipe's YAML file.
        progress: Show a progress bar while downloading.

    Returns:
        Paths to open as one series.

    Raises:
        RecipeError: Unknown recipe, a file that can not be had, or one with another hash.
    """
    recipe = load_recipe(name)
    folder = folder_of(recipe)
    absent = [file for file in recipe.files if not (folder / file.path).is_file()]
    if absent and _mirror() is not None:
        raise RecipeError(
            f"Recipe '{recipe.name}': the mirror '{folder}' lacks {len(absent)} of {len(recipe.files)} "
            "files, first "
            f"'{absent[0].path}'. Complete it, or unset STCONV_DATA_MIRROR to download from {absent[0].url}."
        )
    _download(recipe, absent, folder, progress)
    for file in recipe.files:
        if file not in absent:
            _check_hash(recipe, file, folder)
    return [folder / path for path in recipe.open]


def find_fetched(name: str) -> list[Path]:
    """Paths of a recipe that is there already; nothing is downloaded or hashed.

    Raises:
        RecipeError: Not fetched yet; says how.
    """
    recipe = load_recipe(name)
    folder = folder_of(recipe)
    if not all((folder / file.path).is_file() for file in recipe.files):
        raise RecipeError(
            f"Recipe '{recipe.name}' is not in '{folder}' yet. Fetch it: `stconv data fetch {name}`."
        )
    return [folder / path for path in recipe.open]


def folder_of(recipe: Recipe) -> Path:
    """Folder below which the files of a recipe lie, or will lie."""
    return _mirror() or cache_dir() / recipe.name


def _mirror() -> Path | None:
    value = os.environ.get("STCONV_DATA_MIRROR")
    return Path(value).expanduser() if value else None


def _download(recipe: Recipe, files: list[RemoteFile], folder: Path, progress: bool) -> None:
    """Download files below a folder; a file appears there only with the right hash."""
    if not files:
        return
    import pooch
    from rich.progress import track

    pooch.get_logger().setLevel("WARNING")
    for file in track(files, description=f"Fetching {recipe.name}", disable=not progress):
        target = folder / file.path
        try:
            pooch.retrieve(
                file.url,
                known_hash=f"sha256:{file.sha256}",
                fname=target.name,
                path=target.parent,
                progressbar=False,
            )
        except ValueError as error:
            raise RecipeError(
                f"Recipe '{recipe.name}': '{file.url}' has not the hash that the recipe states: {error}. It "
                "is "
                "not used. Fetch again; if it stays so, the source has changed."
            ) from error
        except OSError as error:
            raise RecipeError(
                f"Recipe '{recipe.name}': '{file.url}' can not be had ({type(error).__name__}). Check the "
                "network, or put "
                "the file "
                f"at '{file.path}' below a folder and set STCONV_DATA_MIRROR to that folder."
            ) from error


def _check_hash(recipe: Recipe, file: RemoteFile, folder: Path) -> None:
    path = folder / file.path
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != file.sha256:
        raise RecipeError(
            f"Recipe '{recipe.name}': '{path}' has sha256 {found}, expected {file.sha256}. It was changed or "
            "damaged: "
            "delete it and fetch again."
        )
