"""A compiled query returns the rows of its queryset, in every thread and for every UUID."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import Recommendation, SimilarityQuery, UploadedPhoto
from catalog.services.queries.compiled import CompiledQuery
from tests.helpers.api import answered_query
from tests.helpers.factories import make_encoder, make_query, make_upload, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_it_returns_the_rows_of_its_queryset_and_builds_it_once() -> None:
    built: list[Any] = []

    def ranked(pk: Any) -> Any:
        built.append(pk)
        return Recommendation.objects.select_related("item", "query__encoder").filter(query=pk).order_by("-rank")

    compiled = CompiledQuery(ranked)
    for number in (1, 3):
        query = answered_query(make_user(f"person-{number}"), items=number, encoder=make_encoder(f"encoder-{number}"))
        with CaptureQueriesContext(connection) as captured:
            rows = compiled.rows(query.pk)
            values = [(row.rank, row.item.name, row.query.encoder_id) for row in rows]
        assert len(captured) == 1
        assert [row.rank for row in rows] == list(range(number, 0, -1))
        assert values == [(row.rank, row.item.name, row.query.encoder_id) for row in ranked(query.pk)]
        built.remove(query.pk)
    assert len(built) == 1
    assert compiled.rows(uuid4()) == []


def test_it_returns_the_current_rows() -> None:
    query = make_query()
    compiled = CompiledQuery(lambda pk: SimilarityQuery.objects.select_related("photo").filter(pk=pk))
    assert compiled.row(query.pk) == query
    SimilarityQuery.objects.filter(pk=query.pk).update(k=3, filters={"brand": "Anna"})
    again = compiled.row(query.pk)
    assert again is not None and (again.k, again.filters, again.photo) == (3, {"brand": "Anna"}, query.photo)
    SimilarityQuery.objects.all().delete()
    assert compiled.row(query.pk) is None


def test_further_filters_stay() -> None:
    compiled = CompiledQuery(lambda pk: UploadedPhoto.objects.filter(may_train=True, pk=pk, width__gt=1))
    photos = [make_upload() for _ in range(2)]
    UploadedPhoto.objects.filter(pk=photos[0].pk).update(may_train=True)
    assert [compiled.row(photo.pk) for photo in photos] == [photos[0], None]


@pytest.mark.django_db(transaction=True)
def test_it_is_thread_safe() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("an in-memory SQLite database serves one thread only")
    compiled = CompiledQuery(lambda pk: UploadedPhoto.objects.filter(pk=pk))
    photos = [make_upload() for _ in range(20)]

    def read(photo: UploadedPhoto) -> bool:
        try:
            return compiled.row(photo.pk) == photo
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, photos * 3))
