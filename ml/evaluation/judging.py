"""From encoder folders to everything that is reported of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml.encoder.card import Card
from ml.encoder.folder import read_card
from ml.evaluation.classifying import answers, confusion, known_queries, scored_answers, scored_answers_by_label
from ml.evaluation.figures import scored, scored_by_label
from ml.evaluation.intervals import Scored
from ml.evaluation.questions import EvaluationError, Questions
from ml.evaluation.retrieval import Ints
from ml.formats.encoder_folder import EncoderKind
from ml.inference.classifier import load_classifier
from ml.inference.embedder import load_embedder
from ml.progress import Progress, silent
from ml.runtime.types import RuntimeChoice

IN_WORDS: dict[EncoderKind, str] = {"metric": "metric encoder", "classifier": "classifier"}


@dataclass(frozen=True)
class Judged:
    """One encoder, query by query. `queries` (q,): the rows of the manifest that were asked about.

    `left_out`: how many queries a classifier does not know the label of, by label. `confusion`: its counts by view.
    """

    card: Card
    queries: Ints
    whole: Scored
    by_label: Mapping[str, Scored]
    left_out: Mapping[str, int] = field(default_factory=dict)
    confusion: Mapping[str, Ints] = field(default_factory=dict)


def judge(
    folders: Sequence[Path],
    questions: Questions,
    progress: Progress = silent,
    runtime: RuntimeChoice = "auto",
    threads: int | None = None,
) -> list[Judged]:
    """Ask each encoder the same. All must be of one kind; classifiers are asked about the labels that all know.

    Raises `EncoderCorrupt`, `EncoderIncompatible`, `EvaluationError` or `PictureError`.
    """
    kinds = [read_card(folder).kind for folder in folders]
    for folder, kind in zip(folders, kinds, strict=True):
        if kind != kinds[0]:
            first = f"{str(folders[0])!r} holds a {IN_WORDS[kinds[0]]}"
            raise EvaluationError(f"{first} and {str(folder)!r} a {IN_WORDS[kind]}: they have no figure in common.")
    if kinds[0] == "classifier":
        return _classifiers(folders, questions, progress, runtime, threads)
    return _metric_encoders(folders, questions, progress, runtime, threads)


def _metric_encoders(
    folders: Sequence[Path], questions: Questions, progress: Progress, runtime: RuntimeChoice, threads: int | None
) -> list[Judged]:
    judged = []
    for embedder in [load_embedder(folder, runtime, threads) for folder in folders]:  # all, before the long work
        whole = scored(embedder, questions, progress)
        judged.append(Judged(embedder.card, questions.queries, whole, scored_by_label(whole, questions)))
    return judged


def _classifiers(
    folders: Sequence[Path], questions: Questions, progress: Progress, runtime: RuntimeChoice, threads: int | None
) -> list[Judged]:
    classifiers = [load_classifier(folder, runtime, threads) for folder in folders]
    shared = tuple(label for label in classifiers[0].labels if all(label in one.labels for one in classifiers))
    if not shared:
        raise EvaluationError("The two classifiers have no label in common.")
    queries, left_out = known_queries(questions, shared)
    clusters = questions.owners[queries]
    judged = []
    for classifier in classifiers:
        given = answers(classifier, questions, queries, progress)
        whole, by_label = scored_answers(given, clusters), scored_answers_by_label(given, clusters)
        counts = {
            name: confusion(view, given.truths) for name, view in (("clean", given.clean), ("phone", given.phone))
        }
        judged.append(Judged(classifier.card, queries, whole, by_label, left_out, counts))
    return judged
