"""Images of the compose set: ours are built, the others pulled, or made of Debian's packages."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from compose.podman import Podman

ROOT = Path(__file__).resolve().parents[2]
STANDINS = Path(__file__).with_name("standins")
BASE = "localhost/stconv_test/base"
SUITE = "bookworm"
BUILD_SECONDS = 3600.0


def third_party() -> dict[str, str]:
    """Short name and full name of each image that is not ours."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    names = [service["image"] for service in services.values() if "image" in service]
    names += [
        line.split()[1]
        for file in (ROOT / "docker").glob("*.Dockerfile")
        for line in file.read_text().splitlines()
        if line.startswith("FROM ")
    ]
    return {name.rsplit("/", 1)[-1].partition(":")[0]: full_name(name) for name in names}


def full_name(name: str) -> str:
    """Name of an image with its registry."""
    return f"docker.io/{name}" if "/" in name else f"docker.io/library/{name}"


def provide(podman: Podman, folder: Path) -> list[str]:
    """Pull the images, or make stand-ins.

    Returns:
        Names of the images that are stand-ins.
    """
    standins = []
    for short, name in third_party().items():
        if podman("image", "exists", name, check=False) or _exists(podman, name):
            label = podman("image", "inspect", "--format", '{{index .Labels "stconv.standin"}}', name).strip()
            standins += [name] if label == "yes" else []
            continue
        try:
            podman("pull", "-q", name, seconds=600)
        except AssertionError:
            _stand_in(podman, folder, short, name)
            standins.append(name)
    return standins


def build(podman: Podman, name: str) -> int:
    """Build one of our images, and return its size in bytes."""
    tag = f"localhost/stconv_test/{name}"
    command = ["build", "--format", "docker", "--isolation", "chroot", "--network", "host", *_pip_mounts()]
    podman(
        *command, "-f", str(ROOT / f"docker/{name}.Dockerfile"), "-t", tag, str(ROOT), seconds=BUILD_SECONDS
    )
    return int(podman("image", "inspect", "--format", "{{.Size}}", tag))


def _exists(podman: Podman, name: str) -> bool:
    return name in podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()


def _stand_in(podman: Podman, folder: Path, short: str, name: str) -> None:
    if not _exists(podman, f"{BASE}:latest"):
        _import_base(podman, folder)
    (folder / "pip.conf").write_text(_pip_configuration())
    for file in STANDINS.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
        (folder / file.name).chmod(file.stat().st_mode)
    command = ["build", "--format", "docker", "--isolation", "chroot", "--network", "host"]
    command += ["--label", "stconv.standin=yes", "-f", str(folder / f"{short}.Containerfile")]
    podman(*command, "-t", name, str(folder), seconds=BUILD_SECONDS)


def _import_base(podman: Podman, folder: Path) -> None:
    """Make a Debian of the machine's own package sources, or of Debian's."""
    lists = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    lists = [file for file in lists if file.is_file() and f"{SUITE}-updates" in file.read_text()]
    packages = "python3,python3-venv,python3-pip,ca-certificates,wget"
    tar = folder / "base.tar"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", SUITE, str(tar)]
    subprocess.run([*command, *map(str, lists)], check=True, timeout=BUILD_SECONDS)
    podman("import", str(tar), BASE, seconds=600)
    tar.unlink()


def _pip_settings() -> dict[str, str]:
    """Settings of pip on this machine, by name."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        settings[name.removeprefix(":env:.").removeprefix("global.")] = shlex.split(value)[0]
    return settings


def _pip_configuration() -> str:
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in _pip_settings().items())


def _pip_mounts() -> list[str]:
    """Mount the local folders and files that pip is told to use."""
    mounted = set()
    for value in _pip_settings().values():
        for word in value.split():
            path = Path(word.removeprefix("file://"))
            if path.is_absolute() and path.exists():
                mounted.add(path.parent if word.startswith("file://") else path)
    return [word for path in sorted(mounted) for word in ("-v", f"{path}:{path}:ro")]
