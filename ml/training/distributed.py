"""Distributed training: several processes started by `torchrun`, over NCCL between GPUs or gloo between CPUs."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

TIMEOUT = timedelta(days=2)
"""How long processes wait for each other. Rank 0 makes the views, validates and draws while the others wait, which
takes longer than torch's default of ten minutes. A dead process is not waited for: `torchrun` ends the others."""


@contextmanager
def process_group() -> Iterator[None]:
    """Join the process group of `torchrun` and leave it at the end; do nothing in a process started without it."""
    if "WORLD_SIZE" not in os.environ or distributed.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Return the number of this process. Rank 0 writes files and reports progress."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def training_device() -> torch.device:
    """Return the GPU of this process, or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows (n, ...) of all processes, in the order of their ranks: the same in each process.

    Gradients flow to this process' own rows alone. The processes may have different numbers of rows.
    """
    if world_size() == 1:
        return rows
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world_size())]
    distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    padded = rows.new_zeros(max(int(count.item()) for count in counts), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(parts, padded)
    parts = [part[: int(count.item())] for part, count in zip(parts, counts, strict=True)]
    parts[rank()] = rows
    return torch.cat(parts)


def all_reduce_gradients(network: Iterable[nn.Parameter], loss: Iterable[nn.Parameter]) -> None:
    """Replace the gradients in all processes by those of the joint batch.

    Each process has computed the loss of the rows from `gather_rows`. The loss reaches the network through the process'
    own rows alone, so the joint gradient of the network is the sum over the processes. The loss' own weights (proxies)
    have the whole gradient in each process, so there it is the mean, which only evens out rounding.
    """
    if world_size() == 1:
        return
    for parameters, factor in ((network, 1.0), (loss, 1 / world_size())):
        for parameter in parameters:
            if not parameter.requires_grad:
                continue
            if parameter.grad is None:  # each process must take part in each exchange
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
            parameter.grad *= factor


def broadcast_from_first(value: float) -> float:
    """Return the value of rank 0, in every process."""
    if world_size() == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=training_device())
    distributed.broadcast(shared, src=0)
    return float(shared.item())


def barrier() -> None:
    """Wait until every process has called this."""
    if world_size() > 1:
        distributed.barrier()
