"""examples/client.py against a running site, as a library and as a program."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from examples.client import ApiError, Client
from tests.helpers.sample_site import photographed_item
from tests.helpers.site import ROOT, Site

pytestmark = pytest.mark.system

PASSWORD = "as long as this"
MAKE_USER = "from catalog.models import User; User.objects.create_user({!r}, password={!r})"


@pytest.fixture
def name(site: Site) -> str:
    """Return the name of a new user with a password."""
    name = f"user-{uuid.uuid4().hex[:8]}"
    site.shell(MAKE_USER.format(name, PASSWORD))
    return name


@pytest.fixture
def client(site: Site, name: str) -> Client:
    client = Client(site.address)
    client.sign_in(name, PASSWORD)
    return client


def external_ids(answer: dict[str, object]) -> list[str]:
    recommendations = answer["recommendations"]
    assert isinstance(recommendations, list)
    return [entry["item"]["external_id"] for entry in recommendations]


def test_a_photo_is_answered_with_the_requested_options(client: Client, photo: bytes) -> None:
    item = photographed_item()
    answer = client.finished(client.ask(photo=photo, k=3, filters={"category": item.category}, diversity=0.1))
    assert answer["state"] == "done"
    assert item.external_id in external_ids(answer)
    assert {entry["item"]["category"] for entry in answer["recommendations"]} == {item.category}


def test_an_item_and_the_url_of_a_photo_are_answered(client: Client, photo: bytes) -> None:
    best = client.finished(client.ask(photo=photo, k=1))["recommendations"][0]
    like = client.finished(client.ask(item=best["item"]["id"], k=5))
    assert len(external_ids(like)) == 5
    assert best["item"]["external_id"] not in external_ids(like)
    address = best["photo"]["url"].replace("127.0.0.1", "localhost")
    fetched = client.finished(client.ask(url=address, k=1, wait=0))
    assert external_ids(fetched) == [best["item"]["external_id"]]


def test_a_query_can_be_followed_and_is_in_the_history(client: Client, photo: bytes) -> None:
    query = client.ask(photo=photo, k=2, wait=0)
    events = list(client.follow(query["id"]))
    assert events[-1][0] == "done"
    assert len(events[-1][1]["recommendations"]) == 2
    assert {event for event, _ in events[:-1]} <= {"state"}
    assert [earlier["id"] for earlier in client.history()] == [query["id"]]


def test_favourites_are_added_and_removed(client: Client, photo: bytes) -> None:
    item = client.finished(client.ask(photo=photo, k=1))["recommendations"][0]["item"]["id"]
    client.keep(item)
    client.keep(item)
    assert [kept["item"]["id"] for kept in client.favourites()] == [item]
    client.drop(item)
    assert list(client.favourites()) == []


def test_a_refused_request_raises_an_error_with_a_code(client: Client, photo: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        client.ask(photo=photo, k=1000)
    assert (refused.value.status, refused.value.code) == (400, "invalid_input")
    assert set(refused.value.fields) == {"k"}
    client.sign_out()
    with pytest.raises(ApiError) as unknown:
        list(client.history())
    assert unknown.value.status == 401


def test_a_wrong_password_raises_an_error_with_a_code(site: Site, name: str) -> None:
    with pytest.raises(ApiError) as refused:
        Client(site.address).sign_in(name, "something else")
    assert refused.value.code == "wrong_credentials"


def test_the_program_works_as_its_docstring_shows(site: Site, name: str, photo: bytes, tmp_path: Path) -> None:
    def program(*arguments: str, typed: str = "", token: str = "", expect: int = 0) -> str:
        result = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "client.py"), *arguments],
            env=os.environ | {"SITE": site.address, "TOKEN": token},
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,  # no terminal: the password is read from the input
        )
        assert result.returncode == expect, result.stderr
        return (result.stdout if expect == 0 else result.stderr).strip()

    token = program("sign-in", name, typed=f"{PASSWORD}\n").split()[-1]
    (tmp_path / "shirt.jpg").write_bytes(photo)
    rows = program("ask", str(tmp_path / "shirt.jpg"), "-k", "4", token=token).splitlines()
    assert len(rows) == 5
    item = rows[1].split()[2]
    assert len(program("like", item, "-k", "2", token=token).splitlines()) == 3
    program("keep", item, token=token)
    assert program("favourites", token=token).split()[0] == item
    assert len(program("history", token=token).splitlines()) == 2
    assert "credentials" in program("history", expect=1)
    assert program("ask", str(tmp_path / "none.jpg"), token=token, expect=1)
