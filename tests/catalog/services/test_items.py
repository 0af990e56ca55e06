"""Adding photos to an item."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.base import ContentFile

from catalog.models import ItemPhoto
from catalog.services.items import item_photo_add, item_photo_prepare
from tests.helpers.factories import jpeg, make_item

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]


def test_an_added_photo_has_its_file_at_the_path_of_its_row(media: Path) -> None:
    photo = item_photo_prepare(item=make_item(), raw=jpeg())
    item_photo_add(photo=photo)
    stored = ItemPhoto.objects.get()
    assert files(media) == [Path(stored.file.path)]
    assert stored.file.size == stored.size


def test_a_full_disk_leaves_no_file_and_no_row(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: ContentFile, *_: object) -> Iterator[bytes]:
        yield self.read(100)
        raise OSError(errno.ENOSPC, "No space left on device")

    photo = item_photo_prepare(item=make_item(), raw=jpeg())
    monkeypatch.setattr(ContentFile, "chunks", half)
    with pytest.raises(OSError, match="No space left"):
        item_photo_add(photo=photo)
    assert files(media) == []
    assert not ItemPhoto.objects.exists()
