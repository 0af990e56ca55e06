"""A client of the Clothes matcher's API. It needs Python and `requests`, and nothing of the site.

export SITE=http://127.0.0.1:8000
export TOKEN=$(python examples/client.py sign-in anna)      # asks for the password
python examples/client.py ask shirt.jpg -k 5 --filter category=Shirt --filter max_price=50
python examples/client.py ask https://shop.example/shirt.jpg
python examples/client.py like 17                           # more like an item of the catalogue
python examples/client.py keep 17
python examples/client.py favourites
python examples/client.py history
"""

import argparse
import getpass
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

ENDED = ("done", "failed")
TRIES = 4  # of a request that the site was too busy for
PATIENCE = 30  # seconds for one answer of the server


class ApiError(Exception):
    """The site said no. `code` never changes, the sentence may; `fields` says what is wrong with which field."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("detail") or f"The site answered {status}.")
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.fields = {error["field"]: error["detail"] for error in problem.get("errors", [])}


class Client:
    """One person at one site. Without a token only signing in works."""

    def __init__(self, site: str, token: str = "") -> None:
        self.api = f"{site.rstrip('/')}/api/v1/"
        self.session = requests.Session()
        if token:
            self.session.headers["Authorization"] = f"Token {token}"

    def sign_in(self, username: str, password: str, device: str = "Python") -> str:
        """A token for this device; from now on this client uses it too."""
        told = {"username": username, "password": password, "device": device}
        token = str(self._json("POST", "auth/sign-in/", json=told)["token"])
        self.session.headers["Authorization"] = f"Token {token}"
        return token

    def sign_out(self) -> None:
        self._call("POST", "auth/sign-out/")

    def ask(
        self, *, photo: bytes | None = None, url: str = "", item: int | None = None, wait: int = 10, **wishes: Any
    ) -> dict[str, Any]:
        """A query about a photo, the address of one, or an item; finished if that took at most `wait` seconds.

        Wishes are `k`, `filters`, `diversity`, `min_score` and `crop`.
        """
        headers = {"Prefer": f"wait={wait}", "Idempotency-Key": str(uuid.uuid4())}  # sent again it is the same query
        if photo is not None:
            form = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in wishes.items()}
            return self._json("POST", "queries/", headers=headers, files={"photo": photo}, data=form)
        source = {"photo_url": url} if url else {"item_id": item}
        return self._json("POST", "queries/", headers=headers, json={**source, **wishes})

    def finished(self, query: dict[str, Any], patience: float = 60.0) -> dict[str, Any]:
        """The query with its answer, asking for it as often as the site likes. ApiError if it failed."""
        deadline = time.monotonic() + patience
        while query["state"] not in ENDED:
            if time.monotonic() > deadline:
                raise TimeoutError(f"The query is still {query['state']} after {patience:.0f} s.")
            response = self._call("GET", query["url"])
            query = response.json()
            time.sleep(0 if query["state"] in ENDED else float(response.headers.get("Retry-After", 1)))
        if query["state"] == "failed":
            raise ApiError(200, query["error"])
        return query

    def follow(self, query_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events of a query as they happen: ("state", {...}) at each change, ("done", the query) at the end."""
        with self._call("GET", f"queries/{query_id}/events/", stream=True) as response:
            name = ""
            for line in response.iter_lines(chunk_size=1, decode_unicode=True):
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    yield name, json.loads(value)

    def history(self) -> Iterator[dict[str, Any]]:
        """My queries, the newest first, without their answers."""
        return self._pages("queries/")

    def items(self, **filters: Any) -> Iterator[dict[str, Any]]:
        return self._pages("items/", params=filters)

    def favourites(self) -> Iterator[dict[str, Any]]:
        return self._pages("favourites/")

    def keep(self, item_id: int) -> None:
        self._call("PUT", f"favourites/{item_id}/")

    def drop(self, item_id: int) -> None:
        self._call("DELETE", f"favourites/{item_id}/")

    def _pages(self, path: str, **options: Any) -> Iterator[dict[str, Any]]:
        page = self._json("GET", path, **options)
        yield from page["results"]
        while page["next"]:
            page = self._json("GET", page["next"])
            yield from page["results"]

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        result: dict[str, Any] = self._call(method, path, **options).json()
        return result

    def _call(self, method: str, path: str, **options: Any) -> requests.Response:
        """The site's answer to a request, tried again while it is too busy. `path` may be a whole address."""
        for left in range(TRIES - 1, -1, -1):
            response = self.session.request(
                method, requests.compat.urljoin(self.api, path), timeout=PATIENCE, **options
            )
            if response.status_code not in (429, 503) or not left:
                break
            time.sleep(float(response.headers.get("Retry-After", 1)))
        if response.ok:
            return response
        try:
            problem = response.json()
        except ValueError:  # not the site itself, but something in front of it
            problem = {}
        raise ApiError(response.status_code, problem)


def table(query: dict[str, Any]) -> str:
    """An answer as lines for a terminal."""
    rows = query["recommendations"]
    lines = [f"{row['rank']:>3}  {row['score']:.3f}  {row['item']['id']:>6}  {row['item']['name']}" for row in rows]
    return "\n".join([f"{query['outcome'] or 'done'}, {len(rows)} items", *lines])


def run(options: argparse.Namespace, client: Client) -> str:
    """What a command prints."""
    if options.command == "sign-in":
        return client.sign_in(options.name, getpass.getpass("Password: "))
    if options.command == "ask":
        filters = dict(pair.split("=", 1) for pair in options.filter)
        is_url = options.photo.startswith(("http://", "https://"))
        source: dict[str, Any] = {"url": options.photo} if is_url else {"photo": Path(options.photo).read_bytes()}
        return table(client.finished(client.ask(**source, k=options.k, filters=filters)))
    if options.command == "like":
        return table(client.finished(client.ask(item=options.item, k=options.k)))
    if options.command == "keep":
        client.keep(options.item)
        return f"Kept {options.item}."
    if options.command == "history":
        return "\n".join(f"{query['created_at'][:16]}  {query['state']:<8} {query['id']}" for query in client.history())
    return "\n".join(f"{kept['item']['id']:>6}  {kept['item']['name']}" for kept in client.favourites())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sign-in").add_argument("name")
    ask, like = commands.add_parser("ask"), commands.add_parser("like")
    ask.add_argument("photo", help="a file, or the address of a picture")
    ask.add_argument("--filter", action="append", default=[], metavar="NAME=VALUE")
    for command in (ask, like):
        command.add_argument("-k", type=int, default=10)
    for command in (like, commands.add_parser("keep")):
        command.add_argument("item", type=int)
    commands.add_parser("favourites")
    commands.add_parser("history")
    client = Client(os.environ.get("SITE", "http://127.0.0.1:8000"), os.environ.get("TOKEN", ""))
    try:
        print(run(parser.parse_args(), client))
    except (ApiError, TimeoutError, OSError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
