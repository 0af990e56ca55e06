"""Endpoints of catalogue items."""

import pytest
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.serializers import ModelSerializer
from rest_framework.test import APIClient, APIRequestFactory

from catalog.api.serializers.items import ItemDetailSerializer, ItemSerializer
from catalog.api.serializers.photos import ItemPhotoSerializer
from catalog.models import CatalogItem
from tests.helpers.factories import make_item, make_item_photo

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ITEMS = "/api/v1/items/"


def names(device: APIClient, query: str = "") -> list[str]:
    return [item["name"] for item in device.get(f"{ITEMS}?{query}").json()["results"]]


@pytest.fixture
def wardrobe(db: None) -> None:
    make_item(name="Red summer dress", category="Dress", brand="Norrland", gender="women", colour="red", price="40.00")
    make_item(name="Blue jeans", category="Jeans", brand="Basics", gender="men", colour="blue", price="60.50")
    make_item(name="Free sample", category="Dress", colour="red")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("category=dress", ["Red summer dress", "Free sample"]),
        ("brand=norrland", ["Red summer dress"]),
        ("gender=men", ["Blue jeans"]),
        ("colour=RED&min_price=1", ["Red summer dress"]),
        ("max_price=60.50", ["Red summer dress", "Blue jeans"]),
        ("min_price=60.51", []),
        ("search=blue", ["Blue jeans"]),
        ("search=dress red", ["Red summer dress", "Free sample"][:1]),
        ("search=basics jeans", ["Blue jeans"]),
        ("search=100%25", []),
        ("category=&search=", ["Red summer dress", "Blue jeans", "Free sample"]),
    ],
)
def test_items_can_be_filtered_and_searched(device: APIClient, wardrobe: None, query: str, expected: list[str]) -> None:
    assert names(device, query) == expected


def test_hidden_and_deleted_items_are_404(device: APIClient) -> None:
    hidden, deleted, shown = make_item(is_active=False), make_item(deleted_at=timezone.now()), make_item()
    assert names(device) == [shown.name]
    assert device.get(f"{ITEMS}{shown.pk}/").status_code == 200
    for item in (hidden, deleted):
        assert device.get(f"{ITEMS}{item.pk}/").status_code == 404


def test_an_item_has_all_its_photos_in_order(device: APIClient) -> None:
    item = make_item(price="5", attributes={"season": "winter"}, url="https://shop.example/5")
    second, first = make_item_photo(item, position=1), make_item_photo(item, position=0)
    body = device.get(f"{ITEMS}{item.pk}/").json()
    assert [photo["id"] for photo in body["photos"]] == [first.pk, second.pk]
    assert body["photo"] == body["photos"][0]
    assert (body["price"], body["attributes"], body["url"]) == ("5.00", {"season": "winter"}, item.url)


def test_an_item_without_photos_or_price_has_null(device: APIClient) -> None:
    body = device.get(f"{ITEMS}{make_item().pk}/").json()
    assert body["photo"] is body["price"] is None
    assert body["photos"] == []


@pytest.mark.parametrize("count", [1, 15])
def test_listing_items_takes_a_fixed_number_of_sql_queries(
    device: APIClient, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(count):
        make_item_photo()
    # the token; the items, their photos
    with django_assert_num_queries(3):
        assert len(device.get(ITEMS).json()["results"]) == count


def test_pages_of_items_have_no_gaps_while_items_are_added(device: APIClient) -> None:
    names_in_order = [make_item().name for _ in range(5)]
    page = device.get(f"{ITEMS}?page_size=3").json()
    CatalogItem.objects.filter(name=names_in_order[0]).delete()
    names_in_order.append(make_item().name)
    rest = device.get(page["next"]).json()
    assert [item["name"] for item in page["results"] + rest["results"]] == names_in_order
    assert rest["next"] is None


def test_the_fast_item_serializer_matches_its_declared_fields(db: None) -> None:
    """Our own `to_representation` returns the same as REST framework's."""
    request = APIRequestFactory().get("/")
    for columns in ({}, {"price": "5", "attributes": {"season": ["winter"]}, "url": "https://shop.example/5"}):
        item = make_item(**columns)
        for position in range(len(columns)):
            make_item_photo(item, position=position)
        item = CatalogItem.objects.with_photos().get(pk=item.pk)
        for serializer in (ItemSerializer, ItemDetailSerializer):
            quick = serializer(item, context={"request": request})
            assert quick.data == ModelSerializer.to_representation(quick, item)
            assert list(quick.data) == list(quick.fields)


def test_the_fast_item_photo_serializer_matches_its_declared_fields(db: None) -> None:
    photo, request = make_item_photo(), APIRequestFactory().get("/")
    quick = ItemPhotoSerializer(photo, context={"request": request})
    assert quick.data == ModelSerializer.to_representation(quick, photo)
    assert quick.data["url"] == request.build_absolute_uri(reverse("item-photo", args=[photo.pk]))
