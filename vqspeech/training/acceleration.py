"""bfloat16 and torch.compile where the machine has them, with one line that says where not and why."""

from __future__ import annotations

import shutil
import sysconfig
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from vqspeech.config import TrainConfig
from vqspeech.models.vqvae import VQVAE


@dataclass(frozen=True)
class Acceleration:
    """What was found: whether to use bfloat16, whether to compile, and sentences for the user."""

    device: str
    bfloat16: bool
    compile: bool
    notices: tuple[str, ...]

    def autocast(self) -> AbstractContextManager[object]:
        """The precision in which a forward pass runs."""
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.bfloat16)


def find_acceleration(train: TrainConfig, device: str) -> Acceleration:
    """Decide by the recipe's wishes and the machine's means."""
    notices = []
    bfloat16 = wants_bfloat16(train, device)
    if train.precision == "auto" and not bfloat16:
        notices.append("This machine has no bfloat16 arithmetic: training in float32, about half as fast.")
    compiled = train.compile == "on"
    if train.compile == "auto":
        missing = _missing_for_compile()
        compiled = missing is None
        if missing:
            notices.append(f"{missing}: training without torch.compile, about half as fast.")
    return Acceleration(device, bfloat16, compiled, tuple(notices))


def compile_model(model: VQVAE) -> None:
    """Compile the decoder's layers in place.

    All layers share one graph, so compiling takes seconds where the whole network unrolled takes minutes.
    """
    for layer in model.wavenet.layers:
        layer.compile()


def wants_bfloat16(train: TrainConfig, device: str) -> bool:
    """Whether a training multiplies in bfloat16: where the recipe says so, or leaves it to a machine that has it."""
    return train.precision == "bfloat16" or (train.precision == "auto" and has_bfloat16(device))


def has_bfloat16(device: str) -> bool:
    """Whether the device multiplies in bfloat16 by itself, rather than in emulation."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # ATEN_CPU_CAPABILITY=avx2 makes torch leave AVX-512 alone, whatever the processor has.
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and bool(torch.cpu._is_avx512_bf16_supported())


def _missing_for_compile() -> str | None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        return "No C++ compiler (g++) was found"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        return "Python's headers (python3-dev) were not found"
    return None
