"""Everything that is kept about a person, as one file to take away."""

import json
import zipfile
from collections.abc import Iterable
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Prefetch
from knox.models import AuthToken

from catalog.models import Recommendation, SimilarityQuery, Triplet, UploadedPhoto, User, WebhookDelivery
from catalog.services.accounts.devices import device_for, device_id
from catalog.services.queries.answers import feedback_for

_IN_MEMORY = 8 * 2**20  # a larger export waits in a file without a name, which no crash can leave behind


def export_create(*, user: User) -> IO[bytes]:
    """A zip archive, at its beginning; whoever gets it closes it."""
    target: IO[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - handed on
    learned = Triplet.objects.select_related("positive__item", "negative__item")
    photos = list(user.photos.order_by("created_at", "pk").prefetch_related(Prefetch("triplets", learned)))
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
    except FileNotFoundError:  # deleted at this very moment; its line in photos.json remains
        return
    finally:
        photo.file.close()
    archive.writestr(zipfile.ZipInfo(_picture_name(photo)), content)  # stored as it is: a JPEG shrinks no further


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
    """What encoders learn from the photo: that it is more like the one item than like the other."""
    names = ("query_id", "why", "state", "created_at", "reviewed_at")
    items = {"nearer": _item(triplet.positive.item), "farther": _item(triplet.negative.item)}
    return items | {name: getattr(triplet, name) for name in names}


def _queries(user: User) -> Iterable[SimilarityQuery]:
    ranked = Recommendation.objects.select_related("item", "feedback").order_by("rank")
    mine = SimilarityQuery.objects.owned_by(user=user).select_related("item", "encoder", "webhook")
    in_order = mine.order_by("created_at", "pk")
    return in_order.prefetch_related("more_photos", Prefetch("recommendations", ranked))


def _query(query: SimilarityQuery) -> dict[str, Any]:
    names = ("id", "state", "outcome", "source_url", "crop", "k", "filters", "diversity", "min_score", "guess")
    more = ("error_code", "idempotency_key", "colour_lab", "timings", "created_at", "finished_at")
    photos = [query.photo_id] if query.photo_id else []
    return {name: getattr(query, name) for name in (*names, *more)} | {
        "photos": photos + [photo.pk for photo in query.more_photos.all()],
        "item": _item(query.item) if query.item else None,
        "encoder": query.encoder.name if query.encoder else None,
        "vector": query.vector.hex() if query.vector else None,
        "webhook": _webhook(getattr(query, "webhook", None)),
        "recommendations": [_recommendation(found) for found in query.recommendations.all()],
    }


def _webhook(delivery: WebhookDelivery | None) -> dict[str, Any] | None:
    names = ("url", "state", "attempts", "created_at", "next_at", "delivered_at", "error")
    return {name: getattr(delivery, name) for name in names} if delivery else None


def _recommendation(found: Recommendation) -> dict[str, Any]:
    names = ("rank", "score", "probability", "why")
    said = feedback_for(found)
    feedback = {"verdict": said.verdict or None, "clicked_at": said.clicked_at, "updated_at": said.updated_at}
    return {name: getattr(found, name) for name in names} | {
        "item": _item(found.item),
        "feedback": feedback if said.pk else None,
    }
