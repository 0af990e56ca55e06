"""Pictures, streamed from the storage: the catalogue's for everyone, people's own only for them."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.exceptions import BadRequest
from django.db.models.fields.files import FieldFile
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.views.decorators.http import require_safe
from rest_framework.exceptions import AuthenticationFailed

from catalog.api.authentication import TokenAuthentication
from catalog.models import CatalogItem, ItemPhoto, UploadedPhoto
from catalog.photos.crops import Crop
from catalog.photos.links import is_signed
from catalog.photos.thumbnails import WIDTHS, thumbnail
from catalog.web.people import person_of

YEAR = 365 * 24 * 3600
SHARED = f"public, max-age={YEAR}, immutable"  # another picture is another row, and so another address
PRIVATE = "private, no-cache"  # kept by the browser, but shown again only to who may still see it


@require_safe
def item_photo(request: HttpRequest, pk: int) -> HttpResponseBase:
    """A picture of the catalogue, public as long as its item can be found. Staff see those of hidden items too."""
    photo = ItemPhoto.objects.filter(pk=pk, item__in=CatalogItem.objects.findable()).first()
    if photo is not None:
        return _picture(request, photo.file, photo.sha256, SHARED)
    if not request.user.is_staff:
        raise Http404
    hidden = get_object_or_404(ItemPhoto, pk=pk)
    return _picture(request, hidden.file, hidden.sha256, PRIVATE)


@require_safe
def uploaded_photo(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """A person's own picture, for them and for whoever was given its signed address. To others it is not there."""
    seen = UploadedPhoto.objects.all() if is_signed(request, pk) else UploadedPhoto.objects.of(**_asking(request))
    photo = get_object_or_404(seen, pk=pk)
    return _picture(request, photo.file, photo.sha256, PRIVATE)


def _asking(request: HttpRequest) -> dict[str, Any]:
    """By token, as the app asks; else by session."""
    try:
        device = TokenAuthentication().authenticate(request)
    except AuthenticationFailed:
        raise Http404 from None
    if device is not None:
        return {"user": device[0]}
    person = person_of(request)
    return {"user": person["owner"], "visitor": person["visitor"]}


def private_part(
    request: HttpRequest, photo: UploadedPhoto, *, width: int, crop: Crop | None = None
) -> HttpResponseBase:
    """A person's picture, or a part of it, for someone whose right to see it was looked at already, and just now."""
    etag = f'"{photo.sha256}-{width}-{sorted((crop or {}).items())}"'
    return _answer(request, etag, PRIVATE, lambda: HttpResponse(thumbnail(photo.file, width, crop), "image/jpeg"))


def _picture(request: HttpRequest, file: FieldFile, sha256: str, caching: str) -> HttpResponseBase:
    width = _width(request)
    etag = f'"{sha256}-{width}"' if width else f'"{sha256}"'
    return _answer(request, etag, caching, lambda: _body(file, width))


def _answer(request: HttpRequest, etag: str, caching: str, body: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    response: HttpResponseBase | None = get_conditional_response(request, etag=etag)
    if response is None:
        try:
            response = body()
        except FileNotFoundError:
            raise Http404 from None
    response["ETag"] = etag
    response["Cache-Control"] = caching
    if caching == PRIVATE:
        patch_vary_headers(response, ("Authorization", "Cookie"))
    return response


def _body(file: FieldFile, width: int | None) -> HttpResponseBase:
    if width:
        return HttpResponse(thumbnail(file, width), content_type="image/jpeg")
    return FileResponse(file.open("rb"), content_type="image/jpeg")  # every stored picture was written as JPEG


def _width(request: HttpRequest) -> int | None:
    wanted = request.GET.get("w")
    if wanted is None:
        return None
    if wanted not in WIDTHS:
        raise BadRequest(f"w must be one of {', '.join(WIDTHS)}.")
    return WIDTHS[wanted]
