"""The wheel, built through the sdist, holds what `pip install` needs, and nothing at the wrong level."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The interpreter of a clean environment with the wheel; the dependencies are borrowed from this one."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    [site] = folder.glob("lib/python*/site-packages")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-compile",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def run(python: Path, *arguments: str) -> str:
    done = subprocess.run(
        [python, *arguments], capture_output=True, text=True, check=False, cwd=python.parents[1]
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_top_level_names(wheel):
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {n for n in names if not n.endswith(".dist-info")} == {"stconv", "service"}


def test_configs_and_recipes_are_inside(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"stconv/configs/{p.name}" for p in (ROOT / "configs").glob("*.yaml")}
    recipes = {f"stconv/recipes/{p.name}" for p in (ROOT / "data" / "recipes").glob("*.yaml")}
    assert configs
    assert recipes
    assert configs | recipes <= names
    assert "stconv/py.typed" in names


def test_no_python_in_configs_and_recipes():
    assert not [*(ROOT / "configs").rglob("*.py"), *(ROOT / "data").rglob("*.py")]


def test_imports_in_a_clean_environment(installed):
    where = run(
        installed, "-c", "import stconv, service, stconv.forecast, service.app; print(stconv.__file__)"
    )
    assert Path(where.strip()).is_relative_to(installed.parents[1])


def test_packaged_configs_are_found(installed):
    listed = run(installed, "-m", "stconv", "configs", "list")
    assert "quickstart" in listed
    assert str(ROOT) not in run(installed, "-m", "stconv", "configs", "path", "quickstart")
