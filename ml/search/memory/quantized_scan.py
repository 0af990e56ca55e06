"""The first step of a search of many rows: how near each group of rows can be at most, from a byte a number.

A scan waits for memory, so it reads each number as one byte, through ONNX Runtime's integer matrix product, which keeps
its right-hand side packed as the processor's vector units want it. Nothing is lost: by Cauchy and Schwarz a rounded
score is off by no more than the lengths of what rounding took from the two vectors, and both are known. The largest
score of sixteen rows that lie side by side is all that leaves the product; whoever searches looks at the rows of the
groups that can be among the nearest in full.
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
"""Rows of a group."""

BLOCK: Final = 32_768
"""Rows of a block at most: the scores of a batch of queries with it stay in the processor's cache."""

OWN_BLOCK: Final = 8_192
"""A category with so many rows begins a block of its own, so that a search of it reads no other's rows."""

FEW_BLOCKS: Final = 4
"""So many are worked on one after the other: now and then a query comes, and to wake other threads takes as long."""

ZERO: Final = 128  # the byte that stands for the number 0: what is unsigned on both sides never overflows
SLACK: Final = 1e-5  # more than float32 can lose in bounds of a score
NONE: Final = np.iinfo(np.int32).min


@dataclass(frozen=True)
class Scan:
    """`codes`: each block's bytes (d, rows of the block, made full to whole groups); `starts` (b + 1): its first rows.

    A number x is about `step` * (byte - 128). `lost`: the greatest length of what rounding took from a row, `longest`
    that of a rounded row.
    """

    codes: list[Bytes]
    starts: Ints
    step: float
    lost: float
    longest: float

    group = GROUP

    @classmethod
    def of(cls, vectors: Floats, categories: npt.NDArray[np.integer[Any]]) -> "Scan":
        """Round unit vectors (n, d), which are in the order of `categories` (n)."""
        starts = block_starts(categories)
        step = max(float(np.abs(vectors).max(initial=0.0)), 1e-6) / 127.0
        codes, lost, longest = [], 0.0, 0.0
        for start, stop in itertools.pairwise(starts):
            rows = vectors[start:stop]
            rounded = np.rint(rows / np.float32(step))
            lost = max(lost, float(np.linalg.norm(rows - rounded * np.float32(step), axis=1).max()))
            longest = max(longest, float(np.linalg.norm(rounded, axis=1).max()) * step)
            codes.append(in_groups((rounded + ZERO).astype(np.uint8)))
        return cls(codes, starts, step, lost, longest)

    @staticmethod
    def filled_up(count: int) -> int:
        """So many rows made full to whole groups."""
        return -(-count // GROUP) * GROUP

    def __post_init__(self) -> None:
        object.__setattr__(self, "_products", [_product(block) for block in self.codes])

    def bounds(self, queries: Floats, start: int, stop: int, fits: Bools | None) -> tuple[Floats, Ints]:
        """Return `upper` (q, g) and the first rows (g) of the groups with rows from `start` to `stop` - 1.

        No score of a row in group g with query q exceeds `upper[q, g]`. `fits` (stop - start): rows that count; the
        bound of a group without any is minus infinity.
        """
        asked, step, error = self._rounded(queries)
        blocks = range(int(np.searchsorted(self.starts, start, "right")) - 1, int(np.searchsorted(self.starts, stop)))
        found = _side_by_side(lambda block: self._of_block(block, asked, start, stop, fits), blocks)
        best = np.concatenate([one for one, _ in found], axis=1)
        upper = best.astype(np.float32) * (step * np.float32(self.step)) + error
        upper[best == NONE] = -np.inf
        return upper, np.concatenate([first for _, first in found])

    def _of_block(
        self, block: int, asked: Bytes, start: int, stop: int, fits: Bools | None
    ) -> tuple[npt.NDArray[np.int32], Ints]:
        """The best rounded scores (q, g) of a block's groups that are asked for, and their first rows."""
        begin, end = int(self.starts[block]), int(self.starts[block + 1])
        low, high = max(start, begin), min(stop, end)
        first = np.arange(begin + (low - begin) // GROUP * GROUP, high, GROUP)
        groups = slice((int(first[0]) - begin) // GROUP, (int(first[0]) - begin) // GROUP + len(first))
        product = self._products[block]  # type: ignore[attr-defined]  # made of the codes, so no field
        if fits is None:
            return product.run(["best"], {"asked": asked})[0][:, groups], first
        counts = np.zeros(self.codes[block].shape[1], dtype=bool)
        counts[low - begin : high - begin] = fits[low - start : high - start]
        scores = product.run(["scores"], {"asked": asked})[0].reshape(len(asked), GROUP, -1)
        return np.where(counts.reshape(-1, GROUP).T, scores, NONE).max(axis=1)[:, groups], first

    def _rounded(self, queries: Floats) -> tuple[Bytes, Floats, Floats]:
        """The bytes (q, d) of queries, the step (q, 1) of each, and by how much a score may be off (q, 1)."""
        step = np.maximum(np.abs(queries).max(axis=1, keepdims=True), np.float32(1e-6)) / np.float32(127.0)
        rounded = np.rint(queries / step)
        lost = np.linalg.norm(queries - rounded * step, axis=1, keepdims=True)
        error = np.linalg.norm(queries, axis=1, keepdims=True) * self.lost + lost * self.longest + SLACK
        return (rounded + ZERO).astype(np.uint8), step, error.astype(np.float32)


def block_starts(categories: npt.NDArray[np.integer[Any]]) -> Ints:
    """Where blocks begin, and the number of rows: at the large categories, and so that none is too long."""
    count = len(categories)
    edges = np.flatnonzero(np.diff(categories)) + 1
    edges = np.array([0, *edges, count])
    large = np.diff(edges) >= OWN_BLOCK
    cuts = sorted({0, count, *edges[:-1][large].tolist(), *edges[1:][large].tolist()})
    starts: list[int] = []
    for start, stop in itertools.pairwise(cuts):
        parts = -(-(stop - start) // BLOCK)
        size = -(-(stop - start) // parts // GROUP) * GROUP  # whole groups, so that only the last needs filling up
        starts += range(start, stop, size)
    return np.array([*starts, count], dtype=np.int64)


def in_groups(rows: Bytes) -> Bytes:
    """Turn bytes (n, d) to (d, n'), made full to whole groups: the first rows of all groups, then the second.

    So the largest of each group is the largest of sixteen long rows of numbers, which is quick to find.
    """
    count, dim = rows.shape
    full = np.empty((Scan.filled_up(count), dim), dtype=np.uint8)
    full[:count], full[count:] = rows, rows[-1]  # a copy of a row changes the best of no group
    return np.ascontiguousarray(full.reshape(-1, GROUP, dim).transpose(2, 1, 0).reshape(dim, -1))


def _product(codes: Bytes) -> Any:
    """The integer product of any queries' bytes with a block's: "scores" (q, n), and "best" (q, groups)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # the blocks are what is worked on side by side
    options.add_external_initializers(["codes"], [onnxruntime.OrtValue.ortvalue_from_numpy(codes)])
    return onnxruntime.InferenceSession(_product_model(*codes.shape), options, providers=["CPUExecutionProvider"])


@cache
def _product_model(dim: int, count: int) -> bytes:
    from onnx import TensorProto, helper

    codes = TensorProto(name="codes", data_type=TensorProto.UINT8, dims=[dim, count])
    codes.data_location = TensorProto.EXTERNAL
    codes.external_data.add(key="location", value="given")
    constants = [
        helper.make_tensor("zero", TensorProto.UINT8, [], [ZERO]),
        helper.make_tensor("shape", TensorProto.INT64, [3], [0, GROUP, count // GROUP]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
    ]
    nodes = [
        helper.make_node("MatMulInteger", ["asked", "codes", "zero", "zero"], ["scores"]),
        helper.make_node("Reshape", ["scores", "shape"], ["grouped"]),
        helper.make_node("ReduceMax", ["grouped", "axis"], ["best"], keepdims=0),
    ]
    asked = helper.make_tensor_value_info("asked", TensorProto.UINT8, ["q", dim])
    scores = helper.make_tensor_value_info("scores", TensorProto.INT32, ["q", count])
    best = helper.make_tensor_value_info("best", TensorProto.INT32, ["q", count // GROUP])
    graph = helper.make_graph(nodes, "scan", [asked], [scores, best], [*constants, codes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def _side_by_side(work: Callable[[int], Any], blocks: range) -> list[Any]:
    """`work` for each block, on all cores, where there are enough: each takes every n-th."""
    global _pool
    cores = os.cpu_count() or 1
    if len(blocks) <= FEW_BLOCKS or cores == 1:
        return [work(block) for block in blocks]
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(cores, thread_name_prefix="scan")
    shares = [blocks[core::cores] for core in range(min(cores, len(blocks)))]
    done = _pool.map(lambda share: [work(block) for block in share], shares)
    found = {
        block: one for share, part in zip(shares, done, strict=True) for block, one in zip(share, part, strict=True)
    }
    return [found[block] for block in blocks]
