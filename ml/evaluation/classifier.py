"""Metrics of a classifier on the photos of a manifest: accuracy, recall, precision, calibration error, confusion."""

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np

from ml.data.manifest import Manifest
from ml.evaluation.dataset import EvaluationDataset, EvaluationError, build_dataset
from ml.evaluation.intervals import Metric, QueryScores, card_metrics, estimate_metrics
from ml.evaluation.retrieval import Ints, Scores
from ml.evaluation.views import View, read_clean, read_phone_view
from ml.formats.metric_names import GAP, PHONE
from ml.images.pictures import read_batches
from ml.inference.classifier import Classifier
from ml.progress import Progress, silent
from ml.vectors import Floats

BINS = 15
"""Equal-width bins of the confidence, as in Guo et al., "On Calibration of Modern Neural Networks", 2017."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of a classifier. `queries` (q,): rows of the manifest; `truths` (q,): positions in `labels`.

    `clean`, `phone`: probabilities for the two views, float32 (q, labels).
    """

    labels: tuple[str, ...]
    queries: Ints
    truths: Ints
    clean: Floats
    phone: Floats


def queries_with_known_label(dataset: EvaluationDataset, labels: tuple[str, ...]) -> tuple[Ints, dict[str, int]]:
    """Return the queries (q,) whose label is one of `labels`, and the number of the others by label.

    A photo of an unknown label is always classified wrongly, so it would not measure the classifier. Raises
    `EvaluationError` if no query is left.
    """
    query_labels = [dataset.label_names[label] for label in dataset.labels[dataset.queries]]
    has_known_label = np.isin(query_labels, labels)
    if not has_known_label.any():
        text = f"No photo has a label of the classifier ({', '.join(labels)})."
        raise EvaluationError(text + _label_column_hint(dataset, labels), code="labels_unknown")
    left_out = Counter(label for label, is_known in zip(query_labels, has_known_label, strict=True) if not is_known)
    return dataset.queries[has_known_label], dict(sorted(left_out.items()))


def predict(
    classifier: Classifier, dataset: EvaluationDataset, queries: Ints, progress: Progress = silent
) -> Predictions:
    """Classify both views of `queries` (q,), whose labels must be among the classifier's. Raises `PictureError`."""
    position = {label: number for number, label in enumerate(classifier.labels)}
    truths = np.array([position[dataset.label_names[label]] for label in dataset.labels[queries]], dtype=np.int64)

    def probabilities(view: View, label: str) -> Floats:
        read = partial(view, dataset.manifest, classifier.card.preprocessing)
        photos = progress(dataset.photos(queries), label)
        return classifier.probabilities_of_batches(read_batches(photos, read))

    clean, phone = probabilities(read_clean, "photos"), probabilities(read_phone_view, "phone photos")
    return Predictions(classifier.labels, queries, truths, clean, phone)


def score_predictions(predictions: Predictions, clusters: Ints) -> QueryScores:
    """Return the metrics over all labels. `clusters` (q,): the cluster (owner) of each query.

    `accuracy`; `macro_recall`, `macro_precision`: the means over the labels, without labels that have no photo or are
    never predicted; `expected_calibration_error`: between confidence and accuracy. `phone_…`: of the phone view;
    `gap_accuracy`: clean minus phone, the domain gap.
    """
    clean, phone = (_metrics(view, predictions.truths) for view in (predictions.clean, predictions.phone))
    gap = Metric(clean["accuracy"].columns - phone["accuracy"].columns)
    phone = {f"{PHONE}{name}": metric for name, metric in phone.items()}
    return QueryScores(clusters, clean | phone | {f"{GAP}accuracy": gap})


def score_predictions_by_label(predictions: Predictions, clusters: Ints) -> dict[str, QueryScores]:
    """Return `recall` and `precision` of each label, for both views."""
    views = (("", predictions.clean), (PHONE, predictions.phone))
    by_view = {prefix: _top_predictions(view, predictions.truths) for prefix, view in views}
    scores = {}
    for number, label in enumerate(predictions.labels):
        metrics = {}
        for prefix, (predicted, right) in by_view.items():
            metrics[f"{prefix}recall"] = Metric.mean_of(np.where(predictions.truths == number, right, np.nan))
            metrics[f"{prefix}precision"] = Metric.mean_of(np.where(predicted == number, right, np.nan))
        scores[label] = QueryScores(clusters, metrics)
    return scores


def measure_classifier(
    classifier: Classifier, manifest: Manifest, progress: Progress = silent, split: str | None = None
) -> dict[str, float]:
    """Return the metrics over the photos of `split` (by default val and test), each with `_low` and `_high`, and the
    number of queries.

    Raises `EvaluationError` or `PictureError`.
    """
    dataset = build_dataset(manifest, split)
    queries, _ = queries_with_known_label(dataset, classifier.labels)
    predictions = predict(classifier, dataset, queries, progress)
    estimates = estimate_metrics(score_predictions(predictions, dataset.owners[queries]))
    return card_metrics(estimates) | {"queries": len(queries)}


def confusion_matrix(probabilities: Floats, truths: Ints) -> Ints:
    """Return how often label i (row) was classified as label j (column), (labels, labels)."""
    labels = probabilities.shape[1]
    pairs = truths * labels + probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=labels * labels).reshape(labels, labels)


def calibration_error(means: Scores) -> Scores:
    """Return the expected calibration error (...) from means of `confidence_gaps` over queries (..., bins)."""
    error: Scores = np.abs(means).sum(axis=-1)
    return error


def confidence_gaps(probabilities: Floats, truths: Ints) -> Scores:
    """Return confidence minus correctness (0 or 1) of each query in the bin of its confidence, else 0: (q, bins).

    The mean of a column over all queries is the bin's share of them times (its confidence minus its accuracy).
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.zeros((len(truths), BINS))
    gaps[np.arange(len(truths)), bins] = confidence - _top_predictions(probabilities, truths)[1]
    return gaps


def _metrics(probabilities: Floats, truths: Ints) -> dict[str, Metric]:
    predicted, right = _top_predictions(probabilities, truths)
    labels = np.arange(probabilities.shape[1])
    return {
        "accuracy": Metric.mean_of(right),
        "macro_recall": Metric(np.where(truths[:, None] == labels, right[:, None], np.nan)),
        "macro_precision": Metric(np.where(predicted[:, None] == labels, right[:, None], np.nan)),
        "expected_calibration_error": Metric(confidence_gaps(probabilities, truths), calibration_error),
    }


def _top_predictions(probabilities: Floats, truths: Ints) -> tuple[Ints, Scores]:
    """Return the most probable label of each query (q,), and 1 where that label is right, else 0 (q,)."""
    predicted = probabilities.argmax(axis=1)
    return predicted, (predicted == truths).astype(np.float64)


def _label_column_hint(dataset: EvaluationDataset, labels: tuple[str, ...]) -> str:
    """Return a sentence that suggests a column of the manifest with these labels; "" if there is none."""
    photos = dataset.photos(dataset.queries)
    columns = sorted(name for name in photos[0].extra if any(photo.extra.get(name) in labels for photo in photos))
    return f" The column {columns[0]!r} has such labels: --label-column {columns[0]}." if columns else ""
