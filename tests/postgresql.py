"""A real PostgreSQL for a test, where it is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from waiting import LIMIT_SECONDS, until


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def programs() -> Path:
    """Folder of PostgreSQL's own programs; the test is skipped where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


@contextmanager
def empty_database() -> Iterator[str]:
    """Start a server in a folder of its own, and give the address of its empty database.

    The folder is not the test's: PostgreSQL does not run as root, and its account may not enter the folders
    that pytest makes for root.
    """
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        yield from _serve(Path(name))


def _serve(folder: Path) -> Iterator[str]:
    bin_folder, port = programs(), free_port()
    who = {}
    if os.getuid() == 0:
        account = pwd.getpwnam("postgres")
        who = {"user": account.pw_uid, "group": account.pw_gid}
        os.chown(folder, account.pw_uid, account.pw_gid)
    password = folder / "password"
    password.write_text("of-this-test-only")
    password.chmod(0o644)
    data = folder / "data"
    made = subprocess.run(
        [bin_folder / "initdb", "-D", data, "-U", "mlflow", "-A", "scram-sha-256", f"--pwfile={password}"],
        check=False, capture_output=True, text=True, **who,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    server = subprocess.Popen(
        [bin_folder / "postgres", "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who,
    )  # fmt: skip
    try:
        ready = [bin_folder / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
        until(
            lambda: (
                server.poll() is not None
                or subprocess.run(ready, capture_output=True, check=False).returncode == 0
            ),
            pause=0.2,
        )
        assert server.poll() is None, "PostgreSQL ended at its start"
        yield f"postgresql+psycopg2://mlflow:of-this-test-only@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # at once, whoever is still connected
        server.wait(LIMIT_SECONDS)
