"""The engines there are, by name."""

from __future__ import annotations

import importlib.util

from vqspeech.errors import DependencyError, VQSpeechError
from vqspeech.sampling.interface import Engine

PRECISIONS = ("auto", "float32", "float16", "bfloat16")


def get_engine(name: str = "auto", precision: str = "auto") -> Engine:
    """The engine called "torch" (the reference) or "numba" (compiled); "auto" is the fastest one installed.

    Precision "float32" is exact; "float16" rounds the weights of the products; "bfloat16" rounds weights and inputs, to
    fewer digits. "auto" is the fastest that the engine has on this processor: bfloat16 (AVX512-BF16), else float16
    (F16C), else float32; and float32 with the torch engine, or where float16 does not hold a model's weights.

    Raises
    ------
    VQSpeechError
        If there is no engine or precision of this name, or the machine lacks it.
    DependencyError
        If numba is asked for and not installed.
    """
    if name not in ("auto", "torch", "numba"):
        raise VQSpeechError(f"no sampling engine {name!r}. Use auto, torch or numba")
    if precision not in PRECISIONS:
        raise VQSpeechError(f"no precision {precision!r}. Use {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}")
    has_numba = importlib.util.find_spec("numba") is not None
    if name == "numba" and not has_numba:
        raise DependencyError("the numba engine needs the package numba. Run: pip install numba, or use --engine torch")
    if name == "torch" or not has_numba:
        from vqspeech.sampling.reference import TorchEngine

        return TorchEngine(precision)
    from vqspeech.sampling.compiled import NumbaEngine

    return NumbaEngine(precision)
