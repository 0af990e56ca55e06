"""While items change without pause, every answer is right for a moment between its query and its end."""

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
    """Yield a site of a database, Redis and two search workers."""
    site = Site(tmp_path_factory.mktemp("fresh"))
    site.commands["cpu2"] = site.commands["cpu"].replace("cpu@%h", "cpu2@%h")
    try:
        site.manage("migrate", "--verbosity", "0")
        site.manage("register_encoder", "ml/encoders/efficientnet-lite0-metric100", "--live")
        site.start("redis", "cpu", "cpu2")
        wait_for_workers(site)
        yield site
    finally:
        site.stop()


def wait_for_workers(site: Site) -> None:
    for worker in ("cpu", "cpu2"):
        site.wait_for_worker(worker)


def run_stream(site: Site, seconds: float, grace: float) -> dict[str, Any]:
    output = site.shell(STREAM.format(seconds=seconds, grace=grace))
    assert output.startswith("{"), output
    report: dict[str, Any] = json.loads(output.splitlines()[0])
    assert (report["wrong"], report["errors"]) == ([], []), report
    assert report["answers"] > 30, report
    assert report["hits"] > report["answers"], report
    assert report["changes"] > 50, report
    return report


def is_on_postgres(site: Site) -> bool:
    return site.environment["DATABASE_URL"].startswith("postgres")


def test_a_worker_killed_while_it_saves_a_snapshot_starts_from_the_one_before(site: Site) -> None:
    def folders(pattern: str) -> list[Path]:
        return list((site.folder / "index").glob(pattern))

    site.shell("from tests.helpers.freshness_stream import fill; fill(100)")
    [current] = wait_until(lambda: folders("*/current.json"), "a snapshot")
    before = current.read_bytes()
    site.shell("from tests.helpers.freshness_stream import fill; fill(5000)")
    wait_until(lambda: folders("*/*.part") or current.read_bytes() != before, "another snapshot")
    for worker in ("cpu", "cpu2"):
        site.kill(worker)
    json.loads(current.read_bytes())  # a complete file: the old or the new one
    site.start("cpu", "cpu2")
    wait_for_workers(site)
    assert site.shell("from tests.helpers.freshness_stream import judge; judge(6)") == "6"


def test_every_answer_is_right_while_another_index_takes_over(site: Site) -> None:
    """An index in memory is never stale; one on a server may be for two seconds."""
    other, grace = ("pgvector", 2.0) if is_on_postgres(site) else ("approximate", 0.0)
    with ThreadPoolExecutor(1) as executor:
        stream = executor.submit(run_stream, site, seconds=7.0, grace=grace)
        time.sleep(2.0)
        assert f"{other} answers from now on." in site.manage("search_backend", "use", other)
        stream.result()
    assert site.shell(ANSWERS) == f"{other} {int(grace > 0)}"
    for worker in ("cpu", "cpu2"):
        assert "worker.search_query" in site.log(worker)
        assert "is searched by" in site.log(worker)
        assert "could not be brought up to date" not in site.log(worker)
