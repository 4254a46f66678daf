"""Several processes under `torchrun`: which one am I, and sums over all of them.

With a single process every function here is the identity, so callers need no special case.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


def rank() -> int:
    """This process's number, 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together, 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_device() -> str:
    """The device of this process: its own CUDA device where there is one, else the CPU."""
    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def start_processes() -> None:
    """Join the process group that torchrun announced (NCCL on GPU, gloo on CPU)."""
    import torch
    import torch.distributed as dist

    if world_size() > 1 and not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(local_device())  # what names no device goes to the own one
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def stop_processes() -> None:
    """Leave the process group, together unless an error is on its way."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        if sys.exc_info()[0] is None:
            dist.barrier()  # who leaves while others still talk takes their connection down
        dist.destroy_process_group()


def barrier() -> None:
    """Wait for all other processes."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def share(value: T) -> T:
    """The first process's plain value in every process; the others wait for it."""
    import torch
    import torch.distributed as dist

    shared = [value]
    if dist.is_available() and dist.is_initialized():
        dist.broadcast_object_list(shared, src=0, device=torch.device(local_device()))
    return shared[0]


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum of `x` over processes; no gradient."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(x)
    return x


def all_reduce_mean(x: Tensor) -> Tensor:
    """Mean of `x` over processes, with gradient."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        from torch.distributed.nn.functional import all_reduce

        return all_reduce(x) / dist.get_world_size()
    return x


def broadcast(x: Tensor) -> Tensor:
    """The first process's `x` in every process."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.broadcast(x, src=0)
    return x
