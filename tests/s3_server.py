"""An S3 server (moto) for tests, whose address and credentials are in the environment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest


@contextlib.contextmanager
def serving_bucket(name: str) -> Iterator[Any]:
    """Serve an empty bucket; yields a client of boto3."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    patch = pytest.MonkeyPatch()
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for variable, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "who",
        "AWS_SECRET_ACCESS_KEY": "pass-word",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        patch.setenv(variable, value)
    s3fs.S3FileSystem.clear_instance_cache()  # those of an earlier server
    client = boto3.client("s3")
    client.create_bucket(Bucket=name)
    try:
        yield client
    finally:
        patch.undo()
        server.stop()
