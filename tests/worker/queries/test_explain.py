"""Explanation of an answer: probabilities, outcome, guess and reasons, against values worked out by hand."""

from typing import Any

import pytest

from catalog.models import Encoder, QueryState, SimilarityQuery
from ml.search import Hit
from tests.helpers.factories import make_encoder, make_item, make_query, make_user
from worker.queries.explain import Explanation, explain, guess_attributes, match_reasons
from worker.queries.search import ATTRIBUTES, Attributes, SearchResult

pytestmark = pytest.mark.django_db

CURVE = {"cosines": [0.2, 0.6], "probabilities": [0.0, 0.8], "expected_calibration_error": 0.01, "pairs": 100}
RED, DARK_RED, BLUE = [53.24, 80.09, 67.2], [50.0, 75.0, 60.0], [32.3, 79.19, -107.86]


def attributes(**values: str) -> Attributes:
    return dict.fromkeys(ATTRIBUTES, "") | values


def result_of(
    *items: Attributes, scores: tuple[float, ...] = (), colours: dict[int, Any] | None = None
) -> SearchResult:
    """Hits on the items, which have the ids 1, 2, …; each photo's id is its item's."""
    hits = [Hit(number, number, score) for number, score in enumerate(scores or (0.9,) * len(items), start=1)]
    by_id = dict(enumerate(items, start=1))
    return SearchResult(hits, hits, by_id, colours or dict.fromkeys(by_id))


def make_calibrated_query(encoder: Encoder | None = None, **columns: Any) -> SimilarityQuery:
    return make_query(encoder=encoder or make_encoder(card={"calibration": CURVE}), **columns)


def reasons(answer: Explanation) -> list[dict[str, Any]]:
    return [row.why for row in answer.recommendations]


def test_a_score_becomes_a_probability_by_the_calibration() -> None:
    answer = explain(make_calibrated_query(), result_of(*[attributes()] * 4, scores=(0.7, 0.6, 0.4, -0.5)))
    assert [row.probability for row in answer.recommendations] == [0.8, 0.8, 0.4, 0.0]
    assert [(row.rank, row.score) for row in answer.recommendations] == [(1, 0.7), (2, 0.6), (3, 0.4), (4, -0.5)]


@pytest.mark.parametrize(
    ("scores", "outcome"),
    [((0.5, 0.3), "close_match"), ((0.4,), "close_match"), ((0.39, 0.3), "no_close_match"), ((), "nothing_fits")],
)
def test_the_highest_probability_decides_whether_there_is_a_close_match(
    scores: tuple[float, ...], outcome: str
) -> None:
    answer = explain(make_calibrated_query(), result_of(*[attributes()] * len(scores), scores=scores))
    assert answer.outcome == outcome
    assert len(answer.recommendations) == len(scores)


@pytest.mark.parametrize("card", [{}, {"calibration": None}])
def test_without_a_calibration_there_are_no_probabilities(card: dict[str, Any]) -> None:
    encoder = make_encoder(card=card)
    answer = explain(make_calibrated_query(encoder), result_of(attributes(), scores=(0.9,)))
    assert answer.outcome == ""
    assert answer.recommendations[0].probability is None
    assert explain(make_calibrated_query(encoder), result_of()).outcome == "nothing_fits"


# p = 1 / (1 + exp(-(20 * lead - 4))): one half for a lead of 0.2, whatever the cosine
MATCH_CONFIDENCE = {"intercept": -4.0, "cosine": 0.0, "lead": 20.0, "missed": 0.1, "found_out": 0.9, "queries": 500}


def make_confident_encoder() -> Encoder:
    return make_encoder(card={"calibration": CURVE, "certainty": MATCH_CONFIDENCE})


def test_the_first_hit_is_judged_by_its_lead_and_no_other_is_more_probable() -> None:
    answer = explain(
        make_calibrated_query(make_confident_encoder()), result_of(*[attributes()] * 3, scores=(0.7, 0.6, 0.4))
    )
    assert [row.probability for row in answer.recommendations] == [0.5, 0.5, 0.4]  # 0.7 is 0.2 above the mean of 0.5
    assert answer.outcome == "close_match"


def test_a_first_hit_without_a_lead_is_no_close_match() -> None:
    answer = explain(
        make_calibrated_query(make_confident_encoder()), result_of(*[attributes()] * 3, scores=(0.7, 0.69, 0.69))
    )
    assert answer.outcome == "no_close_match"


def test_the_lead_is_measured_against_all_near_items_also_those_that_the_filters_drop() -> None:
    near = [Hit(number, number, score) for number, score in ((1, 0.9), (2, 0.9), (3, 0.5))]
    answer = explain(
        make_calibrated_query(make_confident_encoder()),
        SearchResult(near[2:], near, dict.fromkeys((1, 2, 3), attributes()), {3: None}),
    )
    assert answer.recommendations[0].probability == pytest.approx(0.0, abs=1e-4)


def test_a_single_hit_and_the_hits_of_a_query_about_an_item_are_judged_by_their_score() -> None:
    assert (
        explain(make_calibrated_query(make_confident_encoder()), result_of(attributes(), scores=(0.6,)))
        .recommendations[0]
        .probability
        == 0.8
    )
    query = make_calibrated_query(make_confident_encoder(), item=make_item(), owner=make_user())
    answer = explain(query, result_of(attributes(), attributes(), scores=(0.6, 0.6)))
    assert answer.recommendations[0].probability == 0.8


def test_the_guess_is_the_majority_of_the_votes() -> None:
    dress, coat = (
        attributes(category="Dress", gender="Women", colour="Red"),
        attributes(category="Coat", gender="women"),
    )
    guess = guess_attributes(result_of(dress, dress, coat, scores=(0.5, 0.3, 0.2)))
    assert guess == {
        "category": {"value": "Dress", "share": 0.8},
        "gender": {"value": "Women", "share": 1.0},
        "colour": {"value": "Red", "share": 0.8},
    }


def test_votes_are_weighted_by_score() -> None:
    dress, coat = attributes(category="Dress"), attributes(category="Coat")
    assert guess_attributes(result_of(dress, coat, coat, scores=(0.9, 0.2, 0.2)))["category"]["value"] == "Dress"
    assert guess_attributes(result_of(dress, coat, coat, scores=(0.9, 0.8, 0.8)))["category"]["value"] == "Coat"


def test_nothing_is_guessed_without_a_majority() -> None:
    assert (
        guess_attributes(
            result_of(attributes(category="Hat"), attributes(category="Coat"), attributes(category="Dress"))
        )
        == {}
    )
    assert guess_attributes(result_of(attributes(category="Hat"), attributes(), attributes())) == {}
    assert guess_attributes(result_of(attributes(category="Hat"), scores=(-0.3,))) == {}
    assert guess_attributes(result_of()) == {}


def test_the_brand_of_a_photo_is_never_guessed() -> None:
    assert guess_attributes(result_of(attributes(brand="Linden"), attributes(brand="Linden"))) == {}


def test_the_hits_of_a_photo_are_compared_with_its_guess() -> None:
    dress, coat = attributes(category="Dress", gender="Women"), attributes(category="Coat", gender="Women")
    answer = explain(make_calibrated_query(), result_of(dress, dress, coat, attributes()))
    assert answer.guess["category"]["value"] == "Dress"
    assert [why["same_category"] for why in reasons(answer)] == [True, True, False, None]
    assert [why["agrees"] for why in reasons(answer)] == [["gender"], ["gender"], ["gender"], []]


def test_the_hits_of_a_query_about_an_item_are_compared_with_that_item() -> None:
    item = make_item(category="Dress", gender="Women", colour="Red", brand="Linden", collection="Summer")
    query = make_calibrated_query(item=item, owner=make_user())
    twin = attributes(category="dress", gender="women", colour="red", brand="LINDEN", collection="Summer")
    answer = explain(query, result_of(twin, attributes(category="Coat", brand="Norrland")))
    assert answer.guess == {}
    assert reasons(answer) == [
        {"same_category": True, "colour_distance": None, "agrees": ["gender", "colour", "brand", "collection"]},
        {"same_category": False, "colour_distance": None, "agrees": []},
    ]


def test_colours_are_compared_if_both_are_known() -> None:
    answer = explain(
        make_calibrated_query(colour_lab=RED), result_of(*[attributes()] * 3, colours={1: DARK_RED, 2: BLUE, 3: None})
    )
    alike, unlike, unknown = (why["colour_distance"] for why in reasons(answer))
    assert 1 < alike < 10 < 40 < unlike
    assert unknown is None
    assert match_reasons({}, attributes(), None, RED)["colour_distance"] is None


def test_the_guess_of_the_encoder_is_kept() -> None:
    query = make_calibrated_query(guess={"not_clothes": True})
    assert explain(query, result_of(attributes(category="Dress"))).guess == {
        "not_clothes": True,
        "category": {"value": "Dress", "share": 1.0},
    }


def test_an_item_that_was_deleted_during_the_search_has_no_reasons() -> None:
    hits = [Hit(9, 9, 0.9)]
    answer = explain(make_calibrated_query(state=QueryState.SEARCHING), SearchResult(hits, [], {}, {}))
    assert reasons(answer) == [{"same_category": None, "colour_distance": None, "agrees": []}]
