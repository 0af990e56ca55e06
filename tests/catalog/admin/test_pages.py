"""All admin pages: open for staff only, constant number of SQL queries, nothing private shown."""

import re
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from knox.models import AuthToken
from rest_framework.test import APIClient

from catalog.models import (
    CatalogItem,
    Embedding,
    Encoder,
    Evaluation,
    EvaluationSet,
    ImportJob,
    ItemPhoto,
    Promotion,
    Recommendation,
    SimilarityQuery,
    TrainingRun,
    Triplet,
    UploadedPhoto,
    User,
)
from catalog.services.accounts.devices import device_sign_in
from tests.helpers.api import answered_query
from tests.helpers.factories import (
    make_embedding,
    make_encoder,
    make_item_photo,
    make_run,
    make_upload,
    make_user,
    unit,
)

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
READ_ONLY = {Encoder, Embedding, ItemPhoto, SimilarityQuery, Recommendation, ImportJob}
READ_ONLY |= {Evaluation, EvaluationSet, Promotion, Triplet}


def make_rows(number: int) -> None:
    """Create one more row of every model."""
    user = make_user(f"person {number}")
    AuthToken.objects.create(user=user)
    device_sign_in(user=user, name="A phone")
    AccessAttempt.objects.create(username=user.username, ip_address="192.0.2.1", failures_since_start=number)
    Group.objects.create(name=f"group {number}")
    make_upload(visitor=f"visitor {number}")
    query = answered_query(user, encoder=make_encoder(card={"kind": "metric"}))
    make_embedding(query.encoder or make_encoder(), unit(1, 2), make_item_photo())
    nearer, farther, _ = (recommendation.photo for recommendation in query.recommendations.all())
    Triplet.objects.create(query=query, anchor=query.photo, positive=nearer, negative=farther, reviewed_by=user)
    make_run(started_by=user)
    drawn = EvaluationSet.objects.create(name=f"set {number}")
    encoder, other = make_encoder(), make_encoder()
    Evaluation.objects.create(encoder=encoder, against=other, evaluation_set=drawn)
    Promotion.objects.create(encoder=encoder, encoder_name=encoder.name, previous=other, previous_name=other.name)
    ImportJob.objects.create(
        source="/data", counts={"photos_new": 3}, errors=[{"row": 2, "reason": "not a <b>picture</b>"}]
    )


@pytest.fixture
def staff(staff: Client) -> Client:
    make_rows(0)
    return staff


def url(model: type[Model], page: str, *arguments: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def test_every_catalogue_model_is_registered() -> None:
    ours = {CatalogItem, Embedding, Encoder, ImportJob, ItemPhoto, Recommendation, SimilarityQuery, UploadedPhoto, User}
    assert ours | {TrainingRun} <= set(MODELS)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@pytest.mark.database
def test_its_pages_open_for_staff(staff: Client, model: type[Model]) -> None:
    row = model._default_manager.first()
    assert row is not None
    assert staff.get(url(model, "changelist")).status_code == 200
    assert staff.get(url(model, "changelist"), {"q": "a b"}).status_code == 200
    assert staff.get(url(model, "change", row.pk)).status_code == 200
    assert staff.get(url(model, "history", row.pk)).status_code == 200
    may_add = model not in READ_ONLY | {UploadedPhoto, AuthToken, AccessAttempt}
    assert staff.get(url(model, "add")).status_code == (200 if may_add else 403)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_its_pages_are_refused_to_everyone_else(staff: Client, model: type[Model]) -> None:
    row = model._default_manager.first()
    assert row is not None
    person = Client()
    person.force_login(make_user())
    for client in (person, Client()):
        for page in (url(model, "changelist"), url(model, "add"), url(model, "change", row.pk)):
            assert client.get(page).status_code == 302
            assert client.post(page).status_code == 302


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@pytest.mark.database
def test_a_list_takes_the_same_queries_whatever_its_length(staff: Client, model: type[Model]) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            staff.get(url(model, "changelist"))
        return len(captured)

    cost()  # the first request fills the caches
    expected = cost()
    for number in range(1, 5):
        make_rows(number)
    assert cost() == expected


@pytest.mark.parametrize("model", sorted(READ_ONLY, key=lambda model: model.__name__), ids=lambda model: model.__name__)
def test_read_only_models_cannot_be_changed_or_deleted(staff: Client, model: type[Any]) -> None:
    row = model._default_manager.first()
    assert staff.post(url(model, "change", row.pk), {}).status_code == 403
    assert staff.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403


def test_the_front_page_groups_the_models(staff: Client) -> None:
    page = staff.get("/admin/").content.decode()
    for title in ("Catalogue", "Queries", "Training", "Encoders", "People"):
        assert title in page


def test_signing_in_leads_to_the_front_page(client: Client) -> None:
    make_user("boss", is_staff=True)
    answer = client.post("/admin/login/", {"username": "boss", "password": "long enough 1"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_the_front_page_links_only_to_permitted_pages(client: Client) -> None:
    clerk = make_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_catalogitem"))
    client.force_login(clerk)
    links = set(re.findall(r'href="(/admin/[a-z]+/[a-z]+/)"', client.get("/admin/").content.decode()))
    assert links == {url(CatalogItem, "changelist")}


def test_the_list_of_encoders_shows_their_coverage(staff: Client) -> None:
    photos = ItemPhoto.objects.count()
    page = staff.get(url(Encoder, "changelist")).content.decode()
    assert f"1 of {photos} photos" in page


def test_a_query_shows_its_timings_and_matches(staff: Client) -> None:
    query = SimilarityQuery.objects.get(state="done")
    page = staff.get(url(SimilarityQuery, "change", query.pk)).content.decode()
    assert "61.5" in page
    recommendations = query.recommendations.all()
    assert all(reverse("item-photo", args=[match.photo_id]) in page for match in recommendations)


def test_uploaded_photos_are_never_shown(staff: Client) -> None:
    photo = UploadedPhoto.objects.filter(owner=None).get()
    query = SimilarityQuery.objects.get(state="done")
    for page in (
        url(UploadedPhoto, "changelist"),
        url(UploadedPhoto, "change", photo.pk),
        url(SimilarityQuery, "change", query.pk),
    ):
        text = staff.get(page).content.decode()
        assert "/photos/uploads/" not in text
        assert photo.file.name not in text
        assert photo.visitor not in text


def test_a_device_shows_its_name_and_scope(staff: Client) -> None:
    page = staff.get(url(AuthToken, "changelist")).content.decode()
    assert "A phone" in page
    assert "field-scope" in page


def test_deleting_failed_sign_ins_ends_the_lockout(staff: Client) -> None:
    make_user("guessed")
    person = Client()
    for password in [*["wrong"] * 10, "long enough 1"]:
        refused = person.post("/admin/login/", {"username": "guessed", "password": password})
    assert refused.status_code == 429
    row = AccessAttempt.objects.get(username="guessed")
    assert staff.post(url(AccessAttempt, "delete", row.pk), {"post": "yes"}).status_code == 302
    entered = APIClient().post("/api/v1/auth/sign-in/", {"username": "guessed", "password": "long enough 1"})
    assert entered.status_code == 200


def test_refused_rows_are_escaped(staff: Client) -> None:
    page = staff.get(url(ImportJob, "change", ImportJob.objects.get().pk)).content.decode()
    assert "not a &lt;b&gt;picture&lt;/b&gt;" in page
