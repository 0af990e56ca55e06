"""Which groups of items are held out: drawn by a hash of their names, so that the same are drawn again at any time."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """A photo as a draw sees it. A group goes as a whole: who photographed two garments shows one floor twice."""

    label: str
    group: str


def draw_groups(
    members: Iterable[Member],
    share: float,
    *,
    least_groups: int,
    keep: Collection[str] = (),
    first: Collection[str] = (),
) -> set[str]:
    """The groups that are held out: at least `share` of the photos of each label with `least_groups` groups or more.

    Each label keeps the larger part of its photos, and two of them at least. Groups of `keep` are never drawn, those
    of `first` before any other. Of a label with fewer groups photos are drawn only along with another label's.
    """
    photos: dict[str, Counter[str]] = defaultdict(Counter)  # of each label, by group
    labels: dict[str, set[str]] = defaultdict(set)
    for member in members:
        photos[member.label][member.group] += 1
        labels[member.group].add(member.label)
    wanted = {label: math.ceil(share * counts.total()) for label, counts in photos.items()}
    largest = {label: min(counts.total() / 2, counts.total() - 2) for label, counts in photos.items()}
    chosen: set[str] = set()
    out: Counter[str] = Counter()

    def too_many(group: str) -> int:
        return sum(max(0, out[label] + photos[label][group] - wanted[label]) for label in labels[group])

    def spares(group: str) -> bool:
        return all(out[label] + photos[label][group] <= largest[label] for label in labels[group])

    for label in sorted(photos, key=lambda label: (len(photos[label]), label)):  # the rare ones first
        counts = photos[label]
        if len(counts) < least_groups:
            continue
        # A contributor brings photos of other labels along: those with whom the fewest are too many go first.
        for group in sorted(counts, key=lambda group: (group not in first, too_many(group), _place(group))):
            if out[label] >= wanted[label]:
                break
            if group not in chosen and group not in keep and spares(group):
                chosen.add(group)
                out.update({label: photos[label][group] for label in labels[group]})
    return chosen


def _place(group: str) -> str:
    return hashlib.sha256(group.encode(errors="surrogatepass")).hexdigest()
