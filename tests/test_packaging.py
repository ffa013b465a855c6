"""The wheel, built through the sdist, holds what `pip install` needs, and nothing at the wrong level."""

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def build(source: Path, out: Path, *options: str) -> Path:
    """The wheel of a checkout."""
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


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
    assert {"service/static/d3.js", "service/static/world-fine.json", "service/static/NOTICE.txt"} <= names


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


def version(wheel: Path) -> str:
    return wheel.name.split("-")[1]


def test_says_the_version_it_was_built_as(wheel, installed):
    assert run(installed, "-m", "stconv", "--version") == f"stconv {version(wheel)}\n"
    code = run(installed, "-c", "from stconv.bundle import code_version; print(code_version()['stconv'])")
    assert code.strip() == version(wheel)


@pytest.mark.parametrize(
    ("tag", "commits_after", "expected"),
    [(None, None, r"0\.1\.0\.dev0"), ("v1.2.3", 0, r"1\.2\.3"), ("v1.2.3", 1, r"1\.2\.4\.dev1\+g[0-9a-f]+")],
    ids=["an export without git", "a tagged commit", "a commit after it"],
)
def test_version_is_that_of_the_tag(tmp_path, tag, commits_after, expected):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("stconv", "service", "configs", "data/recipes"):
        (source / name).mkdir(parents=True)
        (source / name / "__init__.py").touch()

    def git(*words):
        who = ("-c", "user.name=made", "-c", "user.email=made@made.invalid")
        subprocess.run(["git", *who, *words], cwd=source, check=True, capture_output=True)

    if tag is not None:
        for words in (["init"], ["add", "."], ["commit", "-m", "made"], ["tag", tag]):
            git(*words)
        for _ in range(commits_after):
            git("commit", "--allow-empty", "-m", "more")
    assert re.fullmatch(expected, version(build(source, tmp_path / "out", "--wheel")))
