"""Benchmark: speed of a whole training step, ours against a plain PyTorch loop. Prints one JSON object.

    python -m benchmarks.training [--backbone NAME] [--batch-size 16] [--steps 3] [--threads 2] [--side 224]

Same network, weights, batch size and loss. The two loops take turns step by step, so that other load on the machine
slows both. A speed is the batch size divided by the median time of a step without warm-up; `ratio` is our speed divided
by the plain one. Everything is measured in two processes, one after the other: with and without the allocator setting
of the training commands (`ml/runtime/allocator.py`). Pictures are noise and learning rates 0: neither changes the time
of a step. The output says what the two loops include.
"""

import argparse
import json
import multiprocessing
import os
from typing import get_args

from benchmarks.training_setting import Setting
from ml.formats.encoder_folder import BackboneName
from ml.runtime.allocator import keep_freed_pages

OURS = (
    "the loop of `ml train-classifier`: fetching kept views, normalising, forward, cross entropy, backward, clipping, "
    "AdamW with rates by stage, moving average of the weights; channels_last; no making of views, no validation"
)
PLAIN = (
    "forward, cross entropy, backward, AdamW; its batch lies ready in memory as normalised floats; no clipping, no "
    "moving average; float32, contiguous, eager unless the name says otherwise; batch statistics kept, as in ours. "
    "Where stages are frozen it has no gradients for them, but runs them in each step"
)


def measure_in_child(setting: Setting, with_allocator: bool) -> dict[str, object]:
    """Measure in this process, which must not have imported torch yet."""
    if with_allocator:
        keep_freed_pages()
    from benchmarks.training_steps import measure_speeds

    return measure_speeds(setting, few=not with_allocator)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", choices=get_args(BackboneName), default="efficientnet-lite0")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each loop in each comparison")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=224, help="pixels of a side of a picture")
    setting = Setting(**vars(parser.parse_args()))
    result: dict[str, object] = {**vars(setting), "cores": os.cpu_count(), "ours": OURS, "plain": PLAIN}
    context = multiprocessing.get_context("spawn")
    for name, allocator in (("with_allocator_setting", True), ("without_allocator_setting", False)):
        with context.Pool(1) as pool:
            result[name] = pool.apply(measure_in_child, (setting, allocator))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
