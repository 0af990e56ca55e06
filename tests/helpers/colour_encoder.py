"""Encoder folders whose network is the mean colour of a picture times a matrix: real files, predictable outputs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from ml.data.manifest import Photo, write_manifest
from ml.encoder.card import Card
from ml.encoder.folder import write_encoder
from ml.images.preprocess import Preprocess

PREPROCESSING = Preprocess(8, 8, "squash", "bilinear", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
LOOKS = np.eye(3)
"""The matrix whose vectors are the colours themselves, each channel from -1 to 1."""

COLOURS = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}


def colour_encoder(folder: Path, matrix: np.ndarray = LOOKS, labels: Sequence[str] = ()) -> Path:
    """Write an encoder that returns `matrix` (dim, 3) times the mean colour: a classifier if there are labels."""
    weights = np.asarray(matrix, dtype=np.float32)
    card = Card(
        name=folder.name,
        kind="classifier" if labels else "metric",
        backbone="efficientnet-lite0",
        pooling="mean",
        dim=len(weights),
        preprocessing=PREPROCESSING,
        labels=tuple(labels),
    )
    write_encoder(folder, card, {"matrix": weights}, _onnx_model(weights))
    return folder


def coloured_manifest(path: Path, photos: Sequence[Photo]) -> Path:
    """Write a manifest and one picture per photo, in the colour of its column `colour` or else its label."""
    for at, photo in enumerate(photos):
        file = path.parent / photo.path
        file.parent.mkdir(exist_ok=True)
        coloured(COLOURS[photo.extra.get("colour", photo.label)], at).save(file)
    write_manifest(path, photos)
    return path


def coloured(colour: tuple[int, int, int], seed: int) -> Image.Image:
    """Return a picture of one colour, which deviates a little from `colour`, depending on the seed."""
    shade = np.random.default_rng(seed).integers(-20, 21, 3)
    return Image.new("RGB", (24, 32), tuple(int(channel) for channel in np.clip(colour + shade, 0, 255)))


def _onnx_model(weights: np.ndarray) -> bytes:
    nodes = [
        helper.make_node("GlobalAveragePool", ["pictures"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["colour"]),
        helper.make_node("Gemm", ["colour", "matrix"], ["outputs"], transB=1),
    ]
    sides = ["n", 3, PREPROCESSING.height, PREPROCESSING.width]
    graph = helper.make_graph(
        nodes,
        "colour",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["n", len(weights)])],
        [numpy_helper.from_array(weights, "matrix")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
