"""Letting uploaded photos go: rows and files together."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from catalog.models import Recommendation, SimilarityQuery, UploadedPhoto
from catalog.services.uploads import upload_delete, uploads_expire
from tests.factories import make_item_photo, make_query, make_upload

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_an_expired_photo_goes_with_its_file_its_queries_and_their_answers() -> None:
    old = make_upload(expires_at=timezone.now() - timedelta(seconds=1))
    query, match = make_query(old), make_item_photo()
    Recommendation.objects.create(query=query, rank=1, item=match.item, photo=match, score=0.5)
    fresh = make_upload()
    assert uploads_expire() == 1
    assert UploadedPhoto.objects.get() == fresh
    assert not SimilarityQuery.objects.exists()
    assert not Recommendation.objects.exists()
    assert not Path(old.file.path).exists()
    assert Path(fresh.file.path).exists()


def test_a_photo_whose_file_is_gone_already_can_still_be_deleted() -> None:
    photo = make_upload()
    Path(photo.file.path).unlink()
    upload_delete(photo=photo)
    assert not UploadedPhoto.objects.exists()


def test_nothing_expires_before_its_time() -> None:
    make_upload(expires_at=timezone.now() + timedelta(hours=1))
    assert uploads_expire() == 0
