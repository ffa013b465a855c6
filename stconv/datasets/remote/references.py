"""References of kerchunk, in JSON or Parquet: a Zarr store whose chunks are ranges of other files."""

from __future__ import annotations

import json
from typing import Any

from zarr.storage import FsspecStore

from stconv.datasets.remote.address import SCHEMES, Address, Place
from stconv.datasets.remote.filesystem import content, filesystem, path_in, require_packages
from stconv.errors import FileError


def references(place: Place) -> FsspecStore:
    """The store that kerchunk references in JSON or Parquet describe."""
    if isinstance(place, Address):
        require_packages(place)
    import fsspec
    from fsspec.implementations.reference import LazyReferenceMapper

    try:
        if place.suffix.lower() == ".json":
            raw = content(place) if isinstance(place, Address) else place.read_bytes()
            refs: Any = json.loads(raw)
        else:
            system = filesystem(place) if isinstance(place, Address) else fsspec.filesystem("file")
            root = path_in(place) if isinstance(place, Address) else str(place)
            refs = LazyReferenceMapper(root, fs=system, engine="pyarrow")
        options: dict[str, Any] = {"fs": {}, "asynchronous": True, "skip_instance_cache": True}
        found: Any = fsspec.filesystem("reference", fo=refs, **options)
        found.fss = _Targets(place)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(
            f"'{place}' is expected to hold references as kerchunk writes them, and does not ({error}). "
            "Give the data themselves."
        ) from error
    return FsspecStore(found, read_only=True, path="")


class _Targets(dict[str | None, Any]):
    """File systems of what references point to, by scheme; each is opened when it is first needed.

    References on the network may not point to files of this machine.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    def __contains__(self, scheme: object) -> bool:
        return scheme is None or scheme == "file" or scheme in SCHEMES

    def __missing__(self, scheme: str | None) -> Any:
        import fsspec
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        if scheme in SCHEMES:
            self[scheme] = filesystem(Address(f"{scheme}://any"), asynchronous=True)
            return self[scheme]
        if isinstance(self.place, Address) or scheme not in (None, "file"):
            meant = "files of this machine" if scheme in (None, "file") else f"addresses of kind {scheme}"
            raise FileError(
                f"'{self.place}' refers to {meant}; expected addresses that begin with "
                f"{', '.join(SCHEMES)}. Write the references again."
            )
        self[scheme] = AsyncFileSystemWrapper(fsspec.filesystem("file"), asynchronous=True)
        return self[scheme]
