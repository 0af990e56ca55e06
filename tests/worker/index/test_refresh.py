"""Background refresh: the indexes that are in memory before the first query."""

import pytest
from django.db import OperationalError

from catalog.models import Encoder, EncoderState, Promotion
from tests.helpers.factories import make_embedding, make_encoder, unit
from worker.index import refresh, registry

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def in_memory() -> dict[str, int]:
    """The number of vectors by encoder, the most recently used at the end."""
    return {one.encoder.name: len(one.index) for one in registry._indexes.values()}


def test_the_live_encoder_the_previous_one_and_the_newest_candidate_are_in_memory() -> None:
    previous, live = make_encoder("back", state=EncoderState.RETIRED), make_encoder("live", state=EncoderState.LIVE)
    make_encoder("retired", state=EncoderState.RETIRED)
    older, newer = make_encoder("older"), make_encoder("newer")
    make_encoder("labels", kind="classifier")
    Promotion.objects.create(encoder=live, encoder_name="live", previous=previous, previous_name="back")
    for encoder in (previous, live, older, newer):
        make_embedding(encoder, unit(1))
    refresh.refresh_all()
    assert in_memory() == {"newer": 1, "back": 1, "live": 1}
    assert list(in_memory()) == ["newer", "back", "live"]
    make_embedding(newer, unit(1))
    refresh.refresh_all()
    assert in_memory()["newer"] == 2


def test_without_an_encoder_nothing_is_loaded() -> None:
    refresh.refresh_all()
    assert in_memory() == {}
    assert not Encoder.objects.exists()


@pytest.mark.parametrize("error", [OperationalError("the database is away"), ValueError("a vector of another length")])
def test_errors_are_logged_and_do_not_stop_the_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail() -> list[Encoder]:
        raise error

    monkeypatch.setattr(refresh, "servable_encoders", fail)
    refresh.ignore_errors(refresh.refresh_all)
    assert str(error) in caplog.text
