"""The figures of a classifier on the photos of a manifest."""

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np

from ml.data.manifest import Manifest
from ml.evaluation.intervals import Figure, Scored, estimates, for_a_card
from ml.evaluation.questions import EvaluationError, Questions, questions_of
from ml.evaluation.retrieval import Ints, Scores
from ml.evaluation.views import View, clean, phone
from ml.images.pictures import read_batches
from ml.inference.classifier import Classifier
from ml.progress import Progress, silent
from ml.vectors import Floats

BINS = 15
"""Of the confidence, equally wide, as in Guo et al., "On Calibration of Modern Neural Networks", 2017."""


@dataclass(frozen=True)
class Answers:
    """What a classifier says. `queries` (q,): rows of the manifest; `truths` (q,): positions in `labels`.

    `clean`, `phone`: probabilities, float32 (q, labels).
    """

    labels: tuple[str, ...]
    queries: Ints
    truths: Ints
    clean: Floats
    phone: Floats


def known_queries(questions: Questions, labels: tuple[str, ...]) -> tuple[Ints, dict[str, int]]:
    """Return the queries (q,) whose label a classifier knows, and how many are left out, by label.

    A photo of an unknown label could only be answered wrongly, which would say more about the manifest than about the
    classifier. Raises `EvaluationError` where no photo is left.
    """
    asked = [questions.label_names[label] for label in questions.labels[questions.queries]]
    known = np.isin(asked, labels)
    if not known.any():
        text = f"No photo has a label that the classifier knows ({', '.join(labels)})."
        raise EvaluationError(text + _hint(questions, labels))
    left_out = Counter(label for label, kept in zip(asked, known, strict=True) if not kept)
    return questions.queries[known], dict(sorted(left_out.items()))


def answers(classifier: Classifier, questions: Questions, queries: Ints, progress: Progress = silent) -> Answers:
    """Ask about the clean and the phone view of these queries (q,), whose labels it knows. Raises `PictureError`."""
    position = {label: at for at, label in enumerate(classifier.labels)}
    truths = np.array([position[questions.label_names[label]] for label in questions.labels[queries]], dtype=np.int64)

    def asked(view: View, what: str) -> Floats:
        read = partial(view, questions.manifest, classifier.card.preprocessing)
        photos = progress(questions.photos(queries), what)
        return classifier.probabilities_of_batches(read_batches(photos, read))

    return Answers(classifier.labels, queries, truths, asked(clean, "photos"), asked(phone, "phone photos"))


def scored_answers(given: Answers, clusters: Ints) -> Scored:
    """Return the figures over all labels. `clusters` (q,): which queries belong together.

    `accuracy`; `macro_recall`, `macro_precision`: the means over the labels, each label counting the same;
    `expected_calibration_error`: how far confidence and accuracy are apart. `phone_…`: from the phone view;
    `gap_accuracy`: clean minus phone, the domain gap. A label that has no photo, or that is never told, is in no mean.
    """
    figures = _of_view(given.clean, given.truths) | _prefixed("phone_", _of_view(given.phone, given.truths))
    gap = figures["accuracy"].columns - figures["phone_accuracy"].columns
    return Scored(clusters, figures | {"gap_accuracy": Figure(gap)})


def scored_answers_by_label(given: Answers, clusters: Ints) -> dict[str, Scored]:
    """Return `recall` (of its photos, how many are told) and `precision` (of what is told, how much is right)."""
    by_view = {prefix: _right(view, given.truths) for prefix, view in (("", given.clean), ("phone_", given.phone))}
    found = {}
    for at, label in enumerate(given.labels):
        figures = {}
        for prefix, (guesses, right) in by_view.items():
            figures[f"{prefix}recall"] = Figure.of_queries(np.where(given.truths == at, right, np.nan))
            figures[f"{prefix}precision"] = Figure.of_queries(np.where(guesses == at, right, np.nan))
        found[label] = Scored(clusters, figures)
    return found


def measure_classifier(
    classifier: Classifier, manifest: Manifest, progress: Progress = silent, split: str | None = None
) -> dict[str, float]:
    """Return the figures over the photos of `split` (or val and test), each with `_low` and `_high`, and their number.

    Raises `EvaluationError` or `PictureError`.
    """
    questions = questions_of(manifest, split)
    queries, _ = known_queries(questions, classifier.labels)
    given = answers(classifier, questions, queries, progress)
    found = estimates(scored_answers(given, questions.owners[queries]))
    return for_a_card(found) | {"queries": len(queries)}


def confusion(probabilities: Floats, truths: Ints) -> Ints:
    """Return how often label i (row) was taken for label j (column), (labels, labels)."""
    labels = probabilities.shape[1]
    pairs = truths * labels + probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=labels * labels).reshape(labels, labels)


def calibration_error(means: Scores) -> Scores:
    """Expected calibration error from `confidence_gaps`, averaged over the queries: (..., bins) to (...)."""
    error: Scores = np.abs(means).sum(axis=-1)
    return error


def confidence_gaps(probabilities: Floats, truths: Ints) -> Scores:
    """Return, (q, bins), confidence minus rightness of each query in the bin of its confidence, and 0 in the others.

    The mean of a column over all queries is the bin's share times how far its confidence is above its accuracy.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.zeros((len(truths), BINS))
    gaps[np.arange(len(truths)), bins] = confidence - _right(probabilities, truths)[1]
    return gaps


def _of_view(probabilities: Floats, truths: Ints) -> dict[str, Figure]:
    guesses, right = _right(probabilities, truths)
    every = np.arange(probabilities.shape[1])
    return {
        "accuracy": Figure.of_queries(right),
        "macro_recall": Figure(np.where(truths[:, None] == every, right[:, None], np.nan)),
        "macro_precision": Figure(np.where(guesses[:, None] == every, right[:, None], np.nan)),
        "expected_calibration_error": Figure(confidence_gaps(probabilities, truths), calibration_error),
    }


def _right(probabilities: Floats, truths: Ints) -> tuple[Ints, Scores]:
    """The label told for each query, and 1 where it is right."""
    guesses = probabilities.argmax(axis=1)
    return guesses, (guesses == truths).astype(np.float64)


def _hint(questions: Questions, labels: tuple[str, ...]) -> str:
    """Where the labels might be instead: the column to name with --label-column."""
    photos = questions.photos(questions.queries)
    columns = sorted(name for name in photos[0].extra if any(photo.extra.get(name) in labels for photo in photos))
    return f" The column {columns[0]!r} has such labels: --label-column {columns[0]}." if columns else ""


def _prefixed(prefix: str, figures: dict[str, Figure]) -> dict[str, Figure]:
    return {f"{prefix}{name}": figure for name, figure in figures.items()}
