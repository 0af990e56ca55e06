"""What encoders are to learn from feedback: the list, and the page on which staff decide, one after the other.

Here alone staff see a person's own photo: the part that was asked about, of photos that their owners lend for this,
while a decision is wanted, and only those of staff who may decide.
"""

from typing import Any

from django.contrib import admin
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from unfold.decorators import display

from catalog.admin.base import ReadOnlyAdmin, staff_of, thumbnail
from catalog.errors import Refused
from catalog.models import Triplet, TripletState
from catalog.photos.serving import private_part
from catalog.services.feedback.reviews import (
    review_progress,
    triplet_review,
    triplet_take,
    triplet_undo,
    triplet_upcoming,
    triplets_to_review,
    triplets_unskip,
)

PAGES = "admin/catalog/triplet"
ANSWERS = {"yes": TripletState.ACCEPTED, "no": TripletState.REJECTED, "skip": TripletState.SKIPPED}
COLOURS = {TripletState.PROPOSED: "info", TripletState.ACCEPTED: "success", TripletState.REJECTED: "danger"}
WIDTH = 640  # of the pictures on the page


def may_review(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("catalog.change_triplet"))


def waiting(request: HttpRequest) -> int:
    """How many wait, for the sidebar."""
    return triplets_to_review().count()


@admin.register(Triplet)
class TripletAdmin(ReadOnlyAdmin[Triplet]):
    """Without the person's photo: that is shown where it is decided about, and nowhere else."""

    list_display = ("id", "nearer", "farther", "why", "shown_state", "reviewed_by", "reviewed_at")
    list_filter = ("state", "why", "reviewed_by")
    list_select_related = ("positive", "negative", "reviewed_by")
    fields = ("nearer", "farther", "why", "shown_state", "reviewed_by", "reviewed_at", "created_at")
    readonly_fields = fields
    actions = ("look_again",)

    @admin.display(description="Nearer")
    def nearer(self, triplet: Triplet) -> SafeString | str:
        return thumbnail(triplet.positive)

    @admin.display(description="Farther")
    def farther(self, triplet: Triplet) -> SafeString | str:
        return thumbnail(triplet.negative)

    @display(description="State", ordering="state", label=COLOURS)  # type: ignore[untyped-decorator]
    def shown_state(self, triplet: Triplet) -> str:
        return triplet.state

    def has_review_permission(self, request: HttpRequest) -> bool:
        return may_review(request)

    @admin.action(description="Look at those that were skipped again", permissions=["review"])
    def look_again(self, request: HttpRequest, queryset: QuerySet[Triplet]) -> None:
        self.message_user(request, f"To be looked at again: {triplets_unskip(triplets=queryset)}.")

    def get_urls(self) -> list[URLPattern]:
        review = self.admin_site.admin_view(self.review)
        anchor = self.admin_site.admin_view(self.anchor, cacheable=True)
        return [
            path("review/", review, name="catalog_triplet_review"),
            path("review/<int:pk>/photo/", anchor, name="catalog_triplet_photo"),
            *super().get_urls(),
        ]

    def review(self, request: HttpRequest) -> HttpResponse:
        """One triplet, and after each answer the next."""
        if not may_review(request):
            raise PermissionDenied
        told = _decide(request) if request.method == "POST" else ""
        if request.htmx:  # type: ignore[attr-defined]  # set by django-htmx's middleware
            return render(request, f"{PAGES}/_card.html", _card(request, told))
        if request.method == "POST":
            if told:
                self.message_user(request, told)
            return redirect("admin:catalog_triplet_review")
        frame = {**self.admin_site.each_context(request), "title": "Triplets to review"}
        return render(request, f"{PAGES}/review.html", frame | _card(request, told))

    def anchor(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The part of a person's photo that a triplet is about. The consent is looked at anew each time."""
        if not may_review(request):
            raise PermissionDenied
        triplet = get_object_or_404(triplets_to_review(), pk=pk)
        return private_part(request, triplet.anchor, width=WIDTH, crop=triplet.query.crop)


def _decide(request: HttpRequest) -> str:
    """Do what was answered. Returns what there is to say about it: nothing, if it simply worked."""
    answer = request.POST.get("answer", "")
    try:
        if answer == "undo":
            return "" if triplet_undo(by=staff_of(request)) else "There is nothing to take back."
        if answer not in ANSWERS:
            raise BadRequest("An answer is yes, no, skip or undo.")
        triplet = Triplet.objects.filter(pk=_number(request.POST.get("triplet", ""))).first()
        if triplet is None:
            return "This one is gone: the person has taken the photo or the thumb back."
        triplet_review(triplet=triplet, state=ANSWERS[answer], by=staff_of(request))
    except Refused as refused:
        return refused.detail
    return ""


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadRequest("A triplet is named by its number.")
    return int(text)


def _card(request: HttpRequest, told: str) -> dict[str, Any]:
    triplet = triplet_take(by=staff_of(request))
    after = triplet_upcoming(triplet=triplet, by=staff_of(request)) if triplet else None
    decided, total = review_progress()
    return {"triplet": triplet, "after": after, "told": told, "decided": decided, "number": decided + 1, "total": total}
