"""The OpenAPI schema is valid and complete, and responses match it."""

from typing import Any

import pytest
from django.test import Client
from openapi_spec_validator import validate
from rest_framework.test import APIClient

from catalog.models import User
from tests.helpers.api import answered_query, multipart
from tests.helpers.api_schema import assert_matches_schema
from tests.helpers.factories import jpeg, make_item_photo, make_upload


def test_the_schema_is_valid_openapi(schema: dict[str, Any]) -> None:
    validate(schema)
    assert schema["openapi"].startswith("3.1")


def test_every_endpoint_describes_its_errors_as_problems(schema: dict[str, Any]) -> None:
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            errors = {code: answer for code, answer in operation["responses"].items() if code >= "4"}
            assert errors, (path, method)
            for answer in errors.values():
                reference = answer["content"]["application/problem+json"]["schema"]["$ref"]
                assert reference == "#/components/schemas/Problem"


WAYS = {"multipart/form-data", "application/json", "image/*", "application/octet-stream"}


@pytest.mark.parametrize("path", ["/api/v1/queries/", "/api/v1/photos/"])
def test_a_photo_may_be_sent_as_form_json_or_raw_body(schema: dict[str, Any], path: str) -> None:
    assert set(schema["paths"][path]["post"]["requestBody"]["content"]) == WAYS


def test_the_schema_describes_waiting_for_an_answer(schema: dict[str, Any]) -> None:
    operation = schema["paths"]["/api/v1/queries/"]["post"]
    assert {"200", "202"} <= set(operation["responses"])
    assert {"Location", "Retry-After"} <= set(operation["responses"]["202"]["headers"])
    assert "Prefer" in {parameter["name"] for parameter in operation["parameters"]}


@pytest.mark.django_db
@pytest.mark.database
def test_responses_match_the_schema(schema: dict[str, Any], device: APIClient, me: User) -> None:
    query, item = answered_query(me), make_item_photo().item
    queries, one = "/api/v1/queries/", "/api/v1/queries/{id}/"
    assert_matches_schema(schema, one, "get", device.get(f"{queries}{query.pk}/"))
    assert_matches_schema(schema, queries, "get", device.get(queries))
    assert_matches_schema(schema, queries, "post", device.post(queries, **multipart(filters='{"min_price": 5}')))
    assert_matches_schema(schema, queries, "post", device.post(queries, {"k": 0}))
    assert_matches_schema(schema, queries, "post", APIClient().post(queries))
    assert_matches_schema(schema, one, "get", device.get(f"{queries}{make_upload().pk}/"))
    photos, one_photo = "/api/v1/photos/", "/api/v1/photos/{id}/"
    assert_matches_schema(
        schema, photos, "post", device.generic("POST", photos, jpeg("red"), content_type="image/jpeg")
    )
    assert_matches_schema(schema, photos, "post", device.post(photos, {}))
    assert_matches_schema(schema, photos, "get", device.get(photos))
    assert_matches_schema(schema, one_photo, "get", device.get(f"{photos}{query.photo_id}/"))
    assert_matches_schema(schema, one_photo, "delete", device.delete(f"{photos}{query.pk}/"))
    assert_matches_schema(schema, "/api/v1/items/", "get", device.get("/api/v1/items/"))
    assert_matches_schema(schema, "/api/v1/items/{id}/", "get", device.get(f"/api/v1/items/{item.pk}/"))
    assert_matches_schema(schema, "/api/v1/me/", "get", device.get("/api/v1/me/"))
    credentials = {"username": "me", "password": "long enough 1"}
    assert_matches_schema(
        schema, "/api/v1/auth/sign-in/", "post", APIClient().post("/api/v1/auth/sign-in/", credentials)
    )


def test_the_schema_and_docs_are_public_and_self_contained(client: Client) -> None:
    assert client.get("/api/v1/schema/").status_code == 200
    page = client.get("/api/v1/docs/").content.decode()
    assert "/static/drf_spectacular_sidecar/" in page
    assert "//cdn" not in page


@pytest.mark.parametrize("version", ["%00", "v1", "9", "%0d%0aSet-Cookie:%20a=b", "%C3%A9"])
@pytest.mark.parametrize("page", ["schema", "docs"])
def test_a_version_parameter_of_the_schema_does_not_reach_a_header(client: Client, page: str, version: str) -> None:
    answer = client.get(f"/api/v1/{page}/?version={version}")
    assert answer.status_code == 200
    assert all(value.isascii() and value.isprintable() for value in answer.headers.values())
