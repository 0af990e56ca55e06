"""Admin of evaluation sets, evaluations and promotions."""

import pytest
from django.test import Client
from django.urls import reverse

from catalog.models import Encoder, Evaluation, EvaluationSet, EvaluationState, Promotion, User
from tests.helpers.admin import error_codes
from tests.helpers.factories import make_encoder, make_item, make_item_photo, make_user

pytestmark = pytest.mark.django_db

DRAW = "admin:catalog_evaluationset_draw"


def make_items(category: str, split: str, count: int) -> None:
    for _ in range(count):
        make_item_photo(make_item(category=category, attributes={"split": split}))


def page(staff: Client, name: str, *arguments: object) -> str:
    return " ".join(staff.get(reverse(name, args=arguments)).content.decode().split())


@pytest.mark.database
def test_a_drawn_set_becomes_current_and_is_counted_by_category(staff: Client, boss: User) -> None:
    make_items("Hat", "val", 3)
    make_items("Shoes", "val", 1)
    make_items("Shoes", "train", 4)
    assert "never used for training" in page(staff, DRAW)
    response = staff.post(reverse(DRAW), {"name": "Autumn", "share": "15"})
    drawn = EvaluationSet.objects.get()
    assert response.headers["Location"] == reverse("admin:catalog_evaluationset_change", args=[drawn.pk])
    assert (drawn.name, drawn.is_current, drawn.created_by) == ("Autumn", True, boss)
    html = page(staff, "admin:catalog_evaluationset_change", drawn.pk)
    assert ">Hat</td>" in html
    assert html.index(">Hat</td>") < html.index(">Shoes</td>")
    assert "never used for training" in html


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ({"share": "15"}, {"__all__": ["evaluation_set_empty"]}),
        ({"share": "0"}, {"share": ["min_value"]}),
        ({"share": "x"}, {"share": ["invalid"]}),
        ({"share": "15", "name": "x" * 101}, {"name": ["max_length"]}),
        ({"share": "15", "name": "a\x00"}, {"name": ["null_characters_not_allowed"]}),
    ],
)
def test_an_invalid_set_is_refused_with_a_message(
    staff: Client, body: dict[str, str], codes: dict[str, list[str]]
) -> None:
    response = staff.post(reverse(DRAW), body)
    assert response.status_code == 200
    assert error_codes(response.context["form"]) == codes
    assert not EvaluationSet.objects.exists()


@pytest.mark.database
def test_a_taken_name_is_shown_at_its_field(staff: Client) -> None:
    make_items("Hat", "val", 2)
    for _ in range(2):
        response = staff.post(reverse(DRAW), {"name": "Autumn", "share": "15"})
    assert error_codes(response.context["form"]) == {"name": ["evaluation_set_exists"]}
    assert EvaluationSet.objects.count() == 1


def test_drawing_a_set_needs_the_permission_to_add_sets() -> None:
    client = Client()
    client.force_login(make_user(is_staff=True))
    assert client.get(reverse(DRAW)).status_code == 403
    assert client.post(reverse(DRAW), {"share": "15"}).status_code == 403


def test_a_failed_evaluation_shows_its_reason_and_links_to_the_comparison(staff: Client) -> None:
    encoder, other = make_encoder("one"), make_encoder("other")
    drawn = EvaluationSet.objects.create(name="The set", is_current=True)
    failed = Evaluation.objects.create(
        encoder=encoder, against=other, evaluation_set=drawn, state=EvaluationState.FAILED, reason="The disk is full."
    )
    assert "The disk is full." in page(staff, "admin:catalog_evaluation_changelist")
    compare = reverse("admin:catalog_encoder_compare", args=[encoder.pk])
    assert f"{compare}?against={other.pk}" in page(staff, "admin:catalog_evaluation_change", failed.pk)


def test_the_promotion_log_outlives_deleted_encoders(staff: Client) -> None:
    encoder = make_encoder("long gone")
    Promotion.objects.create(encoder=encoder, encoder_name=encoder.name, gate=[{"code": "x", "text": "Hats fell."}])
    Encoder.objects.all().delete()
    html = page(staff, "admin:catalog_promotion_changelist")
    assert "long gone (deleted since)" in html
    assert "Hats fell." in html
