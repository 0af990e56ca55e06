"""The vectors that are in memory before anybody asks for them."""

import pytest
from django.db import OperationalError

from catalog.models import Encoder, EncoderState, Promotion
from tests.helpers.factories import make_embedding, make_encoder, unit
from worker.index import refresh, registry

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def in_memory() -> dict[str, int]:
    """How many vectors of which encoder, that used last at the end."""
    return {one.encoder.name: len(one.index) for one in registry._indexes.values()}


def test_the_live_encoder_the_way_back_and_the_newest_candidate_are_warm_before_a_query_comes() -> None:
    back, live = make_encoder("back", state=EncoderState.RETIRED), make_encoder("live", state=EncoderState.LIVE)
    make_encoder("retired", state=EncoderState.RETIRED)
    older, newer = make_encoder("older"), make_encoder("newer")
    make_encoder("labels", kind="classifier")
    Promotion.objects.create(encoder=live, encoder_name="live", previous=back, previous_name="back")
    for encoder in (back, live, older, newer):
        make_embedding(encoder, unit(1))
    refresh.warm()
    assert in_memory() == {"newer": 1, "back": 1, "live": 1}
    assert list(in_memory()) == ["newer", "back", "live"]
    make_embedding(newer, unit(1))
    refresh.warm()
    assert in_memory()["newer"] == 2


def test_at_a_site_without_an_encoder_there_is_nothing_to_warm() -> None:
    refresh.warm()
    assert in_memory() == {}
    assert not Encoder.objects.exists()


@pytest.mark.parametrize("error", [OperationalError("the database is away"), ValueError("a vector of another length")])
def test_whatever_is_wrong_is_logged_and_the_next_time_is_not_missed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail() -> list[Encoder]:
        raise error

    monkeypatch.setattr(refresh, "likely_next", fail)
    refresh.if_possible(refresh.warm)
    assert str(error) in caplog.text
