"""Serving and the command line load no heavy libraries; each test starts a fresh interpreter."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.drawn_pictures import drawn_folder
from tests.helpers.small_encoder import small_encoder

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "torchvision", "onnx", "sklearn", "scipy", "django", "celery"}


def loaded_after(program: str) -> set[str]:
    tail = "\nimport sys; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", program + tail], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def test_embedding_and_searching_load_neither_torch_nor_torchvision(shipped_folder):
    loaded = loaded_after(f"""
from pathlib import Path
from PIL import Image
import ml.inference.embedder
import ml.runtime.load
from ml.search import ExactIndex, build_rows
ml.runtime.load._has_cuda = lambda: False
embedder = ml.inference.embedder.load_embedder(Path({str(shipped_folder)!r}), threads=1)
vectors = embedder.embed([Image.new("RGB", (50, 50), colour) for colour in ("red", "blue")])
index = ExactIndex(embedder.card.identifier, embedder.dim)
index.update(build_rows([1, 2], [1, 2], vectors))
assert index.search(vectors[0], 1, encoder=embedder.card.identifier)[0].photo_id == 1
""")
    assert "onnxruntime" in loaded
    assert loaded & HEAVY == set()


def test_without_an_nvidia_driver_torch_is_not_imported(shipped_folder):
    loaded = loaded_after(f"""
from pathlib import Path
import ml.inference.embedder
import ml.runtime.load
ml.runtime.load.NVIDIA_DRIVER = Path("/none")
ml.runtime.load.shutil.which = lambda _: None
ml.inference.embedder.load_embedder(Path({str(shipped_folder)!r}), threads=1)
""")
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("command", ["embed", "classify"])
def test_the_serving_commands_load_no_torch(command, shipped_folder, tmp_path):
    encoder = shipped_folder
    if command == "classify":
        encoder = tmp_path / "classifier"
        small_encoder(encoder, ("Hat", "Shoes"))
    drawn_folder(tmp_path / "in", 1)
    words = [command, "--encoder", str(encoder), "--images", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    loaded = loaded_after(f"from ml.cli import main\nassert main({[*words, '--runtime', 'onnx']!r}) == 0")
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    "module", ["ml.search", "ml.cli", "ml.encoder.folder", "ml.inference.embedder", "ml.inference.classifier"]
)
def test_the_light_modules_load_no_network_library(module):
    assert loaded_after(f"import {module}") & (HEAVY | {"onnxruntime"}) == set()


def test_the_help_of_the_command_line_lists_backbones_without_torch():
    program = """
import contextlib, io
from ml.cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as out:
    main(["train-metric", "--help"])
assert "efficientnet-lite2" in out.getvalue()
"""
    assert loaded_after(program) & (HEAVY | {"onnxruntime"}) == set()
