"""Draw groups to hold out, deterministically by a hash of their names."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """A photo with its label and its group. A group is never split: a contributor's photos share a background."""

    label: str
    group: str


def draw_groups(
    members: Iterable[Member],
    share: float,
    *,
    least_groups: int,
    exclude: Collection[str] = (),
    prefer: Collection[str] = (),
) -> set[str]:
    """Draw groups with at least `share` of the photos of each label that has `least_groups` groups or more.

    Each label keeps at least half of its photos, and at least two. Groups in `exclude` are never drawn; groups in
    `prefer` are drawn before others. Photos of a label with fewer groups are drawn only in a group that is drawn for
    another label.
    """
    photos: dict[str, Counter[str]] = defaultdict(Counter)  # photos of each label by group
    labels: dict[str, set[str]] = defaultdict(set)
    for member in members:
        photos[member.label][member.group] += 1
        labels[member.group].add(member.label)
    wanted = {label: math.ceil(share * counts.total()) for label, counts in photos.items()}
    most = {label: min(counts.total() / 2, counts.total() - 2) for label, counts in photos.items()}
    chosen: set[str] = set()
    drawn: Counter[str] = Counter()

    def excess(group: str) -> int:
        return sum(max(0, drawn[label] + photos[label][group] - wanted[label]) for label in labels[group])

    def leaves_enough(group: str) -> bool:
        return all(drawn[label] + photos[label][group] <= most[label] for label in labels[group])

    for label in sorted(photos, key=lambda label: (len(photos[label]), label)):  # rare labels first
        counts = photos[label]
        if len(counts) < least_groups:
            continue
        # A contributor brings photos of other labels along: groups with the smallest excess of those go first.
        for group in sorted(counts, key=lambda group: (group not in prefer, excess(group), _rank(group))):
            if drawn[label] >= wanted[label]:
                break
            if group not in chosen and group not in exclude and leaves_enough(group):
                chosen.add(group)
                drawn.update({label: photos[label][group] for label in labels[group]})
    return chosen


def _rank(group: str) -> str:
    return hashlib.sha256(group.encode(errors="surrogatepass")).hexdigest()
