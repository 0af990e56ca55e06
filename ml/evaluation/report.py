"""What is told of an encoder, and of its difference from another: the JSON object that `ml evaluate` writes."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from ml.evaluation.comparing import Difference, differences
from ml.evaluation.intervals import Estimate, estimates
from ml.evaluation.judging import Judged
from ml.evaluation.questions import Questions

DIGITS = 6


@dataclass(frozen=True)
class Against:
    """Another encoder on the same queries, and the first one minus this one."""

    encoder: str
    figures: Mapping[str, Estimate]
    differences: Mapping[str, Difference]
    labels: Mapping[str, Mapping[str, Difference]]


@dataclass(frozen=True)
class Report:
    """Figures are shares 0..1. `owner`: what the intervals are over, `owners`: how many of them ask.

    `asked`: how many queries each label has. `left_out`: how many of labels that a classifier does not know.
    `confusion`: for a classifier, by view, how often the label of the row was taken for the label of the column, in the
    order of `classes`.
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
    against: Against | None = None


def report_of(questions: Questions, judged: Judged, other: Judged | None, resamples: int) -> Report:
    """Draw the intervals and put everything together. `other`: the encoder to compare with, asked the same."""
    asked = Counter(questions.label_names[label] for label in questions.labels[judged.queries])
    return Report(
        encoder=judged.card.identifier,
        kind=judged.card.kind,
        splits=questions.splits,
        queries=len(judged.queries),
        gallery=len(questions.gallery),
        owner=questions.owner,
        owners=len(np.unique(judged.whole.clusters)),
        resamples=resamples,
        figures=estimates(judged.whole, resamples),
        labels={label: estimates(scored, resamples) for label, scored in judged.by_label.items()},
        asked=dict(sorted(asked.items())),
        left_out=judged.left_out,
        classes=judged.card.labels,
        confusion={view: counts.tolist() for view, counts in judged.confusion.items()},
        against=None if other is None else _against(judged, other, resamples),
    )


def report_to_json(report: Report) -> str:
    """Return the report as text, an unknown number as null."""
    return json.dumps(_plain(asdict(report)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _against(judged: Judged, other: Judged, resamples: int) -> Against:
    shared = [label for label in judged.by_label if label in other.by_label]
    return Against(
        encoder=other.card.identifier,
        figures=estimates(other.whole, resamples),
        differences=differences(judged.whole, other.whole, resamples),
        labels={label: differences(judged.by_label[label], other.by_label[label], resamples) for label in shared},
    )


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value
