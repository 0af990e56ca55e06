"""What is told of an answer: likelihood, outcome, guess and reasons, each against values worked out by hand."""

from typing import Any

import pytest

from catalog.models import Encoder, QueryState, SimilarityQuery
from ml.search import Hit
from tests.helpers.factories import make_encoder, make_item, make_query, make_user
from worker.queries.explain import Explained, explained, guess_of, why
from worker.queries.search import TOLD, Facts, Found

pytestmark = pytest.mark.django_db

CURVE = {"cosines": [0.2, 0.6], "probabilities": [0.0, 0.8], "expected_calibration_error": 0.01, "pairs": 100}
RED, DARK_RED, BLUE = [53.24, 80.09, 67.2], [50.0, 75.0, 60.0], [32.3, 79.19, -107.86]


def facts(**known: str) -> Facts:
    return dict.fromkeys(TOLD, "") | known


def found(*items: Facts, scores: tuple[float, ...] = (), colours: dict[int, Any] | None = None) -> Found:
    """Hits on the items, which have the ids 1, 2, …; each photo's id is its item's."""
    hits = [Hit(number, number, score) for number, score in enumerate(scores or (0.9,) * len(items), start=1)]
    known = dict(enumerate(items, start=1))
    return Found(hits, hits, known, colours or dict.fromkeys(known))


def asked(encoder: Encoder | None = None, **columns: Any) -> SimilarityQuery:
    return make_query(encoder=encoder or make_encoder(card={"calibration": CURVE}), **columns)


def reasons(answer: Explained) -> list[dict[str, Any]]:
    return [row.why for row in answer.recommendations]


def test_a_score_becomes_a_probability_on_the_encoders_curve() -> None:
    answer = explained(asked(), found(*[facts()] * 4, scores=(0.7, 0.6, 0.4, -0.5)))
    assert [row.probability for row in answer.recommendations] == [0.8, 0.8, 0.4, 0.0]
    assert [(row.rank, row.score) for row in answer.recommendations] == [(1, 0.7), (2, 0.6), (3, 0.4), (4, -0.5)]


@pytest.mark.parametrize(
    ("scores", "outcome"),
    [((0.5, 0.3), "close_match"), ((0.4,), "close_match"), ((0.39, 0.3), "no_close_match"), ((), "nothing_fits")],
)
def test_the_likeliest_item_decides_whether_there_is_a_close_match(scores: tuple[float, ...], outcome: str) -> None:
    answer = explained(asked(), found(*[facts()] * len(scores), scores=scores))
    assert answer.outcome == outcome
    assert len(answer.recommendations) == len(scores)


@pytest.mark.parametrize("card", [{}, {"calibration": None}])
def test_without_a_calibration_nobody_claims_to_know(card: dict[str, Any]) -> None:
    encoder = make_encoder(card=card)
    answer = explained(asked(encoder), found(facts(), scores=(0.9,)))
    assert answer.outcome == ""
    assert answer.recommendations[0].probability is None
    assert explained(asked(encoder), found()).outcome == "nothing_fits"


# p = 1 / (1 + exp(-(20 * lead - 4))): one half for a lead of 0.2, whatever the cosine
SURE = {"intercept": -4.0, "cosine": 0.0, "lead": 20.0, "missed": 0.1, "found_out": 0.9, "queries": 500}


def sure_encoder() -> Encoder:
    return make_encoder(card={"calibration": CURVE, "certainty": SURE})


def test_the_first_is_as_likely_as_it_stands_out_and_no_other_is_likelier() -> None:
    answer = explained(asked(sure_encoder()), found(*[facts()] * 3, scores=(0.7, 0.6, 0.4)))
    assert [row.probability for row in answer.recommendations] == [0.5, 0.5, 0.4]  # 0.7 is 0.2 above the mean of 0.5
    assert answer.outcome == "close_match"


def test_a_first_one_among_many_as_near_is_no_close_match() -> None:
    answer = explained(asked(sure_encoder()), found(*[facts()] * 3, scores=(0.7, 0.69, 0.69)))
    assert answer.outcome == "no_close_match"


def test_it_stands_out_against_all_that_is_near_and_not_only_what_fits_the_filters() -> None:
    near = [Hit(number, number, score) for number, score in ((1, 0.9), (2, 0.9), (3, 0.5))]
    answer = explained(asked(sure_encoder()), Found(near[2:], near, dict.fromkeys((1, 2, 3), facts()), {3: None}))
    assert answer.recommendations[0].probability == pytest.approx(0.0, abs=1e-4)


def test_an_item_that_is_alone_and_one_asked_about_by_an_item_are_judged_by_their_score() -> None:
    assert explained(asked(sure_encoder()), found(facts(), scores=(0.6,))).recommendations[0].probability == 0.8
    query = asked(sure_encoder(), item=make_item(), owner=make_user())
    answer = explained(query, found(facts(), facts(), scores=(0.6, 0.6)))
    assert answer.recommendations[0].probability == 0.8


def test_the_guess_is_what_most_of_the_votes_agree_on() -> None:
    dress, coat = facts(category="Dress", gender="Women", colour="Red"), facts(category="Coat", gender="women")
    guess = guess_of(found(dress, dress, coat, scores=(0.5, 0.3, 0.2)))
    assert guess == {
        "category": {"value": "Dress", "share": 0.8},
        "gender": {"value": "Women", "share": 1.0},
        "colour": {"value": "Red", "share": 0.8},
    }


def test_a_vote_counts_as_much_as_its_score() -> None:
    dress, coat = facts(category="Dress"), facts(category="Coat")
    assert guess_of(found(dress, coat, coat, scores=(0.9, 0.2, 0.2)))["category"]["value"] == "Dress"
    assert guess_of(found(dress, coat, coat, scores=(0.9, 0.8, 0.8)))["category"]["value"] == "Coat"


def test_nothing_is_guessed_where_fewer_than_half_agree_or_nothing_is_known() -> None:
    assert guess_of(found(facts(category="Hat"), facts(category="Coat"), facts(category="Dress"))) == {}
    assert guess_of(found(facts(category="Hat"), facts(), facts())) == {}
    assert guess_of(found(facts(category="Hat"), scores=(-0.3,))) == {}
    assert guess_of(found()) == {}


def test_the_brand_of_a_photo_is_never_guessed() -> None:
    assert guess_of(found(facts(brand="Linden"), facts(brand="Linden"))) == {}


def test_a_photo_is_compared_with_what_is_guessed_of_it() -> None:
    dress, coat = facts(category="Dress", gender="Women"), facts(category="Coat", gender="Women")
    answer = explained(asked(), found(dress, dress, coat, facts()))
    assert answer.guess["category"]["value"] == "Dress"
    assert [why["same_category"] for why in reasons(answer)] == [True, True, False, None]
    assert [why["agrees"] for why in reasons(answer)] == [["gender"], ["gender"], ["gender"], []]


def test_an_item_is_compared_with_the_item_that_was_asked_about() -> None:
    item = make_item(category="Dress", gender="Women", colour="Red", brand="Linden", collection="Summer")
    query = asked(item=item, owner=make_user())
    twin = facts(category="dress", gender="women", colour="red", brand="LINDEN", collection="Summer")
    answer = explained(query, found(twin, facts(category="Coat", brand="Norrland")))
    assert answer.guess == {}
    assert reasons(answer) == [
        {"same_category": True, "colour_distance": None, "agrees": ["gender", "colour", "brand", "collection"]},
        {"same_category": False, "colour_distance": None, "agrees": []},
    ]


def test_colours_are_compared_where_both_are_known() -> None:
    answer = explained(asked(colour_lab=RED), found(*[facts()] * 3, colours={1: DARK_RED, 2: BLUE, 3: None}))
    alike, unlike, unknown = (why["colour_distance"] for why in reasons(answer))
    assert 1 < alike < 10 < 40 < unlike
    assert unknown is None
    assert why({}, facts(), None, RED)["colour_distance"] is None


def test_what_the_encoder_said_of_the_photo_stays_beside_the_guess() -> None:
    query = asked(guess={"not_clothes": True})
    assert explained(query, found(facts(category="Dress"))).guess == {
        "not_clothes": True,
        "category": {"value": "Dress", "share": 1.0},
    }


def test_an_item_that_vanished_meanwhile_has_no_reasons_and_breaks_nothing() -> None:
    hits = [Hit(9, 9, 0.9)]
    answer = explained(asked(state=QueryState.SEARCHING), Found(hits, [], {}, {}))
    assert reasons(answer) == [{"same_category": None, "colour_distance": None, "agrees": []}]
