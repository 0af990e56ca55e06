"""The check of an encoder folder beyond its hashes: weights, ONNX graph and one run."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.numpy
from onnx import TensorProto, helper

from ml.cli import main
from ml.formats.encoder_folder import EncoderCorrupt, EncoderIncompatible
from ml.inference.check import check_encoder
from tests.helpers.errors import raises_code


@pytest.fixture
def folder(shipped_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_folder, tmp_path / "upload"))


def changed(folder: Path, files: dict[str, bytes] | None = None, **entries: Any) -> None:
    """Write other files and entries, with the right hashes in the card."""
    card = json.loads((folder / "card.json").read_text()) | entries
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content)
        card["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))


def onnx_model(nodes: list[Any], *, tensors: tuple[TensorProto, ...] = (), side: int = 224) -> bytes:
    """Return an ONNX model with the shipped encoder's inputs and outputs and a constant result."""
    outputs = [
        helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["n", 100]),
        helper.make_tensor_value_info("strangeness", TensorProto.FLOAT, ["n"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, side, side])
    graph = helper.make_graph(nodes, "tiny", [images], outputs, list(tensors))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def constants(value: float) -> list[Any]:
    shapes = (("outputs", [1, 100]), ("strangeness", [1]))
    return [
        helper.make_node(
            "Constant",
            [],
            [name],
            value=helper.make_tensor(name, TensorProto.FLOAT, shape, [value] * int(np.prod(shape))),
        )
        for name, shape in shapes
    ]


def test_the_shipped_encoder_passes_and_its_card_is_printed(shipped_folder: Path, capsys: Any) -> None:
    assert main(["check-encoder", str(shipped_folder), "--threads", "1"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["kind"], card["dim"]) == ("metric", 100)
    assert set(card["files"]) == {"weights.safetensors", "model.onnx"}


def test_a_fault_is_printed_as_one_line(folder: Path, capsys: Any) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[1000] ^= 1
    (folder / "model.onnx").write_bytes(data)
    assert main(["check-encoder", str(folder)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "model.onnx" in lines[0]
    assert "sha256 differs" in lines[0]


@pytest.mark.parametrize("backbone", ["efficientnet-lite9", "", "none"])
def test_an_unknown_backbone_is_incompatible(folder: Path, backbone: str) -> None:
    changed(folder, backbone=backbone)
    with raises_code(EncoderIncompatible, "backbone_unknown"):
        check_encoder(folder, 1)


def test_weights_of_another_dimension_than_the_card_are_detected(folder: Path) -> None:
    changed(folder, dim=99)
    with raises_code(EncoderCorrupt, "weights_dim", 99):
        check_encoder(folder, 1)


def test_a_head_that_does_not_match_the_weights_is_detected(folder: Path) -> None:
    changed(folder, head="hidden512")
    with raises_code(EncoderCorrupt, "weights_dim"):
        check_encoder(folder, 1)


@pytest.mark.parametrize("array", [np.array([np.nan], "<f4"), np.array([1], "<i8")])
def test_weights_of_another_type_or_not_finite_are_detected(folder: Path, array: Any) -> None:
    weights = safetensors.numpy.load((folder / "weights.safetensors").read_bytes())
    changed(folder, {"weights.safetensors": safetensors.numpy.save(weights | {"trunk.more": array})})
    with raises_code(EncoderCorrupt, "weights_not_finite", "trunk.more"):
        check_encoder(folder, 1)


def test_a_pickle_instead_of_the_weights_is_not_loaded(folder: Path) -> None:
    changed(folder, {"weights.safetensors": b"\x80\x04cposix\nsystem\n(S'touch harm'\ntR."})
    with raises_code(EncoderCorrupt, "weights_unreadable"):
        check_encoder(folder, 1)


def test_an_onnx_model_for_another_picture_size_is_detected(folder: Path) -> None:
    changed(folder, {"model.onnx": onnx_model(constants(1.0), side=200)})
    with raises_code(EncoderCorrupt, "onnx_sizes"):
        check_encoder(folder, 1)


def test_an_onnx_model_that_returns_nan_is_detected(folder: Path) -> None:
    changed(folder, {"model.onnx": onnx_model(constants(float("nan")))})
    with raises_code(EncoderCorrupt, "outputs_not_finite"):
        check_encoder(folder, 1)


@pytest.mark.parametrize("content", [b"", b"\xff" * 50, b"\x80\x04cposix\nsystem\n."])
def test_a_file_that_is_not_an_onnx_model_is_detected(folder: Path, content: bytes) -> None:
    changed(folder, {"model.onnx": content})
    with raises_code(EncoderCorrupt, "onnx_unreadable", "model.onnx"):
        check_encoder(folder, 1)


@pytest.mark.parametrize("place", ["initializer", "attribute"])
def test_an_onnx_model_with_external_data_is_refused(folder: Path, place: str) -> None:
    (folder.parent / "secret").write_bytes(b"\0" * 400)
    tensor = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[1, 100], data_location=1)
    tensor.external_data.add(key="location", value="../secret")
    nodes = constants(1.0)
    if place == "attribute":
        nodes.append(helper.make_node("Constant", [], ["outside"], value=tensor))
    model = onnx_model(nodes, tensors=(tensor,) if place == "initializer" else ())
    assert onnx.load_model_from_string(model).graph.node
    changed(folder, {"model.onnx": model})
    with raises_code(EncoderCorrupt, "onnx_external_data"):
        check_encoder(folder, 1)
