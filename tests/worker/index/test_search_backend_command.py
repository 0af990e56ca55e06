"""manage.py search_backend: another index is built and compared before it answers, while queries are answered."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Concat
from pytest_django import Settings

from catalog.models import Backend, CatalogItem, Encoder, EncoderState, SearchChoice, SharedIndex
from ml.search import ANY, ExactIndex, Hit, SearchIndex, Where
from ml.search.memory.ivf import ApproximateIndex
from tests.helpers.embedded_queries import find_item_ids, make_embedded_query, make_ranked_items
from tests.helpers.errors import raises_code
from tests.helpers.factories import make_embedding, make_encoder, make_item_photo, unit
from worker.index.backends import SharedCatalogIndex
from worker.index.migrate import NotComparable, measure_recall
from worker.index.registry import index_of
from worker.index.snapshots import snapshot_folder
from worker.index.sync import CatalogIndex

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder("lite", state=EncoderState.LIVE)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command and returns its exit code and its output."""

    def command(*arguments: str) -> tuple[int, str]:
        code, error_output = 0, ""
        try:
            call_command("search_backend", *arguments)
        except CommandError as error:
            code, error_output = error.returncode, str(error)
        return code, capsys.readouterr().out + error_output

    return command


def test_it_reports_the_present_backend_and_how_far_each_index_is_behind(
    encoder: Encoder, backend: Backend, run: Run
) -> None:
    make_ranked_items(encoder, 3)
    code, output = run()
    assert code == 0
    assert output.splitlines() == [
        "exact answers (from the setting SEARCH_BACKEND).",
        "lite (live): 3 vectors in the database",
        "  files of this machine: none",
    ]
    run("use", backend)
    run("use", "exact")
    make_embedding(encoder, unit(1))
    output = run()[1]
    assert output.splitlines()[0] == "exact answers."
    assert "  files of this machine: 3 vectors, 1 vectors and " in output
    assert f"  {backend}: 3 vectors, 1 vectors and " in output
    SharedIndex.objects.update(ready_at=None)
    assert "changes behind the database; not ready to answer until it is filled" in run()[1]


def test_switching_to_a_server_and_back_leaves_no_query_unanswered(
    encoder: Encoder, backend: Backend, run: Run, run_threads: Callable[[], None]
) -> None:
    items = [item.pk for item in make_ranked_items(encoder, 25)]
    query = make_embedded_query(encoder, unit(1), k=5)
    assert find_item_ids(query, index_of(encoder)) == items[:5]
    code, output = run("use", backend)
    assert (code, output.splitlines()[-1]) == (0, f"{backend} answers from now on.")
    assert "lite: 25 vectors; finds 100.0% of the 20 items that exact finds." in output
    assert type(index_of(encoder).index) is ExactIndex  # until this worker has looked at the choice
    assert find_item_ids(query, index_of(encoder)) == items[:5]
    run_threads()
    assert isinstance(index_of(encoder), SharedCatalogIndex)
    assert find_item_ids(query, index_of(encoder)) == items[:5]
    code, output = run("drop", backend)
    assert (code, backend in output) == (2, True)
    assert run("use", "exact")[0] == 0
    run_threads()
    assert type(index_of(encoder).index) is ExactIndex
    assert run("drop", backend) == (0, f"The {backend} index of lite is removed.\n")
    assert not SharedIndex.objects.exists()
    assert find_item_ids(query, index_of(encoder)) == items[:5]


def test_an_index_in_memory_is_saved_for_the_workers(
    encoder: Encoder, run: Run, run_threads: Callable[[], None]
) -> None:
    make_ranked_items(encoder, 4)
    assert run("use", "approximate")[0] == 0
    assert (snapshot_folder(encoder) / "current.json").exists()
    assert SearchChoice.current() == Backend.APPROXIMATE
    run_threads()
    assert type(index_of(encoder).index) is ApproximateIndex


class Blind(ExactIndex):
    """Returns the farthest items as the nearest."""

    def search_many(self, vectors: Any, k: int, *, encoder: str, where: Where = ANY) -> list[list[Hit]]:
        return super().search_many(-vectors, k, encoder=encoder, where=where)


def test_an_index_with_too_low_recall_is_refused_without_force(
    encoder: Encoder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ranked_items(encoder, 50)
    monkeypatch.setattr("ml.search.memory.ivf.ApproximateIndex", Blind)
    code, output = run("use", "approximate")
    assert code == 2
    assert "approximate" in output and "95%" in output
    assert SearchChoice.current() == Backend.EXACT
    assert run("use", "approximate", "--force")[0] == 0
    assert SearchChoice.current() == Backend.APPROXIMATE


class Unsteady(CatalogIndex):
    """A catalogue that changes just before each search: the nearest items are deleted, one is added, one changes."""

    def refresh(self) -> SearchIndex:
        rows = self.encoder.embeddings.order_by("pk")
        CatalogItem.objects.filter(photos__embeddings__in=rows[:8]).delete()
        make_embedding(self.encoder, unit(1))
        row = rows[12]
        row.photo.delete()
        make_embedding(self.encoder, unit(-1), make_item_photo(row.item))
        return super().refresh()


def test_items_that_change_between_the_two_searches_do_not_count(encoder: Encoder) -> None:
    make_ranked_items(encoder, 60)
    assert measure_recall(CatalogIndex(encoder), Unsteady(encoder), encoder) == 1.0
    assert measure_recall(Unsteady(encoder), CatalogIndex(encoder), encoder) == 1.0
    blind = CatalogIndex(encoder, Blind(encoder.name, encoder.dim))
    share = measure_recall(blind, Unsteady(encoder), encoder)
    assert share is not None
    assert share < 0.6


def test_a_comparison_fails_if_every_item_keeps_changing(encoder: Encoder) -> None:
    class Restless(CatalogIndex):
        def refresh(self) -> SearchIndex:
            CatalogItem.objects.update(collection=Concat("collection", Value("!")))
            return super().refresh()

    make_ranked_items(encoder, 8)
    with raises_code(NotComparable, "indexes_not_comparable"):
        measure_recall(CatalogIndex(encoder), Restless(encoder), encoder)


def test_a_site_without_vectors_or_encoder_may_switch(run: Run) -> None:
    assert run("use", "auto") == (0, "auto answers from now on.\n")
    make_encoder("empty", state=EncoderState.LIVE)
    assert run("use", "exact")[1].splitlines()[1] == "empty: no vectors yet."


@pytest.mark.parametrize("arguments", [("use", "faiss"), ("drop", "nonsense"), ("use", "")])
def test_an_unknown_backend_is_refused(arguments: tuple[str, str], run: Run) -> None:
    code, output = run(*arguments)
    assert code == 2
    assert repr(arguments[1]) in output
    assert "exact, approximate, auto, pgvector, qdrant" in output


def test_an_unavailable_backend_is_refused(run: Run, settings: Settings) -> None:
    settings.QDRANT_URL = ""
    code, output = run("use", "qdrant")
    assert (code, "QDRANT_URL" in output) == (2, True)
    SearchChoice.choose(Backend.AUTO)
    code, output = run("drop", "exact")
    assert (code, "exact" in output) == (2, True)
    assert run("drop", "qdrant") == (0, "There was no qdrant index.\n")
    if connection.vendor == "sqlite":
        assert run("use", "pgvector")[0] == 2


def test_an_unreachable_server_is_reported_and_changes_nothing(encoder: Encoder, run: Run, settings: Settings) -> None:
    make_ranked_items(encoder, 2)
    settings.QDRANT_URL = "http://127.0.0.1:1"
    code, output = run("use", "qdrant")
    assert (code, "does not answer" in output) == (2, True)
    assert SearchChoice.current() == Backend.EXACT
    assert "qdrant: The Qdrant server does not answer" in run()[1]
