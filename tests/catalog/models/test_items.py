"""Which items may appear in answers, and which photos are searchable."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from catalog.models import CatalogItem, ItemPhoto
from tests.helpers.factories import make_item, make_item_photo

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_hidden_and_deleted_items_are_not_findable() -> None:
    shown, hidden, deleted = make_item(), make_item(is_active=False), make_item()
    deleted.mark_deleted()
    assert list(CatalogItem.objects.findable()) == [shown]
    assert CatalogItem.objects.filter(pk__in=[hidden.pk, deleted.pk]).count() == 2


def test_a_filter_by_name_ignores_case() -> None:
    dress = make_item(category="Dress", brand="Linden")
    make_item(category="Coat", brand="Linden")
    assert list(CatalogItem.objects.matching({"category": "dress", "brand": "LINDEN"})) == [dress]


def test_price_bounds_are_inclusive() -> None:
    prices = {price: make_item(price=Decimal(price)) for price in ("9.99", "10.00", "20.00", "20.01")}
    matching = CatalogItem.objects.matching({"min_price": 10, "max_price": 20})
    assert set(matching) == {prices["10.00"], prices["20.00"]}


def test_an_item_without_a_price_matches_no_price_range() -> None:
    make_item(price=None)
    assert not CatalogItem.objects.matching({"min_price": 0}).exists()


def test_two_items_may_share_a_picture_that_each_has_only_once() -> None:
    first = make_item_photo(source_sha256="a" * 64)
    make_item_photo(source_sha256="a" * 64)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_item_photo(item=first.item, source_sha256="a" * 64)


def test_photos_of_deleted_items_and_unreadable_photos_are_not_searchable() -> None:
    searchable, hidden, deleted = make_item_photo(), make_item_photo(make_item(is_active=False)), make_item_photo()
    make_item_photo(problem="FileNotFoundError: gone")
    deleted.item.mark_deleted()
    assert set(ItemPhoto.objects.searchable()) == {searchable, hidden}
