"""The pictures of a run, drawn from what the network says of the held-out photos."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ml.data.photos import Ints, PhotoSet, shrunk
from ml.reporting.curves import draw_curves
from ml.reporting.maps import embedding_map
from ml.reporting.sheets import Strip, confusion_matrix, predictions_sheet, result_strips
from ml.training.classifier import ClassifierTask
from ml.training.dataset import CLEAN, TrainingData
from ml.training.metric import MetricTask
from ml.training.model import TrainableEncoder
from ml.vectors import Floats

SHEET, STRIPS, ANSWERS, THUMBNAIL, MAPPED = 40, 8, 7, 200, 2000


def show_classifier(task: ClassifierTask, encoder: TrainableEncoder, data: TrainingData, folder: Path) -> list[Path]:
    """Draw the confusion matrix and a sheet of predictions; return the files."""
    logits = task.held_out_logits(encoder, CLEAN)
    guesses = logits.argmax(axis=1).astype(np.int64)
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = chances.max(axis=1) / chances.sum(axis=1)
    return _told(data.held_out, guesses, confidence, folder)


def show_metric(
    task: MetricTask, encoder: TrainableEncoder, data: TrainingData, folder: Path, *, last: bool
) -> list[Path]:
    """Draw result strips, the worst queries, and what is taken for what by the nearest photo; `last`: the map, too."""
    clean = task.embed_held_out(encoder, CLEAN)
    gallery = np.concatenate([task.embed_train(encoder), clean])
    both = (*data.train.photos, *data.held_out.photos)
    labels = np.concatenate([data.train.labels, data.held_out.labels])
    groups = np.array([*data.train.groups, *data.held_out.groups])
    scores = clean @ gallery.T
    scores[groups[len(data.train) :, None] == groups[None, :]] = -np.inf
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :ANSWERS]
    files = []
    if np.isfinite(scores).any():  # else one contributor gave all photos, and there are no answers
        files += _told(
            data.held_out, labels[nearest[:, 0]], np.take_along_axis(scores, nearest[:, :1], 1)[:, 0], folder
        )
    strips, worst = folder / "strips.png", folder / "worst.png"
    purity = (labels[nearest] == data.held_out.labels[:, None]).mean(axis=1)

    def drawn(queries: Ints, title: str, path: Path) -> None:
        answers = [_strip(data, both, labels, int(query), nearest[query], scores[query]) for query in queries]
        result_strips(answers, title, path)

    drawn(_spread(len(data.held_out), STRIPS), "Held-out photos and their nearest of other contributors", strips)
    drawn(np.argsort(purity, kind="stable")[:STRIPS], "The worst queries", worst)
    files += [strips, worst]
    if last:
        chosen = _spread(len(gallery), MAPPED)
        embedding_map(gallery[chosen], [data.train.classes[label] for label in labels[chosen]], folder / "map.png")
        files.append(folder / "map.png")
    return files


def show_curves(rows: Sequence[Mapping[str, float]], folder: Path) -> list[Path]:
    """Draw the curves of all epochs so far."""
    return draw_curves(rows, folder)


def _told(held_out: PhotoSet, guesses: Ints, confidence: Floats, folder: Path) -> list[Path]:
    matrix, sheet = folder / "confusion.png", folder / "predictions.png"
    confusion_matrix(held_out.labels, guesses, held_out.classes, matrix)
    chosen = _spread(len(held_out), SHEET)
    predictions_sheet(
        [_thumbnail(held_out, int(at)) for at in chosen],
        [held_out.classes[held_out.labels[at]] for at in chosen],
        [held_out.classes[guesses[at]] for at in chosen],
        [float(confidence[at]) for at in chosen],
        sheet,
    )
    return [matrix, sheet]


def _strip(
    data: TrainingData, photos: Sequence[object], labels: Ints, query: int, nearest: Ints, scores: Floats
) -> Strip:
    names, label = data.train.classes, data.held_out.labels[query]
    reached = [int(at) for at in nearest if np.isfinite(scores[at])]
    return Strip(
        _thumbnail(data.held_out, query),
        names[label],
        [_of_both(data, at) for at in reached],
        [names[labels[at]] for at in reached],
        [float(scores[at]) for at in reached],
        [bool(labels[at] == label) for at in reached],
    )


def _of_both(data: TrainingData, at: int) -> Image.Image:
    return _thumbnail(data.train, at) if at < len(data.train) else _thumbnail(data.held_out, at - len(data.train))


def _thumbnail(photos: PhotoSet, at: int) -> Image.Image:
    return shrunk(photos.manifest.read(photos.photos[at]), THUMBNAIL)


def _spread(count: int, wanted: int) -> Ints:
    """`wanted` numbers below `count`, evenly apart: the same photos in every epoch, so that they can be compared."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))
