"""manage.py search_backend: another index is built and proven before it answers, and nothing stands still meanwhile."""

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
from tests.helpers.factories import make_embedding, make_encoder, make_item_photo, unit
from tests.worker.index.test_backends import backend as backend
from tests.worker.index.test_backends import one_second_later
from tests.worker.queries.test_search import ask, fan, items_of
from worker.index.backends import SharedCatalogIndex
from worker.index.migrate import SwitchRefused, agreement
from worker.index.registry import index_of
from worker.index.snapshots import folder_of
from worker.index.sync import CatalogIndex

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder("lite", state=EncoderState.LIVE)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command; its exit code, and all that it says."""

    def command(*arguments: str) -> tuple[int, str]:
        code, complaint = 0, ""
        try:
            call_command("search_backend", *arguments)
        except CommandError as error:
            code, complaint = error.returncode, str(error)
        return code, capsys.readouterr().out + complaint

    return command


def test_it_shows_what_answers_and_how_far_each_index_is(encoder: Encoder, backend: Backend, run: Run) -> None:
    fan(encoder, 3)
    code, told = run()
    assert code == 0
    assert told.splitlines() == [
        "exact answers, as SEARCH_BACKEND says, since nobody has chosen.",
        "lite (live): 3 vectors in the rows",
        "  files of this machine: none",
    ]
    run("use", backend)
    run("use", "exact")
    make_embedding(encoder, unit(1))
    told = run()[1]
    assert told.splitlines()[0] == "exact answers."
    assert "  files of this machine: 3 vectors, 1 vectors and " in told
    assert f"  {backend}: 3 vectors, 1 vectors and " in told
    SharedIndex.objects.update(ready_at=None)
    assert "changes behind the rows; being filled, so it does not answer yet" in run()[1]


def test_moving_to_a_server_and_back_never_leaves_a_query_without_its_answer(
    encoder: Encoder, backend: Backend, run: Run
) -> None:
    items = [item.pk for item in fan(encoder, 25)]
    query = ask(encoder, unit(1), k=5)
    assert items_of(query, index_of(encoder)) == items[:5]
    code, told = run("use", backend)
    assert (code, told.splitlines()[-1]) == (0, f"{backend} answers from now on.")
    assert "lite: 25 vectors; finds 100.0% of the 20 items that exact finds." in told
    assert type(index_of(encoder).index) is ExactIndex  # until this worker has looked at the choice
    assert items_of(query, index_of(encoder)) == items[:5]
    one_second_later()
    assert isinstance(index_of(encoder), SharedCatalogIndex)
    assert items_of(query, index_of(encoder)) == items[:5]
    code, told = run("drop", backend)
    assert (code, "Let another kind answer" in told) == (2, True)
    assert run("use", "exact")[0] == 0
    one_second_later()
    assert type(index_of(encoder).index) is ExactIndex
    assert run("drop", backend) == (0, f"The {backend} index of lite is removed.\n")
    assert not SharedIndex.objects.exists()
    assert items_of(query, index_of(encoder)) == items[:5]


def test_an_index_in_memory_is_left_in_files_for_the_workers(encoder: Encoder, run: Run) -> None:
    fan(encoder, 4)
    assert run("use", "approximate")[0] == 0
    assert (folder_of(encoder) / "current.json").exists()
    assert SearchChoice.current() == Backend.APPROXIMATE
    one_second_later()
    assert type(index_of(encoder).index) is ApproximateIndex


class Blind(ExactIndex):
    """Finds the farthest, and thinks it the nearest."""

    def search_many(self, vectors: Any, k: int, *, encoder: str, where: Where = ANY) -> list[list[Hit]]:
        return super().search_many(-vectors, k, encoder=encoder, where=where)


def test_an_index_that_finds_too_little_does_not_answer_unless_it_is_forced(
    encoder: Encoder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan(encoder, 50)
    monkeypatch.setattr("ml.search.memory.ivf.ApproximateIndex", Blind)
    code, told = run("use", "approximate")
    assert code == 2
    assert "95% are needed. Nothing was changed. With --force it may answer all the same." in told
    assert SearchChoice.current() == Backend.EXACT
    assert run("use", "approximate", "--force")[0] == 0
    assert SearchChoice.current() == Backend.APPROXIMATE


class Unsteady(CatalogIndex):
    """Of a catalogue that changes just before it is asked: the nearest items go, one comes, one turns away."""

    def refresh(self) -> SearchIndex:
        rows = self.encoder.embeddings.order_by("pk")
        CatalogItem.objects.filter(photos__embeddings__in=rows[:8]).delete()
        make_embedding(self.encoder, unit(1))
        row = rows[12]
        row.photo.delete()
        make_embedding(self.encoder, unit(-1), make_item_photo(row.item))
        return super().refresh()


def test_what_changes_between_the_two_answers_does_not_count(encoder: Encoder) -> None:
    fan(encoder, 60)
    assert agreement(CatalogIndex(encoder), Unsteady(encoder), encoder) == 1.0
    assert agreement(Unsteady(encoder), CatalogIndex(encoder), encoder) == 1.0
    blind = CatalogIndex(encoder, Blind(encoder.name, encoder.dim))
    share = agreement(blind, Unsteady(encoder), encoder)
    assert share is not None
    assert share < 0.6


def test_nothing_is_concluded_where_everything_changes(encoder: Encoder) -> None:
    class Restless(CatalogIndex):
        def refresh(self) -> SearchIndex:
            CatalogItem.objects.update(collection=Concat("collection", Value("!")))
            return super().refresh()

    fan(encoder, 8)
    with pytest.raises(SwitchRefused, match="cannot be compared"):
        agreement(CatalogIndex(encoder), Restless(encoder), encoder)


def test_a_site_without_vectors_or_without_an_encoder_may_choose_too(run: Run) -> None:
    assert run("use", "auto") == (0, "auto answers from now on.\n")
    make_encoder("empty", state=EncoderState.LIVE)
    assert run("use", "exact")[1].splitlines()[1] == "empty: no vectors yet."


@pytest.mark.parametrize("arguments", [("use", "faiss"), ("drop", "nonsense"), ("use", "")])
def test_a_name_of_nothing_is_refused(arguments: tuple[str, str], run: Run) -> None:
    code, told = run(*arguments)
    assert code == 2
    assert told == f"There is no index called {arguments[1]!r}, only exact, approximate, auto, pgvector, qdrant."


def test_what_cannot_be_is_refused_in_plain_words(run: Run, settings: Settings) -> None:
    settings.QDRANT_URL = ""
    assert run("use", "qdrant") == (2, "QDRANT_URL does not say where a Qdrant answers.")
    SearchChoice.choose(Backend.AUTO)
    code, told = run("drop", "exact")
    assert (code, told.startswith("There is nothing to remove: exact is in memory")) == (2, True)
    assert run("drop", "qdrant") == (0, "There was no qdrant index.\n")
    if connection.vendor == "sqlite":
        assert run("use", "pgvector")[0] == 2


def test_a_server_that_is_away_is_told_and_changes_nothing(encoder: Encoder, run: Run, settings: Settings) -> None:
    fan(encoder, 2)
    settings.QDRANT_URL = "http://127.0.0.1:1"
    code, told = run("use", "qdrant")
    assert (code, "does not answer" in told) == (2, True)
    assert SearchChoice.current() == Backend.EXACT
    assert "qdrant: The Qdrant server does not answer" in run()[1]
