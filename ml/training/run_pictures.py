"""Pictures of a run: confusion matrix, predictions, search results and map of the held-out photos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ml.data.photos import Ints, PhotoSet, shrink
from ml.reporting.maps import draw_embedding_map
from ml.reporting.sheets import Strip, draw_confusion_matrix, draw_predictions_sheet, draw_result_strips
from ml.training.classifier import ClassifierTask
from ml.training.dataset import CLEAN, TrainingData
from ml.training.metric import MetricTask
from ml.training.model import TrainableEncoder
from ml.vectors import Floats

SHEET, STRIPS, RESULTS, THUMBNAIL, MAPPED = 40, 8, 7, 200, 2000


def draw_classifier_pictures(
    task: ClassifierTask, encoder: TrainableEncoder, data: TrainingData, folder: Path
) -> list[Path]:
    """Draw the confusion matrix and a sheet of predictions; return the files."""
    logits = task.held_out_logits(encoder, CLEAN)
    predictions = logits.argmax(axis=1).astype(np.int64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = exponentials.max(axis=1) / exponentials.sum(axis=1)
    return _draw_predictions(data.held_out, predictions, confidence, folder)


def draw_metric_pictures(
    task: MetricTask, encoder: TrainableEncoder, data: TrainingData, folder: Path, *, last: bool
) -> list[Path]:
    """Draw result strips, worst queries, confusions of the nearest photo and, if `last`, the map; return the files."""
    clean = task.embed_held_out(encoder, CLEAN)
    gallery = np.concatenate([task.embed_train(encoder), clean])
    photos = (*data.train.photos, *data.held_out.photos)
    labels = np.concatenate([data.train.labels, data.held_out.labels])
    groups = np.array([*data.train.groups, *data.held_out.groups])
    scores = clean @ gallery.T
    scores[groups[len(data.train) :, None] == groups[None, :]] = -np.inf
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :RESULTS]
    files = []
    if np.isfinite(scores).any():  # else all photos have one contributor, and there are no results
        files += _draw_predictions(
            data.held_out, labels[nearest[:, 0]], np.take_along_axis(scores, nearest[:, :1], 1)[:, 0], folder
        )
    strips, worst = folder / "strips.png", folder / "worst.png"
    purity = (labels[nearest] == data.held_out.labels[:, None]).mean(axis=1)

    def draw_strips(queries: Ints, title: str, path: Path) -> None:
        strips_of_queries = [
            _strip(data, photos, labels, int(query), nearest[query], scores[query]) for query in queries
        ]
        draw_result_strips(strips_of_queries, title, path)

    draw_strips(
        _evenly_spaced(len(data.held_out), STRIPS), "Held-out photos and their nearest of other contributors", strips
    )
    draw_strips(np.argsort(purity, kind="stable")[:STRIPS], "The worst queries", worst)
    files += [strips, worst]
    if last:
        chosen = _evenly_spaced(len(gallery), MAPPED)
        draw_embedding_map(gallery[chosen], [data.train.classes[label] for label in labels[chosen]], folder / "map.png")
        files.append(folder / "map.png")
    return files


def _draw_predictions(held_out: PhotoSet, predictions: Ints, confidence: Floats, folder: Path) -> list[Path]:
    matrix, sheet = folder / "confusion.png", folder / "predictions.png"
    draw_confusion_matrix(held_out.labels, predictions, held_out.classes, matrix)
    chosen = _evenly_spaced(len(held_out), SHEET)
    draw_predictions_sheet(
        [_thumbnail(held_out, int(at)) for at in chosen],
        [held_out.classes[held_out.labels[at]] for at in chosen],
        [held_out.classes[predictions[at]] for at in chosen],
        [float(confidence[at]) for at in chosen],
        sheet,
    )
    return [matrix, sheet]


def _strip(
    data: TrainingData, photos: Sequence[object], labels: Ints, query: int, nearest: Ints, scores: Floats
) -> Strip:
    names, label = data.train.classes, data.held_out.labels[query]
    results = [int(at) for at in nearest if np.isfinite(scores[at])]
    return Strip(
        _thumbnail(data.held_out, query),
        names[label],
        [_gallery_thumbnail(data, at) for at in results],
        [names[labels[at]] for at in results],
        [float(scores[at]) for at in results],
        [bool(labels[at] == label) for at in results],
    )


def _gallery_thumbnail(data: TrainingData, at: int) -> Image.Image:
    return _thumbnail(data.train, at) if at < len(data.train) else _thumbnail(data.held_out, at - len(data.train))


def _thumbnail(photos: PhotoSet, at: int) -> Image.Image:
    return shrink(photos.manifest.read(photos.photos[at]), THUMBNAIL)


def _evenly_spaced(count: int, wanted: int) -> Ints:
    """Return `wanted` evenly spaced numbers below `count`: the same photos in every epoch, for comparison."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))
