"""Zarr stores on the network, kerchunk references and Icechunk repositories, as stores for Zarr."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, WrapperStore

from stconv.datasets.remote.address import Address, Place
from stconv.datasets.remote.filesystem import filesystem, path_in
from stconv.datasets.remote.kinds import METADATA
from stconv.datasets.remote.patience import patiently_async
from stconv.datasets.remote.references import references
from stconv.datasets.remote.repository import snapshot


def open_store(place: Place, kind: str, tell_absent: Callable[[str], None]) -> Store | Path:
    """Open a source that `store_kind` recognized, for reading.

    Args:
        place: A file, a folder or an address.
        kind: "zarr", "references" or "icechunk".
        tell_absent: Called with the key of a chunk that was asked for and is not stored.

    Returns:
        A store for `zarr.open_group`; the path itself for a folder of Zarr.

    Raises:
        FileError: A package is absent, or the source cannot be opened.
    """
    if kind == "icechunk":
        store: Store = snapshot(place).store
        return store
    if kind == "references":
        return PatientStore(references(place), place, tell_absent)
    if isinstance(place, Path):
        return place
    inner = FsspecStore(filesystem(place, asynchronous=True), read_only=True, path=path_in(place))
    return PatientStore(inner, place, tell_absent)


def writable_store(address: Address) -> Store:
    """Open a store of Zarr on the network, for reading and writing.

    Raises:
        FileError: The extra is absent.
    """
    inner = FsspecStore(filesystem(address, asynchronous=True), path=path_in(address))
    return PatientStore(inner, address, lambda key: None)


class PatientStore(WrapperStore[FsspecStore]):
    """A store that tries requests again, and says which chunks are absent.

    Args:
        store: The store, of fsspec.
        place: Its file, folder or address, for messages.
        tell_absent: Called with the key of a chunk that was asked for and is not stored.
    """

    def __init__(self, store: FsspecStore, place: Place, tell_absent: Callable[[str], None]) -> None:
        super().__init__(store)
        self.place, self._tell_absent = place, tell_absent

    def _with_store(self, store: FsspecStore) -> PatientStore:
        return type(self)(store, self.place, self._tell_absent)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a key; None if the store lacks it."""
        found = await patiently_async(lambda: self._store.get(key, prototype, byte_range), f"{self.place}")
        if found is None and not key.endswith((*METADATA, ".zarray", ".zattrs")):
            self._tell_absent(key)
        return found

    async def set(self, key: str, value: Buffer) -> None:
        """Write a key; its value is there as a whole or not at all."""
        await patiently_async(lambda: self._store.set(key, value), f"{self.place}", "written")

    async def exists(self, key: str) -> bool:
        """Whether the store has a key."""
        return await patiently_async(lambda: self._store.exists(key), f"{self.place}")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys that begin with a prefix."""
        return self._found(prefix)

    async def _found(self, prefix: str) -> AsyncIterator[str]:
        root = self._store.path
        within = f"{root}/{prefix}".strip("/")  # the root of references is empty
        for key in await patiently_async(lambda: self._store.fs._find(within), f"{self.place}"):
            yield str(key).removeprefix(f"{root}/")

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names directly below a prefix."""
        return self._listed(prefix)

    async def _listed(self, prefix: str) -> AsyncIterator[str]:
        async def names() -> list[str]:
            return [name async for name in self._store.list_dir(prefix)]

        for name in await patiently_async(names, f"{self.place}"):
            yield name
