import subprocess
import sys
from pathlib import Path

import pytest

from ml.formats.errors import InputError
from ml.images.torchvision_compat import import_torchvision

ROOT = Path(__file__).resolve().parents[3]


def test_models_and_transforms_work_whatever_torch_it_was_built_for():
    torchvision = import_torchvision()
    assert torchvision is sys.modules["torchvision"]
    assert torchvision.models.get_model("resnet18", weights=None).fc.in_features == 512
    assert torchvision.transforms.Resize(8).size == 8


def test_asking_twice_is_asking_once():
    assert import_torchvision() is import_torchvision()


def test_a_fresh_process_can_import_it():
    program = "from ml.images.torchvision_compat import import_torchvision; print(import_torchvision().__name__)"
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout == "torchvision\n"


def test_a_missing_torchvision_is_told_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)  # Python's own way to make an import fail
    with pytest.raises(InputError, match="pip install torchvision"):
        import_torchvision()
