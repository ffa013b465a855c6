"""Addresses in place of paths: which are read, and what is refused before anything is asked or written."""

import importlib.util
from pathlib import Path

import pytest

from stconv.datasets.remote.address import Address, address_of
from stconv.datasets.settings import SourceSettings
from stconv.datasets.source.finding import find_files
from stconv.errors import FileError


@pytest.mark.parametrize("kind", [str, Path])
def test_addresses_are_told_from_paths(kind, tmp_path):
    assert address_of(kind("s3://bucket/era5.zarr")) == Address("s3://bucket/era5.zarr")
    assert address_of(kind("HTTPS://example.org/a.nc")) == Address("https://example.org/a.nc")
    assert address_of(kind(str(tmp_path / "a.nc"))) is None
    assert address_of(kind("C:/data/a.nc")) is None


def test_names_of_addresses_leave_out_the_query():
    address = Address("https://example.org/data/a.nc?version=2")
    assert (address.name, address.suffix, address.has_pattern) == ("a.nc", ".nc", False)
    assert Address("s3://bucket/a-*.nc").has_pattern


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("https://thredds.example.org/dodsC/sst.nc", "ncks https://thredds.example.org/dodsC/sst.nc FILE.nc"),
        ("simplecache::s3://bucket/a.nc", 'xarray.open_dataset("simplecache::s3://bucket/a.nc")'),
        ("dap4://example.org/a.nc", 'xarray.open_dataset("dap4://example.org/a.nc")'),
        ("ftp://example.org/a b.nc", "`curl -o FILE 'ftp://example.org/a b.nc'`"),
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_other_kinds_of_addresses_are_refused(address, remedy, kind):
    with pytest.raises(FileError, match="is a network address of a kind that is not read") as caught:
        find_files(kind(address))
    assert f"'{address}'" in str(caught.value)
    assert remedy in str(caught.value)


SECRETS = [
    ("https://me:pass-word@example.org/a.nc", "'https://***@example.org/a.nc'"),
    ("https://example.org/a.nc?var=t2m&token=pass-word", "'https://example.org/a.nc?var=t2m&***'"),
    ("https://example.org/a.nc?X-Amz-Signature=pass-word&v=1", "'https://example.org/a.nc?***&v=1'"),
    ("sftp://me:pass-word@example.org/a.nc", "'sftp://***@example.org/a.nc'"),
    ("s3://key:pass-word@bucket/a.zarr", "'s3://***@bucket/a.zarr'"),
    ("az://container/a.zarr?sig=pass-word", "'az://container/a.zarr?***'"),
]


@pytest.mark.parametrize(("address", "shown"), SECRETS)
@pytest.mark.parametrize("where", [find_files, lambda address: SourceSettings(paths=["a.nc", address])])
def test_secrets_in_addresses_are_refused_and_not_repeated(address, shown, where):
    with pytest.raises(FileError, match="holds a password or a key, which would be written") as caught:
        where(address)
    assert str(caught.value).startswith(shown)
    assert "pass-word" not in str(caught.value)


def test_a_file_address_is_a_path():
    with pytest.raises(FileError, match=r"Give the path alone: '/data/a\.nc'"):
        find_files("file:///data/a.nc")


@pytest.mark.parametrize(
    ("address", "lacking", "remedy"),
    [
        ("s3://bucket/a.zarr", "s3fs", r"pip install 'stconv\[cloud\]'\.$"),
        ("https://example.org/a.nc", "aiohttp", r"pip install 'stconv\[cloud\]'\.$"),
        ("gs://bucket/a.zarr", "gcsfs", r"pip install 'stconv\[cloud\]' gcsfs\.$"),
        ("az://container/a.zarr", "adlfs", r"pip install 'stconv\[cloud\]' adlfs\.$"),
    ],
)
def test_an_absent_package_is_named_with_the_command_that_installs_it(address, lacking, remedy, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == lacking else found(name))
    with pytest.raises(FileError, match=remedy) as caught:
        find_files(address)
    assert str(caught.value).startswith(f"'{address}' is a network address; reading it needs an extra")
