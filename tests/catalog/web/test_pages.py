"""Error pages, health check, Content-Security-Policy and icon."""

import pytest
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import Settings


@pytest.mark.django_db
def test_an_unknown_url_gets_a_404_page(client: Client) -> None:
    answer = client.get("/nothing/here")
    assert answer.status_code == 404
    assert b"<h1>Nothing here</h1>" in answer.content


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("a secret"), 500), (OperationalError("away"), 503), (OSError(28, "full"), 507)]
)
def test_a_crash_gets_a_page_that_does_not_reveal_its_cause(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def crash(*args: object) -> None:
        raise error

    monkeypatch.setattr("catalog.web.upload._form_page", crash)
    client.raise_request_exception = False
    answer = client.get("/")
    assert answer.status_code == status
    assert b"<h1>" in answer.content
    assert b"secret" not in answer.content


def test_an_unknown_host_is_refused(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["clothes.example"]
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 400
    answer = client.get("/api/v1/items/", headers={"Host": "evil.example"})
    assert answer["Content-Type"] == "application/problem+json" or answer.status_code == 401


@pytest.mark.django_db
def test_a_site_without_its_database_is_unhealthy(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("away")

    monkeypatch.setattr(connection, "cursor", away)
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["database"] == "away"


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/", "/nothing/here", "/photos/items/1/?w=7"])
def test_our_pages_forbid_other_origins_and_inline_scripts(client: Client, address: str) -> None:
    policy = client.get(address)["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/admin/login/", "/api/v1/docs/"])
def test_third_party_pages_have_no_content_security_policy(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200
    assert "Content-Security-Policy" not in answer


def test_a_body_refused_by_middleware_has_the_policy_too(client: Client, settings: Settings) -> None:
    settings.MAX_BODY_BYTES = 1
    assert "Content-Security-Policy" in client.post("/", {"photo": "too long"})


@pytest.mark.django_db
def test_every_page_has_an_icon_and_favicon_redirects_to_it(client: Client) -> None:
    icon = client.get("/favicon.ico")
    assert (icon.status_code, icon["Location"]) == (302, "/static/catalog/icon.svg")
    for page in ("/", "/admin/login/"):
        assert '/static/catalog/icon.svg"' in client.get(page).content.decode()
