"""HTTP responses with a stored picture: thumbnail width, ETag and caching headers."""

from collections.abc import Callable

from django.core.exceptions import BadRequest
from django.db.models.fields.files import FieldFile
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response, patch_vary_headers

from catalog.models import UploadedPhoto
from catalog.photos.crops import Crop
from catalog.photos.thumbnails import WIDTHS, thumbnail

YEAR = 365 * 24 * 3600
SHARED = f"public, max-age={YEAR}, immutable"  # a changed picture is a new row with a new URL
PRIVATE = "private, no-cache"  # the browser stores it, but revalidates the right to see it


def uploaded_photo_response(
    request: HttpRequest, photo: UploadedPhoto, *, width: int, crop: Crop | None = None
) -> HttpResponseBase:
    """Serve an uploaded photo, or a crop of it. The caller has just checked the permission."""
    etag = f'"{photo.sha256}-{width}-{sorted((crop or {}).items())}"'
    return _conditional_response(
        request, etag, PRIVATE, lambda: HttpResponse(thumbnail(photo.file, width, crop), "image/jpeg")
    )


def picture_response(request: HttpRequest, file: FieldFile, sha256: str, caching: str) -> HttpResponseBase:
    """Serve a stored picture at the width that the parameter `w` names; in full size without it."""
    width = _width(request)
    etag = f'"{sha256}-{width}"' if width else f'"{sha256}"'
    return _conditional_response(request, etag, caching, lambda: _body(file, width))


def _conditional_response(
    request: HttpRequest, etag: str, caching: str, body: Callable[[], HttpResponseBase]
) -> HttpResponseBase:
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
    name = request.GET.get("w")
    if name is None:
        return None
    if name not in WIDTHS:
        raise BadRequest(f"w must be one of {', '.join(WIDTHS)}.")
    return WIDTHS[name]
