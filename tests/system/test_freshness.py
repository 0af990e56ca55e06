"""While items change without pause, every answer of every worker is that of a moment at which it was asked."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.site import Site, wait_until

pytestmark = [pytest.mark.system, pytest.mark.database]

STREAM = "from tests.helpers.freshness_stream import stream; stream({seconds}, {grace})"
ANSWERS = "from catalog.models import SearchChoice, SharedIndex as S; print(SearchChoice.current(), S.objects.count())"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A database, a queue, and two workers that search."""
    site = Site(tmp_path_factory.mktemp("fresh"))
    site.commands["cpu2"] = site.commands["cpu"].replace("cpu@%h", "cpu2@%h")
    try:
        site.manage("migrate", "--verbosity", "0")
        site.manage("register_encoder", "ml/encoders/efficientnet-lite0-metric100", "--live")
        site.start("redis", "cpu", "cpu2")
        ready(site)
        yield site
    finally:
        site.stop()


def ready(site: Site) -> None:
    for worker in ("cpu", "cpu2"):
        site.wait_for_worker(worker)


def streamed(site: Site, seconds: float, grace: float) -> dict[str, Any]:
    said = site.shell(STREAM.format(seconds=seconds, grace=grace))
    assert said.startswith("{"), said
    told: dict[str, Any] = json.loads(said.splitlines()[0])
    assert (told["wrong"], told["errors"]) == ([], []), told
    assert told["answers"] > 30, told
    assert told["given"] > told["answers"], told
    assert told["changes"] > 50, told
    return told


def is_on_postgres(site: Site) -> bool:
    return site.environment["DATABASE_URL"].startswith("postgres")


def test_a_worker_that_is_killed_while_it_saves_starts_with_what_was_saved_before(site: Site) -> None:
    def folders(pattern: str) -> list[Path]:
        return list((site.folder / "index").glob(pattern))

    site.shell("from tests.helpers.freshness_stream import fill; fill(100)")
    [current] = wait_until(lambda: folders("*/current.json"), "a snapshot")
    saved = current.read_bytes()
    site.shell("from tests.helpers.freshness_stream import fill; fill(5000)")
    wait_until(lambda: folders("*/*.part") or current.read_bytes() != saved, "another")
    for worker in ("cpu", "cpu2"):
        site.kill(worker)
    json.loads(current.read_bytes())  # whole: the old one, or the new
    site.start("cpu", "cpu2")
    ready(site)
    assert site.shell("from tests.helpers.freshness_stream import judge; judge(6)") == "6"


def test_every_answer_is_right_while_another_index_takes_over(site: Site) -> None:
    """Of indexes in memory nothing is ever behind; one on a server may be so for two seconds."""
    other, grace = ("pgvector", 2.0) if is_on_postgres(site) else ("approximate", 0.0)
    with ThreadPoolExecutor(1) as beside:
        asking = beside.submit(streamed, site, seconds=7.0, grace=grace)
        time.sleep(2.0)
        assert f"{other} answers from now on." in site.manage("search_backend", "use", other)
        asking.result()
    assert site.shell(ANSWERS) == f"{other} {int(grace > 0)}"
    for worker in ("cpu", "cpu2"):
        assert "worker.search_query" in site.log(worker)
        assert "is searched by" in site.log(worker)
        assert "could not be brought up to date" not in site.log(worker)
