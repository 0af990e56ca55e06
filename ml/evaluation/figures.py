"""The figures of a metric encoder on the photos of a manifest."""

from dataclasses import asdict
from functools import partial

import numpy as np

from ml.data.manifest import Manifest
from ml.evaluation.intervals import Figure, Scored, estimates, for_a_card
from ml.evaluation.questions import Questions, questions_of
from ml.evaluation.retrieval import Ints, Scores, label_scores, target_ranks
from ml.evaluation.views import View, clean, phone
from ml.images.pictures import read_batches
from ml.inference.embedder import Embedder
from ml.progress import Progress, silent
from ml.vectors import Floats

OF_A_RUN = (
    *("recall_at_1", "recall_at_5", "recall_at_10", "near10", "map_at_r", "r_precision"),
    *("phone_recall_at_1", "phone_near10", "phone_map_at_r", "garment_at_1", "garment_at_5", "item_at_1", "item_at_5"),
)
"""What `measure` tells of all figures: enough for a card and for the choice between epochs."""


def measure(
    embedder: Embedder, manifest: Manifest, progress: Progress = silent, split: str | None = None
) -> dict[str, float]:
    """Return the figures `OF_A_RUN`, shares 0..1, each with `_low` and `_high`, and the counts they are over.

    Queries: the photos of `split`, or the val and test photos; gallery: all photos (`questions_of`). A figure that is
    about nothing, such as that of a label which only one contributor has, is left out, and so is an interval over a
    single contributor. Raises `EvaluationError` or `PictureError`.
    """
    questions = questions_of(manifest, split)
    found = estimates(scored(embedder, questions, progress))
    told = for_a_card({name: found[name] for name in OF_A_RUN if name in found})
    return told | {"queries": len(questions.queries), "gallery": len(questions.gallery)}


def scored(embedder: Embedder, questions: Questions, progress: Progress = silent) -> Scored:
    """Embed the photos and return all figures, query by query. Raises `PictureError`.

    `recall_at_k` and the other `LabelScores`: the label of the clean photo, photos of its owner left out. `item_at_k`:
    another photo of the very item. `phone_…`: the same asked with a simulated phone photo; `gap_…`: clean minus phone,
    the domain gap. `garment_at_k`: the very photo, from a phone photo of it; only where it is in the gallery.
    """
    needed = np.union1d(questions.queries, questions.gallery)
    vectors = _embedded(embedder, questions, needed, clean, progress, "photos")
    gallery = vectors[np.searchsorted(needed, questions.gallery)]
    asked_clean = vectors[np.searchsorted(needed, questions.queries)]
    asked_phone = _embedded(embedder, questions, questions.queries, phone, progress, "phone photos")
    by_clean, by_phone = (_by_label_and_item(asked, gallery, questions) for asked in (asked_clean, asked_phone))
    gaps = {name: by_clean[name] - by_phone[name] for name in by_clean}
    columns = by_clean | _prefixed("phone_", by_phone) | _prefixed("gap_", gaps)
    columns |= _by_garment(asked_phone, gallery, questions)
    figures = {name: Figure.of_queries(column) for name, column in columns.items()}
    return Scored(questions.owners[questions.queries], figures)


def scored_by_label(whole: Scored, questions: Questions) -> dict[str, Scored]:
    """Return the same figures over the queries of each label that is asked for."""
    labels = questions.labels[questions.queries]
    return {questions.label_names[label]: whole.of(labels == label) for label in np.unique(labels)}


def _embedded(
    embedder: Embedder, questions: Questions, rows: Ints, view: View, progress: Progress, what: str
) -> Floats:
    photos = progress(questions.photos(rows), what)
    read = partial(view, questions.manifest, embedder.card.preprocessing)
    return embedder.embed_batches(read_batches(photos, read))


def _by_label_and_item(asked: Floats, gallery: Floats, questions: Questions) -> dict[str, Scores]:
    queries, answers = questions.queries, questions.gallery

    def found(what: Ints, left_out: Ints) -> dict[str, Scores]:
        keys = (what[queries], what[answers], left_out[queries], left_out[answers])
        return asdict(label_scores(asked, gallery, *keys))

    by_label = found(questions.labels, questions.owners)
    by_item = found(questions.items, np.arange(len(questions.items)))  # the photo itself alone is left out
    return by_label | {f"item_at_{k}": by_item[f"recall_at_{k}"] for k in (1, 5)}


def _by_garment(asked: Floats, gallery: Floats, questions: Questions) -> dict[str, Scores]:
    """NaN for a query that is not in the gallery: there is no photo to find again."""
    at = np.searchsorted(questions.gallery, questions.queries)
    there = np.isin(questions.queries, questions.gallery)
    ranks = target_ranks(asked[there], gallery, at[there])
    scores = np.full((2, len(asked)), np.nan)
    scores[:, there] = [ranks <= 1, ranks <= 5]
    return {"garment_at_1": scores[0], "garment_at_5": scores[1]}


def _prefixed(prefix: str, columns: dict[str, Scores]) -> dict[str, Scores]:
    return {f"{prefix}{name}": column for name, column in columns.items()}
