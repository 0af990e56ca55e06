"""kill -9 on each process in turn: every query is answered in the end, and once."""

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


def test_a_query_sent_without_a_broker_is_answered_once_it_is_back(phone: Phone, site: Site, photo: bytes) -> None:
    site.kill("redis")
    response = phone.post(photo, wait=2)
    assert response.status_code == 202, response.text
    assert phone.query(response.json()["id"])["state"] == "queued"
    site.start("redis")
    assert_answered_once(phone, response.json()["id"])
    assert phone.post(photo, wait=20).status_code == 200


def test_messages_in_the_broker_survive_its_death(phone: Phone, site: Site, photo: bytes) -> None:
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
def test_a_query_claimed_by_a_killed_worker_is_answered_after_its_restart(
    phone: Phone, site: Site, photo: bytes, worker: str, waiting: str
) -> None:
    site.kill(worker)
    query_id = phone.post(photo).json()["id"]
    wait_until(lambda: phone.query(query_id)["state"] == waiting.lower(), f"the query to be {waiting}")
    claimed = site.shell(CLAIM.format(query_id=query_id, waiting=waiting, worker=f"{worker}@{socket.gethostname()}"))
    assert claimed == f"query {query_id}"
    site.start(worker)
    assert_answered_once(phone, query_id)


def test_killing_workers_during_a_stream_of_queries_loses_and_repeats_none(phone: Phone, site: Site) -> None:
    ids = []
    for number, item in enumerate(sample_items(ITEMS)[:16]):
        ids.append(phone.post(jpeg_of(draw_photo(item, view=1)), k=10).json()["id"])
        if number in (5, 10):
            name = "gpu" if number == 5 else "cpu"
            site.kill(name)
            site.start(name)
    for query_id in ids:
        assert_answered_once(phone, query_id)


def test_queries_are_answered_without_a_scheduler(phone: Phone, site: Site, photo: bytes) -> None:
    site.kill("beat")
    assert phone.post(photo, wait=20).status_code == 200


def test_a_query_survives_the_death_of_the_web_server(phone: Phone, site: Site, photo: bytes) -> None:
    query_id = phone.post(photo).json()["id"]
    site.kill("web")
    site.start("web")
    site.wait_until_ready()
    assert_answered_once(phone, query_id)
