"""Admin of the promotion log: which encoder went live when, by whom, and why."""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.decorators import display

from catalog.admin.base import ReadOnlyAdmin, breakable, link_to
from catalog.models import Promotion

COLOURS = {"promoted": "success", "rolled back": "warning"}


@admin.register(Promotion)
class PromotionAdmin(ReadOnlyAdmin[Promotion]):
    """The log of promotions and rollbacks. It cannot be edited."""

    list_display = ("at", "event", "shown_encoder", "shown_previous", "by", "reason", "objections")
    list_filter = ("is_rollback", "at")
    list_select_related = ("encoder", "previous", "by")
    search_fields = ("encoder_name", "previous_name", "reason")
    fields = ("at", "event", "shown_encoder", "shown_previous", "by", "reason", "objections")
    readonly_fields = fields

    class Media:
        css = {"all": ("catalog/runs.css", "catalog/encoders.css")}  # noqa: RUF012 - as Django spells it

    @display(description="Event", ordering="is_rollback", label=COLOURS)  # type: ignore[untyped-decorator]
    def event(self, promotion: Promotion) -> str:
        return "rolled back" if promotion.is_rollback else "promoted"

    @admin.display(description="Now live", ordering="encoder_name")
    def shown_encoder(self, promotion: Promotion) -> SafeString:
        return _name(promotion.encoder, promotion.encoder_name)

    @admin.display(description="Previously live", ordering="previous_name")
    def shown_previous(self, promotion: Promotion) -> SafeString | str:
        return _name(promotion.previous, promotion.previous_name) if promotion.previous_name else "none"

    @admin.display(description="Objections")
    def objections(self, promotion: Promotion) -> str:
        return " ".join(_text(objection) for objection in promotion.gate) or "none"


def _name(encoder: Any, name: str) -> SafeString:
    """A link to the encoder; only its name if it was deleted."""
    return breakable(f"{name} (deleted since)") if encoder is None else link_to(encoder, "admin:catalog_encoder_change")


def _text(objection: Any) -> str:
    return str(objection.get("text", "")) if isinstance(objection, dict) else str(objection)
