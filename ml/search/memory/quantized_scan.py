"""First pass of the exact search: an int8-quantised scan gives an upper bound of the score per group of rows.

A scan is limited by memory bandwidth, so it reads one byte per number, through ONNX Runtime's integer matrix product,
which keeps its right-hand side packed for the processor's vector units. The result stays exact: by the Cauchy-Schwarz
inequality the error of a rounded score is at most the sum of the two vectors' rounding errors times the other vector's
length, all of which are known. The product returns only the maximum score of each group of sixteen neighbouring rows;
the search then scores the rows of those groups that can contain one of the best rows in full precision.
"""

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.search.rows import Bools, Ints
from ml.vectors import Floats

Bytes = npt.NDArray[np.uint8]

GROUP: Final = 16
"""Rows per group."""

BLOCK: Final = 32_768
"""Most rows per block: the scores of a batch of queries with it stay in the processor's cache."""

MIN_CATEGORY_BLOCK: Final = 8_192
"""A category with at least this many rows has separate blocks: a search in it reads no other category's rows."""

SERIAL_BLOCKS: Final = 4
"""Up to this many blocks are scanned in one thread: for an occasional query, waking threads takes as long."""

ZERO_POINT: Final = 128  # zero point of the uint8 codes; unsigned on both sides, the product cannot overflow
ROUNDING_SLACK: Final = 1e-5  # more than the float32 rounding error of a bound
NO_SCORE: Final = np.iinfo(np.int32).min


@dataclass(frozen=True)
class QuantizedScan:
    """`codes`: the bytes of each block (d, rows, padded to whole groups); `starts` (b + 1): first row of each block.

    A number x is about `step` * (byte - 128). `max_error`: the largest norm of a row's rounding error; `max_norm`: the
    largest norm of a rounded row.
    """

    codes: list[Bytes]
    starts: Ints
    step: float
    max_error: float
    max_norm: float

    group = GROUP

    @classmethod
    def build(cls, vectors: Floats, categories: npt.NDArray[np.integer[Any]]) -> "QuantizedScan":
        """Quantise unit vectors (n, d), which are sorted by `categories` (n)."""
        starts = block_starts(categories)
        step = max(float(np.abs(vectors).max(initial=0.0)), 1e-6) / 127.0
        codes, max_error, max_norm = [], 0.0, 0.0
        for start, stop in itertools.pairwise(starts):
            rows = vectors[start:stop]
            rounded = np.rint(rows / np.float32(step))
            max_error = max(max_error, float(np.linalg.norm(rows - rounded * np.float32(step), axis=1).max()))
            max_norm = max(max_norm, float(np.linalg.norm(rounded, axis=1).max()) * step)
            codes.append(interleave_groups((rounded + ZERO_POINT).astype(np.uint8)))
        return cls(codes, starts, step, max_error, max_norm)

    @staticmethod
    def padded(count: int) -> int:
        """Return `count` rounded up to whole groups."""
        return -(-count // GROUP) * GROUP

    def __post_init__(self) -> None:
        object.__setattr__(self, "_products", [_product_session(block) for block in self.codes])

    def bounds(self, queries: Floats, start: int, stop: int, mask: Bools | None) -> tuple[Floats, Ints]:
        """Return `upper` (q, g) and the first rows (g) of the groups with rows from `start` to `stop` - 1.

        No score of a row in group g with query q exceeds `upper[q, g]`. `mask` (stop - start): the rows to search, None
        for all; the bound of a group without such rows is minus infinity.
        """
        codes, step, error = self._quantize(queries)
        blocks = range(int(np.searchsorted(self.starts, start, "right")) - 1, int(np.searchsorted(self.starts, stop)))
        results = _run_parallel(lambda block: self._scan_block(block, codes, start, stop, mask), blocks)
        best = np.concatenate([scores for scores, _ in results], axis=1)
        upper = best.astype(np.float32) * (step * np.float32(self.step)) + error
        upper[best == NO_SCORE] = -np.inf
        return upper, np.concatenate([first for _, first in results])

    def _scan_block(
        self, block: int, queries: Bytes, start: int, stop: int, mask: Bools | None
    ) -> tuple[npt.NDArray[np.int32], Ints]:
        """Return the best rounded scores (q, g) of a block's groups between `start` and `stop`, and the first rows."""
        begin, end = int(self.starts[block]), int(self.starts[block + 1])
        low, high = max(start, begin), min(stop, end)
        first = np.arange(begin + (low - begin) // GROUP * GROUP, high, GROUP)
        groups = slice((int(first[0]) - begin) // GROUP, (int(first[0]) - begin) // GROUP + len(first))
        product = self._products[block]  # type: ignore[attr-defined]  # derived from `codes`, so not a field
        if mask is None:
            return product.run(["best"], {"queries": queries})[0][:, groups], first
        searched = np.zeros(self.codes[block].shape[1], dtype=bool)
        searched[low - begin : high - begin] = mask[low - start : high - start]
        scores = product.run(["scores"], {"queries": queries})[0].reshape(len(queries), GROUP, -1)
        return np.where(searched.reshape(-1, GROUP).T, scores, NO_SCORE).max(axis=1)[:, groups], first

    def _quantize(self, queries: Floats) -> tuple[Bytes, Floats, Floats]:
        """Return the bytes (q, d) of queries, the step (q, 1) of each, and the largest error of a score (q, 1)."""
        step = np.maximum(np.abs(queries).max(axis=1, keepdims=True), np.float32(1e-6)) / np.float32(127.0)
        rounded = np.rint(queries / step)
        query_error = np.linalg.norm(queries - rounded * step, axis=1, keepdims=True)
        norms = np.linalg.norm(queries, axis=1, keepdims=True)
        error = norms * self.max_error + query_error * self.max_norm + ROUNDING_SLACK
        return (rounded + ZERO_POINT).astype(np.uint8), step, error.astype(np.float32)


def block_starts(categories: npt.NDArray[np.integer[Any]]) -> Ints:
    """Return the first row of each block, and the number of rows at the end.

    Large categories begin a block, and no block is longer than `BLOCK`.
    """
    count = len(categories)
    edges = np.flatnonzero(np.diff(categories)) + 1
    edges = np.array([0, *edges, count])
    large = np.diff(edges) >= MIN_CATEGORY_BLOCK
    cuts = sorted({0, count, *edges[:-1][large].tolist(), *edges[1:][large].tolist()})
    starts: list[int] = []
    for start, stop in itertools.pairwise(cuts):
        parts = -(-(stop - start) // BLOCK)
        size = -(-(stop - start) // parts // GROUP) * GROUP  # whole groups, so that only the last block needs padding
        starts += range(start, stop, size)
    return np.array([*starts, count], dtype=np.int64)


def interleave_groups(rows: Bytes) -> Bytes:
    """Transpose bytes (n, d) to (d, n'), padded to whole groups: the first rows of all groups, then the second rows.

    The maximum of each group is then an element-wise maximum of sixteen long rows, which is fast.
    """
    count, dim = rows.shape
    full = np.empty((QuantizedScan.padded(count), dim), dtype=np.uint8)
    full[:count], full[count:] = rows, rows[-1]  # a copy of a row does not change the maximum of its group
    return np.ascontiguousarray(full.reshape(-1, GROUP, dim).transpose(2, 1, 0).reshape(dim, -1))


def _product_session(codes: Bytes) -> Any:
    """Return a session that multiplies the bytes of queries with a block: "scores" (q, n) and "best" (q, groups)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # the blocks run in parallel
    options.add_external_initializers(["codes"], [onnxruntime.OrtValue.ortvalue_from_numpy(codes)])
    return onnxruntime.InferenceSession(_product_model(*codes.shape), options, providers=["CPUExecutionProvider"])


@cache
def _product_model(dim: int, count: int) -> bytes:
    from onnx import TensorProto, helper

    codes = TensorProto(name="codes", data_type=TensorProto.UINT8, dims=[dim, count])
    codes.data_location = TensorProto.EXTERNAL
    codes.external_data.add(key="location", value="given")
    constants = [
        helper.make_tensor("zero", TensorProto.UINT8, [], [ZERO_POINT]),
        helper.make_tensor("shape", TensorProto.INT64, [3], [0, GROUP, count // GROUP]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
    ]
    nodes = [
        helper.make_node("MatMulInteger", ["queries", "codes", "zero", "zero"], ["scores"]),
        helper.make_node("Reshape", ["scores", "shape"], ["grouped"]),
        helper.make_node("ReduceMax", ["grouped", "axis"], ["best"], keepdims=0),
    ]
    queries = helper.make_tensor_value_info("queries", TensorProto.UINT8, ["q", dim])
    scores = helper.make_tensor_value_info("scores", TensorProto.INT32, ["q", count])
    best = helper.make_tensor_value_info("best", TensorProto.INT32, ["q", count // GROUP])
    graph = helper.make_graph(nodes, "scan", [queries], [scores, best], [*constants, codes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def _run_parallel(work: Callable[[int], Any], blocks: range) -> list[Any]:
    """Return `work(block)` for each block, on all cores if there are many blocks: each core takes every n-th."""
    global _pool
    cores = os.cpu_count() or 1
    if len(blocks) <= SERIAL_BLOCKS or cores == 1:
        return [work(block) for block in blocks]
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(cores, thread_name_prefix="scan")
    shares = [blocks[core::cores] for core in range(min(cores, len(blocks)))]
    done = _pool.map(lambda share: [work(block) for block in share], shares)
    results = {
        block: result
        for share, part in zip(shares, done, strict=True)
        for block, result in zip(share, part, strict=True)
    }
    return [results[block] for block in blocks]
