"""The states of a query: claims, transitions, and recovery after a crash of a worker."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from catalog.errors import ClaimLost, IllegalTransition
from catalog.models import CatalogItem, QueryState, Recommendation, SimilarityQuery
from catalog.models.queries import MAX_ATTEMPTS, RESEND_AFTER
from catalog.services.queries.webhooks import webhook_create
from tests.helpers.factories import make_encoder, make_item_photo, make_query, make_upload, make_user, unit

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def claim(query: SimilarityQuery, waiting: QueryState = QueryState.QUEUED, worker: str = "gpu@one") -> SimilarityQuery:
    claimed = SimilarityQuery.objects.claim(query.pk, waiting, worker=worker)
    assert claimed is not None
    return claimed


def recommendation(query: SimilarityQuery, rank: int = 1) -> Recommendation:
    photo = make_item_photo()
    return Recommendation(query=query, rank=rank, item=photo.item, photo=photo, score=0.9)


def test_a_query_goes_from_queued_to_done_through_every_state() -> None:
    query = make_query()
    first = claim(query)
    assert (first.state, first.claimed_by) == ("embedding", "gpu@one")
    first.record_embedding(make_encoder(), unit(1).tobytes(), {"embed": 5.0})
    second = claim(query, QueryState.EMBEDDED, "cpu@one")
    assert second.state == "searching"
    second.record_answer([recommendation(second)], {"search": 1.0})
    query.refresh_from_db()
    assert query.state == QueryState.DONE
    assert query.claim_token is None
    assert query.timings["embed"] == 5.0 and query.timings["search"] == 1.0 and query.timings["total"] > 0
    assert query.finished_at is not None
    assert query.recommendations.count() == 1


def test_one_of_two_workers_with_the_same_message_gets_the_claim() -> None:
    query = make_query()
    assert SimilarityQuery.objects.claim(query.pk, QueryState.QUEUED, worker="gpu@one") is not None
    assert SimilarityQuery.objects.claim(query.pk, QueryState.QUEUED, worker="gpu@two") is None


def test_a_deleted_query_cannot_be_claimed() -> None:
    query = make_query()
    pk = query.pk
    query.photo.delete()
    assert SimilarityQuery.objects.claim(pk, QueryState.QUEUED, worker="gpu@one") is None


def test_a_worker_that_lost_its_claim_writes_nothing() -> None:
    query = make_query(state=QueryState.EMBEDDED, encoder=make_encoder())
    slow = claim(query, QueryState.EMBEDDED, "cpu@slow")
    SimilarityQuery.objects.filter(pk=query.pk).release_claims()
    quick = claim(query, QueryState.EMBEDDED, "cpu@quick")
    with pytest.raises(ClaimLost):
        slow.record_answer([recommendation(slow)], {})
    assert Recommendation.objects.count() == 0
    quick.record_answer([recommendation(quick)], {})
    assert Recommendation.objects.count() == 1


def test_a_failing_answer_is_rolled_back() -> None:
    query = claim(make_query(state=QueryState.EMBEDDED, encoder=make_encoder()), QueryState.EMBEDDED)
    same_rank = [recommendation(query, rank=1), recommendation(query, rank=1)]
    with pytest.raises(IntegrityError), transaction.atomic():
        query.record_answer(same_rank, {})
    query.refresh_from_db()
    assert query.state == QueryState.SEARCHING
    assert query.recommendations.count() == 0


@pytest.mark.django_db(transaction=True)
def test_an_answer_with_a_deleted_item_can_be_retried_at_once() -> None:
    """PostgreSQL notices the missing item at the INSERT, SQLite only at the commit."""
    query = claim(make_query(state=QueryState.EMBEDDED, encoder=make_encoder()), QueryState.EMBEDDED)
    answer = recommendation(query)
    CatalogItem.objects.filter(pk=answer.item_id).delete()
    with pytest.raises(IntegrityError):
        query.record_answer([answer], {})
    query.requeue()
    assert claim(query, QueryState.EMBEDDED).state == QueryState.SEARCHING
    assert query.recommendations.count() == 0


def test_an_answer_already_written_by_another_worker_is_a_lost_claim() -> None:
    query = make_query(state=QueryState.EMBEDDED, encoder=make_encoder())
    slow = claim(query, QueryState.EMBEDDED, "cpu@slow")
    SimilarityQuery.objects.filter(pk=query.pk).release_claims()
    claim(query, QueryState.EMBEDDED, "cpu@quick").record_answer([recommendation(query)], {})
    with pytest.raises(ClaimLost):
        slow.record_answer([recommendation(slow)], {})
    assert query.recommendations.count() == 1


def test_a_claim_is_one_statement_and_reads_the_whole_row(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    query = make_query(k=7, filters={"brand": "Anna"}, min_score=0.5, timings={"receive": 1.5})
    with django_assert_num_queries(1):
        claimed = claim(query, worker="gpu@one")
        assert claimed.other_photos == []
    now = SimilarityQuery.objects.get(pk=query.pk)
    columns = [field.attname for field in SimilarityQuery._meta.concrete_fields]
    assert {name: getattr(claimed, name) for name in columns} == {name: getattr(now, name) for name in columns}
    assert (now.state, now.claimed_by, now.claim_token) == ("embedding", "gpu@one", claimed.claim_token)
    with django_assert_num_queries(1):
        assert SimilarityQuery.objects.claim(query.pk, QueryState.QUEUED, worker="gpu@two") is None


def test_a_claim_reads_whether_there_are_more_photos_and_a_webhook() -> None:
    owner = make_user("owner")
    plain, rich = make_query(make_upload(owner)), make_query(make_upload(owner))
    other = make_upload(owner)
    rich.more_photos.add(other)
    webhook_create(query=rich, url="https://shop.example/hook")
    claimed = claim(plain)
    assert (claimed.has_more_photos, claimed.has_webhook) == (False, False)
    claimed = claim(rich)
    assert (claimed.has_more_photos, claimed.has_webhook) == (True, True)
    assert claimed.other_photos == [other]


def test_a_query_knows_whether_its_photo_was_uploaded_with_it() -> None:
    photo = make_upload()
    assert not make_query(photo, created_at=photo.created_at + timedelta(milliseconds=1)).came_with_photo
    assert make_query(photo, created_at=photo.created_at - timedelta(milliseconds=1)).came_with_photo
    assert not make_query(item=make_item_photo().item, owner=make_user("owner")).came_with_photo


@pytest.mark.parametrize("state", [QueryState.QUEUED, QueryState.EMBEDDED, QueryState.DONE, QueryState.FAILED])
def test_only_a_claimed_query_can_fail(state: QueryState) -> None:
    with pytest.raises(IllegalTransition):
        make_query(state=state).record_failure("any", "Any reason.")


def test_a_query_cannot_be_answered_before_it_is_embedded() -> None:
    with pytest.raises(IllegalTransition):
        claim(make_query()).record_answer([], {})


def test_a_failure_stores_its_code_and_sentence() -> None:
    query = claim(make_query())
    query.record_failure("photo_gone", "The photo is no longer there.")
    query.refresh_from_db()
    assert (query.state, query.error_code) == ("failed", "photo_gone")
    assert query.error_detail == "The photo is no longer there."
    assert query.has_ended


@pytest.mark.parametrize("waiting", [QueryState.QUEUED, QueryState.EMBEDDED])
def test_queries_of_a_killed_worker_are_requeued_and_sent_at_once(waiting: QueryState) -> None:
    query = make_query(state=waiting)
    claim(query, waiting, "gpu@killed")
    claim(make_query(), worker="gpu@other")
    assert SimilarityQuery.objects.held_by("gpu@killed").release_claims() == 1
    query.refresh_from_db()
    assert (query.state, query.attempts, query.claimed_by) == (waiting, 1, "")
    assert [taken.pk for taken in SimilarityQuery.objects.take_undelivered()] == [query.pk]


def test_a_query_fails_after_killing_several_workers() -> None:
    query = make_query()
    for _ in range(MAX_ATTEMPTS):
        claim(query)
        SimilarityQuery.objects.held_by("gpu@one").release_claims()
    query.refresh_from_db()
    assert (query.state, query.error_code) == ("failed", "internal_error")


def test_only_old_claims_are_released() -> None:
    query = claim(make_query())
    now = timezone.now()
    assert SimilarityQuery.objects.claimed_before(now - timedelta(seconds=60)).release_claims() == 0
    assert SimilarityQuery.objects.claimed_before(now + timedelta(seconds=1)).release_claims() == 1
    query.refresh_from_db()
    assert query.state == QueryState.QUEUED


def test_an_undelivered_query_is_taken_once_per_interval() -> None:
    fresh, old = make_query(), make_query(nudged_at=timezone.now() - RESEND_AFTER)
    assert [query.pk for query in SimilarityQuery.objects.take_undelivered()] == [old.pk]
    assert SimilarityQuery.objects.take_undelivered() == []
    assert fresh.state == QueryState.QUEUED


def test_ended_queries_are_never_sent_again() -> None:
    long_ago = timezone.now() - 10 * RESEND_AFTER
    for state in (QueryState.DONE, QueryState.FAILED, QueryState.EMBEDDING, QueryState.SEARCHING):
        make_query(state=state, nudged_at=long_ago)
    assert SimilarityQuery.objects.take_undelivered() == []


@pytest.mark.parametrize("k", [0, 101])
def test_the_database_refuses_a_k_out_of_range(k: int) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make_query(k=k)


def test_queries_are_filtered_by_owner_or_visitor() -> None:
    anna, ben = make_user(), make_user()
    hers = make_query(make_upload(owner=anna))
    his = make_query(make_upload(owner=ben))
    visitors = make_query(make_upload(visitor="browser-1"))
    assert list(SimilarityQuery.objects.owned_by(owner=anna)) == [hers]
    assert list(SimilarityQuery.objects.owned_by(owner=ben)) == [his]
    assert list(SimilarityQuery.objects.owned_by(visitor="browser-1")) == [visitors]
    assert not SimilarityQuery.objects.owned_by(visitor="browser-2").exists()
    assert not SimilarityQuery.objects.owned_by(visitor="").exists()
