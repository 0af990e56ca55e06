"""CORS for the origins of the setting CORS_ORIGINS."""

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db

SHOP = "https://shop.example"
ITEMS = "/api/v1/items/"


def allowed(answer: object) -> str | None:
    return answer.headers.get("Access-Control-Allow-Origin")  # type: ignore[attr-defined, no-any-return]


def test_no_other_origin_is_allowed_by_default(device: APIClient) -> None:
    assert allowed(device.get(ITEMS, headers={"Origin": SHOP})) is None


@pytest.fixture
def open_to_the_shop(settings: Settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [SHOP]


def test_only_the_configured_origin_is_allowed(device: APIClient, open_to_the_shop: None) -> None:
    answer = device.get(ITEMS, headers={"Origin": SHOP})
    assert allowed(answer) == SHOP
    assert "Access-Control-Allow-Credentials" not in answer
    for other in ("https://evil.example", "http://shop.example", "https://shop.example.evil.example", "null"):
        assert allowed(device.get(ITEMS, headers={"Origin": other})) is None


def test_scripts_may_read_the_headers_of_the_api(device: APIClient, open_to_the_shop: None) -> None:
    exposed = device.get(ITEMS, headers={"Origin": SHOP})["Access-Control-Expose-Headers"]
    wanted = {"Location", "Retry-After", "X-Request-ID", "Idempotency-Replayed", "Preference-Applied", "ETag"}
    assert wanted <= {name.strip() for name in exposed.split(",")}


def test_a_preflight_request_lists_headers_and_methods(open_to_the_shop: None) -> None:
    headers = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,idempotency-key,prefer",
    }
    answer = APIClient().options("/api/v1/queries/", headers=headers)
    assert answer.status_code == 200
    assert allowed(answer) == SHOP
    allowed_headers = {name.strip() for name in answer["Access-Control-Allow-Headers"].split(",")}
    assert {"authorization", "content-type", "idempotency-key", "prefer", "if-none-match"} <= allowed_headers
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= {
        name.strip() for name in answer["Access-Control-Allow-Methods"].split(",")
    }


def test_errors_have_cors_headers_too(open_to_the_shop: None) -> None:
    answer = APIClient().get(ITEMS, headers={"Origin": SHOP})
    assert answer.status_code == 401
    assert allowed(answer) == SHOP


def test_pages_have_no_cors_headers(client: APIClient, open_to_the_shop: None) -> None:
    for path in ("/", "/healthz", "/admin/login/"):
        assert allowed(client.get(path, headers={"Origin": SHOP})) is None
