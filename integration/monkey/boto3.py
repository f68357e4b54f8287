# /// script
# dependencies = ["boto3>=1.34"]
# ///
"""boto3 against a stub of S3: objects put and got over one client, and its transfer manager with its threads."""

import hubbub_monkey

hubbub_monkey.patch_all()

import io

import boto3
from botocore.config import Config
from trial.overlap import overlap
from trial.slow_http import slow_http

with slow_http() as url:
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="id",
        aws_secret_access_key="key",
        config=Config(max_pool_connections=20, s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )

    def work(number: int) -> bytes:
        """Puts an object and gets one; the stub takes the last part of the path for the time to wait."""
        client.put_object(Bucket=f"bucket-{number}", Key="0.1", Body=b"content")
        return client.get_object(Bucket=f"bucket-{number}", Key="0.1")["Body"].read()

    done = overlap(work)
    assert done.results == [b"done"] * 20
    uploads = overlap(lambda number: client.upload_fileobj(io.BytesIO(b"content"), f"bucket-{number}", "0.2"))
print(f"put and get: {done}")
