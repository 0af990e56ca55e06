"""A photo through every real part: HTTP, database, Redis, both workers, and back."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.sample import draw_photo, phone_photo, sample_items
from tests.helpers.pictures import jpeg_of
from tests.helpers.sample_site import ITEMS, photographed_item
from tests.helpers.site import Phone, Site, wait_until

pytestmark = [pytest.mark.system, pytest.mark.database]


def test_a_phone_photo_finds_the_garment_it_shows(phone: Phone, photo: bytes) -> None:
    response = phone.post(photo, wait=20, k=5)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["state"] == "done"
    names = [recommendation["item"]["external_id"] for recommendation in answer["recommendations"]]
    assert photographed_item().external_id in names


def test_an_answer_is_ranked_and_complete_and_names_its_encoder_and_timings(phone: Phone, photo: bytes) -> None:
    answer = phone.post(photo, wait=20, k=6).json()
    recommendations = answer["recommendations"]
    scores = [recommendation["score"] for recommendation in recommendations]
    assert [recommendation["rank"] for recommendation in recommendations] == [1, 2, 3, 4, 5, 6]
    assert scores == sorted(scores, reverse=True)
    assert all(-1 <= score <= 1 for score in scores)
    assert len({recommendation["item"]["id"] for recommendation in recommendations}) == 6
    assert answer["encoder"] == "efficientnet-lite0-metric100"
    assert {"receive", "clean", "queue", "embed", "search", "write", "total"} <= set(answer["timings"])


def test_a_photo_of_the_catalogue_finds_itself_first(phone: Phone) -> None:
    for item in sample_items(ITEMS)[::9]:
        answer = phone.post(jpeg_of(draw_photo(item)), wait=20, k=1).json()
        assert answer["recommendations"][0]["item"]["external_id"] == item.external_id
        assert answer["recommendations"][0]["score"] > 0.97


def test_without_waiting_the_answer_is_fetched_later(phone: Phone, photo: bytes) -> None:
    response = phone.post(photo)
    assert response.status_code == 202
    assert response.headers["Location"].endswith(f"/api/v1/queries/{response.json()['id']}/")
    assert phone.wait_for_end(response.json()["id"])["state"] == "done"


def test_the_same_picture_twice_is_one_photo_with_the_same_answer(phone: Phone, photo: bytes) -> None:
    first, second = (phone.post(photo, wait=20).json() for _ in range(2))
    assert first["id"] != second["id"]
    assert first["photo"]["id"] == second["photo"]["id"]
    answers = [[{**found, "id": 0} for found in query["recommendations"]] for query in (first, second)]
    assert answers[0] == answers[1]


def test_many_phones_at_once_each_get_their_own_answer(phone: Phone) -> None:
    items = sample_items(ITEMS)[:12]
    photos = [jpeg_of(draw_photo(item)) for item in items]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda photo: phone.post(photo, wait=20, k=1).json(), photos))
    found = [answer["recommendations"][0]["item"]["external_id"] for answer in answers]
    assert found == [item.external_id for item in items]


def test_a_new_item_is_found_within_two_seconds_of_its_embedding(phone: Phone, site: Site) -> None:
    new_item = sample_items(ITEMS + 1)[-1]
    picture = jpeg_of(draw_photo(new_item))
    site.shell(NEW_ITEM.format(photo=picture, external_id=new_item.external_id))
    wait_until(lambda: site.shell(COUNT_EMBEDDINGS.format(external_id=new_item.external_id)) == "1", "its embedding")
    deadline = time.monotonic() + 2
    answer = phone.post(picture, wait=20, k=1).json()
    assert answer["recommendations"][0]["item"]["external_id"] == new_item.external_id
    assert time.monotonic() < deadline


COUNT_EMBEDDINGS = """
from catalog.models import Embedding
print(Embedding.objects.filter(item__external_id={external_id!r}, encoder__state="live").count())
"""

NEW_ITEM = """
from django.core.files.base import ContentFile
from catalog.models import CatalogItem, ItemPhoto
from catalog.photos.validation import clean_photo, source_hash
raw = {photo!r}
clean = clean_photo(raw)
item, _ = CatalogItem.objects.get_or_create(external_id={external_id!r}, name="New item")
photo = ItemPhoto(item=item, source_sha256=source_hash(raw), sha256=clean.sha256, width=clean.width,
                  height=clean.height, size=len(clean.content), perceptual_hash=clean.perceptual_hash)
photo.file.save("new.jpg", ContentFile(clean.content), save=False)
photo.save()
"""


def test_a_hidden_item_is_missing_from_the_next_answer(phone: Phone, site: Site) -> None:
    item = sample_items(ITEMS)[20]
    picture = jpeg_of(draw_photo(item))
    switch = "from catalog.models import CatalogItem; CatalogItem.objects.filter(external_id={!r}).update(is_active={})"
    site.shell(switch.format(item.external_id, False))
    try:
        answer = phone.post(picture, wait=20, k=10).json()
    finally:
        site.shell(switch.format(item.external_id, True))
    found = [recommendation["item"]["external_id"] for recommendation in answer["recommendations"]]
    assert item.external_id not in found
    assert len(found) == 10
    again = phone.post(picture, wait=20, k=1).json()
    assert again["recommendations"][0]["item"]["external_id"] == item.external_id


def test_filters_find_all_matching_items_however_far_they_are(phone: Phone) -> None:
    items = sample_items(ITEMS)
    picture = jpeg_of(phone_photo(items[0]))
    other = next(item.category for item in items if item.category != items[0].category)
    answer = phone.post(picture, wait=20, k=50, filters=f'{{"category": "{other}"}}').json()
    found = {recommendation["item"]["external_id"] for recommendation in answer["recommendations"]}
    assert found == {item.external_id for item in items if item.category == other}


def test_diversity_keeps_the_best_and_changes_the_rest(phone: Phone, photo: bytes) -> None:
    plain = phone.post(photo, wait=20, k=5).json()["recommendations"]
    varied = phone.post(photo, wait=20, k=5, diversity=0.9).json()["recommendations"]
    assert varied[0]["item"] == plain[0]["item"]
    assert [entry["item"]["id"] for entry in varied] != [entry["item"]["id"] for entry in plain]


def test_a_process_goes_the_way_of_a_query_before_the_first_one(site: Site) -> None:
    """And leaves nothing but a message about a query that is not there."""

    def received() -> int:
        return site.log("gpu").count("worker.embed_query[")

    before = received()
    site.kill("web")
    site.start("web")
    site.wait_until_ready()
    wait_until(lambda: received() > before, "the message of the warm-up")
    assert not [name for name in ("web", "gpu", "cpu") if "warm-up" in site.log(name)]
    count = "User.objects.filter(username__startswith='warm-up-').count()"
    assert site.shell(f"from catalog.models import User; print({count})") == "0"
