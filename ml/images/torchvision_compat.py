"""torchvision, imported where it is needed: for ResNets and augmentations, so for training. Serving goes without it."""

from types import ModuleType

import torch

from ml.formats.errors import InputError

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> ModuleType:
    """Return the module torchvision, whichever torch it was built for. Raises `InputError` where there is none.

    The wheel of the package index is built for CUDA. Beside a torch for the CPU its compiled operators do not load, and
    the import stops at the first that Python code describes. Declaring those is enough for models and transforms; the
    operators themselves, non-maximum suppression, stay unavailable. An import that works is left alone.
    """
    try:
        import torchvision
    except ImportError as error:
        raise InputError("This needs torchvision: pip install torchvision.") from error
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for operator in ("nms", "qnms"):
            torch.library.define(f"torchvision::{operator}", SCHEMA)
        import torchvision
    module: ModuleType = torchvision
    return module
