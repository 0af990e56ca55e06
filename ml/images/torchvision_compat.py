"""Import torchvision with any build of torch. Needed for ResNets and augmentation in training, not for serving."""

from types import ModuleType

import torch

from ml.formats.errors import InputError

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> ModuleType:
    """Return the module torchvision, whichever torch it was built for. Raises `InputError` if it is not installed.

    The wheel of the package index is built for CUDA. With a CPU build of torch its compiled operators do not load, and
    the import fails at the first operator that Python code refers to. Declaring the schemas of those operators
    (non-maximum suppression) is enough for models and transforms; the operators stay unavailable.
    """
    try:
        import torchvision
    except ImportError as error:
        raise InputError("torchvision is missing: pip install torchvision.", code="torchvision_missing") from error
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for operator in ("nms", "qnms"):
            torch.library.define(f"torchvision::{operator}", SCHEMA)
        import torchvision
    module: ModuleType = torchvision
    return module
