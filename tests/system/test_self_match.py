"""A photo of the catalogue finds its own item first, however it is sent."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from demo.sample import sample_items
from tests.helpers.sample_site import ITEMS
from tests.helpers.site import TIMEOUT, Phone

pytestmark = pytest.mark.system

QUERIED: Final = sample_items(ITEMS)[::3][:12]
MIN_SCORE: Final = 0.999  # below 1: a fetched photo is re-encoded once more

Route = Callable[[Phone, bytes], str]
"""Sends a photo and returns the external id of the best match."""


def best_match(phone: Phone, response: requests.Response) -> str:
    assert response.status_code == 200, response.text
    match: dict[str, Any] = response.json()["recommendations"][0]
    assert match["score"] > MIN_SCORE
    return str(match["item"]["external_id"])


def as_form(phone: Phone, photo: bytes) -> str:
    return best_match(phone, phone.post(photo, wait=20, k=1))


def as_json(phone: Phone, photo: bytes) -> str:
    body = {"photo": base64.b64encode(photo).decode(), "k": 1}
    return best_match(phone, post_json(phone, body))


def by_url(phone: Phone, photo: bytes) -> str:
    """Send the URL of the item's own picture on the site."""
    shown = phone.post(photo, wait=20, k=1).json()["recommendations"][0]["photo"]["url"]
    body = {"photo_url": shown.replace(phone.site.address, f"http://localhost:{phone.site.port}"), "k": 1}
    return best_match(phone, post_json(phone, body))


def by_legacy_route(phone: Phone, photo: bytes) -> str:
    """Use the legacy route, which returns a picture without an id: a second query identifies that picture."""
    body = json.dumps({"numResults": 1, "photo": base64.encodebytes(photo).decode()})
    headers = {"Content-Type": "application/json"}
    response = requests.post(phone.site.address, data=body, headers=headers, timeout=TIMEOUT)
    assert response.status_code == 200, response.text
    shown = base64.b64decode(response.json()["images"][0]["image"])
    again = phone.post(shown, wait=20, k=1).json()["recommendations"][0]
    return str(again["item"]["external_id"])


def post_json(phone: Phone, body: dict[str, Any]) -> requests.Response:
    url = f"{phone.site.address}/api/v1/queries/"
    return requests.post(url, headers=phone.headers | {"Prefer": "wait=20"}, json=body, timeout=TIMEOUT)


@pytest.mark.parametrize("route", [as_form, as_json, by_url, by_legacy_route])
def test_each_photo_of_the_catalogue_finds_itself_first(phone: Phone, sample: Path, route: Route) -> None:
    found = [route(phone, (sample / "images" / f"{item.external_id}-0.jpg").read_bytes()) for item in QUERIED]
    assert found == [item.external_id for item in QUERIED]
