"""How many phones at once, and how fast the plain GETs are. Prints one JSON object.

    python -m benchmarks.api_load [--items 10000] [--seconds 20] [--start 8] [--clients 8] [--get-seconds 5]

Everything shares the cores of this machine: the site with all its processes, and the phones.

`phones`: the highest steady rate of new photos whose answers come within a second for 95 of 100. Arrivals do not wait
for earlier answers, and a late start counts as waiting (benchmarks/load.py), so a queue that grows is seen. Each phone
sends a drawn phone photo, 768 x 1024, whose bytes are its own, and waits for its ten items with `Prefer: wait`; the
vectors of the catalogue are random, since the search compares them all, whatever they are.

`gets`: answers per second to clients that never pause, for a page of items and for one item, with a token; beside it
the same bytes from a bare Django and REST framework view (benchmarks/bare_site.py) under the same gunicorn. The client
is cheap, yet the bare view is so fast that it may be what limits it.
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

from benchmarks.end_to_end import FILL, with_comment
from benchmarks.load import Getter, Stream, gets_per_second, highest_rate, stream
from benchmarks.whole_site import print_measured
from demo import supervisor
from demo.sample import phone_photo, sample_items
from tests.helpers.pictures import jpeg_of
from tests.helpers.site import ROOT, Site, free_port, wait_until

LIMIT = 1.0  # seconds that 95 of 100 answers may take
PEOPLE = 20  # accounts that the phones are signed in with
UNLIMITED = dict.fromkeys(("QUERY_RATE", "READ_RATE", "ANONYMOUS_RATE"), "1000000/s")  # counted, never refused
SIGN_IN = """
from catalog.models import User; from knox.models import AuthToken
people = [User.objects.create(username=f"phone-{{number}}") for number in range({people})]
print(*[AuthToken.objects.create(person)[1] for person in people])
"""
TURNS = 3  # of measuring ours and the bare one; the medians count
GETS = {"page_of_items": "/api/v1/items/?page_size=20", "one_item": "/api/v1/items/{item}/"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each rate that is tried")
    parser.add_argument("--start", type=float, default=8.0, help="photos per second, tried first")
    parser.add_argument("--clients", type=int, default=8, help="at once, for the GETs")
    parser.add_argument("--get-seconds", type=float, default=5.0, help="of each kind of GET, three times")
    options = parser.parse_args()
    print_measured(measure, options, **UNLIMITED)


def measure(site: Site, options: argparse.Namespace) -> dict[str, Any]:
    site.set_up()
    site.shell(FILL.format(items=options.items))
    tokens = site.shell(SIGN_IN.format(people=PEOPLE)).split()
    return {
        "cores": os.cpu_count(),
        "items": options.items,
        "gets": measure_gets(site, tokens[0], options),
        "phones": measure_phones(site, tokens, options),
    }


def measure_phones(site: Site, tokens: list[str], options: argparse.Namespace) -> dict[str, Any]:
    phones = Phones(site.address, tokens)
    for _ in range(PEOPLE):
        phones.ask()  # every process has answered, and the index is in memory

    def at(rate: float) -> Stream:
        return stream(phones.ask, rate=rate, seconds=options.seconds, limit=LIMIT)

    best, tried = highest_rate(at, start=options.start)
    return {
        "photo_bytes": len(phones.photo),
        "highest_rate": round(best, 2),
        "p95_limit_ms": LIMIT * 1000,
        "tried": [one.summary() for one in tried],
        "first_error": next((error for one in tried for error in one.errors), None),
    }


class Phones:
    """A crowd: each thread keeps a connection, as a phone does, and takes the next person's token."""

    def __init__(self, address: str, tokens: list[str]) -> None:
        self.url = f"{address}/api/v1/queries/"
        self.photo = jpeg_of(phone_photo(sample_items(10)[3]))
        self.people = itertools.cycle(tokens)
        self.threads = threading.local()

    def ask(self) -> None:
        if not hasattr(self.threads, "session"):
            self.threads.session = requests.Session()
        response = self.threads.session.post(
            self.url,
            headers={"Authorization": f"Token {next(self.people)}", "Prefer": "wait=20"},
            files={"photo": ("photo.jpg", with_comment(self.photo, os.urandom(16)))},
            data={"k": 10},
            timeout=30,
        )
        assert response.status_code == 200, response.text[:150]
        assert len(response.json()["recommendations"]) == 10


def measure_gets(site: Site, token: str, options: argparse.Namespace) -> dict[str, Any]:
    item = site.shell("from catalog.models import CatalogItem; print(CatalogItem.objects.earliest('pk').pk)")
    result = {}
    for name, path in GETS.items():
        address = path.format(item=item)
        body = get(site.port, address, token).get()
        with bare_site(site.folder, body) as port:
            # By turns, so that whatever else the machine does at the moment falls on both.
            turns = [
                (rate_of(site.port, address, token, options), rate_of(port, "/", token, options)) for _ in range(TURNS)
            ]
        ours, bare = (statistics.median(rates) for rates in zip(*turns, strict=True))
        result[name] = {
            "bytes": len(body),
            "ours_per_second": ours,
            "bare_per_second": bare,
            "share": round(ours / bare, 3),
        }
    return result


def rate_of(port: int, path: str, token: str, options: argparse.Namespace) -> float:
    return gets_per_second(lambda: get(port, path, token), clients=options.clients, seconds=options.get_seconds)


def get(port: int, path: str, token: str) -> Getter:
    return Getter(port, path, {"Authorization": f"Token {token}"})


@contextlib.contextmanager
def bare_site(folder: Path, answer: bytes) -> Iterator[int]:
    """The port of a bare site that answers with this JSON, under the configuration of the product's web server."""
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
