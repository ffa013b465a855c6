"""Files of a recipe from a mirror folder, the cache or the public source, with hashes checked."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
import zipfile
from pathlib import Path

from stconv.cache import DOWNLOADS, SERIES, cache_dir
from stconv.datasets.recipes.recipe import Recipe, RemoteFile, list_recipes, load_recipe, unpacked_path
from stconv.errors import RecipeError


def fetch(name: str, progress: bool = True) -> list[Path]:
    """Get the files of a recipe, and return the paths to open.

    With ``STCONV_DATA_MIRROR=FOLDER`` files are read in place from that folder and nothing is downloaded.
    Otherwise files that the cache lacks are downloaded. Every file must have the hash in the recipe.

    Args:
        name: Name of a shipped recipe, or path of a recipe's YAML file.
        progress: Whether to show a progress bar while downloading.

    Returns:
        Paths to open as one series.

    Raises:
        RecipeError: The recipe is unknown, or a file cannot be downloaded or has a different hash.
    """
    recipe = load_recipe(name)
    folder = folder_of(recipe)
    absent = [file for file in recipe.files if not (folder / file.path).is_file()]
    if absent and _mirror() is not None:
        raise RecipeError(
            f"Recipe '{recipe.name}': the mirror '{folder}' lacks {len(absent)} of {len(recipe.files)} "
            f"files, first '{absent[0].path}'. Complete it, or unset STCONV_DATA_MIRROR to download from "
            f"{absent[0].url}."
        )
    _download(recipe, absent, folder, progress)
    for file in recipe.files:
        if file not in absent or not file.sha256:
            _check_hash(recipe, file, folder)
        if file.member:
            unpack(folder / file.path, file.member, _unpacked(recipe) / unpacked_path(file))
    return _to_open(recipe, folder)


def find_fetched(name: str) -> list[Path]:
    """Paths of a recipe that is already downloaded; no hash is checked.

    Raises:
        RecipeError: The recipe is not downloaded yet; the message says how.
    """
    recipe = load_recipe(name)
    folder = folder_of(recipe)
    parts = [folder / file.path for file in recipe.files]
    parts += [_unpacked(recipe) / unpacked_path(file) for file in recipe.files if file.member]
    if not all(path.is_file() for path in parts):
        raise RecipeError(
            f"Recipe '{recipe.name}' is not in '{folder}' yet. Download it: `stconv data fetch {name}`."
        )
    return _to_open(recipe, folder)


def clean(name: str | None = None) -> int:
    """Remove the downloads of a recipe, or everything in the cache; mirrors are untouched.

    Other files in the cache folder are untouched as well.

    Returns:
        Bytes freed.

    Raises:
        RecipeError: The recipe is unknown.
    """
    names = [*list_recipes(), SERIES, DOWNLOADS] if name is None else [load_recipe(name).name]
    freed = 0
    for folder in (cache_dir() / name for name in names):
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        freed += sum(path.stat().st_size for path in files)
        shutil.rmtree(folder, ignore_errors=True)
    return freed


def _to_open(recipe: Recipe, folder: Path) -> list[Path]:
    """Paths to open; unpacked files are in the cache even if the archive is in a mirror."""
    members = {unpacked_path(file) for file in recipe.files if file.member}
    return [(_unpacked(recipe) if path in members else folder) / path for path in recipe.open]


def _unpacked(recipe: Recipe) -> Path:
    return cache_dir() / recipe.name


def folder_of(recipe: Recipe) -> Path:
    """Folder of the files of a recipe, existing or not."""
    return _mirror() or cache_dir() / recipe.name


def _mirror() -> Path | None:
    value = os.environ.get("STCONV_DATA_MIRROR")
    return Path(value).expanduser() if value else None


def _download(recipe: Recipe, files: list[RemoteFile], folder: Path, progress: bool) -> None:
    """Download files to a folder; a file appears there only with the right hash."""
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
                f"Recipe '{recipe.name}': '{file.url}' does not have the hash in the recipe: {error}. It "
                "is not used. Download it again; if the hash still differs, the source has changed."
            ) from error
        except OSError as error:
            raise RecipeError(
                f"Recipe '{recipe.name}': '{file.url}' cannot be downloaded ({type(error).__name__}). "
                f"Check the network, or put the file at '{file.path}' below a folder and set "
                "STCONV_DATA_MIRROR to that folder."
            ) from error


def _check_hash(recipe: Recipe, file: RemoteFile, folder: Path) -> None:
    """Check a file against the hash in the recipe or, if there is none, the hash of the first download."""
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
            "changed or damaged. Delete it and download it again."
        )


def unpack(archive: Path, member: str, target: Path) -> None:
    """Unpack one file of a zip archive, unless it exists; it appears complete or not at all.

    Raises:
        RecipeError: The archive is damaged or lacks the file.
    """
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as source, part.open("wb") as written:
            shutil.copyfileobj(source, written)
        part.replace(target)
    except (KeyError, zipfile.BadZipFile) as error:
        raise RecipeError(f"'{archive}' is expected to be a zip archive with '{member}': {error}.") from error
    finally:
        part.unlink(missing_ok=True)
