"""Embedding pictures with a metric encoder's folder."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import ml.runtime.load
from ml.encoder.folder import read_onnx, read_weights, write_encoder
from ml.formats.encoder_folder import EncoderCorrupt, EncoderIncompatible
from ml.inference.embedder import Embedder, load_embedder
from ml.runtime.load import BATCH
from ml.runtime.onnx import onnx_forward
from ml.runtime.types import Outputs
from ml.scoring.ood import OodThreshold
from ml.vectors import NotFiniteError, ZeroVectorError
from tests.helpers.drawn_pictures import drawn_folder, drawn_picture
from tests.helpers.errors import raises_code


def counting(embedder: Embedder, batches: list[int]) -> Embedder:
    """Return an embedder without a network: vectors are mean colours, and `batches` records the batch sizes."""

    def forward(pixels):
        batches.append(len(pixels))
        return Outputs(np.repeat(pixels.mean(axis=(2, 3)) + 2.0, 34, axis=1)[:, :100])

    return replace(embedder, forward=forward)


def test_pictures_are_embedded_as_unit_vectors_in_order(shipped):
    pictures = [drawn_picture(seed) for seed in range(5)]
    vectors = shipped.embed(pictures)
    assert (vectors.shape, vectors.dtype, shipped.dim) == ((5, 100), np.float32, 100)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    for picture, vector in zip(pictures, vectors, strict=True):
        assert shipped.embed([picture])[0] == pytest.approx(vector, abs=1e-5)


def test_no_pictures_give_no_vectors(shipped):
    assert shipped.embed([]).shape == (0, 100)


def test_a_smaller_recompressed_picture_is_nearest_to_its_original(shipped, tmp_path):
    paths = drawn_folder(tmp_path, 12, size=(300, 400))
    gallery = shipped.embed([Image.open(path) for path in paths])
    small = shipped.embed([drawn_picture(seed, (300, 400)).resize((150, 200)) for seed in range(12)])
    assert (small @ gallery.T).argmax(axis=1).tolist() == list(range(12))


@pytest.mark.parametrize("count", [1, BATCH, BATCH + 1, 2 * BATCH + 5])
def test_the_network_gets_batches_of_at_most_thirty_two(shipped, count):
    batches: list[int] = []
    vectors = counting(shipped, batches).embed([Image.new("RGB", (8, 8), (seed, 0, 0)) for seed in range(count)])
    assert len(vectors) == count
    assert sum(batches) == count
    assert max(batches) <= BATCH


@pytest.mark.parametrize(("value", "error"), [(0.0, ZeroVectorError), (np.nan, NotFiniteError)])
def test_an_output_of_zeros_or_nan_is_an_error(shipped, value, error):
    broken = replace(shipped, forward=lambda pixels: Outputs(np.full((len(pixels), 100), value, np.float32)))
    with pytest.raises(error):
        broken.embed([drawn_picture(1)])


def test_an_encoder_without_ood_threshold_returns_no_ood_scores(shipped):
    silent = replace(counting(shipped, []), card=replace(shipped.card, ood_threshold=None))
    vectors, scores = silent.embed_with_ood([np.zeros((2, 3, 4, 4), dtype=np.float32)])
    assert vectors.shape == (2, 100)
    assert scores is None


def test_the_shipped_encoder_detects_pictures_that_are_not_clothes(shipped):
    pictures = np.stack([shipped.card.preprocessing(drawn_picture(seed)) for seed in range(3)])
    vectors, scores = shipped.embed_with_ood([pictures])
    assert vectors.shape == (3, 100)
    assert shipped.card.ood_threshold.not_clothes(scores).all()  # a few coloured shapes


def with_ood_scores(embedder: Embedder, scores: list[float]) -> Embedder:
    """Return an embedder without a network, with the given OOD scores for its pictures in order."""
    values = iter(scores)

    def forward(pixels):
        ood_score = np.array([next(values) for _ in pixels], dtype=np.float32)
        return Outputs(np.ones((len(pixels), 100), dtype=np.float32), ood_score)

    return replace(embedder, card=replace(embedder.card, ood_threshold=OodThreshold(2.0, 0.99)), forward=forward)


def test_the_ood_scores_of_batches_are_in_order(shipped):
    batches = [np.zeros((size, 3, 4, 4), dtype=np.float32) for size in (2, 1)]
    vectors, scores = with_ood_scores(shipped, [0.5, 2.0, 3.0]).embed_with_ood(batches)
    assert vectors.shape == (3, 100)
    assert scores.tolist() == [0.5, 2.0, 3.0]
    assert shipped.embed_batches([]).shape == (0, 100)
    assert with_ood_scores(shipped, []).embed_with_ood([])[1].shape == (0,)


def test_an_ood_score_that_is_not_finite_is_an_error(shipped):
    with raises_code(NotFiniteError, "ood_score_not_finite"):
        with_ood_scores(shipped, [np.nan]).embed_with_ood([np.zeros((1, 3, 4, 4), dtype=np.float32)])


def test_an_embedder_is_thread_safe(shipped):
    pictures = [drawn_picture(seed) for seed in range(6)]
    expected, results = shipped.embed(pictures), {}

    def work(number: int) -> None:
        results[number] = shipped.embed(pictures)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.allclose(results[number], expected, atol=1e-6) for number in range(3))


def test_onnx_and_torch_give_the_same_vectors(shipped, shipped_folder):
    on_torch = load_embedder(shipped_folder, "torch", threads=1)
    pictures = [drawn_picture(seed, (60 + 20 * seed, 200)) for seed in range(8)]
    cosines = (shipped.embed(pictures) * on_torch.embed(pictures)).sum(axis=1)
    assert (on_torch.runtime, shipped.runtime) == ("torch", "onnx")
    assert cosines.min() >= 0.9999


def test_auto_chooses_torch_only_with_cuda(shipped_folder, monkeypatch):
    monkeypatch.setattr(ml.runtime.load, "_has_cuda", lambda: False)
    assert load_embedder(shipped_folder, threads=1).runtime == "onnx"
    monkeypatch.setattr(ml.runtime.load, "_has_cuda", lambda: True)
    assert load_embedder(shipped_folder, threads=1).runtime == "torch"


def test_a_driver_without_a_device_is_not_cuda(tmp_path, monkeypatch):
    monkeypatch.setattr(ml.runtime.load, "NVIDIA_DRIVER", tmp_path / "none")
    monkeypatch.setattr(ml.runtime.load.shutil, "which", lambda _: None)
    assert not ml.runtime.load._has_cuda()
    monkeypatch.setattr(ml.runtime.load, "NVIDIA_DRIVER", tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert not ml.runtime.load._has_cuda()


# --- folders that cannot be used


def rewritten(shipped, shipped_folder, folder, *, onnx=None, weights=None, **changes):
    """Return a copy of the shipped folder with some files replaced and correct hashes."""
    card = replace(shipped.card, **changes)
    stored = read_weights(shipped_folder, shipped.card) if weights is None else weights
    write_encoder(folder, card, stored, read_onnx(shipped_folder, shipped.card) if onnx is None else onnx)
    return folder


def test_an_unknown_backbone_is_incompatible(shipped, shipped_folder, tmp_path):
    folder = rewritten(shipped, shipped_folder, tmp_path / "c", backbone="efficientnet-lite9")
    with raises_code(EncoderIncompatible, "backbone_unknown", "efficientnet-lite9"):
        load_embedder(folder, "torch")


@pytest.mark.parametrize("onnx", [b"", b"not a model", b"\x00" * 1000])
def test_a_file_that_is_not_an_onnx_model_is_corrupt(shipped, shipped_folder, tmp_path, onnx):
    folder = rewritten(shipped, shipped_folder, tmp_path / "c", onnx=onnx)
    with raises_code(EncoderCorrupt, "onnx_unreadable", "model.onnx"):
        load_embedder(folder, "onnx")


@pytest.mark.parametrize("change", [{"dim": 99}, {"preprocessing": None}, {"ood_threshold": None}])
def test_an_onnx_model_of_other_sizes_than_the_card_is_corrupt(shipped, shipped_folder, change):
    smaller = replace(shipped.card.preprocessing, height=192)
    change = {key: smaller if key == "preprocessing" else value for key, value in change.items()}
    with raises_code(EncoderCorrupt, "onnx_sizes"):
        onnx_forward(replace(shipped.card, **change), read_onnx(shipped_folder, shipped.card), 1)


@pytest.mark.parametrize("damage", ["missing", "extra", "shape"])
def test_weights_that_do_not_fit_the_network_are_corrupt(shipped, shipped_folder, tmp_path, damage):
    weights = read_weights(shipped_folder, shipped.card)
    if damage == "missing":
        del weights["head.layer.bias"]
    elif damage == "extra":
        weights["head.layer.surprise"] = weights["head.layer.bias"]
    else:
        weights["head.layer.bias"] = weights["head.layer.bias"][:50]
    with raises_code(EncoderCorrupt, "weights_mismatch"):
        load_embedder(rewritten(shipped, shipped_folder, tmp_path / "c", weights=weights), "torch")


def test_a_changed_byte_is_detected_on_loading(shipped, shipped_folder, tmp_path):
    folder = rewritten(shipped, shipped_folder, tmp_path / "c")
    for name, runtime in (("model.onnx", "onnx"), ("weights.safetensors", "torch")):
        data = bytearray((folder / name).read_bytes())
        data[-1] ^= 1
        (folder / name).write_bytes(data)
        with raises_code(EncoderCorrupt, "sha256"):
            load_embedder(folder, runtime)
