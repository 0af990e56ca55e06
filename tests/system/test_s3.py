"""Photos on S3: a query is answered with no picture file on the local disk."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from tests.helpers.sample_site import photographed_item
from tests.helpers.site import Phone, Site, free_port, wait_until

pytestmark = pytest.mark.system

BUCKET = "photos"
KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_DEFAULT_REGION": "eu-west-1"}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Run a local S3 server and yield its URL."""
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "--port", str(port)], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(address), "the S3 server")
        yield address
    finally:
        server.kill()
        server.wait()


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def site_on_s3(tmp_path_factory: pytest.TempPathFactory, s3: str, sample: Path) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("s3"), S3_BUCKET=BUCKET, S3_ENDPOINT_URL=s3, **KEYS)
    _bucket(s3).create(CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    try:
        site.set_up(sample)
        yield site
    finally:
        site.stop()


def _bucket(address: str) -> Any:
    return boto3.resource(
        "s3",
        endpoint_url=address,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        region_name=KEYS["AWS_DEFAULT_REGION"],
    ).Bucket(BUCKET)


def test_a_photo_is_stored_answered_and_served_from_the_bucket(site_on_s3: Site, s3: str, photo: bytes) -> None:
    phone = Phone(site_on_s3, site_on_s3.create_token("user"))
    answer = phone.post(photo, wait=30, k=5).json()
    assert answer["state"] == "done"
    found = [entry["item"]["external_id"] for entry in answer["recommendations"]]
    assert photographed_item().external_id in found
    names = [entry.key for entry in _bucket(s3).objects.all()]
    assert sum(name.startswith("items/") for name in names) == 80
    assert sum(name.startswith("uploads/") for name in names) == 1
    assert not list(site_on_s3.folder.rglob("*.jpg"))
    for url in (answer["photo"]["url"], answer["recommendations"][0]["photo"]["url"]):
        picture = requests.get(url, headers=phone.headers, timeout=20)
        assert picture.status_code == 200 and picture.content.startswith(b"\xff\xd8")
