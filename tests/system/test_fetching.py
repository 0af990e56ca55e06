"""A photo given by its URL, fetched by a real site."""

import socket
from typing import Any

import pytest
import requests

from tests.helpers.site import TIMEOUT, Phone, Site, wait_until

pytestmark = pytest.mark.system

CLAIM = """
from catalog.models import QueryState, SimilarityQuery
print(SimilarityQuery.objects.claim({query_id!r}, QueryState.TO_FETCH, worker={worker!r}))
"""


def post_url(phone: Phone, photo_url: str, *, wait: int = 0) -> requests.Response:
    headers = phone.headers | ({"Prefer": f"wait={wait}"} if wait else {})
    url = f"{phone.site.address}/api/v1/queries/"
    return requests.post(url, headers=headers, json={"photo_url": photo_url, "k": 3}, timeout=TIMEOUT)


def first_item(phone: Phone) -> dict[str, Any]:
    item: dict[str, Any] = phone.get("/api/v1/items/").json()["results"][0]
    return item


def picture_url(site: Site, item: dict[str, Any]) -> str:
    """Return the URL of an item's picture as it would appear in a shop."""
    return str(item["photo"]["url"].replace(site.address, f"http://localhost:{site.port}"))


def test_the_picture_of_an_item_finds_the_item(phone: Phone, site: Site) -> None:
    item = first_item(phone)
    response = post_url(phone, picture_url(site, item), wait=20)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["recommendations"][0]["item"]["id"] == item["id"]
    assert answer["timings"]["fetch"] > 0
    assert requests.get(answer["photo"]["url"], timeout=TIMEOUT).status_code == 200


@pytest.mark.parametrize(
    ("path", "code"), [("/photos/items/999999999/", "url_not_found"), ("/healthz", "photo_unreadable")]
)
def test_a_failed_fetch_ends_the_query_with_an_error_code(phone: Phone, site: Site, path: str, code: str) -> None:
    response = post_url(phone, f"http://localhost:{site.port}{path}", wait=20)
    assert response.status_code == 200, response.text
    assert (response.json()["state"], response.json()["error"]["code"]) == ("failed", code)


def test_a_loopback_address_is_forbidden(phone: Phone, site: Site) -> None:
    response = post_url(phone, "http://127.0.0.1/photos/items/1/", wait=20)
    assert response.json()["error"]["code"] == "url_forbidden"


def test_a_query_claimed_by_a_killed_worker_is_fetched_after_its_restart(phone: Phone, site: Site) -> None:
    site.kill("net")
    query_id = post_url(phone, picture_url(site, first_item(phone))).json()["id"]
    worker = f"net@{socket.gethostname()}"
    assert site.shell(CLAIM.format(query_id=query_id, worker=worker)) == f"query {query_id}"
    site.start("net")
    assert wait_until(lambda: phone.wait_for_end(query_id), "the answer")["state"] == "done"
