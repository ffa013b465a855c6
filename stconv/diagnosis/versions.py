"""Versions of the libraries against those that stconv needs, known holes among them."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable, Iterator

from stconv.diagnosis.finding import Finding, State

HOLES = {
    "torch": "CVE-2026-24747",
    "pytorch-lightning": "CVE-2026-58659",
    "starlette": "CVE-2026-48710",
    "numcodecs": "code in a Zarr 2 store is run",
}
"""Why the lowest version of `pyproject.toml` must not be undercut."""
STOLEN = {"lightning": ("2.6.2", "2.6.3")}
"""Releases that hold somebody else's code. stconv uses `pytorch-lightning`, another distribution."""


def check_versions(requirements: Iterable[str] | None = None) -> Iterator[Finding]:
    """Compare installed libraries with the requirements of stconv.

    Args:
        requirements: Requirements as in `pyproject.toml`; default: those of the installed stconv.

    Yields:
        A finding for each library that is absent or of another version, or one that all is well.
    """
    from packaging.requirements import Requirement

    if requirements is None:
        requirements = importlib.metadata.requires("stconv") or ()
    wanted = [Requirement(text) for text in requirements]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    well = True
    for requirement in wanted:
        version = installed(requirement.name)
        if version is not None and requirement.specifier.contains(version, prereleases=True):
            continue
        well = False
        hole = (
            f", below which there is a hole ({HOLES[requirement.name]})" if requirement.name in HOLES else ""
        )
        found = "is not installed" if version is None else f"{version} is installed"
        yield Finding(
            "versions",
            State.FAULT,
            f"{requirement.name} {found}; expected {requirement.specifier}{hole}.",
            f"pip install '{requirement.name}{requirement.specifier}'",
        )
    for name, releases in STOLEN.items():
        if installed(name) in releases:
            well = False
            yield Finding(
                "versions",
                State.FAULT,
                f"{name} {installed(name)} is a release with malicious code.",
                f"pip uninstall {name}, and change every password and key that this machine knows.",
            )
    if well:
        python = ".".join(map(str, sys.version_info[:3]))
        yield Finding(
            "versions",
            State.OK,
            f"Python {python} and {len(wanted)} libraries have the versions that stconv needs.",
        )


def installed(name: str) -> str | None:
    """Version of a distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
