"""The existing Android app against a running site: a byte-exact replica of its requests and parsing."""

import base64
import gzip
import http.client
import io
import json
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image

from demo.sample import draw_photo, phone_photo, sample_items
from tests.helpers.sample_site import ITEMS, photographed_item
from tests.helpers.site import Phone, Site, wait_until

pytestmark = pytest.mark.system

TIMEOUT = 10.0  # OkHttp's, for connecting and for each read


@dataclass(frozen=True)
class AppResponse:
    """A response as the app parses it."""

    status: int
    hello: str
    images: list[bytes]
    seconds: float
    headers: dict[str, str]


class App:
    """A replica of the app. It writes raw requests, so that no library normalises them."""

    def __init__(self, address: str, phone: str = "127.0.0.1") -> None:
        """`phone` is the source address of the connection."""
        place = urlsplit(address)
        assert place.hostname is not None and place.port is not None
        self.host = place.netloc
        self.socket = socket.create_connection((place.hostname, place.port), TIMEOUT, (phone, 0))
        self.socket.settimeout(TIMEOUT)

    def ping(self) -> int:
        return self._call("GET", {}, b"")[0].status

    def send_photo(self, photo: bytes, results: int) -> AppResponse:
        started = time.monotonic()
        response, content = self._call(
            "POST", {"Content-Type": "application/json; charset=utf-8"}, self.body(photo, results)
        )
        seconds = time.monotonic() - started
        answer = json.loads(content)  # unknown members are ignored, as Gson and org.json do
        images = [self.decoded(entry["image"]) for entry in answer["images"]]
        return AppResponse(response.status, str(answer["hello"]), images, seconds, dict(response.headers))

    @staticmethod
    def body(photo: bytes, results: int) -> bytes:
        """As org.json writes it, which escapes slashes; encodebytes breaks lines where Base64.DEFAULT does."""
        text = base64.encodebytes(photo).decode("ascii")
        assert {len(line) for line in text.splitlines()[:-1]} == {76}
        return json.dumps({"numResults": results, "photo": text}, separators=(",", ":")).replace("/", "\\/").encode()

    @staticmethod
    def decoded(text: str) -> bytes:
        """Base64.DEFAULT skips line breaks and nothing else."""
        return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)

    def _call(self, method: str, headers: dict[str, str], body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        """One exchange on the connection that is kept open, with the headers that OkHttp adds in its order."""
        if body:
            headers = {**headers, "Content-Length": str(len(body))}
        headers |= {
            "Host": self.host,
            "Connection": "Keep-Alive",
            "Accept-Encoding": "gzip",
            "User-Agent": "okhttp/4.9.3",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.socket.sendall(f"{method} / HTTP/1.1\r\n{head}\r\n".encode() + body)
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        content = response.read()
        zipped = response.headers.get("Content-Encoding") == "gzip"
        return response, gzip.decompress(content) if zipped else content


def app_photo(picture: Image.Image) -> bytes:
    """Return the JPEG that the app sends: squeezed to 200 x 200 pixels, whatever the shape was."""
    buffer = io.BytesIO()
    picture.resize((200, 200)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


@pytest.fixture
def app(site: Site) -> App:
    return App(site.address)


def test_a_ping_is_answered(app: App) -> None:
    assert app.ping() == 200


@pytest.mark.parametrize("results", range(1, 11))
def test_the_answer_has_as_many_pictures_as_requested(app: App, results: int) -> None:
    shown = app.send_photo(app_photo(phone_photo(photographed_item())), results)
    assert (shown.status, len(shown.images)) == (200, results)
    assert shown.hello
    for image in shown.images:
        with Image.open(io.BytesIO(image)) as picture:
            picture.load()
            assert picture.format == "JPEG"
            assert 100 <= picture.width <= 320


def test_the_pictures_are_those_of_the_api_in_the_same_order(app: App, phone: Phone) -> None:
    photo = app_photo(draw_photo(sample_items(ITEMS)[3]))
    shown = app.send_photo(photo, 10)
    ranked = phone.post(photo, wait=20, k=10).json()["recommendations"]
    assert ranked[0]["item"]["external_id"] == sample_items(ITEMS)[3].external_id
    urls = [found["photo"]["url"] for found in ranked]
    assert shown.images == [requests.get(url, params={"w": "320"}, timeout=20).content for url in urls]


def test_photos_can_follow_one_another_on_one_connection(app: App) -> None:
    for item in sample_items(ITEMS)[10:13]:
        assert app.ping() == 200
        assert app.send_photo(app_photo(draw_photo(item)), 2).status == 200


def test_a_slow_answer_is_503_in_time_and_ready_when_the_photo_is_sent_again(site: Site) -> None:
    photo = app_photo(phone_photo(sample_items(ITEMS)[21]))
    site.kill("gpu")
    slow = App(site.address).send_photo(photo, 4)
    assert slow.status == 503
    assert slow.seconds < TIMEOUT
    assert slow.hello.endswith(".")
    assert slow.images == []
    assert slow.headers["Retry-After"] == "5"
    site.start("gpu")
    query_id = site.shell(NEWEST)
    wait_until(lambda: site.shell(STATE.format(query_id)) == "done", "the answer of the query")
    again = App(site.address).send_photo(photo, 4)
    assert (again.status, len(again.images)) == (200, 4)
    assert site.shell(NEWEST) == query_id


NEWEST = """
from catalog.models import SimilarityQuery
print(SimilarityQuery.objects.filter(visitor__startswith="legacy-").latest("created_at").pk)
"""

STATE = "from catalog.models import SimilarityQuery; print(SimilarityQuery.objects.get(pk={!r}).state)"


def test_without_a_queue_the_photo_is_503_at_once_and_answered_later(site: Site) -> None:
    photo = app_photo(phone_photo(sample_items(ITEMS)[22]))
    site.kill("redis")
    response = App(site.address).send_photo(photo, 5)
    assert (response.status, response.images) == (503, [])
    assert response.seconds < 6
    site.start("redis")

    def answered() -> AppResponse | None:
        shown = App(site.address).send_photo(photo, 5)
        return shown if shown.status == 200 else None

    assert len(wait_until(answered, "the answer once the queue is back").images) == 5


def test_each_client_ip_has_a_rate_limit(site: Site, app: App) -> None:
    """30 requests a minute, valid or not; other addresses are not affected."""
    busy_app = App(site.address, phone="127.0.0.2")

    def refused() -> AppResponse | None:
        shown = busy_app.send_photo(b"no picture" * 20, 1)
        assert shown.status in (415, 429)
        return shown if shown.status == 429 else None

    refusal = wait_until(refused, "a 429 response")
    assert 1 <= int(refusal.headers["Retry-After"]) <= 60
    assert refusal.hello and refusal.images == []
    assert app.send_photo(b"no picture" * 20, 1).status == 415
