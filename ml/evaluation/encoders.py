"""Evaluate encoder folders: one or several encoders of the same kind, on the same queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml.encoder.card import Card
from ml.encoder.folder import read_card
from ml.evaluation.classifier import (
    confusion_matrix,
    predict,
    queries_with_known_label,
    score_predictions,
    score_predictions_by_label,
)
from ml.evaluation.dataset import EvaluationDataset, EvaluationError
from ml.evaluation.intervals import QueryScores
from ml.evaluation.metric_encoder import score_queries, split_scores_by_label
from ml.evaluation.retrieval import Ints
from ml.formats.encoder_folder import EncoderKind
from ml.inference.classifier import load_classifier
from ml.inference.embedder import load_embedder
from ml.progress import Progress, silent
from ml.runtime.types import RuntimeChoice

KIND_TITLES: dict[EncoderKind, str] = {"metric": "metric encoder", "classifier": "classifier"}


@dataclass(frozen=True)
class EncoderScores:
    """Scores of one encoder, query by query. `queries` (q,): rows of the manifest.

    `left_out`: the number of queries whose label is not a label of the classifier, by label. `confusion`: its confusion
    matrix by view.
    """

    card: Card
    queries: Ints
    overall: QueryScores
    by_label: Mapping[str, QueryScores]
    left_out: Mapping[str, int] = field(default_factory=dict)
    confusion: Mapping[str, Ints] = field(default_factory=dict)


def evaluate_encoders(
    folders: Sequence[Path],
    dataset: EvaluationDataset,
    progress: Progress = silent,
    runtime: RuntimeChoice = "auto",
    threads: int | None = None,
) -> list[EncoderScores]:
    """Evaluate each encoder on the same queries; classifiers on the queries whose labels they share.

    All must be of one kind. Raises `EncoderCorrupt`, `EncoderIncompatible`, `EvaluationError` or `PictureError`.
    """
    kinds = [read_card(folder).kind for folder in folders]
    for folder, kind in zip(folders, kinds, strict=True):
        if kind != kinds[0]:
            first = f"{str(folders[0])!r} holds a {KIND_TITLES[kinds[0]]}"
            text = f"{first} and {str(folder)!r} a {KIND_TITLES[kind]}; compare encoders of one kind."
            raise EvaluationError(text, code="kinds_differ")
    if kinds[0] == "classifier":
        return _evaluate_classifiers(folders, dataset, progress, runtime, threads)
    return _evaluate_metric_encoders(folders, dataset, progress, runtime, threads)


def _evaluate_metric_encoders(
    folders: Sequence[Path],
    dataset: EvaluationDataset,
    progress: Progress,
    runtime: RuntimeChoice,
    threads: int | None,
) -> list[EncoderScores]:
    results = []
    for embedder in [load_embedder(folder, runtime, threads) for folder in folders]:  # all, before the long work
        scores = score_queries(embedder, dataset, progress)
        by_label = split_scores_by_label(scores, dataset)
        results.append(EncoderScores(embedder.card, dataset.queries, scores, by_label))
    return results


def _evaluate_classifiers(
    folders: Sequence[Path],
    dataset: EvaluationDataset,
    progress: Progress,
    runtime: RuntimeChoice,
    threads: int | None,
) -> list[EncoderScores]:
    classifiers = [load_classifier(folder, runtime, threads) for folder in folders]
    shared = tuple(label for label in classifiers[0].labels if all(label in other.labels for other in classifiers))
    if not shared:
        raise EvaluationError("The two classifiers have no label in common.", code="labels_differ")
    queries, left_out = queries_with_known_label(dataset, shared)
    clusters = dataset.owners[queries]
    results = []
    for classifier in classifiers:
        predictions = predict(classifier, dataset, queries, progress)
        views = {"clean": predictions.clean, "phone": predictions.phone}
        results.append(
            EncoderScores(
                card=classifier.card,
                queries=queries,
                overall=score_predictions(predictions, clusters),
                by_label=score_predictions_by_label(predictions, clusters),
                left_out=left_out,
                confusion={name: confusion_matrix(view, predictions.truths) for name, view in views.items()},
            )
        )
    return results
