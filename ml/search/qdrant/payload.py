"""Qdrant payloads: convert rows, filters and errors. Raises `QdrantMissing` on import without qdrant-client."""

import hashlib
import math
import re
import sys
from collections.abc import Collection
from typing import Any, Final, cast

import numpy as np

from ml.formats.errors import InputError
from ml.search.hits import IndexUnavailable, IndexUnreadable, SearchError
from ml.search.rows import TEXT_COLUMNS, Ints, Rows, Where, fold_case


class QdrantMissing(InputError):
    """The package qdrant-client is not installed."""

    code = "qdrant_missing"


try:
    from grpc import RpcError, StatusCode  # type: ignore[import-untyped]
    from qdrant_client import QdrantClient as QdrantClient
    from qdrant_client import models as models  # both also for ml.search.qdrant.index
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse
except ImportError as error:
    raise QdrantMissing("An index in Qdrant needs the package qdrant-client: pip install qdrant-client.") from error

CLIENT_ERRORS: Final = (ApiException, QdrantException, RpcError)
"""The errors of the client about the server, over HTTP and over gRPC."""

VECTOR: Final = "photo"
"""The name of the vector. Only with named vectors may a point have no vector."""

FIELDS: Final[dict[str, models.PayloadSchemaType | models.IntegerIndexParams]] = {
    # Item ids are only looked up, never compared by size.
    "item_id": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False),
    **dict.fromkeys(TEXT_COLUMNS, models.PayloadSchemaType.KEYWORD),
    "price": models.PayloadSchemaType.FLOAT,
    "in_stock": models.PayloadSchemaType.BOOL,
}
"""The indexes of the payload: one for each field."""

MAX_FLOAT: Final = sys.float_info.max
ID_BATCH: Final = 5_000


def create_client(address: str, api_key: str | None, timeout: int) -> QdrantClient:
    """Return a client for the server at `address` without a request. Raises `SearchError` for an invalid address."""
    if not address.startswith(("http://", "https://")):
        raise SearchError("The address of a Qdrant server begins with http:// or https://.", code="qdrant_address")
    try:
        # The compatibility check sends another request, in a thread that warns instead of raising.
        return QdrantClient(url=address, api_key=api_key, timeout=timeout, check_compatibility=False)
    except ValueError as error:
        raise SearchError("The address of the Qdrant server cannot be parsed.", code="qdrant_address") from error


def is_local(client: QdrantClient) -> bool:
    """Return whether the client is in local mode, on arrays in memory or in a folder."""
    return client.init_options["location"] == ":memory:" or client.init_options["path"] is not None


def translate_error(error: Exception, name: str) -> SearchError:
    """Return the `SearchError` for one of `CLIENT_ERRORS` about the index `name`."""
    is_missing = isinstance(error, UnexpectedResponse) and error.status_code == 404
    if is_missing or (isinstance(error, RpcError) and error.code() == StatusCode.NOT_FOUND):
        return IndexUnreadable(f"Qdrant has no index {name!r}; rebuild the index.")
    if isinstance(error, UnexpectedResponse):
        return IndexUnavailable(f"The Qdrant server refused a request with the status {error.status_code}.")
    cause = error.source if isinstance(error, ResponseHandlingException) else error
    return IndexUnavailable(f"The Qdrant server does not answer ({type(cause).__name__}).")


def encodable(text: str) -> str:
    """Return `text` with lone surrogates escaped: JSON can spell them, but they cannot be sent."""
    return text.encode("utf-8", "backslashreplace").decode()


def index_name(encoder: str) -> str:
    """Return the unique, readable ASCII name of an encoder's index."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", encoder)[:80]
    return f"photos-{readable}-{hashlib.sha256(encodable(encoder).encode()).hexdigest()[:8]}"


def point_ids(photos: Ints) -> list[models.ExtendedPointId]:
    """Return point ids. Qdrant's ids are unsigned: negative ids wrap around, as in two's complement."""
    return cast("list[models.ExtendedPointId]", photos.astype(np.uint64).tolist())


def photo_id(point: models.ExtendedPointId) -> int:
    """Return the photo id of a point id, the inverse of `point_ids`."""
    number = cast("int", point)
    return number - 2**64 if number >= 2**63 else number


def point_vector(point: models.Record | models.ScoredPoint) -> list[float]:
    """Return the vector of a point that was fetched with its vector."""
    return cast("dict[str, list[float]]", point.vector)[VECTOR]


def build_payloads(rows: Rows) -> list[dict[str, Any]]:
    """Return the payload of each row. A missing price is omitted, so that it is in no range."""
    texts = {name: [_word(text) for text in rows.texts[name]] for name in TEXT_COLUMNS}
    return [
        {
            "item_id": int(rows.item_ids[row]),
            **{name: texts[name][row] for name in TEXT_COLUMNS},
            **({} if math.isnan(rows.prices[row]) else {"price": _finite(rows.prices[row])}),
            "in_stock": bool(rows.in_stock[row]),
        }
        for row in range(len(rows))
    ]


def build_filter(
    where: Where, *, among: Collection[int] | None = None, without: Collection[int] = ()
) -> models.Filter | None:
    """Return a filter for `where`, for the items `among` (None: all) and not the items `without`; None: no filter."""
    must = build_conditions(where)
    if among is not None:
        must.append(_match_items(among))
    if not must and not without:
        return None
    return models.Filter(must=must, must_not=[_match_items(without)] if without else None)


def build_conditions(where: Where) -> list[models.Condition]:
    """Return one condition for each text, the price range and the stock."""
    conditions: list[models.Condition] = [
        models.FieldCondition(key=name, match=models.MatchValue(value=_word(text)))
        for name, text in where.texts.items()
    ]
    low, high = where.min_price, where.max_price
    if low is not None or high is not None:
        prices = models.Range(gte=None if low is None else _finite(low), lte=None if high is None else _finite(high))
        conditions.append(models.FieldCondition(key="price", range=prices))
    if where.in_stock is not None:
        conditions.append(models.FieldCondition(key="in_stock", match=models.MatchValue(value=where.in_stock)))
    return conditions


def build_deletions(rows: Rows, items: Ints, photos: Ints) -> list[models.UpdateOperation]:
    """Return operations that delete the photos of `items`, and `photos`, except those in `rows`, already upserted."""
    operations: list[models.UpdateOperation] = []
    for batch in _batches(items):
        current = point_ids(rows.photo_ids[np.isin(rows.item_ids, batch)])
        outdated = models.Filter(
            must=[_match_items(batch.tolist())], must_not=[models.HasIdCondition(has_id=current)] if current else None
        )
        operations.append(models.DeleteOperation(delete=models.FilterSelector(filter=outdated)))
    for batch in _batches(np.setdiff1d(photos, rows.photo_ids)):
        operations.append(models.DeleteOperation(delete=models.PointIdsList(points=point_ids(batch))))
    return operations


def _batches(ids: Ints) -> list[Ints]:
    return [ids[start : start + ID_BATCH] for start in range(0, len(ids), ID_BATCH)]


def _match_items(items: Collection[int]) -> models.FieldCondition:
    return models.FieldCondition(key="item_id", match=models.MatchAny(any=list(items)))


def _word(text: str) -> str:
    return encodable(fold_case(text))


def _finite(price: float) -> float:
    """Return a price that JSON can hold: infinity becomes the largest float, which is in the same ranges."""
    return max(-MAX_FLOAT, min(MAX_FLOAT, float(price)))
