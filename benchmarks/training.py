"""The speed of a whole training step, ours against a plain PyTorch loop. Prints one JSON object.

    python -m benchmarks.training [--backbone NAME] [--batch-size 16] [--steps 3] [--threads 2] [--side 224]

Same network, same weights, same batch size, same loss; one step of ours, one of the plain loop, and so on, so that
what else the machine does falls on both. A speed is the batch size over the median time of a step, warm-up left out;
`ratio` is the first over the plain one. On a CPU everything is done in two processes, one after the other: with and
without the setting of the allocator that the training commands make (`ml/runtime/allocator.py`). Pictures are noise and
learning rates 0: neither changes the time of a step. What the two loops include is in the output.
"""

import argparse
import json
import multiprocessing
import os
from dataclasses import dataclass
from typing import get_args

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


@dataclass(frozen=True)
class Setting:
    """What is measured, and in how much of everything."""

    backbone: BackboneName
    batch_size: int
    steps: int
    threads: int
    side: int


def measured(setting: Setting, allocator: bool) -> dict[str, object]:
    """Return the speeds in this process, which must not have imported torch yet."""
    if allocator:
        keep_freed_pages()
    from benchmarks.training_steps import speeds

    return speeds(setting, few=not allocator)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", choices=get_args(BackboneName), default="efficientnet-lite0")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3, help="of each loop in each comparison, besides the warm-up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=224, help="pixels of a side of a picture")
    setting = Setting(**vars(parser.parse_args()))
    result: dict[str, object] = {**vars(setting), "cores": os.cpu_count(), "ours": OURS, "plain": PLAIN}
    context = multiprocessing.get_context("spawn")
    for name, allocator in (("with_allocator_setting", True), ("without_allocator_setting", False)):
        with context.Pool(1) as pool:
            result[name] = pool.apply(measured, (setting, allocator))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
