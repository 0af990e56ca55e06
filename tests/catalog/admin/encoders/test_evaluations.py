"""What encoders are compared on, in the admin."""

import pytest
from django.test import Client
from django.urls import reverse

from catalog.models import Encoder, Evaluation, EvaluationSet, EvaluationState, Promotion, User
from tests.helpers.factories import make_encoder, make_item, make_item_photo, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

DRAW = "admin:catalog_evaluationset_draw"


@pytest.fixture
def boss() -> User:
    return make_user("boss", is_staff=True, is_superuser=True)


@pytest.fixture
def staff(client: Client, boss: User) -> Client:
    client.force_login(boss)
    return client


def garments(category: str, split: str, count: int) -> None:
    for _ in range(count):
        make_item_photo(make_item(category=category, attributes={"split": split}))


def page(staff: Client, name: str, *arguments: object) -> str:
    return " ".join(staff.get(reverse(name, args=arguments)).content.decode().split())


def test_a_set_is_drawn_becomes_the_current_one_and_is_counted_by_category(staff: Client, boss: User) -> None:
    garments("Hat", "val", 3)
    garments("Shoes", "val", 1)
    garments("Shoes", "train", 4)
    assert "never enter a training" in page(staff, DRAW)
    answer = staff.post(reverse(DRAW), {"name": "Autumn", "share": "15"})
    drawn = EvaluationSet.objects.get()
    assert answer.headers["Location"] == reverse("admin:catalog_evaluationset_change", args=[drawn.pk])
    assert (drawn.name, drawn.is_current, drawn.created_by) == ("Autumn", True, boss)
    shown = page(staff, "admin:catalog_evaluationset_change", drawn.pk)
    assert ">Hat</td>" in shown
    assert shown.index(">Hat</td>") < shown.index(">Shoes</td>")
    assert "never enter a training" in shown


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"share": "15"}, "too few items"),
        ({"share": "0"}, "greater than or equal to 1"),
        ({"share": "x"}, "whole number"),
        ({"share": "15", "name": "x" * 101}, "at most 100"),
        ({"share": "15", "name": "a\x00"}, "Null characters"),
    ],
)
def test_what_cannot_be_drawn_is_told_and_nothing_is_made(staff: Client, body: dict[str, str], sentence: str) -> None:
    answer = staff.post(reverse(DRAW), body)
    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    assert not EvaluationSet.objects.exists()


def test_a_taken_name_is_told_at_its_field(staff: Client) -> None:
    garments("Hat", "val", 2)
    for _ in range(2):
        answer = staff.post(reverse(DRAW), {"name": "Autumn", "share": "15"})
    assert "of this name already" in answer.content.decode()
    assert EvaluationSet.objects.count() == 1


def test_drawing_needs_the_permission_to_add_sets() -> None:
    client = Client()
    client.force_login(make_user(is_staff=True))
    assert client.get(reverse(DRAW)).status_code == 403
    assert client.post(reverse(DRAW), {"share": "15"}).status_code == 403


def test_an_evaluation_tells_why_it_failed_and_leads_to_both_side_by_side(staff: Client) -> None:
    encoder, other = make_encoder("one"), make_encoder("other")
    drawn = EvaluationSet.objects.create(name="The set", is_current=True)
    failed = Evaluation.objects.create(
        encoder=encoder, against=other, evaluation_set=drawn, state=EvaluationState.FAILED, reason="The disk is full."
    )
    assert "The disk is full." in page(staff, "admin:catalog_evaluation_changelist")
    compare = reverse("admin:catalog_encoder_compare", args=[encoder.pk])
    assert f"{compare}?against={other.pk}" in page(staff, "admin:catalog_evaluation_change", failed.pk)


def test_the_log_of_promotions_outlives_the_encoders(staff: Client) -> None:
    encoder = make_encoder("long gone")
    Promotion.objects.create(encoder=encoder, encoder_name=encoder.name, gate=[{"code": "x", "text": "Hats fell."}])
    Encoder.objects.all().delete()
    shown = page(staff, "admin:catalog_promotion_changelist")
    assert "long gone (deleted since)" in shown
    assert "Hats fell." in shown
