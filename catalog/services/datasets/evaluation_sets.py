"""Drawing what encoders are compared on."""

from typing import Final

from django.db import IntegrityError, transaction

from catalog.errors import Refused
from catalog.models import EvaluationItem, EvaluationSet, ItemPhoto, User
from catalog.services.datasets.rows import TEST, VAL, PhotoRow, photo_rows
from catalog.services.datasets.split import draw_groups

SHARE: Final = 0.15
LEAST_GROUPS: Final = 5  # of a label that is to be in the set


def evaluation_set_draw(*, name: str = "", share: float = SHARE, by: User | None = None) -> EvaluationSet:
    """Draw an evaluation set and make it the current one.

    Where items were imported with a split, it is those with `val`: of the clothing data set that is what the encoders
    that ship have not learned from. Without any `val` it is those with `test`. Else `share` of the photos of each
    label with five groups or more, always the same groups as long as there are no new ones; and those of earlier sets
    first, so that a new set takes little more away from the training.

    Refused when there is nothing to draw (`evaluation_set_empty`), and for an impossible share or a name that is taken.
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
            drawn = EvaluationSet.objects.create(name=name or _free_name(), is_current=True, created_by=by)
            members = [EvaluationItem(evaluation_set=drawn, item_id=item) for item in items]
            EvaluationItem.objects.bulk_create(members, batch_size=1000)
    except IntegrityError:
        raise Refused("evaluation_set_exists", "There is an evaluation set of this name already.", status=409) from None
    return drawn


def evaluation_set_ensure(*, by: User | None = None) -> EvaluationSet | None:
    """The current evaluation set, drawn now if there is none yet; None where there is nothing to draw."""
    current = EvaluationSet.current()
    if current is not None:
        return current
    try:
        return evaluation_set_draw(by=by)
    except Refused:  # an empty catalogue; or somebody drew one at this very moment
        return EvaluationSet.current()


def evaluation_rows_planned(*, share: float = SHARE) -> list[PhotoRow]:
    """The photos of the set that would be drawn now."""
    rows = [row for row in photo_rows(ItemPhoto.objects.searchable()) if row.label]
    for split in (VAL, TEST):
        if given := [row for row in rows if row.given == split]:
            return given
    before = photo_rows(ItemPhoto.objects.filter(item__evaluation_memberships__isnull=False).distinct())
    first = {row.group for row in before}
    groups = draw_groups((row.member for row in rows), share, least_groups=LEAST_GROUPS, first=first)
    return [row for row in rows if row.group in groups]


def _free_name() -> str:
    number = EvaluationSet.objects.count() + 1
    while EvaluationSet.objects.filter(name=f"Set {number}").exists():
        number += 1
    return f"Set {number}"
