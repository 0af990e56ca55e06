"""Middleware `Languages`: the API, the password pages and mails are in English and Polish."""

from pathlib import Path

import pytest
from django.core import mail
from django.test import Client
from django.utils import translation
from pytest_django import Settings
from rest_framework.test import APIClient

from catalog.models import QueryState, User
from tests.helpers.api import QUERIES
from tests.helpers.factories import make_query, make_upload, make_user
from tests.helpers.mail import wait_for_mails

pytestmark = pytest.mark.django_db

FORGOTTEN = "/account/password/"
POLISH = {"Accept-Language": "pl-PL,pl;q=0.9,en;q=0.5"}


def test_a_problem_follows_accept_language(device: APIClient) -> None:
    answer = device.get("/api/v1/items/99999999/", headers=POLISH)
    assert answer["Content-Language"] == "pl"
    assert "Accept-Language" in answer["Vary"]
    assert answer.json()["detail"] == "Pod tym adresem niczego nie ma albo należy to do kogoś innego."
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize(
    "accepted", ["", "en", "de", "*", "nonsense;;q=x", "pl;q=0, en", "x" * 5000, "../../etc/passwd", "\xff"]
)
def test_any_other_accept_language_gets_english(device: APIClient, accepted: str) -> None:
    answer = device.get("/api/v1/items/99999999/", headers={"Accept-Language": accepted})
    assert answer["Content-Language"] == "en"
    assert answer.json()["detail"] == "There is nothing at this address, or it is not yours."


def test_field_errors_are_translated_ours_and_the_frameworks(device: APIClient) -> None:
    body = {"photo_id": "abc", "k": 0, "photo_url": 5, "nonsense": 1}
    errors = {error["field"]: error["detail"] for error in device.post(QUERIES, body, headers=POLISH).json()["errors"]}
    assert errors["nonsense"].startswith("Nieznane pole. Znane pola: photo,")
    body = {"photo_id": "abc", "k": 0}
    errors = {error["field"]: error["detail"] for error in device.post(QUERIES, body, headers=POLISH).json()["errors"]}
    assert errors["photo_id"] == "Wymagany jest poprawny identyfikator UUID."
    assert "1" in errors["k"]
    assert "Ensure" not in errors["k"]


def test_a_sentence_with_a_placeholder_is_translated(device: APIClient) -> None:
    answer = device.generic("POST", QUERIES, b"{", content_type="application/json", headers=POLISH)
    assert answer.json()["detail"].startswith("Treść żądania nie jest poprawnym dokumentem JSON: ")


@pytest.mark.parametrize(
    ("code", "stored", "polish"),
    [
        ("photo_gone", "The photo is no longer there. Please send it again.", "Tego zdjęcia już nie ma. "),
        ("photo_too_large", "The picture is larger than 20 MB, the most we take.", "Obraz jest zbyt duży. "),
        ("internal_error", "Something on our side failed in words of long ago.", "Przetwarzanie tego zdjęcia "),
        ("of_tomorrow", "A sentence that nobody has translated.", "A sentence that nobody has translated."),
    ],
)
def test_the_error_of_a_failed_query_follows_accept_language(
    device: APIClient, me: User, code: str, stored: str, polish: str
) -> None:
    query = make_query(make_upload(me), state=QueryState.FAILED, error_code=code, error_detail=stored)
    path = f"{QUERIES}{query.pk}/"
    assert device.get(path).json()["error"] == {"code": code, "detail": stored}
    assert device.get(path, headers=POLISH).json()["error"]["detail"].startswith(polish)


def test_the_password_pages_follow_accept_language(client: Client) -> None:
    page = client.get(FORGOTTEN, headers=POLISH)
    assert (page["Content-Language"], page["Vary"].count("Accept-Language")) == ("pl", 1)
    text = page.content.decode()
    assert '<html lang="pl">' in text
    assert "Nie pamiętasz hasła?" in text
    assert "Przejdź do treści" in text
    assert "Forgotten" not in text
    empty, wrong = [client.post(FORGOTTEN, {"email": email}, headers=POLISH) for email in ("", "anna")]
    assert "Proszę podać adres e-mail." in empty.content.decode()
    assert "Podaj poprawny adres e-mail." in wrong.content.decode()


def test_an_expired_link_is_reported_by_accept_language(client: Client) -> None:
    assert "Ten odnośnik" in client.get(f"{FORGOTTEN}MQ-x/", headers=POLISH).content.decode()
    assert "This link was used before" in client.get(f"{FORGOTTEN}MQ-x/").content.decode()


@pytest.mark.parametrize("address", ["/api/v1/auth/password-reset/", FORGOTTEN])
@pytest.mark.parametrize(("language", "subject"), [("pl", "Nowe hasło do"), ("de", "A new password for")])
def test_the_mail_is_in_the_language_of_its_request(client: Client, address: str, language: str, subject: str) -> None:
    make_user("anna", email="anna@example.org")
    client.post(address, {"email": "anna@example.org"}, headers={"Accept-Language": language})
    wait_for_mails()
    (message,) = mail.outbox
    assert message.subject.startswith(subject)
    assert str(message.body).startswith("Dzień dobry, anna!" if language == "pl" else "Hello anna,")
    assert translation.get_language() == "en"


def test_there_is_a_mail_in_every_language(settings: Settings) -> None:
    messages = {path.name for path in Path("templates/mail").glob("*.txt")}
    others = {f"password_reset.{language}.txt" for language, _ in settings.LANGUAGES if language != "en"}
    assert messages == {"password_reset.txt"} | others


def test_other_pages_stay_english_and_the_language_is_reset(client: Client) -> None:
    APIClient().get("/api/v1/me/", headers=POLISH)
    assert translation.get_language() == "en"
    assert "Content-Language" not in client.get("/", headers=POLISH)
    assert 'lang="en"' in client.get("/", headers=POLISH).content.decode()
    assert "Log in" in client.get("/admin/login/", headers=POLISH).content.decode()
