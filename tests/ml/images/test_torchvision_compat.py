import subprocess
import sys
from pathlib import Path

from ml.formats.errors import InputError
from ml.images.torchvision_compat import import_torchvision
from tests.helpers.errors import raises_code

ROOT = Path(__file__).resolve().parents[3]


def test_models_and_transforms_work_with_any_build_of_torch():
    torchvision = import_torchvision()
    assert torchvision is sys.modules["torchvision"]
    assert torchvision.models.get_model("resnet18", weights=None).fc.in_features == 512
    assert torchvision.transforms.Resize(8).size == 8


def test_a_second_import_returns_the_same_module():
    assert import_torchvision() is import_torchvision()


def test_a_fresh_process_can_import_it():
    program = "from ml.images.torchvision_compat import import_torchvision; print(import_torchvision().__name__)"
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout == "torchvision\n"


def test_a_missing_torchvision_is_an_error_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)  # Python's own way to make an import fail
    with raises_code(InputError, "torchvision_missing", "pip install torchvision"):
        import_torchvision()
