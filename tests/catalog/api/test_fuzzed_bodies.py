"""Fuzzing of all request bodies with Hypothesis: a refusal has a known code and changes nothing.

`FUZZ_EXAMPLES=5000` tries that many random bodies per operation; without it 20, always the same.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings
from rest_framework.test import APIClient

from catalog.models import Scope, SimilarityQuery, User
from catalog.services.accounts import passwords
from catalog.services.accounts.devices import device_id, device_sign_in
from catalog.services.accounts.passwords import password_reset_code
from catalog.services.training import preflight
from tests.helpers.all_rows import read_all_files, read_all_rows
from tests.helpers.api import answered_query
from tests.helpers.factories import jpeg, make_item, make_upload, make_user
from tests.helpers.mail import wait_for_mails
from tests.helpers.malformed_bodies import RawBody, as_form, as_json, as_picture, mutated
from tests.helpers.training_catalogue import make_catalogue

pytestmark = [pytest.mark.django_db, pytest.mark.database]

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or 20)
FUZZED = hypothesis_settings(
    max_examples=EXAMPLES,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),  # each example is rolled back, so they may share the fixtures
)
API = "/api/v1/"
CODES = set(re.findall(r"`([a-z_]+)`", Path("docs/api.md").read_text().partition("## Errors")[2]))
LONGEST = 20_000  # bytes of a refusal: a large body is not echoed

Body = dict[str, Any]


class World:
    """A user with a photo, a device and a reset code; an item; and valid bodies that refer to them."""

    def __init__(self, me: User) -> None:
        uid, _, token = password_reset_code(user=me).partition("-")
        self.device, secret = device_sign_in(user=me, scope=Scope.STAFF)
        self.client = APIClient(raise_request_exception=False)
        self.client.credentials(HTTP_AUTHORIZATION=f"Token {secret}")
        password = {"password": "long enough 1"}
        queries = self.queries(str(make_upload(me).pk), make_item().pk)
        self.shown = answered_query(me, items=1, photos=1).recommendations.all()[0]
        Permission.objects.get(codename="add_trainingrun").user_set.add(me)
        new = {"username": "new", "email": "new@example.org", "password": "a blue raincoat", "device": "phone"}
        self.bodies: dict[str, list[Body]] = {
            "post auth/sign-up/": [new],
            "post auth/sign-in/": [password | {"username": "me", "device": "phone", "scope": "user"}],
            "post auth/password/": [{"old_password": "long enough 1", "password": "a blue raincoat"}],
            "post auth/password-reset/": [{"email": "me@example.org"}],
            "post auth/password-reset/confirm/": [{"uid": uid, "token": token, "password": "a blue raincoat"}],
            "patch me/": [
                password | {"email": "i@example.org", "first_name": "A", "last_name": "B", "may_train": True}
            ],
            "delete me/": [password],
            "patch devices/{id}/": [{"name": "tablet"}],
            "post photos/": [{"photo": jpeg()}],
            "post queries/": queries,
            "post recommendations/{id}/feedback/": [{"verdict": "up", "clicked": True, "may_train": True}],
            "post training-runs/": [self.run()],
            "post queries/batch/": [{"queries": queries}],
        }

    def queries(self, photo: str, item: int) -> list[Body]:
        crop = {"x": 0.1, "y": 0.1, "width": 0.8, "height": 0.8}
        filters: Body = {"category": "Shirt", "brand": "b", "gender": "men", "colour": "red", "collection": "summer"}
        filters |= {"min_price": 1, "max_price": 9.5, "in_stock": True}
        return [
            {"photo": jpeg(), "k": 3, "crop": crop, "filters": filters, "diversity": 0.5, "min_score": -0.5},
            {"photo_id": photo, "crop": crop},
            {"photo_url": "https://shop.example/1.jpg", "callback_url": "https://shop.example/webhook"},
            {"photos": [jpeg("red"), photo]},
            {"item_id": item, "callback_url": "https://shop.example/webhook"},
        ]

    def run(self) -> Body:
        options = {"epochs": 2, "batch_size": 8, "lr": 0.001}
        fields = {"manifest": "", "preset": "quick", "name": "mine", "tracker": "none", "options": options}
        return {"kind": "metric", "source": "catalogue", **fields}

    def send(self, operation: str, sent: RawBody) -> Any:
        method, route = operation.split()
        content, content_type, query = sent
        pk = self.shown.pk if route.startswith("recommendations/") else device_id(token=self.device)
        path = API + route.replace("{id}", str(pk))
        return self.client.generic(method.upper(), path, content, content_type=content_type, QUERY_STRING=query)


@pytest.fixture
def world(
    db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[World]:
    settings.SIGN_UP, settings.RUNS_DIR = True, tmp_path / "runs"
    monkeypatch.setattr(passwords, "_DELAY", 0)
    monkeypatch.setattr(preflight, "free_disk_bytes", lambda folder: 10**12)
    monkeypatch.setattr(preflight, "free_memory_bytes", lambda: 10**12)
    if "training-runs" in request.node.name:
        make_catalogue()
    yield World(make_user("me", email="me@example.org", is_staff=True))
    wait_for_mails()


def operations() -> dict[str, tuple[set[str], set[str]]]:
    """Return the content types and the (nested) field names of every operation with a body."""
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    bodies = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            if "requestBody" in operation:
                content = operation["requestBody"]["content"]
                fields = set(_fields(schema, content["application/json"]["schema"]))
                bodies[f"{method} {path.removeprefix(API)}"] = set(content), fields
    return bodies


def _fields(schema: Any, part: Any) -> Iterator[str]:
    part = schema["components"]["schemas"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
    for name, inner in part.get("properties", {}).items():
        yield name
        yield from _fields(schema, inner)
    for inner in (*part.get("allOf", ()), *([part["items"]] if "items" in part else ())):
        yield from _fields(schema, inner)


def _names(body: Any) -> Iterator[str]:
    if isinstance(body, dict):
        yield from body
    for inner in body.values() if isinstance(body, dict) else body if isinstance(body, list) else ():
        yield from _names(inner)


def test_the_valid_bodies_cover_every_field_of_every_operation(world: World) -> None:
    described = operations()
    assert set(world.bodies) == set(described)
    for operation, bodies in world.bodies.items():
        assert set(_names(bodies)) >= described[operation][1], operation


WAYS: dict[str, Callable[[Any], RawBody]] = {
    "application/json": as_json,
    "multipart/form-data": as_form,
    "image/*": as_picture,
}
KINDS = [(operation, way) for operation, (ways, _) in operations().items() for way in WAYS if way in ways]


@pytest.mark.parametrize(("operation", "way"), KINDS)
def test_a_valid_body_is_accepted(world: World, operation: str, way: str) -> None:
    for body in world.bodies[operation]:
        if way != "image/*" or "photo" in body:
            with transaction.atomic():
                answer = world.send(operation, WAYS[way](body))
                assert answer.status_code < 300, answer.content
                transaction.set_rollback(True)


@pytest.mark.parametrize(("operation", "way"), KINDS)
def test_a_mutated_body_is_refused_with_a_code_and_changes_nothing(
    world: World, media: Path, operation: str, way: str
) -> None:
    files, rows = read_all_files(media), read_all_rows(except_apps=("axes",))  # axes records wrong passwords

    @FUZZED
    @given(st.sampled_from(world.bodies[operation]).flatmap(mutated))
    def send(body: Any) -> None:
        sent = WAYS[way](body)
        with _rolled_back(media, files):
            answer = world.send(operation, sent)
            assert answer.status_code < 500, sent
            if answer.status_code >= 400:
                _assert_is_refusal(answer)
                assert read_all_rows(except_apps=("axes",)) == rows
                assert read_all_files(media) == files
            elif operation == "post queries/batch/":
                _assert_stored_accepted_entries(answer, len(rows["catalog.SimilarityQuery"]))

    send()


def _assert_is_refusal(answer: Any) -> None:
    problem = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert (problem["status"], problem["code"] in CODES) == (answer.status_code, True), problem["code"]
    assert all(re.fullmatch("[a-z0-9_]+", error["code"]) for error in problem["errors"]), problem["errors"]
    assert len(answer.content) < LONGEST


def _assert_stored_accepted_entries(answer: Any, earlier: int) -> None:
    """Check that a batch stored one query per accepted entry, and nothing else."""
    results = answer.json()["results"]
    assert SimilarityQuery.objects.count() - earlier == sum(result["status"] < 300 for result in results)
    assert all(result["problem"]["code"] in CODES for result in results if result["status"] >= 300)
    assert all(result["status"] < 500 for result in results)


@contextmanager
def _rolled_back(media: Path, files: dict[Path, bytes]) -> Iterator[None]:
    """Roll the database back; delete new files and restore deleted ones."""
    try:
        with transaction.atomic():
            yield
            transaction.set_rollback(True)
    finally:
        for path in set(read_all_files(media)) - set(files):
            path.unlink()
        for path, content in files.items():
            if not path.exists():
                path.write_bytes(content)
