"""Each photo of the catalogue, sent the ways that photos come in, finds itself first."""

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

pytestmark = [pytest.mark.system, pytest.mark.database]

SENT: Final = sample_items(ITEMS)[::3][:12]
LEAST_SCORE: Final = 0.999  # cleaned once more, where it is fetched from the site itself

Route = Callable[[Phone, bytes], str]
"""Sends a photo and says which item is found first, by its external id."""


def first(phone: Phone, response: requests.Response) -> str:
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["recommendations"][0]
    assert found["score"] > LEAST_SCORE
    return str(found["item"]["external_id"])


def as_form(phone: Phone, photo: bytes) -> str:
    return first(phone, phone.post(photo, wait=20, k=1))


def as_json(phone: Phone, photo: bytes) -> str:
    body = {"photo": base64.b64encode(photo).decode(), "k": 1}
    return first(phone, ask(phone, body))


def by_address(phone: Phone, photo: bytes) -> str:
    """The photo lies where the catalogue shows it; a visitor may fetch it there, and so may the site."""
    shown = phone.post(photo, wait=20, k=1).json()["recommendations"][0]["photo"]["url"]
    body = {"photo_url": shown.replace(phone.site.address, f"http://localhost:{phone.site.port}"), "k": 1}
    return first(phone, ask(phone, body))


def by_the_old_app(phone: Phone, photo: bytes) -> str:
    """The app gets a picture and no name: the one it gets is looked for among those of the catalogue."""
    body = json.dumps({"numResults": 1, "photo": base64.encodebytes(photo).decode()})
    headers = {"Content-Type": "application/json"}
    response = requests.post(phone.site.address, data=body, headers=headers, timeout=TIMEOUT)
    assert response.status_code == 200, response.text
    shown = base64.b64decode(response.json()["images"][0]["image"])
    again = phone.post(shown, wait=20, k=1).json()["recommendations"][0]
    return str(again["item"]["external_id"])


def ask(phone: Phone, body: dict[str, Any]) -> requests.Response:
    url = f"{phone.site.address}/api/v1/queries/"
    return requests.post(url, headers=phone.headers | {"Prefer": "wait=20"}, json=body, timeout=TIMEOUT)


@pytest.mark.parametrize("route", [as_form, as_json, by_address, by_the_old_app])
def test_each_photo_of_the_catalogue_finds_itself_first(phone: Phone, sample: Path, route: Route) -> None:
    found = [route(phone, (sample / "images" / f"{item.external_id}-0.jpg").read_bytes()) for item in SENT]
    assert found == [item.external_id for item in SENT]
