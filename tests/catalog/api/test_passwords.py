"""Password reset and password change."""

from collections.abc import Iterator

import pytest
from django.conf import settings as site
from django.contrib.auth.tokens import default_token_generator
from django.core import mail
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from catalog.models import User
from catalog.services.accounts import passwords
from catalog.services.accounts.passwords import password_reset_code
from tests.helpers.api import assert_refused, signed_in_client
from tests.helpers.factories import make_user
from tests.helpers.mail import wait_for_mails

pytestmark = pytest.mark.django_db

RESET = "/api/v1/auth/password-reset/"
CONFIRM = f"{RESET}confirm/"
CHANGE = "/api/v1/auth/password/"
NEW = "a blue raincoat"


@pytest.fixture
def anna(db: None) -> User:
    return make_user("anna", email="anna@example.org")


@pytest.fixture(autouse=True)
def all_mails_sent() -> Iterator[None]:
    yield
    sent_mails()


def sent_mails() -> list[mail.EmailMessage]:
    """Return the mails, after all have been sent."""
    wait_for_mails()
    return getattr(mail, "outbox", [])


def confirmation(user: User, password: str = NEW) -> dict[str, str]:
    uid, _, token = password_reset_code(user=user).partition("-")
    return {"uid": uid, "token": token, "password": password}


def can_sign_in(name: str, password: str) -> bool:
    answer = APIClient().post("/api/v1/auth/sign-in/", {"username": name, "password": password})
    return bool(answer.status_code == 200)


@pytest.mark.parametrize("typed", ["anna@example.org", "ANNA@example.org"])
@pytest.mark.database
def test_the_mail_has_a_working_link_and_code(anna: User, typed: str) -> None:
    answer = APIClient().post(RESET, {"email": typed})
    assert (answer.status_code, answer.content) == (202, b"")
    (message,) = sent_mails()
    assert message.to == ["anna@example.org"]
    assert message.from_email == site.DEFAULT_FROM_EMAIL
    lines = message.body.splitlines()
    (link,) = [line for line in lines if line.startswith("http://testserver/account/password/")]
    (code,) = [line for line in lines if line and line == link.rstrip("/").rpartition("/")[2]]
    assert Client().get(link).status_code == 200
    uid, _, token = code.partition("-")
    assert APIClient().post(CONFIRM, {"uid": uid, "token": token, "password": NEW}).status_code == 204
    assert can_sign_in("anna", NEW)


def test_an_unknown_email_address_gets_the_same_response_and_no_mail(
    anna: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    answers = []
    for email in ("anna@example.org", "nobody@example.org"):
        with django_assert_num_queries(1):
            answers.append(APIClient().post(RESET, {"email": email}))
    known, unknown = [(answer.status_code, answer.content, set(answer.headers)) for answer in answers]
    assert known == unknown
    assert [message.to for message in sent_mails()] == [["anna@example.org"]]


def test_inactive_users_and_users_without_a_password_get_no_mail(anna: User) -> None:
    make_user("closed", email="closed@example.org", is_active=False)
    robot = make_user("robot", email="robot@example.org")
    robot.set_unusable_password()
    robot.save()
    for name in ("closed", "robot"):
        assert APIClient().post(RESET, {"email": f"{name}@example.org"}).status_code == 202
    assert sent_mails() == []


def test_a_failing_mail_server_does_not_affect_the_response(anna: User, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert APIClient().post(RESET, {"email": "anna@example.org"}).status_code == 202
    assert sent_mails() == []


@pytest.mark.parametrize("body", [{}, {"email": ""}, {"email": "anna"}, {"email": "a\0@b.org"}, {"email": []}, []])
def test_an_invalid_email_address_is_refused(body: object) -> None:
    assert_refused(APIClient().post(RESET, body), 400, "invalid_input")


@pytest.mark.database
def test_a_new_password_signs_out_all_devices_and_browsers(anna: User) -> None:
    device, strange, browser = signed_in_client(anna), signed_in_client(make_user()), Client()
    browser.force_login(anna)
    assert APIClient().post(CONFIRM, confirmation(anna)).status_code == 204
    assert device.get("/api/v1/me/").status_code == browser.get("/api/v1/me/").status_code == 401
    assert strange.get("/api/v1/me/").status_code == 200
    assert not can_sign_in("anna", "long enough 1")


def test_a_code_works_once(anna: User) -> None:
    body = confirmation(anna)
    assert APIClient().post(CONFIRM, body).status_code == 204
    assert_refused(APIClient().post(CONFIRM, body | {"password": "another raincoat"}), 400, "reset_link_invalid")
    assert can_sign_in("anna", NEW)


def test_an_expired_code_is_refused(anna: User, settings: Settings) -> None:
    body = confirmation(anna)
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert_refused(APIClient().post(CONFIRM, body), 400, "reset_link_invalid")


def test_a_code_is_invalid_after_the_email_address_changed(anna: User) -> None:
    body = confirmation(anna)
    User.objects.update(email="new@example.org")
    assert_refused(APIClient().post(CONFIRM, body), 400, "reset_link_invalid")


@pytest.mark.parametrize("uid", ["", "x", "MQ\0", "\xff", "AAAA", "OTk5OTk5OTk5OTk5OTk5OTk5OTk", "LTE", "strange"])
def test_a_code_for_another_or_unknown_user_is_refused(anna: User, uid: str) -> None:
    body = confirmation(anna) | {"uid": confirmation(make_user())["uid"] if uid == "strange" else uid}
    answer = APIClient().post(CONFIRM, body)
    assert answer.status_code == 400
    assert answer.json()["code"] in {"reset_link_invalid", "invalid_input"}
    assert can_sign_in("anna", "long enough 1")


def test_a_weak_password_is_refused_and_the_code_stays_valid(anna: User) -> None:
    assert_refused(APIClient().post(CONFIRM, confirmation(anna, "password")), 400, "weak_password")
    assert APIClient().post(CONFIRM, confirmation(anna)).status_code == 204


@pytest.mark.database
def test_a_code_used_concurrently_works_once(anna: User, monkeypatch: pytest.MonkeyPatch) -> None:
    body, check = confirmation(anna), default_token_generator.check_token

    def overtaken(user: User, token: str) -> bool:
        is_good = check(user, token)
        monkeypatch.undo()
        passwords.password_reset(**body | {"password": "the first one's"})
        return is_good

    monkeypatch.setattr(default_token_generator, "check_token", overtaken)
    assert_refused(APIClient().post(CONFIRM, body), 400, "reset_link_invalid")
    assert can_sign_in("anna", "the first one's")


def test_setting_a_new_password_takes_a_fixed_number_of_sql_queries(
    anna: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    signed_in_client(anna), signed_in_client(anna)
    body = confirmation(anna)
    # the user; in a savepoint: the password, the tokens, their devices, the user, the failed sign-ins
    with django_assert_num_queries(8):
        assert APIClient().post(CONFIRM, body).status_code == 204


def test_a_password_is_changed_with_the_old_one(anna: User) -> None:
    here, elsewhere, browser = signed_in_client(anna), signed_in_client(anna), Client()
    browser.force_login(anna)
    assert here.post(CHANGE, {"old_password": "long enough 1", "password": NEW}).status_code == 204
    assert can_sign_in("anna", NEW)
    assert here.get("/api/v1/me/").status_code == 200
    assert elsewhere.get("/api/v1/me/").status_code == browser.get("/api/v1/me/").status_code == 401


def test_a_browser_that_changes_the_password_stays_signed_in(anna: User) -> None:
    browser, device = APIClient(), signed_in_client(anna)
    browser.force_login(anna)
    assert browser.post(CHANGE, {"old_password": "long enough 1", "password": NEW}).status_code == 204
    assert browser.get("/api/v1/me/").status_code == 200
    assert device.get("/api/v1/me/").status_code == 401


def test_changing_the_password_by_session_needs_a_csrf_token(anna: User) -> None:
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(anna)
    answer = browser.post(CHANGE, {"old_password": "long enough 1", "password": NEW})
    assert_refused(answer, 403, "permission_denied")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"old_password": "wrong", "password": NEW}, 403, "wrong_password"),
        ({"old_password": "long enough 1", "password": "anna"}, 400, "weak_password"),
        ({"password": NEW}, 400, "invalid_input"),
        ({"old_password": "long enough 1", "password": ""}, 400, "invalid_input"),
        ([], 400, "invalid_input"),
    ],
)
def test_an_invalid_password_change_changes_nothing(anna: User, body: object, status: int, code: str) -> None:
    other = signed_in_client(anna)
    assert_refused(signed_in_client(anna).post(CHANGE, body), status, code)
    assert other.get("/api/v1/me/").status_code == 200
    assert can_sign_in("anna", "long enough 1")
