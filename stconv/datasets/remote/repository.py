"""Icechunk repositories: the newest snapshot, on disk or on the network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stconv.datasets.remote.address import Place
from stconv.datasets.remote.filesystem import without_credentials
from stconv.errors import FileError

BRANCH = "main"
"""The branch of an Icechunk repository that is read."""


def snapshot(place: Place) -> Any:
    """The newest snapshot of an Icechunk repository."""
    try:
        import icechunk
    except ImportError as error:
        raise FileError(
            f"'{place}' is an Icechunk repository; reading it needs an extra: pip install 'stconv[cloud]'."
        ) from error
    try:
        repository = icechunk.Repository.open(_storage(icechunk, place))
        return repository.readonly_session(BRANCH)
    except FileError:
        raise
    except Exception as error:  # icechunk raises errors of its own kinds
        reason = str(error).strip().splitlines()[0]
        raise FileError(
            f"'{place}' cannot be opened as an Icechunk repository: {reason}. Check that it has the branch "
            f"'{BRANCH}'."
        ) from error


def _storage(icechunk: Any, place: Place) -> Any:
    if isinstance(place, Path):
        return icechunk.local_filesystem_storage(str(place))
    parts = urlsplit(place.url)
    bucket, prefix = parts.netloc, parts.path.strip("/")
    if place.scheme == "s3":
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        anonymous = without_credentials()
        return icechunk.s3_storage(
            bucket=bucket,
            prefix=prefix,
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            endpoint_url=endpoint,
            allow_http=bool(endpoint and endpoint.startswith("http://")),
            force_path_style=bool(endpoint),
            anonymous=anonymous or None,
            from_env=None if anonymous else True,
        )
    if place.scheme in ("gs", "gcs"):
        return icechunk.gcs_storage(bucket=bucket, prefix=prefix, from_env=True)
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME") or os.environ.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise FileError(f"'{place}' needs the name of the account. Set AZURE_STORAGE_ACCOUNT_NAME.")
    return icechunk.azure_storage(account=account, container=bucket, prefix=prefix, from_env=True)
