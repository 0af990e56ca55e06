"""The checks of the encoder folder format that the website and `ml` share."""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from ml.formats.encoder_folder import (
    BACKBONES,
    EncoderCorrupt,
    EncoderError,
    EncoderIncompatible,
    hash_files,
    is_encoder_name,
    read_card_entries,
    require_encoder_name,
    require_supported,
)
from tests.helpers.errors import raises_code


@pytest.mark.parametrize("name", ["a", "lite0-pca100", "A.b_c-9", "9", "x" * 100])
def test_letters_digits_dots_dashes_and_underscores_are_a_name(name: str) -> None:
    assert is_encoder_name(name)
    assert require_encoder_name(name) == name


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "a b", "a/b", "..", "ä", "a\n", "x" * 101])
def test_a_name_that_is_unsafe_as_a_folder_is_refused(name: str) -> None:
    assert not is_encoder_name(name)
    with raises_code(EncoderError, "encoder_name"):
        require_encoder_name(name)


@pytest.mark.parametrize("number", [0, 4, True, 2.0, "3", None])
def test_another_card_format_is_incompatible(number: object) -> None:
    with raises_code(EncoderIncompatible, "card_format"):
        require_supported({"format": number})


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"[" * 100_000])
def test_a_card_that_is_not_a_json_object_is_corrupt(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "card.json").write_bytes(content)
    with raises_code(EncoderCorrupt, "card_json"):
        read_card_entries(tmp_path)


def test_hashes_are_those_of_the_files_and_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"w")
    (tmp_path / "model.onnx").write_bytes(b"m")
    assert hash_files(tmp_path) == {
        "weights.safetensors": sha256(b"w").hexdigest(),
        "model.onnx": sha256(b"m").hexdigest(),
    }
    (tmp_path / "model.onnx").rename(tmp_path / "other")
    (tmp_path / "model.onnx").symlink_to(tmp_path / "other")
    with raises_code(EncoderCorrupt, "file_missing", "model.onnx"):
        hash_files(tmp_path)


def test_the_module_loads_the_standard_library_only() -> None:
    program = (
        "import sys, ml.formats.encoder_folder\n"
        "print(sorted({'numpy', 'PIL', 'safetensors', 'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert len(BACKBONES) == 6
