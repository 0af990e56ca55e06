"""Admin of training triplets from feedback: the list, and the page on which staff review them one by one.

The review page is the only place where staff see an uploaded photo: only the part that was searched with, only photos
whose owners consented to training, only while the triplet awaits review, and only with the permission to review.
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

from catalog.admin.base import ReadOnlyAdmin, parse_key, staff_user, thumbnail
from catalog.errors import Refused
from catalog.models import Triplet, TripletState
from catalog.photos.serving import uploaded_photo_response
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
STATE_COLOURS = {TripletState.PROPOSED: "info", TripletState.ACCEPTED: "success", TripletState.REJECTED: "danger"}
WIDTH = 640  # pixels, of the pictures on the review page


def may_review(request: HttpRequest) -> bool:
    """Whether the user may review triplets, and so see the photos on the review page."""
    return bool(request.user.has_perm("catalog.change_triplet"))


def review_count(request: HttpRequest) -> int:
    """How many triplets await review, as a badge in the sidebar."""
    return triplets_to_review().count()


@admin.register(Triplet)
class TripletAdmin(ReadOnlyAdmin[Triplet]):
    """Triplets without the uploaded photo, which only the review page shows."""

    list_display = ("id", "nearer", "farther", "why", "shown_state", "reviewed_by", "reviewed_at")
    list_filter = ("state", "why", "reviewed_by")
    list_select_related = ("positive", "negative", "reviewed_by")
    fields = ("nearer", "farther", "why", "shown_state", "reviewed_by", "reviewed_at", "created_at")
    readonly_fields = fields
    actions = ("review_again",)

    @admin.display(description="Nearer garment")
    def nearer(self, triplet: Triplet) -> SafeString | str:
        return thumbnail(triplet.positive)

    @admin.display(description="Farther garment")
    def farther(self, triplet: Triplet) -> SafeString | str:
        return thumbnail(triplet.negative)

    @display(description="State", ordering="state", label=STATE_COLOURS)  # type: ignore[untyped-decorator]
    def shown_state(self, triplet: Triplet) -> str:
        return triplet.state

    def has_review_permission(self, request: HttpRequest) -> bool:
        return may_review(request)

    @admin.action(description="Review skipped triplets again", permissions=["review"])
    def review_again(self, request: HttpRequest, queryset: QuerySet[Triplet]) -> None:
        self.message_user(request, f"Triplets to review again: {triplets_unskip(triplets=queryset)}.")

    def get_urls(self) -> list[URLPattern]:
        review = self.admin_site.admin_view(self.review)
        anchor = self.admin_site.admin_view(self.anchor, cacheable=True)
        return [
            path("review/", review, name="catalog_triplet_review"),
            path("review/<int:pk>/photo/", anchor, name="catalog_triplet_photo"),
            *super().get_urls(),
        ]

    def review(self, request: HttpRequest) -> HttpResponse:
        """Show one triplet; on POST record the answer and show the next."""
        if not may_review(request):
            raise PermissionDenied
        message = _record_answer(request) if request.method == "POST" else ""
        if request.htmx:  # type: ignore[attr-defined]  # set by django-htmx's middleware
            return render(request, f"{PAGES}/_card.html", _card_context(request, message))
        if request.method == "POST":
            if message:
                self.message_user(request, message)
            return redirect("admin:catalog_triplet_review")
        frame = {**self.admin_site.each_context(request), "title": "Triplets to review"}
        return render(request, f"{PAGES}/review.html", frame | _card_context(request, message))

    def anchor(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The searched part of the uploaded photo of a triplet. Consent is checked on every request."""
        if not may_review(request):
            raise PermissionDenied
        triplet = get_object_or_404(triplets_to_review(), pk=pk)
        return uploaded_photo_response(request, triplet.anchor, width=WIDTH, crop=triplet.query.crop)


def _record_answer(request: HttpRequest) -> str:
    """Record the answer of a review form. Returns a message for staff, "" on success."""
    answer = request.POST.get("answer", "")
    try:
        if answer == "undo":
            return "" if triplet_undo(by=staff_user(request)) else "There is nothing to undo."
        if answer not in ANSWERS:
            raise BadRequest("The answer must be yes, no, skip or undo.")
        pk = parse_key(request.POST.get("triplet", ""))
        if pk is None:
            raise BadRequest("The field “triplet” must hold the number of a triplet.")
        triplet = Triplet.objects.filter(pk=pk).first()
        if triplet is None:
            return "This triplet is gone: its owner withdrew the photo or the feedback."
        triplet_review(triplet=triplet, state=ANSWERS[answer], by=staff_user(request))
    except Refused as refused:
        return refused.detail
    return ""


def _card_context(request: HttpRequest, message: str) -> dict[str, Any]:
    triplet = triplet_take(by=staff_user(request))
    following = triplet_upcoming(triplet=triplet, by=staff_user(request)) if triplet else None
    decided, total = review_progress()
    return {
        "triplet": triplet,
        "following": following,
        "message": message,
        "decided": decided,
        "number": decided + 1,
        "total": total,
    }
