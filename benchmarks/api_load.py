"""Benchmark: highest sustained rate of photo queries, and GETs per second. Prints one JSON object.

    python -m benchmarks.api_load [--items 10000] [--seconds 20] [--start 8] [--clients 8] [--get-seconds 5]

The site with all its processes and the clients share the cores of this machine.

`phones`: the highest steady rate of new photos with 95 % of the answers within a second. Arrivals do not wait
for earlier answers, and a late start counts as waiting (benchmarks/load.py), so a growing queue is noticed. Each phone
sends a drawn phone photo, 768 x 1024, as another file each time, and waits for ten items with `Prefer: wait`. The
vectors of the catalogue are random, since the search compares all of them.

`gets`: answers per second to clients that never pause, for a page of items and for one item, with a token, beside
the same bytes from a bare Django REST framework view (benchmarks/bare_site.py) under the same gunicorn. The bare view
is so fast that the client, although cheap, may be the limit.
"""

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from benchmarks.end_to_end import FILL
from benchmarks.load import Getter, Stream, gets_per_second, highest_rate, stream, with_comment
from benchmarks.whole_site import print_measured
from demo import supervisor
from demo.sample import phone_photo, sample_items
from tests.helpers.pictures import jpeg_of
from tests.helpers.site import ROOT, Site, free_port, wait_until

LIMIT = 1.0  # seconds, of the 95th percentile
USERS = 20  # accounts of the phones
UNLIMITED = dict.fromkeys(("QUERY_RATE", "READ_RATE", "ANONYMOUS_RATE"), "1000000/s")  # counted, never refused
CREATE_USERS = """
from catalog.models import User; from knox.models import AuthToken
users = [User.objects.create(username=f"phone-{{number}}") for number in range({users})]
print(*[AuthToken.objects.create(user)[1] for user in users])
"""
TURNS = 3  # per site; the medians count
GETS = {"page_of_items": "/api/v1/items/?page_size=20", "one_item": "/api/v1/items/{item}/"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="per measured rate")
    parser.add_argument("--start", type=float, default=8.0, help="photos per second of the first rate")
    parser.add_argument("--clients", type=int, default=8, help="simultaneous clients of the GETs")
    parser.add_argument("--get-seconds", type=float, default=5.0, help="per kind of GET and turn")
    options = parser.parse_args()
    print_measured(measure, options, **UNLIMITED)


def measure(site: Site, options: argparse.Namespace) -> dict[str, Any]:
    """Fill the site, then measure GETs and photo queries."""
    site.set_up()
    site.shell(FILL.format(items=options.items))
    tokens = site.shell(CREATE_USERS.format(users=USERS)).split()
    return {
        "cores": os.cpu_count(),
        "items": options.items,
        "gets": measure_gets(site, tokens[0], options),
        "phones": measure_phones(site, tokens, options),
    }


def measure_phones(site: Site, tokens: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Search for the highest rate of photos with 95 % of the answers within `LIMIT`."""
    phones = Phones(site.address, tokens)
    for _ in range(USERS):
        phones.query()  # warm-up: every process has answered, the index is in memory

    def measure_rate(rate: float) -> Stream:
        return stream(phones.query, rate=rate, seconds=options.seconds, limit=LIMIT)

    best, streams = highest_rate(measure_rate, start=options.start)
    return {
        "photo_bytes": len(phones.photo),
        "highest_rate": round(best, 2),
        "p95_limit_ms": LIMIT * 1000,
        "tried": [tried.summary() for tried in streams],
        "first_error": next((error for tried in streams for error in tried.errors), None),
    }


class Phones:
    """Clients in threads, each with a connection of its own; users take turns."""

    def __init__(self, address: str, tokens: list[str]) -> None:
        self.url = f"{address}/api/v1/queries/"
        self.photo = jpeg_of(phone_photo(sample_items(10)[3]))
        self.tokens = itertools.cycle(tokens)
        self.threads = threading.local()

    def query(self) -> None:
        """Send one photo. Raises AssertionError unless ten items come back."""
        if not hasattr(self.threads, "session"):
            self.threads.session = requests.Session()
        response = self.threads.session.post(
            self.url,
            headers={"Authorization": f"Token {next(self.tokens)}", "Prefer": "wait=20"},
            files={"photo": ("photo.jpg", with_comment(self.photo, os.urandom(16)))},
            data={"k": 10},
            timeout=30,
        )
        assert response.status_code == 200, response.text[:150]
        assert len(response.json()["recommendations"]) == 10


def measure_gets(site: Site, token: str, options: argparse.Namespace) -> dict[str, Any]:
    """Compare GETs of the site with GETs of a bare site that answers with the same bytes."""
    item = site.shell("from catalog.models import CatalogItem; print(CatalogItem.objects.earliest('pk').pk)")
    result = {}
    for name, path in GETS.items():
        address = path.format(item=item)
        body = make_getter(site.port, address, token).get()
        with bare_site(site.folder, body) as port:
            # By turns, so that other load on the machine affects both.
            turns = [
                (
                    measure_gets_per_second(site.port, address, token, options),
                    measure_gets_per_second(port, "/", token, options),
                )
                for _ in range(TURNS)
            ]
        ours, bare = (statistics.median(rates) for rates in zip(*turns, strict=True))
        result[name] = {
            "bytes": len(body),
            "ours_per_second": ours,
            "bare_per_second": bare,
            "share": round(ours / bare, 3),
        }
    return result


def measure_gets_per_second(port: int, path: str, token: str, options: argparse.Namespace) -> float:
    """Measure the GETs per second of several clients."""
    return gets_per_second(lambda: make_getter(port, path, token), clients=options.clients, seconds=options.get_seconds)


def make_getter(port: int, path: str, token: str) -> Getter:
    """Return a client that is signed in with a token."""
    return Getter(port, path, {"Authorization": f"Token {token}"})


@contextlib.contextmanager
def bare_site(folder: Path, answer: bytes) -> Iterator[int]:
    """Run a bare site that answers with this JSON under the real web server's configuration; yield its port."""
    port, file = free_port(), folder / "bare.json"
    file.write_bytes(answer)
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "benchmarks.bare_site", "--config", "clothes_matcher/gunicorn.py"],
        cwd=ROOT,
        env=supervisor.process_environment(PORT=str(port), WEB_WORKERS="2", BARE_ANSWER=str(file)),
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _answers(port), "the bare site")
        yield port
    finally:
        server.terminate()
        server.wait(timeout=30)


def _answers(port: int) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"http://127.0.0.1:{port}/", timeout=5).ok
    return False


if __name__ == "__main__":
    main()
