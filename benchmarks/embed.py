"""Benchmark: embedding one photo and a batch of 32 with each runtime against eager PyTorch. Prints one JSON object.

    python -m benchmarks.embed [--rounds 15] [--garments 60] [--encoder FOLDER]

The runtimes take turns in every round, and the ratios are of the medians. Eager PyTorch runs with glibc's malloc set to
keep its pages, without which it is several times slower. `cosine` and `first_unchanged` compare its vectors with
eager's over drawn garments; `first_unchanged` is the share of second views whose nearest first view is unchanged.
`limit` is the speed of a plain float32 matrix product on all cores, divided by the multiplications of the network.
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
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.runtime.allocator import keep_freed_pages
from ml.vectors import Floats

if TYPE_CHECKING:
    from ml.inference.embedder import Embedder

EAGER = "eager PyTorch"
SIZES = (1, 32)
PAUSE = 0.03  # seconds before each turn: the previous runtime's threads still busy-wait
ENCODER = Path(__file__).parent.parent / "ml" / "encoders" / "efficientnet-lite0-metric100"

Embed = Callable[[Floats], Floats]
"""Pixels (n, 3, h, w) to unit vectors (n, dim)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="rounds of one photo; a batch gets a fifth of them")
    parser.add_argument("--garments", type=int, default=60, help="garments whose vectors are compared")
    parser.add_argument("--encoder", type=Path, default=ENCODER)
    options = parser.parse_args()
    keep_freed_pages()  # before torch is imported
    print(json.dumps(measure(options), indent=2))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Compare the times and the vectors of all runtimes."""
    runtimes = load_runtimes(options.encoder)
    views = [draw_pixels(options.encoder, options.garments, view) for view in (0, 1)]
    result: dict[str, Any] = {"cores": os.cpu_count(), "limit": measure_limit(options.encoder)}
    for size in SIZES:
        pixels = np.resize(views[0], (size, *views[0].shape[1:]))
        rounds = options.rounds if size == 1 else max(2, options.rounds // 5)
        result[f"batch of {size}"] = compare_times(runtimes, pixels, rounds)
    by_runtime = {name: [embed(view) for view in views] for name, embed in runtimes.items()}
    result["vectors"] = {
        name: compare_vectors(vectors, by_runtime[EAGER]) for name, vectors in by_runtime.items() if name != EAGER
    }
    return result


def load_runtimes(encoder: Path) -> dict[str, Embed]:
    """Load the network with eager PyTorch and with each runtime that this machine has."""
    from ml.inference.embedder import load_embedder
    from ml.runtime.types import RuntimeUnavailable

    runtimes = {EAGER: load_eager(encoder), "onnx": embed_function(load_embedder(encoder, "onnx"))}
    if find_spec("openvino"):
        runtimes["openvino"] = embed_function(load_embedder(encoder, "openvino"))
        with contextlib.suppress(RuntimeUnavailable):  # few processors have the instructions
            runtimes["openvino bfloat16"] = embed_function(load_embedder(encoder, "openvino", precision="bfloat16"))
    return runtimes


def embed_function(embedder: "Embedder") -> Embed:
    """Return a function that embeds pixels as one batch."""
    return lambda pixels: embedder.embed_batches([pixels])


def load_eager(encoder: Path) -> Embed:
    """Load the network with eager PyTorch."""
    from ml.encoder.folder import read_card, read_weights
    from ml.encoder.network import network_from_card
    from ml.runtime.torch import network_forward
    from ml.vectors import unit_rows

    card = read_card(encoder)
    forward = network_forward(network_from_card(card, read_weights(encoder, card)))
    return lambda pixels: np.concatenate(
        [unit_rows(forward(pixels[start : start + 32]).outputs) for start in range(0, len(pixels), 32)]
    )


def draw_pixels(encoder: Path, garments: int, view: int) -> Floats:
    """Draw one view of each of `garments` garments and preprocess it (n, 3, h, w)."""
    from demo.sample import draw_photo, sample_items
    from ml.encoder.folder import read_card

    preprocess = read_card(encoder).preprocessing
    return np.stack([preprocess(draw_photo(item, view)) for item in sample_items(garments)])


def compare_times(runtimes: dict[str, Embed], pixels: Floats, rounds: int) -> dict[str, dict[str, float]]:
    """Return the median time of each runtime in ms, photos per second, and its speed relative to eager."""
    times: dict[str, list[float]] = {name: [] for name in runtimes}
    for _ in range(rounds + 1):  # the first warms up
        for name, embed in runtimes.items():
            time.sleep(PAUSE)
            started = time.perf_counter()
            embed(pixels)
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(seconds[1:]) for name, seconds in times.items()}
    return {
        name: {
            "ms": round(1000 * median, 2),
            "photos_per_second": round(len(pixels) / median, 1),
            "times_eager": round(medians[EAGER] / median, 2),
        }
        for name, median in medians.items()
    }


def compare_vectors(vectors: list[Floats], eager: list[Floats]) -> dict[str, float]:
    """Compare a runtime's vectors with eager PyTorch's; both lists hold those of the first views and of the second."""
    cosines = (np.concatenate(vectors) * np.concatenate(eager)).sum(axis=1)
    first, expected = ((second @ first.T).argmax(axis=1) for first, second in (vectors, eager))
    return {
        "cosine_mean": round(float(cosines.mean()), 6),
        "cosine_min": round(float(cosines.min()), 6),
        "first_unchanged": round(float((first == expected).mean()), 4),
    }


def measure_limit(encoder: Path) -> dict[str, float]:
    """Return the multiplications per photo and per second of this machine, and the photos per second they allow."""
    import torch

    per_photo = count_multiplications(encoder)
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


def count_multiplications(encoder: Path) -> int:
    """Count the multiplications of the network's convolutions for one photo."""
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
