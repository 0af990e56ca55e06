from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import FieldTextFilter, RangeNumericFilter

from catalog.admin.base import DeletedByService, ReadOnlyAdmin, ReadOnlyInline, thumbnail
from catalog.models import CatalogItem, ItemPhoto
from catalog.models.items import CatalogItemQuerySet
from catalog.services.items import item_delete, items_hide, items_show


class ItemPhotoInline(ReadOnlyInline[ItemPhoto]):
    """A picture never changes, and new ones come in through an import, which cleans them."""

    model = ItemPhoto
    fields = ("picture", "position", "width", "height", "size", "problem")
    readonly_fields = fields

    @admin.display(description="")
    def picture(self, photo: ItemPhoto) -> SafeString | str:
        return thumbnail(photo, height=160)


@admin.register(CatalogItem)
class CatalogItemAdmin(DeletedByService[CatalogItem]):
    list_display = (
        "picture",
        "name",
        "category",
        "brand",
        "gender",
        "colour",
        "price",
        "currency",
        "is_active",
        "deleted_at",
    )
    list_display_links = ("picture", "name")
    list_filter = (
        "is_active",
        ("deleted_at", admin.EmptyFieldListFilter),
        "category",
        "gender",
        "colour",
        ("brand", FieldTextFilter),
        ("price", RangeNumericFilter),
    )
    list_filter_submit = True
    list_per_page = 50
    search_fields = ("name", "external_id", "brand", "category")
    readonly_fields = ("deleted_at", "created_at", "updated_at")
    inlines = (ItemPhotoInline,)
    actions = ("hide", "show")

    def get_queryset(self, request: HttpRequest) -> QuerySet[CatalogItem]:
        return super().get_queryset(request).prefetch_related("photos")

    @admin.display(description="")
    def picture(self, item: CatalogItem) -> SafeString | str:
        photos = item.photos.all()  # all() reads what was prefetched
        return thumbnail(photos[0] if photos else None)

    @admin.action(description="Hide from answers", permissions=["change"])
    def hide(self, request: HttpRequest, queryset: CatalogItemQuerySet) -> None:
        self.message_user(request, f"Hidden: {items_hide(items=queryset)}.")

    @admin.action(description="Show in answers", permissions=["change"])
    def show(self, request: HttpRequest, queryset: CatalogItemQuerySet) -> None:
        self.message_user(request, f"Shown: {items_show(items=queryset)}.")

    def remove(self, row: CatalogItem) -> None:
        item_delete(item=row)


@admin.register(ItemPhoto)
class ItemPhotoAdmin(ReadOnlyAdmin[ItemPhoto]):
    list_display = ("picture", "item", "position", "width", "height", "size", "problem", "created_at")
    list_display_links = ("picture", "item")
    list_filter = (("problem", admin.EmptyFieldListFilter),)
    list_select_related = ("item",)
    list_per_page = 50
    search_fields = ("item__name", "item__external_id", "sha256", "source_sha256")
    fields = (
        "large",
        "item",
        "position",
        "file",
        "width",
        "height",
        "size",
        "sha256",
        "source_sha256",
        "perceptual_hash",
        "problem",
        "created_at",
    )
    readonly_fields = ("large", "created_at")

    @admin.display(description="")
    def picture(self, photo: ItemPhoto) -> SafeString | str:
        return thumbnail(photo)

    @admin.display(description="Picture")
    def large(self, photo: ItemPhoto) -> SafeString | str:
        return thumbnail(photo, height=320)
