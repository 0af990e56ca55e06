"""Drawing the groups to hold out."""

from collections import Counter

import pytest

from catalog.services.datasets.split import Member, draw_groups


def wardrobe(**counts: int) -> list[Member]:
    """`counts` photos of each label, each in a group of its own."""
    return [Member(label, f"{label} {number}") for label, count in counts.items() for number in range(count)]


def drawn_counts(members: list[Member], share: float = 0.2, least_groups: int = 5) -> Counter[str]:
    """The number of drawn photos by label."""
    groups = draw_groups(members, share, least_groups=least_groups)
    return Counter(member.label for member in members if member.group in groups)


def test_each_label_contributes_its_share() -> None:
    assert drawn_counts(wardrobe(Hat=10, Shirt=100, Sock=7)) == {"Hat": 2, "Shirt": 20, "Sock": 2}


def test_a_label_with_few_groups_contributes_nothing() -> None:
    assert drawn_counts(wardrobe(Hat=4, Shirt=5)) == {"Shirt": 1}


def test_the_draw_does_not_depend_on_the_order() -> None:
    members = wardrobe(Hat=30, Shirt=30)
    drawn = draw_groups(members, 0.2, least_groups=5)
    assert drawn == draw_groups(members[::-1], 0.2, least_groups=5)
    more = draw_groups([*members, *wardrobe(Hat=33)[30:]], 0.2, least_groups=5)
    assert len(drawn & more) >= len(drawn) - 2


def test_a_label_keeps_half_of_its_photos_and_at_least_two() -> None:
    assert drawn_counts(wardrobe(Hat=6, Shirt=3), share=0.5, least_groups=1) == {"Hat": 3, "Shirt": 1}
    assert drawn_counts(wardrobe(Hat=2), share=0.5, least_groups=1) == {}
    of_one_person = [Member("Hat", "ann")] * 4 + wardrobe(Hat=1)
    assert drawn_counts(of_one_person, share=0.5, least_groups=1) == {"Hat": 1}


def test_a_group_is_drawn_whole_with_its_other_labels() -> None:
    people = [Member(label, f"person {number}") for number in range(20) for label in ("Hat", "Shirt", "Shirt")]
    drawn = drawn_counts(people, share=0.1)
    assert drawn == {"Hat": 2, "Shirt": 4}


def test_groups_with_the_smallest_excess_of_other_labels_are_drawn_first() -> None:
    heavy = [Member("Shirt", "heavy")] * 40 + [Member("Hat", "heavy")]
    drawn = drawn_counts([*heavy, *wardrobe(Hat=9, Shirt=50)])
    assert drawn["Shirt"] == 18
    assert drawn["Hat"] == 2


def test_groups_in_keep_are_never_drawn_and_groups_in_first_are_drawn_first() -> None:
    members = wardrobe(Hat=10)
    drawn = draw_groups(members, 0.2, least_groups=5)
    others = draw_groups(members, 0.2, least_groups=5, exclude=drawn)
    assert len(others) == 2
    assert not others & drawn
    assert draw_groups(members, 0.2, least_groups=5, prefer=others) == others


@pytest.mark.parametrize("members", [[], wardrobe(Hat=1)])
def test_no_groups_are_drawn_from_too_few(members: list[Member]) -> None:
    assert draw_groups(members, 0.5, least_groups=1) == set()
