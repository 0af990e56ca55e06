"""What a worker does before its first query."""

from functools import partial

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import CatalogItem, SimilarityQuery
from catalog.rehearsal import rehearse
from worker.startup import _embed_and_search

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.mark.parametrize(
    ("queues", "reached"), [({"gpu"}, {"embedded"}), ({"cpu"}, {"done"}), ({"gpu", "cpu", "net"}, {"embedded", "done"})]
)
def test_the_rehearsal_goes_as_far_as_a_query_does(
    queues: set[str], reached: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    call_command(
        "register_encoder", settings.BASE_DIR / "ml/encoders" / settings.DEFAULT_ENCODER, live=True, verbosity=0
    )
    with CaptureQueriesContext(
        connection,
    ) as statements:
        rehearse(partial(_embed_and_search, queues))
    written = " ".join(one["sql"] for one in statements if one["sql"].startswith("UPDATE"))
    assert {state for state in ("embedded", "done") if f"'{state}'" in written.replace('"state" = ', "")} >= reached
    assert not SimilarityQuery.objects.exists()
    assert "rehears" not in caplog.text


def test_there_is_nothing_to_rehearse_without_an_encoder(caplog: pytest.LogCaptureFixture) -> None:
    with CaptureQueriesContext(connection) as statements:
        rehearse(partial(_embed_and_search, {"gpu", "cpu"}))
    assert not [one["sql"] for one in statements if "similarityquery" in one["sql"] and "INSERT" in one["sql"]]
    assert not CatalogItem.objects.exists()
    assert "rehears" not in caplog.text
