"""Run an exported network on the CPU with OpenVINO, an optional package (`pip install openvino`).

In float32 it is as fast as ONNX Runtime. It pays off on a processor that computes in bfloat16, which ONNX Runtime does
not use.

OpenVINO's CPU plugin (2026.4.1) gives the thread that loads it an alternate signal stack on processors with wide
registers (AVX-512, AMX), and frees that stack when the last `Core` or compiled model is released. Released in another
thread, the first thread keeps a freed stack, and its next signal with a Python handler ends the process with SIGSEGV.
So one `Core` serves the whole process and is never released, and only one dedicated thread loads and compiles: that
thread blocks signals, and its previous alternate stack is restored after every call.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from ml.encoder.card import Card
from ml.formats.encoder_folder import ONNX_FILE, EncoderCorrupt
from ml.runtime.types import (
    Forward,
    Outputs,
    Precision,
    RuntimeUnavailable,
    available_cores,
    require_card_sizes,
    sharded,
)
from ml.vectors import Floats

CAPABILITY = {"float32": "FP32", "bfloat16": "BF16"}
HINT = {"float32": "f32", "bfloat16": "bf16"}
FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
"""Signals about the thread itself: blocked, they would kill the process before faulthandler can print a traceback."""


def openvino_forward(card: Card, model: bytes, threads: int | None = None, precision: Precision = "float32") -> Forward:
    """Return `model` as a thread-safe function.

    `model` is an ONNX file with one input, and one output, or two if `card` has an OOD threshold. The network is
    compiled twice: for a single picture, with all threads, and for the shards of a batch, with one thread each. Raises
    `EncoderCorrupt` if they do not fit `card`, `RuntimeUnavailable` without OpenVINO or hardware for `precision`.
    """
    try:
        import_module("openvino")
    except ImportError as error:
        raise RuntimeUnavailable(
            "The runtime openvino needs the package openvino, which is not installed.", code="openvino_missing"
        ) from error
    return _plugin(os.getpid()).call(_load_forward, card, model, threads or available_cores(), precision)


def _load_forward(core: Any, card: Card, model: bytes, threads: int, precision: Precision) -> Forward:
    if CAPABILITY[precision] not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeUnavailable(f"This processor does not compute in {precision}.", code="precision_unsupported")
    try:
        network = core.read_model(model)
    except RuntimeError as error:
        raise EncoderCorrupt(f"{ONNX_FILE} is not a model that OpenVINO can load.", code="onnx_unreadable") from error
    inputs, outputs = ([_fixed_sizes(port) for port in ports] for ports in (network.inputs, network.outputs))
    require_card_sizes(card, inputs, outputs)
    settings = {"INFERENCE_PRECISION_HINT": HINT[precision], "INFERENCE_NUM_THREADS": threads}
    single = _compiled_forward(core.compile_model(network, "CPU", settings | {"PERFORMANCE_HINT": "LATENCY"}))
    if threads == 1:
        return sharded(single, single, threads)
    per_core = _compiled_forward(core.compile_model(network, "CPU", settings | {"NUM_STREAMS": threads}))
    return sharded(single, per_core, threads)


def _compiled_forward(compiled: Any) -> Forward:
    def run(pixels: Floats) -> Outputs:
        request = compiled.create_infer_request()  # an infer request serves one thread
        results = request.infer([np.ascontiguousarray(pixels, dtype=np.float32)], share_inputs=True)
        return Outputs(*(results[index] for index in range(len(compiled.outputs))))

    return run


def _fixed_sizes(port: Any) -> list[int]:
    """Return the sizes of an input or output without the batch axis; -1 for a size that is not fixed."""
    return [size.get_length() if size.is_static else -1 for size in list(port.get_partial_shape())[1:]]


class _Plugin:
    """The process's only `openvino.Core`, and the thread that loads and compiles with it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="openvino", initializer=_block_signals)
        self._core: Any = None

    def call(self, function: Callable[..., Forward], *arguments: Any) -> Forward:
        """Return `function(core, *arguments)`, run in the plugin's thread."""
        return self._thread.submit(self._call, function, *arguments).result()

    def _call(self, function: Callable[..., Forward], *arguments: Any) -> Forward:
        with _alternate_stack_restored():
            if self._core is None:
                self._core = import_module("openvino").Core()
            return function(self._core, *arguments)


@cache
def _plugin(process_id: int) -> _Plugin:
    """Return the plugin of this process: a forked child lacks its parent's thread. Entries are never dropped."""
    del process_id
    return _Plugin()


def _block_signals() -> None:
    """Block signals in this thread: the kernel may deliver one to any thread, and that thread runs the C handler."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - FAULTS)


class _Stack(ctypes.Structure):
    """Linux's `stack_t`, see sigaltstack(2)."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def _alternate_stack_restored() -> Iterator[None]:
    """Restore the alternate signal stack of this thread after the block; Linux only, elsewhere do nothing."""
    if sys.platform != "linux":
        yield
        return
    libc, before = ctypes.CDLL(None), _Stack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)
