"""Views of stored pictures: catalogue photos for everyone, uploaded photos for their owner."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe
from rest_framework.exceptions import AuthenticationFailed

from catalog.api.authentication import TokenAuthentication
from catalog.models import CatalogItem, ItemPhoto, UploadedPhoto
from catalog.photos.links import has_valid_signature
from catalog.photos.serving import PRIVATE, SHARED, picture_response
from catalog.web.owners import Owner, current_owner


@require_safe
def item_photo(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Serve a catalogue photo: public while its item is findable, otherwise to staff only."""
    photo = ItemPhoto.objects.filter(pk=pk, item__in=CatalogItem.objects.findable()).first()
    if photo is not None:
        return picture_response(request, photo.file, photo.sha256, SHARED)
    if not request.user.is_staff:
        raise Http404
    hidden = get_object_or_404(ItemPhoto, pk=pk)
    return picture_response(request, hidden.file, hidden.sha256, PRIVATE)


@require_safe
def uploaded_photo(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Serve an uploaded photo to its owner, and to anyone with its signed URL; 404 for all others."""
    photos = (
        UploadedPhoto.objects.all()
        if has_valid_signature(request, pk)
        else UploadedPhoto.objects.owned_by(**_owner(request))
    )
    photo = get_object_or_404(photos, pk=pk)
    return picture_response(request, photo.file, photo.sha256, PRIVATE)


def _owner(request: HttpRequest) -> Owner:
    """Return the owner by the token, which the app sends, or by the session."""
    try:
        credentials = TokenAuthentication().authenticate(request)
    except AuthenticationFailed:
        raise Http404 from None
    if credentials is not None:
        return {"owner": credentials[0], "visitor": ""}
    return current_owner(request)
