"""OpenVINO and signals: its alternate signal stack never stays with a thread of the program (see
ml.runtime.openvino)."""

import sys

import pytest

from tests.helpers.fresh_interpreter import run_program
from tests.helpers.small_encoder import small_encoder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack(2) is read through Linux's stack_t")

PROGRAM = """
import ctypes, gc, os, signal, threading, time
from pathlib import Path
import numpy as np
from ml.inference.embedder import load_embedder

class Stack(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

def alternate_stack():
    stack = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return stack.start, stack.flags, stack.size

stacks = [alternate_stack()]
embedders = [load_embedder(Path(FOLDER), "openvino", threads=2)]
stacks.append(alternate_stack())
embedders[0].forward(np.zeros((5, 3, 32, 32), dtype=np.float32))
stacks.append(alternate_stack())

def release():
    embedders.clear()
    gc.collect()

thread = threading.Thread(target=release)
thread.start()
thread.join()
stacks.append(alternate_stack())
handled = []
for number in (signal.SIGALRM, signal.SIGCHLD, signal.SIGTERM):
    signal.signal(number, lambda number, frame: handled.append(number))
    os.kill(os.getpid(), number)
    time.sleep(0.05)
assert len(set(stacks)) == 1, stacks
print(len(handled), "signals handled")
"""


def test_signals_are_handled_after_another_thread_released_the_model(tmp_path):
    """On processors with AVX-512 this ended the process with SIGSEGV while the main thread had OpenVINO's stack."""
    pytest.importorskip("openvino")
    small_encoder(tmp_path / "small")
    assert run_program(PROGRAM.replace("FOLDER", repr(str(tmp_path / "small")))) == "3 signals handled"
