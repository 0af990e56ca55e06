"""A photo that is named by its address, through every process of a real site."""

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


def ask(phone: Phone, photo_url: str, *, wait: int = 0) -> requests.Response:
    headers = phone.headers | ({"Prefer": f"wait={wait}"} if wait else {})
    url = f"{phone.site.address}/api/v1/queries/"
    return requests.post(url, headers=headers, json={"photo_url": photo_url, "k": 3}, timeout=TIMEOUT)


def an_item(phone: Phone) -> dict[str, Any]:
    item: dict[str, Any] = phone.get("/api/v1/items/").json()["results"][0]
    return item


def picture_of(site: Site, item: dict[str, Any]) -> str:
    """The address of an item's picture as a shop would give it."""
    return str(item["photo"]["url"].replace(site.address, f"http://localhost:{site.port}"))


def test_the_picture_of_an_item_finds_the_item(phone: Phone, site: Site) -> None:
    item = an_item(phone)
    response = ask(phone, picture_of(site, item), wait=20)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["recommendations"][0]["item"]["id"] == item["id"]
    assert answer["timings"]["fetch"] > 0
    assert requests.get(answer["photo"]["url"], timeout=TIMEOUT).status_code == 200


@pytest.mark.parametrize(
    ("path", "code"), [("/photos/items/999999999/", "url_not_found"), ("/healthz", "photo_unreadable")]
)
def test_what_cannot_be_fetched_fails_with_a_code_while_the_person_waits(
    phone: Phone, site: Site, path: str, code: str
) -> None:
    response = ask(phone, f"http://localhost:{site.port}{path}", wait=20)
    assert response.status_code == 200, response.text
    assert (response.json()["state"], response.json()["error"]["code"]) == ("failed", code)


def test_nobody_is_sent_into_the_machine_by_the_same_door(phone: Phone, site: Site) -> None:
    response = ask(phone, "http://127.0.0.1/photos/items/1/", wait=20)
    assert response.json()["error"]["code"] == "url_forbidden"


def test_what_a_worker_held_when_it_was_killed_is_fetched_after_its_restart(phone: Phone, site: Site) -> None:
    site.kill("net")
    query_id = ask(phone, picture_of(site, an_item(phone))).json()["id"]
    worker = f"net@{socket.gethostname()}"
    assert site.shell(CLAIM.format(query_id=query_id, worker=worker)) == f"query {query_id}"
    site.start("net")
    assert wait_until(lambda: phone.wait_for_end(query_id), "the answer")["state"] == "done"
