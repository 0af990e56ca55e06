"""The runtimes return the same vectors and scores, and report what they cannot do by code."""

import sys
import threading

import numpy as np
import pytest

from ml.encoder.folder import read_card, read_onnx, write_encoder
from ml.encoder.network import network_weights
from ml.formats.encoder_folder import EncoderCorrupt
from ml.inference.embedder import load_embedder
from ml.runtime.load import BATCH
from ml.runtime.openvino import openvino_forward
from ml.runtime.types import CORE_BATCH, Outputs, RuntimeUnavailable, available_cores, concatenate_outputs, sharded
from tests.helpers.drawn_pictures import drawn_picture
from tests.helpers.errors import raises_code
from tests.helpers.small_encoder import random_pixels, small_encoder, small_network


def has_bfloat16() -> bool:
    openvino = pytest.importorskip("openvino")
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(scope="module")
def folder_with_ood(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtimes") / "ood"
    small_encoder(folder, has_ood=True)
    return folder


@pytest.fixture(scope="module")
def by_openvino(shipped_folder):
    pytest.importorskip("openvino")
    return load_embedder(shipped_folder, "openvino", threads=2)


def test_openvino_equals_onnx_runtime(shipped, by_openvino):
    pictures = [drawn_picture(seed, (60 + 20 * seed, 200)) for seed in range(5)]
    assert by_openvino.runtime == "openvino"
    together, single = by_openvino.embed(pictures), by_openvino.embed(pictures[:1])
    assert (shipped.embed(pictures) * together).sum(axis=1).min() >= 0.9999
    assert single[0] @ together[0] >= 0.99999


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_all_runtimes_agree_on_the_ood_score(folder_with_ood, runtime, count):
    if runtime == "openvino":
        pytest.importorskip("openvino")
    batches = [random_pixels(count)] if count else []
    actual, expected = (
        load_embedder(folder_with_ood, one, threads=1).embed_with_ood(batches) for one in (runtime, "onnx")
    )
    assert actual[0] == pytest.approx(expected[0], abs=1e-4)
    assert actual[1] == pytest.approx(expected[1], rel=1e-3)


def test_openvino_is_thread_safe(by_openvino):
    pixels = [by_openvino.card.preprocessing(drawn_picture(seed))[None] for seed in range(4)]
    expected = [by_openvino.forward(one).outputs for one in pixels]
    results: dict[int, np.ndarray] = {}

    def run(number: int) -> None:
        results[number] = by_openvino.forward(pixels[number]).outputs

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results[number] == pytest.approx(expected[number], abs=1e-4) for number in range(4))


def test_without_openvino_its_runtime_is_unavailable(shipped_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with raises_code(RuntimeUnavailable, "openvino_missing"):
        load_embedder(shipped_folder, "openvino")


@pytest.mark.parametrize("onnx", [b"", b"not a model"])
def test_a_file_that_openvino_cannot_read_is_corrupt(tmp_path, onnx):
    pytest.importorskip("openvino")
    card = small_encoder(tmp_path / "small")
    write_encoder(tmp_path / "broken", card, network_weights(small_network(5)), onnx)
    with raises_code(EncoderCorrupt, "onnx_unreadable", "model.onnx"):
        load_embedder(tmp_path / "broken", "openvino")


def test_openvino_refuses_a_model_of_other_sizes_than_the_card(folder_with_ood, shipped):
    pytest.importorskip("openvino")
    with raises_code(EncoderCorrupt, "onnx_sizes"):
        openvino_forward(shipped.card, read_onnx(folder_with_ood, read_card(folder_with_ood)), 1)


def test_onnx_runtime_refuses_bfloat16(shipped_folder):
    with raises_code(RuntimeUnavailable, "precision_unsupported", "bfloat16"):
        load_embedder(shipped_folder, "onnx", precision="bfloat16")


def test_bfloat16_by_openvino_is_close_or_refused(shipped, shipped_folder):
    pictures = [drawn_picture(seed) for seed in range(3)]
    if not has_bfloat16():
        with raises_code(RuntimeUnavailable, "precision_unsupported"):
            load_embedder(shipped_folder, "openvino", precision="bfloat16")
        return
    rounded = load_embedder(shipped_folder, "openvino", precision="bfloat16").embed(pictures)
    assert (rounded * shipped.embed(pictures)).sum(axis=1).min() > 0.99


def test_bfloat16_by_torch_is_close(folder_with_ood):
    """Without a GPU it is autocast on the CPU: slow, but the same code."""
    exact, rounded = (
        load_embedder(folder_with_ood, "torch", threads=1, precision=precision).embed_with_ood([random_pixels(6)])
        for precision in ("float32", "bfloat16")
    )
    cosines = (exact[0] * rounded[0]).sum(axis=1)
    assert 0.995 < cosines.min() < 1
    assert (exact[0] != rounded[0]).any()
    assert rounded[1] == pytest.approx(exact[1], rel=0.1)
    assert rounded[0].dtype == rounded[1].dtype == np.float32


# --- sharded batches


def numbered(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1)


class RecordingForward:
    """Return each picture's number, and record the sizes of the batches."""

    def __init__(self, name: str, sizes: list[tuple[str, int]], *, has_ood: bool = True) -> None:
        self.name, self.sizes, self.has_ood = name, sizes, has_ood

    def __call__(self, pixels: np.ndarray) -> Outputs:
        self.sizes.append((self.name, len(pixels)))
        return Outputs(pixels.reshape(-1, 1), pixels.ravel() if self.has_ood else None)


@pytest.mark.parametrize("count", [1, CORE_BATCH, CORE_BATCH + 1, BATCH])
def test_a_batch_is_sharded_and_its_order_kept(count):
    sizes: list[tuple[str, int]] = []
    outputs = sharded(RecordingForward("single", sizes), RecordingForward("per_core", sizes), 2)(numbered(count))
    assert outputs.outputs.ravel().tolist() == outputs.ood_score.tolist() == list(range(count))
    assert {name for name, _ in sizes} == {"single" if count == 1 else "per_core"}
    assert max(size for _, size in sizes) <= CORE_BATCH
    assert sum(size for _, size in sizes) == count


def test_shards_without_ood_scores_have_none_together():
    sizes: list[tuple[str, int]] = []
    assert (
        sharded(RecordingForward("", sizes), RecordingForward("", sizes, has_ood=False), 2)(numbered(5)).ood_score
        is None
    )
    assert concatenate_outputs([Outputs(np.ones((2, 3), np.float32))]).outputs.shape == (2, 3)


def test_at_least_one_core_is_available():
    assert available_cores() >= 1


def test_portions_are_small_on_a_cpu_and_whole_batches_for_torch(shipped, folder_with_ood):
    assert shipped.batch_size == CORE_BATCH
    assert load_embedder(folder_with_ood, "torch", threads=1).batch_size == BATCH
