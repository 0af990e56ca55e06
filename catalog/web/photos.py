"""Pictures, streamed from the storage: the catalogue's for everyone, people's own only for them."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe
from rest_framework.exceptions import AuthenticationFailed

from catalog.api.authentication import TokenAuthentication
from catalog.models import CatalogItem, ItemPhoto, UploadedPhoto
from catalog.photos.links import is_signed
from catalog.photos.serving import PRIVATE, SHARED, picture_response
from catalog.web.people import person_of


@require_safe
def item_photo(request: HttpRequest, pk: int) -> HttpResponseBase:
    """A picture of the catalogue, public as long as its item can be found. Staff see those of hidden items too."""
    photo = ItemPhoto.objects.filter(pk=pk, item__in=CatalogItem.objects.findable()).first()
    if photo is not None:
        return picture_response(request, photo.file, photo.sha256, SHARED)
    if not request.user.is_staff:
        raise Http404
    hidden = get_object_or_404(ItemPhoto, pk=pk)
    return picture_response(request, hidden.file, hidden.sha256, PRIVATE)


@require_safe
def uploaded_photo(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """A person's own picture, for them and for whoever was given its signed address. To others it is not there."""
    seen = UploadedPhoto.objects.all() if is_signed(request, pk) else UploadedPhoto.objects.owned_by(**_asking(request))
    photo = get_object_or_404(seen, pk=pk)
    return picture_response(request, photo.file, photo.sha256, PRIVATE)


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
