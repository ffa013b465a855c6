"""Two nodes that share nothing but a link and the file system: network namespaces of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

LINK = "link0"
ADDRESSES = ("10.77.0.1", "10.77.0.2")


@contextmanager
def two_nodes() -> Iterator[list[str]]:
    """Make two namespaces with a link between them and no other way out, and give their names."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the program ip")
    names = [f"stconv{os.getpid()}{letter}" for letter in "ab"]
    try:
        try:
            for name in names:
                ip("netns", "add", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode()}")
        first, second = names
        ip(
            *("link", "add", LINK, "netns", first, "type", "veth"),
            *("peer", "name", LINK, "netns", second),
        )
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", LINK)
            ip("-n", name, "link", "set", LINK, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def ip(*words: str) -> None:
    """Run `ip WORDS`."""
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=60)
