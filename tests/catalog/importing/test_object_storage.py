"""Import into S3 object storage, through the real client and storage class against a mocked server."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from catalog.importing import importer
from catalog.importing.importer import ImportStopped
from catalog.importing.recovery import photo_folder, recover_killed_imports
from catalog.models import ImportJob, ImportState, ItemPhoto
from tests.helpers.errors import raises_code
from tests.helpers.shop import Shop

pytestmark = pytest.mark.django_db

BUCKET = "pictures"


@pytest.fixture
def bucket(settings: Any, monkeypatch: Any) -> Iterator[Any]:
    """A bucket that is the default storage of the site."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    options = {"bucket_name": BUCKET, "region_name": "us-east-1", "default_acl": "private", "file_overwrite": False}
    with mock_aws():
        s3 = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
        settings.STORAGES = {**settings.STORAGES, "default": s3}
        yield boto3.resource("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)


def keys(bucket: Any) -> set[str]:
    return {entry.key for entry in bucket.objects.all()}


def test_photos_are_stored_in_the_bucket_and_read_from_there(shop: Shop, bucket: Any) -> None:
    for number in range(12):
        shop.add(f"{number}.jpg", number)

    job = shop.run()

    assert job.counts["photos_created"] == 12
    assert keys(bucket) == set(ItemPhoto.objects.values_list("file", flat=True))
    photo = ItemPhoto.objects.first()
    assert photo is not None
    with photo.file.open() as file:
        assert importer.source_hash(file.read()) == photo.sha256
    assert shop.run().counts["photos_unchanged"] == 12


def test_orphaned_files_of_a_killed_import_are_removed_from_the_bucket(bucket: Any) -> None:
    job = ImportJob.objects.create(source="shop", state=ImportState.INTERRUPTED)
    bucket.put_object(Key=f"{photo_folder(job)}/left.jpg", Body=b"x")
    bucket.put_object(Key="uploads/other.jpg", Body=b"x")

    recover_killed_imports()

    assert keys(bucket) == {"uploads/other.jpg"}


def test_a_missing_bucket_stops_the_import(shop: Shop, bucket: Any) -> None:
    shop.add("1.jpg")
    bucket.delete()

    with raises_code(ImportStopped, "import_stopped", "bucket"):
        shop.run()

    assert ImportJob.objects.get().state == ImportState.FAILED
    assert not ItemPhoto.objects.exists()
