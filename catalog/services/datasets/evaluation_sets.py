"""Draw evaluation sets: the catalogue items that encoders are compared on and never trained on."""

from typing import Final

from django.db import IntegrityError, transaction

from catalog.errors import Refused
from catalog.models import EvaluationItem, EvaluationSet, ItemPhoto, User
from catalog.services.datasets.rows import TEST, VAL, PhotoRow, photo_rows
from catalog.services.datasets.split import draw_groups

SHARE: Final = 0.15  # of the photos of each label
MIN_GROUPS: Final = 5  # a label with fewer groups is not in the set


def evaluation_set_draw(*, name: str = "", share: float = SHARE, by: User | None = None) -> EvaluationSet:
    """Draw an evaluation set and make it the current one, in one transaction.

    Items imported with the split `val` form the set: for the clothing data set these are the items that the shipped
    encoders were not trained on. Without any `val`, items with `test` form it. Otherwise `share` of the photos of each
    label with `MIN_GROUPS` groups or more: drawn deterministically from the groups, groups of earlier sets first, so
    that a new set takes few further items out of training.

    Raises `Refused`: `bad_share`; `evaluation_set_empty` when the catalogue is too small; `evaluation_set_exists`
    (409) when the name is taken.
    """
    if not 0 < share <= 0.5:
        raise Refused("bad_share", "The share must be above 0 and at most 0.5.")
    items = sorted({row.item for row in evaluation_rows_planned(share=share)})
    if not items:
        raise Refused(
            "evaluation_set_empty", "There are too few items to measure on: some category needs five, by five people."
        )
    try:
        with transaction.atomic():
            EvaluationSet.objects.filter(is_current=True).update(is_current=False)
            evaluation_set = EvaluationSet.objects.create(name=name or _free_name(), is_current=True, created_by=by)
            members = [EvaluationItem(evaluation_set=evaluation_set, item_id=item) for item in items]
            EvaluationItem.objects.bulk_create(members, batch_size=1000)
    except IntegrityError:
        raise Refused("evaluation_set_exists", "There is an evaluation set of this name already.", status=409) from None
    return evaluation_set


def evaluation_set_ensure(*, by: User | None = None) -> EvaluationSet | None:
    """The current evaluation set, drawn now if there is none; None when the catalogue is too small. Idempotent."""
    current = EvaluationSet.current()
    if current is not None:
        return current
    try:
        return evaluation_set_draw(by=by)
    except Refused:  # too small a catalogue, or a concurrent request has just drawn one
        return EvaluationSet.current()


def evaluation_rows_planned(*, share: float = SHARE) -> list[PhotoRow]:
    """The photos of the evaluation set that would be drawn now. Writes nothing."""
    rows = [row for row in photo_rows(ItemPhoto.objects.searchable()) if row.label]
    for split in (VAL, TEST):
        if imported := [row for row in rows if row.imported_split == split]:
            return imported
    earlier_rows = photo_rows(ItemPhoto.objects.filter(item__evaluation_memberships__isnull=False).distinct())
    prefer = {row.group for row in earlier_rows}
    groups = draw_groups((row.member for row in rows), share, least_groups=MIN_GROUPS, prefer=prefer)
    return [row for row in rows if row.group in groups]


def _free_name() -> str:
    number = EvaluationSet.objects.count() + 1
    while EvaluationSet.objects.filter(name=f"Set {number}").exists():
        number += 1
    return f"Set {number}"
