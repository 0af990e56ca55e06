"""Example client of the Clothes matcher API. Needs only Python and `requests`.

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
ATTEMPTS = 4  # for a request refused with 429 or 503
TIMEOUT = 30  # seconds for one response


class ApiError(Exception):
    """An error response. `code` is stable, the sentence may change; `fields` maps invalid fields to sentences."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("detail") or f"The site responded with status {status}.")
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.fields = {error["field"]: error["detail"] for error in problem.get("errors", [])}


class Client:
    """A session of one user at one site. Without a token only `sign_in` works."""

    def __init__(self, site: str, token: str = "") -> None:
        self.api = f"{site.rstrip('/')}/api/v1/"
        self.session = requests.Session()
        if token:
            self.session.headers["Authorization"] = f"Token {token}"

    def sign_in(self, username: str, password: str, device: str = "Python") -> str:
        """Create a token for this device, use it from now on, and return it."""
        credentials = {"username": username, "password": password, "device": device}
        token = str(self._json("POST", "auth/sign-in/", json=credentials)["token"])
        self.session.headers["Authorization"] = f"Token {token}"
        return token

    def sign_out(self) -> None:
        self._call("POST", "auth/sign-out/")

    def ask(
        self, *, photo: bytes | None = None, url: str = "", item: int | None = None, wait: int = 10, **options: Any
    ) -> dict[str, Any]:
        """Create a query for a photo, the URL of one, or an item; it has ended if that took at most `wait` seconds.

        Options are `k`, `filters`, `diversity`, `min_score` and `crop`.
        """
        headers = {"Prefer": f"wait={wait}", "Idempotency-Key": str(uuid.uuid4())}  # a retry returns the same query
        if photo is not None:
            form = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in options.items()}
            return self._json("POST", "queries/", headers=headers, files={"photo": photo}, data=form)
        source = {"photo_url": url} if url else {"item_id": item}
        return self._json("POST", "queries/", headers=headers, json={**source, **options})

    def finished(self, query: dict[str, Any], timeout: float = 60.0) -> dict[str, Any]:
        """Poll the query until it has ended, and return it. Raises ApiError if it failed, TimeoutError."""
        deadline = time.monotonic() + timeout
        while query["state"] not in ENDED:
            if time.monotonic() > deadline:
                raise TimeoutError(f"The query is still {query['state']} after {timeout:.0f} s.")
            response = self._call("GET", query["url"])
            query = response.json()
            time.sleep(0 if query["state"] in ENDED else float(response.headers.get("Retry-After", 1)))
        if query["state"] == "failed":
            raise ApiError(200, query["error"])
        return query

    def follow(self, query_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the events of a query: ("state", {...}) at each change, ("done", the query) at the end."""
        with self._call("GET", f"queries/{query_id}/events/", stream=True) as response:
            name = ""
            for line in response.iter_lines(chunk_size=1, decode_unicode=True):
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    yield name, json.loads(value)

    def history(self) -> Iterator[dict[str, Any]]:
        """Yield my queries, newest first, without their answers."""
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
        """Send a request, again after 429 and 503, and return the response. `path` may be an absolute URL."""
        for attempts_left in range(ATTEMPTS - 1, -1, -1):
            response = self.session.request(method, requests.compat.urljoin(self.api, path), timeout=TIMEOUT, **options)
            if response.status_code not in (429, 503) or not attempts_left:
                break
            time.sleep(float(response.headers.get("Retry-After", 1)))
        if response.ok:
            return response
        try:
            problem = response.json()
        except ValueError:  # a proxy in front of the site
            problem = {}
        raise ApiError(response.status_code, problem)


def table(query: dict[str, Any]) -> str:
    """Format the answer as lines for a terminal."""
    rows = query["recommendations"]
    lines = [f"{row['rank']:>3}  {row['score']:.3f}  {row['item']['id']:>6}  {row['item']['name']}" for row in rows]
    return "\n".join([f"{query['outcome'] or 'done'}, {len(rows)} items", *lines])


def run(options: argparse.Namespace, client: Client) -> str:
    """Run the command and return its output."""
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
        return f"Added {options.item} to the favourites."
    if options.command == "history":
        return "\n".join(f"{query['created_at'][:16]}  {query['state']:<8} {query['id']}" for query in client.history())
    return "\n".join(f"{row['item']['id']:>6}  {row['item']['name']}" for row in client.favourites())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sign-in").add_argument("name")
    ask, like = commands.add_parser("ask"), commands.add_parser("like")
    ask.add_argument("photo", help="a file, or the URL of a picture")
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
