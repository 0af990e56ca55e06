"""Choose the catalogue photos to train on, with their splits, and the held-out photos of evaluation sets."""

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass, field, replace
from typing import Final

from django.db.models import Count, QuerySet
from django.utils.translation import gettext_noop

from catalog.models import EvaluationItem, ItemPhoto
from catalog.services.datasets.split import Member, draw_groups

VALIDATION_SHARE: Final = 0.1
VALIDATION_GROUPS: Final = 3  # a label with fewer groups has no validation photos
STUDIO_SHARE: Final = 0.25  # a contributor of a larger share of the photos counts as a studio
FLAT_HASH: Final = "0" * 16  # the perceptual hash of a picture without contrast; it matches any such picture

TRAIN, VAL, TEST = "train", "val", "test"

# Reasons to leave photos out; each continues the sentence "Left out: 12 photos".
UNLABELLED: Final = gettext_noop("of items without a category")
IN_EVALUATION_SET: Final = gettext_noop("of items of an evaluation set")
SAME_CONTRIBUTOR: Final = gettext_noop("by contributors of an evaluation set")
NEAR_DUPLICATE: Final = gettext_noop("that look like one of an evaluation set")
SINGLE_PHOTO: Final = gettext_noop("that are the only one of their category")
NO_FILE: Final = gettext_noop("whose file is missing")

_COLUMNS = (
    "id",
    "item_id",
    "item__category",
    "item__attributes",
    "file",
    "size",
    "sha256",
    "source_sha256",
    "perceptual_hash",
)


@dataclass(frozen=True)
class PhotoRow:
    """A catalogue photo for training. `group`: its contributor if known, else its item; a group is never split."""

    photo: int
    item: int
    label: str
    group: str
    file: str
    size: int
    file_hashes: frozenset[str]  # SHA-256 of the file as imported and as stored
    perceptual_hash: str
    imported_split: str  # the split that the item was imported with; "" if none
    split: str = ""

    @property
    def member(self) -> Member:
        """The label and the group, for drawing splits."""
        return Member(self.label, self.group)


@dataclass(frozen=True)
class HeldOut:
    """What training must not use: everything in any evaluation set, by item, group, file hash and perceptual hash."""

    items: frozenset[int] = frozenset()
    groups: frozenset[str] = frozenset()
    file_hashes: frozenset[str] = frozenset()
    perceptual_hashes: frozenset[str] = frozenset()

    def has_duplicate(self, file_hashes: Iterable[str], perceptual_hash: str = FLAT_HASH) -> bool:
        """Whether a photo with one of these file hashes, or with this perceptual hash, is held out."""
        is_near_duplicate = perceptual_hash != FLAT_HASH and perceptual_hash in self.perceptual_hashes
        return is_near_duplicate or not self.file_hashes.isdisjoint(file_hashes)


@dataclass(frozen=True)
class TrainingRows:
    """The photos to train on with their splits, and the number of photos left out by reason."""

    rows: list[PhotoRow]
    left_out: Counter[str] = field(default_factory=Counter)


def photo_rows(photos: "QuerySet[ItemPhoto]") -> list[PhotoRow]:
    """The photos as rows, in the order of their ids. Photos without a label are included."""
    studios = _studios()
    values = photos.order_by("id").values_list(*_COLUMNS).iterator(chunk_size=2000)
    return [_row(studios, *columns) for columns in values]


def held_out(planned: Iterable[PhotoRow] = ()) -> HeldOut:
    """Everything that evaluation sets hold out. `planned`: the photos of a set that will be drawn."""
    members = EvaluationItem.objects.values("item")
    rows = [*photo_rows(ItemPhoto.objects.filter(item__in=members)), *planned]
    return HeldOut(
        items=frozenset(row.item for row in rows) | frozenset(EvaluationItem.objects.values_list("item", flat=True)),
        groups=frozenset(row.group for row in rows),
        file_hashes=frozenset(digest for row in rows for digest in row.file_hashes),
        perceptual_hashes=frozenset(row.perceptual_hash for row in rows),
    )


def training_rows(*, held: HeldOut, keep_in_train: Iterable[int] = ()) -> TrainingRows:
    """The catalogue photos to train on: about `VALIDATION_SHARE` as `val`, the rest as `train`.

    The items `keep_in_train`, to which users' photos belong, are kept out of `val` where possible.
    """
    left_out: Counter[str] = Counter()
    rows = [row for row in photo_rows(ItemPhoto.objects.searchable()) if not _is_left_out(row, held, left_out)]
    counts = Counter(row.label for row in rows)
    left_out[SINGLE_PHOTO] += sum(1 for count in counts.values() if count == 1)
    rows = [row for row in rows if counts[row.label] > 1]
    items = set(keep_in_train)
    groups = {row.group for row in rows if row.item in items}
    members = [row.member for row in rows]
    val = _draw_validation(members, groups) or _draw_validation(members, set())
    return TrainingRows([replace(row, split=VAL if row.group in val else TRAIN) for row in rows], +left_out)


def _draw_validation(members: list[Member], exclude: set[str]) -> set[str]:
    return draw_groups(members, VALIDATION_SHARE, least_groups=VALIDATION_GROUPS, exclude=exclude)


def _is_left_out(row: PhotoRow, held: HeldOut, left_out: Counter[str]) -> bool:
    if not row.label:
        reason = UNLABELLED
    elif row.item in held.items:
        reason = IN_EVALUATION_SET
    elif row.group in held.groups:
        reason = SAME_CONTRIBUTOR
    elif held.has_duplicate(row.file_hashes, row.perceptual_hash):
        reason = NEAR_DUPLICATE
    else:
        return False
    left_out[reason] += 1
    return True


def _studios() -> set[str]:
    """The contributors above `STUDIO_SHARE`, too large to be held out as one group: their items are groups."""
    rows = (
        ItemPhoto.objects.searchable()
        .order_by()
        .values_list("item__attributes__contributor")
        .annotate(count=Count("id"))
    )
    counts = {str(name).strip(): count for name, count in rows}
    return {name for name, count in counts.items() if count > STUDIO_SHARE * sum(counts.values())}


def _row(
    studios: Set[str],
    photo: int,
    item: int,
    category: str,
    attributes: object,
    file: str,
    size: int,
    sha256: str,
    source_sha256: str,
    perceptual_hash: str,
) -> PhotoRow:
    contributor, split = _attribute(attributes, "contributor"), _attribute(attributes, "split")
    group = f"contributor {contributor}" if contributor and contributor not in studios else f"item {item}"
    file_hashes = frozenset((sha256, source_sha256))
    return PhotoRow(photo, item, category.strip(), group, file, size, file_hashes, perceptual_hash, split)


def _attribute(attributes: object, name: str) -> str:
    """An attribute as text; "" when it is missing or the column holds no dictionary."""
    value = attributes.get(name) if isinstance(attributes, dict) else None
    return "" if value is None else str(value).strip()
