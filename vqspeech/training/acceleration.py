"""bfloat16 and torch.compile where the machine has them, with one line that says where not and why."""

from __future__ import annotations

import shutil
import sysconfig
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from vqspeech.config import TrainConfig
from vqspeech.nn.wavenet import WaveNet


@dataclass(frozen=True)
class Acceleration:
    """What was found: whether to use bfloat16, to compile, and, rather than that, to take loops of our own that fuse a
    WaveNet's step (`nn.fused`); and sentences for the user."""

    device: str
    bfloat16: bool
    compile: bool
    notices: tuple[str, ...]
    fused: bool = False
    unfused: tuple[str, ...] = ()  # sentences where a WaveNet cannot be fused

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
    fused = train.compile == "auto" and device == "cpu"
    unfused: tuple[str, ...] = ()
    if train.compile == "auto":
        missing = _missing_for_compile()
        compiled = missing is None
        if missing:
            unfused = (f"{missing}: training without torch.compile, about half as fast.",)
    return Acceleration(device, bfloat16, compiled, (*notices, *(() if fused else unfused)), fused, unfused)


def accelerate(wavenet: WaveNet, acceleration: Acceleration) -> tuple[str, ...]:
    """Give a decoder the fastest way to its loss: fused, else compiled, else as it is.

    Returns what `Acceleration.notices` could not say before the network was known.
    """
    if fuse(wavenet, acceleration):
        return ()
    if not acceleration.compile:
        return acceleration.unfused if acceleration.fused else ()
    # All layers share one graph, so compiling takes seconds where the whole network unrolled takes minutes.
    for layer in wavenet.layers:
        layer.compile()
    # In eager mode the log-softmax over all classes takes a quarter of a step.
    wavenet.cross_entropy = torch.compile(wavenet.cross_entropy)
    return ()


def fuse(wavenet: WaveNet, acceleration: Acceleration) -> bool:
    """Let a WaveNet compute its loss and gradients in one function, if it can; returns whether it does."""
    if acceleration.fused and wavenet.samples_per_step == 1 and wavenet.period_ago is None:
        from vqspeech.nn.fused.function import Parameters, can_fuse

        wavenet.fused = can_fuse(Parameters.of(wavenet), bfloat16=acceleration.bfloat16)
    return wavenet.fused


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
