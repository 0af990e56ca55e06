"""Admin of uploaded photos: metadata and deletion, never the picture itself."""

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from catalog.admin.base import DeletedByService, breakable
from catalog.models import UploadedPhoto
from catalog.services.uploads import upload_delete


@admin.register(UploadedPhoto)
class UploadedPhotoAdmin(DeletedByService[UploadedPhoto]):
    """Uploaded photos without the pictures.

    A photo may show a person's body or home, and its owner has not agreed that staff look at it. Support needs the
    owner, the size, the expiry date and deletion, so there is no thumbnail, and no file name either, which would lead
    to the picture.
    """

    list_display = ("id", "owner", "visitor_prefix", "width", "height", "size", "created_at", "expires_at")
    list_filter = ("created_at", ("owner", admin.EmptyFieldListFilter))
    list_select_related = ("owner",)
    search_fields = ("id", "owner__username", "sha256")
    fields = ("id", "owner", "visitor_prefix", "width", "height", "size", "hash", "created_at", "expires_at")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: UploadedPhoto | None = None) -> bool:
        return False

    @admin.display(description="Visitor")
    def visitor_prefix(self, photo: UploadedPhoto) -> str:
        # The whole key would let staff impersonate the visitor.
        return f"{photo.visitor[:6]}…" if photo.visitor else ""

    @admin.display(description="SHA-256")
    def hash(self, photo: UploadedPhoto) -> SafeString:
        return breakable(photo.sha256)

    def remove(self, row: UploadedPhoto) -> None:
        upload_delete(photo=row)
