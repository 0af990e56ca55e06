"""Photos, filters and errors in the words of Qdrant. Importing this needs its client: `QdrantMissing` without it."""

import hashlib
import math
import re
import sys
from collections.abc import Collection
from typing import Any, Final, cast

import numpy as np

from ml.formats.errors import InputError
from ml.search.hits import IndexUnavailable, IndexUnreadable, SearchError
from ml.search.rows import TEXTS, Ints, Rows, Where, compared


class QdrantMissing(InputError):
    """The package of Qdrant's client is not installed."""


try:
    from grpc import RpcError, StatusCode  # type: ignore[import-untyped]
    from qdrant_client import QdrantClient as QdrantClient
    from qdrant_client import models as models  # both also for ml.search.qdrant.index
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse
except ImportError as error:
    raise QdrantMissing("An index in Qdrant needs the package qdrant-client, which is not installed.") from error

CLIENT_ERRORS: Final = (ApiException, QdrantException, RpcError)
"""Whatever the client raises about the server, over HTTP and over gRPC."""

VECTOR: Final = "photo"
"""The name of the vector. Only where vectors have names may a point have none."""

FIELDS: Final[dict[str, models.PayloadSchemaType | models.IntegerIndexParams]] = {
    # Items are only looked up, never compared by size.
    "item_id": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False),
    **dict.fromkeys(TEXTS, models.PayloadSchemaType.KEYWORD),
    "price": models.PayloadSchemaType.FLOAT,
    "in_stock": models.PayloadSchemaType.BOOL,
}
"""What is indexed of the payload: all of it."""

LARGEST: Final = sys.float_info.max
IDS_AT_ONCE: Final = 5_000


def connected(address: str, api_key: str | None, timeout: int) -> QdrantClient:
    """A client for the server at `address`; nothing is sent yet. Raises `SearchError` for what is no address."""
    if not address.startswith(("http://", "https://")):
        raise SearchError("The address of a Qdrant server begins with http:// or https://.")
    try:
        # The check of the server's version is another request, in a thread that warns instead of raising.
        return QdrantClient(url=address, api_key=api_key, timeout=timeout, check_compatibility=False)
    except ValueError as error:
        raise SearchError("The address of the Qdrant server cannot be read.") from error


def is_local(client: QdrantClient) -> bool:
    """Whether the client is its own server, on arrays in memory or a folder."""
    return client.init_options["location"] == ":memory:" or client.init_options["path"] is not None


def named_error(error: Exception, name: str) -> SearchError:
    """Ours for one of `CLIENT_ERRORS`, about the index called `name`."""
    missing = isinstance(error, UnexpectedResponse) and error.status_code == 404
    if missing or (isinstance(error, RpcError) and error.code() == StatusCode.NOT_FOUND):
        return IndexUnreadable(f"Qdrant has no index {name!r} any more.")
    if isinstance(error, UnexpectedResponse):
        return IndexUnavailable(f"The Qdrant server refused a request with the status {error.status_code}.")
    cause = error.source if isinstance(error, ResponseHandlingException) else error
    return IndexUnavailable(f"The Qdrant server does not answer ({type(cause).__name__}).")


def encodable(text: str) -> str:
    """Half a surrogate pair, which JSON can spell, cannot be sent: it is written out, the same way everywhere."""
    return text.encode("utf-8", "backslashreplace").decode()


def name_for(encoder: str) -> str:
    """The name of an encoder's index: readable, of plain characters, and another for every encoder."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", encoder)[:80]
    return f"photos-{readable}-{hashlib.sha256(encodable(encoder).encode()).hexdigest()[:8]}"


def point_ids(photos: Ints) -> list[models.ExtendedPointId]:
    """Qdrant's ids are unsigned: those below zero go around, as they do in two's complement."""
    return cast("list[models.ExtendedPointId]", photos.astype(np.uint64).tolist())


def photo_id(point: models.ExtendedPointId) -> int:
    """The way back from `point_ids`."""
    number = cast("int", point)
    return number - 2**64 if number >= 2**63 else number


def vector_of(point: models.Record | models.ScoredPoint) -> list[float]:
    """The vector of an answer that was asked for with its vector."""
    return cast("dict[str, list[float]]", point.vector)[VECTOR]


def payloads_of(rows: Rows) -> list[dict[str, Any]]:
    """What is kept beside each vector. A price that is missing is left out, so that it is in no range."""
    texts = {name: [_word(text) for text in rows.texts[name]] for name in TEXTS}
    return [
        {
            "item_id": int(rows.item_ids[row]),
            **{name: texts[name][row] for name in TEXTS},
            **({} if math.isnan(rows.prices[row]) else {"price": _number(rows.prices[row])}),
            "in_stock": bool(rows.in_stock[row]),
        }
        for row in range(len(rows))
    ]


def filter_of(
    where: Where, *, among: Collection[int] | None = None, without: Collection[int] = ()
) -> models.Filter | None:
    """What fits `where`, of the items `among` (None: all), but not of the items `without`. None is no filter."""
    must = conditions_of(where)
    if among is not None:
        must.append(_of_items(among))
    if not must and not without:
        return None
    return models.Filter(must=must, must_not=[_of_items(without)] if without else None)


def conditions_of(where: Where) -> list[models.Condition]:
    """One condition for each word, the range of prices, and the stock."""
    conditions: list[models.Condition] = [
        models.FieldCondition(key=name, match=models.MatchValue(value=_word(text)))
        for name, text in where.texts.items()
    ]
    low, high = where.min_price, where.max_price
    if low is not None or high is not None:
        prices = models.Range(gte=None if low is None else _number(low), lte=None if high is None else _number(high))
        conditions.append(models.FieldCondition(key="price", range=prices))
    if where.in_stock is not None:
        conditions.append(models.FieldCondition(key="in_stock", match=models.MatchValue(value=where.in_stock)))
    return conditions


def removals_of(rows: Rows, items: Ints, photos: Ints) -> list[models.UpdateOperation]:
    """Take out what `items` had besides `rows`, which are in by now, and `photos` that are not among `rows`."""
    operations: list[models.UpdateOperation] = []
    for some in _parts(items):
        kept = point_ids(rows.photo_ids[np.isin(rows.item_ids, some)])
        left_over = models.Filter(
            must=[_of_items(some.tolist())], must_not=[models.HasIdCondition(has_id=kept)] if kept else None
        )
        operations.append(models.DeleteOperation(delete=models.FilterSelector(filter=left_over)))
    for some in _parts(np.setdiff1d(photos, rows.photo_ids)):
        operations.append(models.DeleteOperation(delete=models.PointIdsList(points=point_ids(some))))
    return operations


def _parts(ids: Ints) -> list[Ints]:
    return [ids[start : start + IDS_AT_ONCE] for start in range(0, len(ids), IDS_AT_ONCE)]


def _of_items(items: Collection[int]) -> models.FieldCondition:
    return models.FieldCondition(key="item_id", match=models.MatchAny(any=list(items)))


def _word(text: str) -> str:
    return encodable(compared(text))


def _number(price: float) -> float:
    """JSON has no infinity; the largest number is in the same ranges."""
    return max(-LARGEST, min(LARGEST, float(price)))
