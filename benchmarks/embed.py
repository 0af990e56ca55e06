"""One photo and a batch of 32 through the network, by each runtime, against eager PyTorch. Prints one JSON object.

    python -m benchmarks.embed [--rounds 15] [--garments 60] [--encoder FOLDER]

The rivals take turns in every round, and the ratios are of the medians. Eager PyTorch has glibc's malloc told to keep
its pages, without which it is several times slower. `cosine` and `first_unchanged` compare the vectors of a rival with
eager's over drawn garments: the share of second views that find the same garment first among all first views. `limit`
is what plain matrix products of float32 reach here with all cores, divided by the products in the network.
"""

import argparse
import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ml.runtime.allocator import keep_freed_pages
from ml.vectors import Floats

EAGER = "eager PyTorch"
SIZES = (1, 32)
PAUSE = 0.03  # seconds before each turn: the threads of the one before wait actively for a while
ENCODER = Path(__file__).parent.parent / "ml" / "encoders" / "efficientnet-lite0-metric100"

Embed = Callable[[Floats], Floats]
"""Pixels (n, 3, h, w) to unit vectors (n, dim)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="a batch gets a fifth of them")
    parser.add_argument("--garments", type=int, default=60, help="whose vectors are compared")
    parser.add_argument("--encoder", type=Path, default=ENCODER)
    options = parser.parse_args()
    keep_freed_pages()  # before torch is imported
    print(json.dumps(measure(options), indent=2))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    rivals = loaded(options.encoder)
    views = [drawn_pixels(options.encoder, options.garments, view) for view in (0, 1)]
    found: dict[str, Any] = {"cores": os.cpu_count(), "limit": limit_of(options.encoder)}
    for size in SIZES:
        pixels = np.resize(views[0], (size, *views[0].shape[1:]))
        rounds = options.rounds if size == 1 else max(2, options.rounds // 5)
        found[f"batch of {size}"] = compared(rivals, pixels, rounds)
    vectors = {name: [embed(view) for view in views] for name, embed in rivals.items()}
    found["vectors"] = {name: likeness(theirs, vectors[EAGER]) for name, theirs in vectors.items() if name != EAGER}
    return found


def loaded(encoder: Path) -> dict[str, Embed]:
    """Eager PyTorch, and each runtime that this machine can offer."""
    from ml.inference.embedder import load_embedder
    from ml.runtime.types import RuntimeUnavailable

    rivals = {EAGER: eager(encoder), "onnx": as_embed(load_embedder(encoder, "onnx"))}
    if find_spec("openvino"):
        rivals["openvino"] = as_embed(load_embedder(encoder, "openvino"))
        with contextlib.suppress(RuntimeUnavailable):  # few processors have such instructions
            rivals["openvino bfloat16"] = as_embed(load_embedder(encoder, "openvino", precision="bfloat16"))
    return rivals


def as_embed(embedder: Any) -> Embed:
    return lambda pixels: embedder.embed_batches([pixels])


def eager(encoder: Path) -> Embed:
    """The network as one would run it first."""
    from ml.encoder.folder import read_card, read_weights
    from ml.encoder.network import network_from_card
    from ml.runtime.torch import network_forward
    from ml.vectors import unit_rows

    card = read_card(encoder)
    forward = network_forward(network_from_card(card, read_weights(encoder, card)))
    return lambda pixels: np.concatenate(
        [unit_rows(forward(pixels[start : start + 32]).outputs) for start in range(0, len(pixels), 32)]
    )


def drawn_pixels(encoder: Path, garments: int, view: int) -> Floats:
    """A view of each of so many drawn garments, as the network reads it."""
    from demo.sample import draw_photo, sample_items
    from ml.encoder.folder import read_card

    preprocess = read_card(encoder).preprocessing
    return np.stack([preprocess(draw_photo(item, view)) for item in sample_items(garments)])


def compared(rivals: dict[str, Embed], pixels: Floats, rounds: int) -> dict[str, dict[str, float]]:
    """The median time of each rival in ms, photos per second, and how many times as fast as eager it is."""
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds + 1):  # the first warms up
        for name, embed in rivals.items():
            time.sleep(PAUSE)
            started = time.perf_counter()
            embed(pixels)
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    return {
        name: {
            "ms": round(1000 * median, 2),
            "photos_per_second": round(len(pixels) / median, 1),
            "times_eager": round(medians[EAGER] / median, 2),
        }
        for name, median in medians.items()
    }


def likeness(theirs: list[Floats], exact: list[Floats]) -> dict[str, float]:
    """How near the vectors of a rival are to the exact ones; both as those of the first views and of the second."""
    cosines = (np.concatenate(theirs) * np.concatenate(exact)).sum(axis=1)
    first, expected = ((second @ one.T).argmax(axis=1) for one, second in (theirs, exact))
    return {
        "cosine_mean": round(float(cosines.mean()), 6),
        "cosine_min": round(float(cosines.min()), 6),
        "first_unchanged": round(float((first == expected).mean()), 4),
    }


def limit_of(encoder: Path) -> dict[str, float]:
    """Products: how many a photo takes, how many this machine makes in a second, and so how many photos."""
    import torch

    per_photo = products_of(encoder)
    square = torch.rand(1024, 1024)
    square @ square
    started = time.perf_counter()
    for _ in range(5):
        square @ square
    speed = 5 * 1024**3 / (time.perf_counter() - started)
    return {
        "million_products_per_photo": round(per_photo / 1e6, 1),
        "billion_products_per_second": round(speed / 1e9, 1),
        "photos_per_second": round(speed / per_photo, 1),
    }


def products_of(encoder: Path) -> int:
    """The multiplications in the convolutions of the network for one photo."""
    import torch
    from torch import nn

    from ml.encoder.folder import read_card, read_weights
    from ml.encoder.network import network_from_card

    card = read_card(encoder)
    network = network_from_card(card, read_weights(encoder, card))
    counts: list[int] = []

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        counts.append(output.numel() * layer.weight[0].numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 3, card.preprocessing.height, card.preprocessing.width))
    return sum(counts)


if __name__ == "__main__":
    main()
