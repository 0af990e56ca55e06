"""Compress an exported ONNX model: float16 storage of weights that float16 holds exactly, same results."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def halve_exact_weights(model_bytes: bytes) -> bytes:
    """Store as float16 every float32 matrix or filter whose values float16 holds exactly, with a Cast back to float32.

    ONNX Runtime folds the Cast when it loads the model, so the arithmetic, its speed and its results stay those of the
    float32 model; only the file shrinks. Weights that were rounded to float16 before the export qualify, others stay.
    """
    model = onnx.load_model_from_string(model_bytes)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, name + ".half"))
        casts.append(helper.make_node("Cast", [name + ".half"], [name], to=TensorProto.FLOAT))
    nodes = casts + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
