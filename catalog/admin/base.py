"""Base classes and HTML helpers of the admin: read-only models, deletion by a service, thumbnails, links, tables."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.forms import BaseForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from catalog.errors import Refused
from catalog.models import ItemPhoto, User

Row = TypeVar("Row", bound=Model)
MAX_KEY_DIGITS = 18  # a longer number overflows the integers of the database

if TYPE_CHECKING:  # unfold has no type hints, and its classes are not generic
    from django.contrib.admin import ModelAdmin as ModelAdmin
    from django.contrib.admin import TabularInline
else:
    from unfold.admin import ModelAdmin as UnfoldModelAdmin
    from unfold.admin import TabularInline as UnfoldTabularInline

    class ModelAdmin(UnfoldModelAdmin):
        """unfold's admin, generic in its model."""

        __class_getitem__ = classmethod(lambda cls, _: cls)

    class TabularInline(UnfoldTabularInline):
        """unfold's inline, generic in its models."""

        __class_getitem__ = classmethod(lambda cls, _: cls)


class ReadOnlyAdmin(ModelAdmin[Row]):
    """Admin of rows that only the application writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False


class ReadOnlyInline(TabularInline[Row, Any]):
    """Related rows that only the application writes."""

    extra = 0
    hide_title = True  # the columns repeat it
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class DeletedByService(ModelAdmin[Row]):
    """Deletes through `remove`, one row at a time, so that the service also handles files and tombstones."""

    def remove(self, row: Row) -> None:
        """Call the service that deletes the row. Implemented by each subclass."""
        raise NotImplementedError

    def delete_model(self, request: HttpRequest, obj: Row) -> None:
        self.remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Row]) -> None:
        for row in queryset:
            self.remove(row)

    def get_deleted_objects(
        self, objs: "QuerySet[Row] | Sequence[Row]", request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        # Without the tree of dependent rows: the service decides what happens to them.
        return [str(row) for row in objs], {str(self.opts.verbose_name_plural): len(objs)}, set(), []


def staff_user(request: HttpRequest) -> User:
    """The signed-in user of a request in the admin."""
    assert isinstance(request.user, User)  # noqa: S101 - the admin site admits only signed-in staff
    return request.user


def parse_key(text: str) -> int | None:
    """Parse a primary key from a request; None if it is not one."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_KEY_DIGITS else None


def add_refusal(form: BaseForm, field: str | None, refused: Refused) -> None:
    """Show a refusal of a service at a form field (None: above the form), with its error code."""
    form.add_error(field, ValidationError(refused.detail, code=refused.code))


def thumbnail(photo: ItemPhoto | None, *, height: int = 64) -> SafeString | str:
    """An `<img>` of an item photo. Never for photos uploaded by users: they are private."""
    if photo is None:
        return "no photo"
    source = reverse("item-photo", args=[photo.pk]) + "?w=160"
    markup = '<img src="{}" alt="" height="{}" loading="lazy" class="rounded" style="height: {}px; max-width: none">'
    return format_html(markup, source, height, height)


def breakable(text: str) -> SafeString:
    """Text without spaces that may wrap anywhere on a narrow screen."""
    return format_html('<span style="overflow-wrap: anywhere">{}</span>', text)


def link_to(row: Model, page: str) -> SafeString:
    """The name of a row, linked to the admin page with the URL name `page`."""
    return format_html(
        '<a class="font-semibold text-link underline" href="{}">{}</a>', reverse(page, args=[row.pk]), row
    )


def html_table(headings: Iterable[str], rows: Iterable[Iterable[Any]]) -> SafeString:
    """Render rows as an HTML table; values are escaped."""
    cell = "padding: 4px 16px 4px 0; text-align: left; vertical-align: top"
    value_cell = f"{cell}; overflow-wrap: anywhere; min-width: 4.5rem"  # long names break on narrow screens
    head = format_html_join("", '<th scope="col" style="{}">{}</th>', ((cell, heading) for heading in headings))
    lines = ((format_html_join("", '<td style="{}">{}</td>', ((value_cell, value) for value in row)),) for row in rows)
    body = format_html_join("", "<tr>{}</tr>", lines)
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)
