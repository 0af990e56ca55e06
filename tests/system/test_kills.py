"""kill -9 on each process in turn: every photo is answered in the end, and answered once."""

import socket

import pytest

from demo.sample import draw_photo, sample_items
from tests.helpers.pictures import jpeg_of
from tests.helpers.sample_site import ITEMS
from tests.helpers.site import Phone, Site, wait_until

pytestmark = [pytest.mark.system, pytest.mark.database]


def assert_answered_once(phone: Phone, query_id: str) -> None:
    answer = phone.wait_for_end(query_id)
    assert answer["state"] == "done", answer
    assert [entry["rank"] for entry in answer["recommendations"]] == list(range(1, 11))


def test_with_the_broker_down_a_photo_is_taken_and_answered_once_it_is_back(
    phone: Phone, site: Site, photo: bytes
) -> None:
    site.kill("redis")
    response = phone.post(photo, wait=2)
    assert response.status_code == 202, response.text
    assert phone.query(response.json()["id"])["state"] == "queued"
    site.start("redis")
    assert_answered_once(phone, response.json()["id"])
    assert phone.post(photo, wait=20).status_code == 200


def test_photos_that_wait_in_the_broker_survive_its_death(phone: Phone, site: Site, photo: bytes) -> None:
    site.kill("gpu")
    ids = [phone.post(photo).json()["id"] for _ in range(3)]
    site.kill("redis")
    site.start("redis", "gpu")
    for query_id in ids:
        assert_answered_once(phone, query_id)


CLAIM = """
from catalog.models import QueryState, SimilarityQuery
print(SimilarityQuery.objects.claim({query_id!r}, QueryState.{waiting}, worker={worker!r}))
"""


@pytest.mark.parametrize(("worker", "waiting"), [("gpu", "QUEUED"), ("cpu", "EMBEDDED")])
def test_what_a_worker_held_when_it_was_killed_is_answered_after_its_restart(
    phone: Phone, site: Site, photo: bytes, worker: str, waiting: str
) -> None:
    site.kill(worker)
    query_id = phone.post(photo).json()["id"]
    wait_until(lambda: phone.query(query_id)["state"] == waiting.lower(), f"the query to be {waiting}")
    claimed = site.shell(CLAIM.format(query_id=query_id, waiting=waiting, worker=f"{worker}@{socket.gethostname()}"))
    assert claimed == f"query {query_id}"
    site.start(worker)
    assert_answered_once(phone, query_id)


def test_a_worker_killed_in_the_middle_of_a_stream_loses_and_doubles_nothing(phone: Phone, site: Site) -> None:
    ids = []
    for number, item in enumerate(sample_items(ITEMS)[:16]):
        ids.append(phone.post(jpeg_of(draw_photo(item, view=1)), k=10).json()["id"])
        if number in (5, 10):
            name = "gpu" if number == 5 else "cpu"
            site.kill(name)
            site.start(name)
    for query_id in ids:
        assert_answered_once(phone, query_id)


def test_without_a_scheduler_photos_are_still_answered(phone: Phone, site: Site, photo: bytes) -> None:
    site.kill("beat")
    assert phone.post(photo, wait=20).status_code == 200


def test_a_killed_web_server_comes_back_with_what_it_had(phone: Phone, site: Site, photo: bytes) -> None:
    query_id = phone.post(photo).json()["id"]
    site.kill("web")
    site.start("web")
    site.wait_until_ready()
    assert_answered_once(phone, query_id)
