"""Export of all personal data of a user as a zip archive."""

import json
import zipfile
from collections.abc import Iterable
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Prefetch
from knox.models import AuthToken

from catalog.models import Feedback, Recommendation, SimilarityQuery, Triplet, UploadedPhoto, User, WebhookDelivery
from catalog.services.accounts.devices import device_for, device_id
from catalog.services.queries.read import feedback_for

_IN_MEMORY = 8 * 2**20  # a larger export is spooled to an unnamed file, which a crash cannot leave behind


def export_create(*, user: User) -> IO[bytes]:
    """Write the export. Returns the open archive, positioned at its start; the caller closes it."""
    target: IO[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - returned open
    triplets = Triplet.objects.select_related("positive__item", "negative__item")
    photos = list(user.photos.order_by("created_at", "pk").prefetch_related(Prefetch("triplets", triplets)))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        _write_json(archive, "account.json", _account(user))
        _write_json(archive, "devices.json", map(_device, AuthToken.objects.filter(user=user).select_related("device")))
        _write_json(archive, "favourites.json", map(_favourite, user.favourites.select_related("item")))
        _write_json(archive, "queries.json", map(_query, _queries(user)))
        _write_json(archive, "photos.json", map(_photo, photos))
        for photo in photos:
            _write_picture(archive, photo)
    target.seek(0)
    return target


def _write_json(archive: zipfile.ZipFile, name: str, content: dict[str, Any] | Iterable[dict[str, Any]]) -> None:
    rows = content if isinstance(content, dict) else list(content)
    archive.writestr(name, json.dumps(rows, cls=DjangoJSONEncoder, indent=2, ensure_ascii=False))


def _write_picture(archive: zipfile.ZipFile, photo: UploadedPhoto) -> None:
    try:
        content = photo.file.read()
    except FileNotFoundError:  # deleted just now; its entry in photos.json stays
        return
    finally:
        photo.file.close()
    archive.writestr(zipfile.ZipInfo(_picture_name(photo)), content)  # not compressed: a JPEG does not shrink


def _picture_name(photo: UploadedPhoto) -> str:
    return f"photos/{photo.pk}.jpg"


def _account(user: User) -> dict[str, Any]:
    names = ("id", "username", "email", "first_name", "last_name", "is_staff", "may_train", "date_joined", "last_login")
    return {name: getattr(user, name) for name in names}


def _device(token: Any) -> dict[str, Any]:
    device = device_for(token=token)
    return {
        "id": device_id(token=token),
        "name": device.name,
        "scope": device.scope,
        "created_at": token.created,
        "expires_at": token.expiry,
        "last_seen_at": device.last_seen_at,
    }


def _favourite(favourite: Any) -> dict[str, Any]:
    return {"item": _item(favourite.item), "created_at": favourite.created_at}


def _item(item: Any) -> dict[str, Any]:
    return {"id": item.pk, "external_id": item.external_id, "name": item.name}


def _photo(photo: UploadedPhoto) -> dict[str, Any]:
    names = ("id", "width", "height", "size", "sha256", "source_sha256", "may_train", "created_at", "expires_at")
    return {name: getattr(photo, name) for name in names} | {
        "file": _picture_name(photo),
        "triplets": [_triplet(triplet) for triplet in photo.triplets.all()],
    }


def _triplet(triplet: Triplet) -> dict[str, Any]:
    """A training triplet of the photo: it is more similar to `nearer` than to `farther`."""
    names = ("query_id", "why", "state", "created_at", "reviewed_at")
    items = {"nearer": _item(triplet.positive.item), "farther": _item(triplet.negative.item)}
    return items | {name: getattr(triplet, name) for name in names}


def _queries(user: User) -> Iterable[SimilarityQuery]:
    ranked = Recommendation.objects.select_related("item", "feedback").order_by("rank")
    queries = SimilarityQuery.objects.owned_by(owner=user).select_related("item", "encoder", "webhook")
    in_order = queries.order_by("created_at", "pk")
    return in_order.prefetch_related("more_photos", Prefetch("recommendations", ranked))


def _query(query: SimilarityQuery) -> dict[str, Any]:
    inputs = ("id", "state", "outcome", "source_url", "crop", "k", "filters", "diversity", "min_score", "guess")
    results = ("error_code", "idempotency_key", "colour_lab", "timings", "created_at", "finished_at")
    photos = [query.photo_id] if query.photo_id else []
    return {name: getattr(query, name) for name in (*inputs, *results)} | {
        "photos": photos + [photo.pk for photo in query.more_photos.all()],
        "item": _item(query.item) if query.item else None,
        "encoder": query.encoder.name if query.encoder else None,
        "vector": query.vector.hex() if query.vector else None,
        "webhook": _webhook(getattr(query, "webhook", None)),
        "recommendations": [_recommendation(recommendation) for recommendation in query.recommendations.all()],
    }


def _webhook(delivery: WebhookDelivery | None) -> dict[str, Any] | None:
    names = ("url", "state", "attempts", "created_at", "next_at", "delivered_at", "error")
    return {name: getattr(delivery, name) for name in names} if delivery else None


def _recommendation(recommendation: Recommendation) -> dict[str, Any]:
    names = ("rank", "score", "probability", "why")
    return {name: getattr(recommendation, name) for name in names} | {
        "item": _item(recommendation.item),
        "feedback": _feedback(feedback_for(recommendation)),
    }


def _feedback(feedback: Feedback) -> dict[str, Any] | None:
    if feedback._state.adding:
        return None
    return {
        "verdict": feedback.verdict or None,
        "clicked_at": feedback.clicked_at,
        "updated_at": feedback.updated_at,
    }
