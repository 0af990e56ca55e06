"""The evaluation report of an encoder, alone or compared with another: the JSON object that `ml evaluate` writes."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from ml.evaluation.comparison import Difference, paired_differences
from ml.evaluation.dataset import EvaluationDataset
from ml.evaluation.encoders import EncoderScores
from ml.evaluation.intervals import Estimate, estimate_metrics

DIGITS = 6


@dataclass(frozen=True)
class ComparisonReport:
    """The other encoder's metrics on the same queries, and the differences: the evaluated encoder minus the other."""

    encoder: str
    figures: Mapping[str, Estimate]
    differences: Mapping[str, Difference]
    labels: Mapping[str, Mapping[str, Difference]]


@dataclass(frozen=True)
class Report:
    """Field names are the keys of the JSON object. `figures`: the metrics, shares 0..1; `labels`: the metrics by label.

    `owner`: the clusters of the intervals, contributors or items; `owners`: how many of the clusters have queries.
    `asked`: the number of queries by label. `left_out`: the number of queries whose label is not a label of the
    classifier, by label. `confusion`: for a classifier, by view, how often the label of the row was classified as the
    label of the column, in the order of `classes`.
    """

    encoder: str
    kind: str
    splits: tuple[str, ...]
    queries: int
    gallery: int
    owner: str
    owners: int
    resamples: int
    figures: Mapping[str, Estimate]
    labels: Mapping[str, Mapping[str, Estimate]]
    asked: Mapping[str, int]
    left_out: Mapping[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    confusion: Mapping[str, list[list[int]]] = field(default_factory=dict)
    against: ComparisonReport | None = None


def build_report(
    dataset: EvaluationDataset, scores: EncoderScores, other: EncoderScores | None, resamples: int
) -> Report:
    """Return all metrics with their intervals. `other`: the encoder to compare with, scored on the same dataset."""
    queries_by_label = Counter(dataset.label_names[label] for label in dataset.labels[scores.queries])
    return Report(
        encoder=scores.card.identifier,
        kind=scores.card.kind,
        splits=dataset.splits,
        queries=len(scores.queries),
        gallery=len(dataset.gallery),
        owner=dataset.owner,
        owners=len(np.unique(scores.overall.clusters)),
        resamples=resamples,
        figures=estimate_metrics(scores.overall, resamples),
        labels={label: estimate_metrics(of_label, resamples) for label, of_label in scores.by_label.items()},
        asked=dict(sorted(queries_by_label.items())),
        left_out=scores.left_out,
        classes=scores.card.labels,
        confusion={view: counts.tolist() for view, counts in scores.confusion.items()},
        against=None if other is None else _compare_encoders(scores, other, resamples),
    )


def report_to_json(report: Report) -> str:
    """Return the report as JSON text, unknown numbers (NaN) as null."""
    return json.dumps(_to_json_value(asdict(report)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _compare_encoders(scores: EncoderScores, other: EncoderScores, resamples: int) -> ComparisonReport:
    shared = [label for label in scores.by_label if label in other.by_label]
    return ComparisonReport(
        encoder=other.card.identifier,
        figures=estimate_metrics(other.overall, resamples),
        differences=paired_differences(scores.overall, other.overall, resamples),
        labels={
            label: paired_differences(scores.by_label[label], other.by_label[label], resamples) for label in shared
        },
    )


def _to_json_value(value: object) -> object:
    """Return the value with finite floats rounded, and None for other floats."""
    if isinstance(value, dict):
        return {key: _to_json_value(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json_value(entry) for entry in value]
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value
