"""Items of the sample catalogue: deterministic, varied and complete."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from demo.sample import draw_photo, sample_items
from demo.sample.drawing.fabrics import PATTERNS
from demo.sample.drawing.palette import COLOURS
from demo.sample.items import Look, SampleItem
from demo.sample.wardrobe import KINDS
from tests.helpers import fresh_interpreter

PRINT_NAMES = """
import json
from demo.sample import sample_items
items = sample_items(60)
print(json.dumps([[i.external_id, i.name, i.brand, str(i.price), sorted(i.look.measures.items())] for i in items]))
"""


@pytest.fixture(scope="module")
def items() -> list[SampleItem]:
    return sample_items()


def test_there_are_six_hundred_items_by_default(items: list[SampleItem]) -> None:
    assert len(items) == 600
    assert len({item.external_id for item in items}) == 600


def test_there_are_at_least_fifteen_types_from_t_shirt_to_shoe(items: list[SampleItem]) -> None:
    types = {item.category for item in items}
    assert len(types) >= 15
    assert {"T-shirt", "Dress", "Skirt", "Trousers", "Coat", "Hat", "Sneaker"} <= types


def test_a_prefix_of_thirty_holds_every_type(items: list[SampleItem]) -> None:
    assert {item.category for item in items[:30]} == {kind.name for kind in KINDS}


def test_a_short_catalogue_is_the_start_of_a_long_one(items: list[SampleItem]) -> None:
    assert sample_items(10) == items[:10]
    assert sample_items(0) == []


def test_another_seed_gives_other_garments() -> None:
    assert [item.look for item in sample_items(25)] != [item.look for item in sample_items(25, seed=1)]


def test_a_fresh_interpreter_makes_the_same_items(items: list[SampleItem]) -> None:
    answer = fresh_interpreter.run_program(PRINT_NAMES)
    here = [
        [i.external_id, i.name, i.brand, str(i.price), sorted(map(list, i.look.measures.items()))] for i in items[:60]
    ]
    assert json.loads(answer) == here


def test_no_two_items_are_the_same_garment(items: list[SampleItem]) -> None:
    looks = [(item.look.kind, sorted(item.look.measures.items()), item.look.cloths["main"]) for item in items]
    assert all(looks.count(look) == 1 for look in looks)


def test_items_of_one_type_differ_in_colour_or_pattern(items: list[SampleItem]) -> None:
    shirts = [
        (item.colour, item.attributes["pattern"], item.look.cloths["main"].texture)
        for item in items
        if item.category == "Shirt"
    ]
    assert len(set(shirts)) == len(shirts)


def test_every_pattern_is_used_by_an_item(items: list[SampleItem]) -> None:
    assert {item.attributes["pattern"] for item in items} == set(PATTERNS)


def test_every_column_has_a_plausible_value(items: list[SampleItem]) -> None:
    for item in items:
        assert item.gender in {"men", "women", "unisex"}
        assert item.colour in COLOURS
        assert item.currency == "EUR"
        assert Decimal(5) < item.price < Decimal(400)
        assert item.price == item.price.quantize(Decimal("0.01"))
        assert item.brand


def test_a_name_says_colour_and_type(items: list[SampleItem]) -> None:
    for item in items:
        assert item.name.lower().startswith(item.colour)
        assert item.name.lower().endswith(item.category.lower())
        assert "  " not in item.name


def test_an_attribute_never_hides_a_column_of_the_item(items: list[SampleItem]) -> None:
    fields = {"item", "image", "name", "category", "brand", "gender", "colour", "price", "currency"}
    assert all(not fields & set(item.attributes) for item in items)


def test_every_choice_of_every_type_can_be_drawn(items: list[SampleItem]) -> None:
    by_kind = {item.category: item for item in items[:25]}
    for kind in KINDS:
        for option, choices in kind.options.items():
            for choice in set(choices):
                image = draw_photo(_choosing(by_kind[kind.name], option, choice), view=0, size=(36, 48))
                assert image.size == (36, 48)


def _choosing(item: SampleItem, option: str, choice: str) -> SampleItem:
    look = item.look
    changed = Look(look.kind, look.measures, {**look.options, option: choice}, look.cloths)
    return replace(item, look=changed)


def test_a_name_mentions_options_but_no_fixed_details(items: list[SampleItem]) -> None:
    names = {item.category: [each.name for each in items if each.category == item.category] for item in items[:25]}
    assert any("long-sleeved" in name for name in names["Shirt"])
    assert not any("short-sleeved" in name for name in names["T-shirt"])  # they all are
    assert not any("long-sleeved" in name for name in names["Long-sleeve top"])
    assert not any("denim" in name for name in names["Jeans"])
    assert any("double-breasted" in name for name in names["Coat"])


def test_a_print_is_only_put_on_a_plain_front(items: list[SampleItem]) -> None:
    printed = [item for item in items if "motif" in item.look.options and item.look.options["motif"] != "none"]
    assert len(printed) > 10
    for item in printed:
        assert item.attributes["pattern"] == "plain"
        assert item.look.options.get("closure") != "zip"
        assert f"{item.attributes['motif']}-print" in item.name
