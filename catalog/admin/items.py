"""Admin of catalogue items and their photos."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import FieldTextFilter, RangeNumericFilter
from unfold.widgets import UnfoldAdminFileFieldWidget

from catalog.admin.base import DeletedByService, ReadOnlyAdmin, ReadOnlyInline, add_refusal, breakable, thumbnail
from catalog.errors import Refused
from catalog.models import CatalogItem, ItemPhoto
from catalog.models.items import CatalogItemQuerySet
from catalog.services.items import (
    item_delete,
    item_photo_add,
    item_photo_prepare,
    item_photo_remove,
    items_hide,
    items_restore,
    items_show,
)

if TYPE_CHECKING:
    _PhotoForm = forms.ModelForm[ItemPhoto]
else:
    _PhotoForm = forms.ModelForm


class NewPhotoForm(_PhotoForm):
    """Validates and cleans a chosen picture before anything is stored; errors are shown at the field."""

    picture = forms.FileField(
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": "image/*,.heic,.heif,.avif"}),
        help_text="Adds a new photo. Existing photos never change.",
    )

    class Meta:
        model = ItemPhoto
        fields = ()

    def clean(self) -> None:
        """Prepare the photo (`item_photo_prepare`); a refusal is shown at the field `picture`."""
        item, picture = self.cleaned_data.get("item"), self.cleaned_data.get("picture")
        if item is None or picture is None:
            return
        try:
            self.instance = item_photo_prepare(item=item, raw=picture.read())
        except Refused as refused:
            add_refusal(self, "picture", refused)


class ItemPhotoInline(ReadOnlyInline[ItemPhoto]):
    """The photos of an item. The column `picture` shows a stored photo, and is the file field of a new one."""

    model = ItemPhoto
    form = NewPhotoForm
    fields = ("picture", "position", "width", "height", "size", "problem")
    readonly_fields = fields[1:]
    can_delete = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("catalog.add_itemphoto")

    @admin.display(description="Picture")
    def picture(self, photo: ItemPhoto) -> SafeString | str:
        return thumbnail(photo, height=160)


@admin.register(CatalogItem)
class CatalogItemAdmin(DeletedByService[CatalogItem]):
    """Catalogue items. Deleting one only marks it as deleted; `restore` undoes that."""

    list_display = (
        "picture",
        "name",
        "category",
        "brand",
        "gender",
        "colour",
        "shown_price",
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
    actions = ("hide", "show", "restore")

    def get_queryset(self, request: HttpRequest) -> QuerySet[CatalogItem]:
        return super().get_queryset(request).prefetch_related("photos")

    @admin.display(description="Price", ordering="price")
    def shown_price(self, item: CatalogItem) -> str:
        return "" if item.price is None else f"{item.price} {item.currency}".strip()

    @admin.display(description="Photo")
    def picture(self, item: CatalogItem) -> SafeString | str:
        return thumbnail(item.first_photo)

    @admin.action(description="Hide from search results", permissions=["change"])
    def hide(self, request: HttpRequest, queryset: CatalogItemQuerySet) -> None:
        self.message_user(request, f"Items hidden: {items_hide(items=queryset)}.")

    @admin.action(description="Show in search results", permissions=["change"])
    def show(self, request: HttpRequest, queryset: CatalogItemQuerySet) -> None:
        self.message_user(request, f"Items shown: {items_show(items=queryset)}.")

    @admin.action(description="Restore deleted items", permissions=["change"])
    def restore(self, request: HttpRequest, queryset: CatalogItemQuerySet) -> None:
        self.message_user(request, f"Items restored: {items_restore(items=queryset)}.")

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Add the chosen photos and remove the ticked ones through the services."""
        new_photos = formset.save(commit=False)
        for photo in formset.deleted_objects:
            item_photo_remove(photo=photo)
        for photo in new_photos:
            try:
                item_photo_add(photo=photo)
            except Refused as refused:
                self.message_user(request, refused.detail, messages.ERROR)

    def remove(self, row: CatalogItem) -> None:
        item_delete(item=row)


@admin.register(ItemPhoto)
class ItemPhotoAdmin(ReadOnlyAdmin[ItemPhoto]):
    """Item photos, read-only; they are added and removed on the page of their item."""

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
        "name",
        "width",
        "height",
        "size",
        "hash",
        "source_hash",
        "perceptual_hash",
        "problem",
        "created_at",
    )
    readonly_fields = fields

    @admin.display(description="Photo")
    def picture(self, photo: ItemPhoto) -> SafeString | str:
        return thumbnail(photo)

    @admin.display(description="Picture")
    def large(self, photo: ItemPhoto) -> SafeString | str:
        return thumbnail(photo, height=320)

    @admin.display(description="File")
    def name(self, photo: ItemPhoto) -> SafeString:
        return breakable(photo.file.name or "")

    @admin.display(description="SHA-256 of the stored file")
    def hash(self, photo: ItemPhoto) -> SafeString:
        return breakable(photo.sha256)

    @admin.display(description="SHA-256 of the original file")
    def source_hash(self, photo: ItemPhoto) -> SafeString:
        return breakable(photo.source_sha256)
