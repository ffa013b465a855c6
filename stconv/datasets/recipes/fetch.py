"""Fetching the files of a recipe: from a mirror folder, the cache, or the public source; always by hash."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

from stconv.datasets.recipes.recipe import Recipe, RemoteFile, list_recipes, load_recipe, unpacked_path
from stconv.errors import RecipeError

SERIES = "series"
"""Folder of series that are cached because they do not fit in memory, beside those of the recipes."""


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
        RecipeError: Unknown recipe, a file that cannot be had, or one with another hash.
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
        if file not in absent or not file.sha256:
            _check_hash(recipe, file, folder)
        if file.member:
            unpack(folder / file.path, file.member, _unpacked(recipe) / unpacked_path(file))
    return _to_open(recipe, folder)


def find_fetched(name: str) -> list[Path]:
    """Paths of a recipe that is there already; nothing is downloaded or hashed.

    Raises:
        RecipeError: Not fetched yet; says how.
    """
    recipe = load_recipe(name)
    folder = folder_of(recipe)
    parts = [folder / file.path for file in recipe.files]
    parts += [_unpacked(recipe) / unpacked_path(file) for file in recipe.files if file.member]
    if not all(path.is_file() for path in parts):
        raise RecipeError(
            f"Recipe '{recipe.name}' is not in '{folder}' yet. Fetch it: `stconv data fetch {name}`."
        )
    return _to_open(recipe, folder)


def clean(name: str | None = None) -> int:
    """Remove what was downloaded and unpacked for a recipe, or all that stconv keeps; mirrors stay.

    Whatever else lies in the cache folder stays, too.

    Returns:
        Bytes freed.

    Raises:
        RecipeError: Unknown recipe.
    """
    names = [*list_recipes(), SERIES] if name is None else [load_recipe(name).name]
    freed = 0
    for folder in (cache_dir() / name for name in names):
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        freed += sum(path.stat().st_size for path in files)
        shutil.rmtree(folder, ignore_errors=True)
    return freed


def _to_open(recipe: Recipe, folder: Path) -> list[Path]:
    """Paths to open; what is unpacked lies in the cache even if the archive is in a mirror."""
    members = {unpacked_path(file) for file in recipe.files if file.member}
    return [(_unpacked(recipe) if path in members else folder) / path for path in recipe.open]


def _unpacked(recipe: Recipe) -> Path:
    return cache_dir() / recipe.name


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
                known_hash=f"sha256:{file.sha256}" if file.sha256 else None,
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
                f"Recipe '{recipe.name}': '{file.url}' cannot be had ({type(error).__name__}). Check the "
                "network, or put "
                "the file "
                f"at '{file.path}' below a folder and set STCONV_DATA_MIRROR to that folder."
            ) from error


def _check_hash(recipe: Recipe, file: RemoteFile, folder: Path) -> None:
    """Hold a file to the hash of the recipe, or, where that has none, to the one first seen."""
    path = folder / file.path
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    expected, pin = file.sha256, _unpacked(recipe) / f"{file.path}.sha256"
    if not expected:
        if not pin.is_file():
            pin.parent.mkdir(parents=True, exist_ok=True)
            pin.write_text(found + "\n")
        expected = pin.read_text().strip()
    if found != expected:
        origin = "" if file.sha256 else f" (pinned by the first download, in '{pin}')"
        raise RecipeError(
            f"Recipe '{recipe.name}': '{path}' has sha256 {found}, expected {expected}{origin}. It was "
            "changed or damaged: delete it and fetch again."
        )


def unpack(archive: Path, member: str, target: Path) -> None:
    """Unpack one file of a zip archive, unless it is there already; it appears whole or not at all.

    Raises:
        RecipeError: The archive is damaged or lacks the file.
    """
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as source, part.open("wb") as written:
            shutil.copyfileobj(source, written)
        part.replace(target)
    except (KeyError, zipfile.BadZipFile) as error:
        raise RecipeError(f"'{archive}' is expected to be a zip archive with '{member}': {error}.") from error
    finally:
        part.unlink(missing_ok=True)
