"""A server of S3 in this process, for buckets that die with the test."""

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer

from medsweep.store.location import BucketUrl


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """The environment variables by which this process and its children reach the server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}",
        "AWS_ACCESS_KEY_ID": "known-only-to-the-environment",
        "AWS_SECRET_ACCESS_KEY": "never-to-be-seen-anywhere",
        "AWS_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield variables
    finally:
        server.stop()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def new_bucket() -> BucketUrl:
    """A fresh bucket on the server that the environment names."""
    name = f"b-{uuid.uuid4().hex[:12]}"
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1")
    client.create_bucket(Bucket=name)
    return BucketUrl("s3", f"{name}/sweeps")
