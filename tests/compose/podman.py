"""Podman and podman-compose, with settings of their own: the machine's are neither read nor changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONTAINERS = """\
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[network]
network_backend = "netavark"
[engine]
runtime = "runc"
"""
"""Explicit limits, where setrlimit may fail; runc, because crun stops at hybrid cgroups."""
REGISTRIES = 'unqualified-search-registries = ["docker.io"]\n'


class Podman:
    """Runs Podman.

    Args:
        folder: Folder for the settings and the project.
    """

    def __init__(self, folder: Path) -> None:
        (folder / "containers.conf").write_text(CONTAINERS)
        (folder / "registries.conf").write_text(REGISTRIES)
        self.environment = os.environ | {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
        }
        self.project = folder / "project"

    def __call__(self, *words: str, check: bool = True, seconds: float = 120) -> str:
        """Run `podman WORDS` and return what it printed."""
        return self._run(["podman", *words], check, seconds)

    def compose(self, *words: str, check: bool = True, seconds: float = 300) -> str:
        """Run podman-compose in the folder of the project, with all profiles."""
        profiles = [word for name in ("tls", "replicas", "watch") for word in ("--profile", name)]
        command = [sys.executable, "-m", "podman_compose", "-p", "stconv_test", *profiles, *words]
        return self._run(command, check, seconds)

    def inside(self, name: str, *words: str, user: str | None = None, seconds: float = 120) -> str:
        """Run words in the container of a service."""
        as_user = ["--user", user] if user else []
        return self("exec", *as_user, container(name), *words, seconds=seconds)

    def _run(self, command: list[str], check: bool, seconds: float) -> str:
        folder = self.project if self.project.is_dir() else None
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        if check:
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
        return done.stdout


def container(service: str) -> str:
    """Name of the container of a service."""
    return f"stconv_test_{service}_1"
