from pathlib import Path

import numpy as np
import pytest

from ml.data.manifest import Manifest, Photo, read_manifest
from ml.encoder.card import Card, card_from_json, card_to_json
from ml.evaluation.figures import OF_A_RUN, measure, scored, scored_by_label
from ml.evaluation.intervals import estimates, mean_of_known
from ml.evaluation.questions import EvaluationError, questions_of
from ml.evaluation.retrieval import label_scores
from ml.evaluation.views import clean, phone
from ml.images.pictures import PictureError
from ml.inference.embedder import Embedder, load_embedder
from tests.helpers.colour_encoder import COLOURS, colour_encoder, coloured_manifest


@pytest.fixture(scope="module")
def embedder(tmp_path_factory) -> Embedder:
    return load_embedder(colour_encoder(tmp_path_factory.mktemp("encoder") / "colours"), "onnx", threads=1)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    """36 photos of three colours, two photos an item, four contributors; the labels are the colours."""
    photos = [
        Photo(f"{at}.png", list(COLOURS)[at // 2 % 3], f"item {at // 2}", "test" if at % 12 < 6 else "train",
              {"contributor": str(at // 6 % 4)})
        for at in range(36)
    ]  # fmt: skip
    return read_manifest(coloured_manifest(tmp_path_factory.mktemp("photos") / "m.csv", photos))


def vectors_of(embedder, manifest, view) -> np.ndarray:
    pixels = [view(manifest, embedder.card.preprocessing, photo) for photo in manifest.photos]
    return embedder.embed_batches([np.stack(pixels)])


# --- a run's figures


def test_an_encoder_that_sees_colours_finds_labels_that_are_colours(embedder, manifest):
    figures = measure(embedder, manifest)
    assert figures["recall_at_1"] == figures["map_at_r"] == figures["r_precision"] == 1.0
    assert figures["near10"] < 1  # of another contributor there are fewer than ten photos of a colour
    assert figures["map_at_r_low"] == figures["map_at_r_high"] == 1.0
    assert (figures["queries"], figures["gallery"]) == (18, 36)


def test_every_figure_of_a_run_comes_with_an_interval_around_it(embedder, manifest):
    figures = measure(embedder, manifest)
    for name in OF_A_RUN:
        assert 0 <= figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"] <= 1
    assert figures["recall_at_1"] <= figures["recall_at_5"] <= figures["recall_at_10"]
    assert figures["garment_at_1"] <= figures["garment_at_5"]


def test_a_card_takes_the_figures(embedder, manifest):
    figures = measure(embedder, manifest)
    card = Card(**{**embedder.card.__dict__, "metrics": figures})
    assert card_from_json(card_to_json(card)).metrics == figures


def test_the_split_is_chosen(embedder, manifest):
    assert measure(embedder, manifest, split="train")["queries"] == 18
    with pytest.raises(EvaluationError, match="no photos"):
        measure(embedder, manifest, split="val")


def test_what_cannot_be_asked_is_left_out(embedder, manifest, tmp_path):
    """One contributor: nothing may answer by label, and the garment's figure has no interval."""
    photos = [Photo(f"{at}.png", ["red", "blue"][at % 2], str(at), "val", {"contributor": "1"}) for at in range(6)]
    figures = measure(embedder, read_manifest(coloured_manifest(tmp_path / "m.csv", photos)))
    assert set(figures) == {"garment_at_1", "garment_at_5", "queries", "gallery"}


def test_a_manifest_of_one_label_still_has_its_garments_measured(embedder, tmp_path):
    photos = [Photo(f"{at}.png", "red", str(at), "val") for at in range(6)]
    figures = measure(embedder, read_manifest(coloured_manifest(tmp_path / "m.csv", photos)))
    assert figures["recall_at_1"] == 1.0
    assert figures["garment_at_1"] < 1.0  # six plain reds, and a phone that shifts colours


def test_the_progress_is_told_of_both_views(embedder, manifest):
    told = []

    def progress(things, what):
        told.append((what, len(things)))
        return things

    measure(embedder, manifest, progress)
    assert told == [("photos", 36), ("phone photos", 18)]


def test_a_broken_picture_stops_the_measuring(embedder, tmp_path):
    coloured_manifest(tmp_path / "m.csv", [Photo(f"{at}.png", "red", str(at), "val") for at in range(3)])
    (tmp_path / "1.png").write_text("no picture")
    with pytest.raises(PictureError, match=r"'1\.png'"):
        measure(embedder, read_manifest(tmp_path / "m.csv"))


# --- query by query


def test_each_view_asks_the_clean_gallery(embedder, manifest):
    questions = questions_of(manifest)
    figures = scored(embedder, questions).figures
    gallery = vectors_of(embedder, manifest, clean)
    for prefix, view in (("", clean), ("phone_", phone)):
        asked = vectors_of(embedder, manifest, view)[questions.queries]
        keys = (questions.labels[questions.queries], questions.labels)
        owners = (questions.owners[questions.queries], questions.owners)
        expected = label_scores(asked, gallery, *keys, *owners)
        assert figures[f"{prefix}map_at_r"].columns[:, 0] == pytest.approx(expected.map_at_r)
        assert figures[f"{prefix}recall_at_5"].columns[:, 0] == pytest.approx(expected.recall_at_5)


def test_the_garment_is_the_very_photo_and_the_item_another_one_of_it(embedder, manifest):
    questions = questions_of(manifest)
    figures = scored(embedder, questions).figures
    gallery, asked = vectors_of(embedder, manifest, clean), vectors_of(embedder, manifest, phone)
    for at, query in enumerate(questions.queries):
        nearest = np.argsort(-(gallery @ asked[query]), kind="stable")
        assert figures["garment_at_1"].columns[at, 0] == (nearest[0] == query)
        others = [row for row in nearest if row != query]
        same_item = manifest.photos[others[0]].item == manifest.photos[query].item
        assert figures["phone_item_at_1"].columns[at, 0] == same_item


def test_the_gap_is_clean_minus_phone(embedder, manifest):
    whole = scored(embedder, questions_of(manifest))
    values = {name: mean_of_known(figure.columns.T)[0] for name, figure in whole.figures.items()}
    assert values["gap_map_at_r"] == pytest.approx(values["map_at_r"] - values["phone_map_at_r"])
    found = estimates(whole, 100)["gap_near10"]
    assert found.low <= found.value <= found.high


def test_queries_that_are_not_in_the_gallery_have_no_garment_but_an_item(embedder, tmp_path):
    photos = [
        Photo(
            f"{at}.png", ["red", "blue"][at % 2], f"item {at % 4}", "test", {"role": "query" if at < 4 else "gallery"}
        )
        for at in range(8)
    ]
    questions = questions_of(read_manifest(coloured_manifest(tmp_path / "m.csv", photos)), "test")
    found = estimates(scored(embedder, questions), 50)
    assert "garment_at_1" not in found
    assert found["item_at_5"].value == 1.0
    assert found["item_at_1"].queries == 4


def test_the_figures_of_a_label_are_over_its_queries(embedder, manifest):
    questions = questions_of(manifest)
    whole = scored(embedder, questions)
    by_label = scored_by_label(whole, questions)
    assert list(by_label) == ["blue", "green", "red"]
    asked = questions.labels[questions.queries]
    for at, label in enumerate(questions.label_names):
        expected = whole.figures["garment_at_1"].columns[asked == at]
        assert np.array_equal(by_label[label].figures["garment_at_1"].columns, expected)
        assert len(by_label[label].clusters) == (asked == at).sum()


def test_the_shipped_encoder_finds_drawn_garments_again(shipped, tmp_path):
    from tests.helpers.drawn_pictures import drawn_folder

    paths = drawn_folder(tmp_path, 12)
    photos = tuple(Photo(path.name, "odd" if at % 2 else "even", path.stem, "val") for at, path in enumerate(paths))
    figures = measure(shipped, Manifest(Path(tmp_path), photos))
    assert figures["garment_at_5"] >= 0.75
