"""A processor that is told to do less than it can: how ordinary machines are measured on better ones.

`VQSPEECH_CPU=avx2` takes AVX-512 and bfloat16 away from everything that looks for them. Importing vqspeech applies it,
before torch and numba read what the processor has; processes that are started inherit it.
"""

from __future__ import annotations

import getpass
import os
import platform
import tempfile

from vqspeech.errors import VQSpeechError

VARIABLE = "VQSPEECH_CPU"
AVX2 = "+avx2,+fma,+avx,+sse4.2,+sse4.1,+ssse3,+sse3,+sse2,+sse,+bmi,+bmi2,+f16c,+lzcnt,+movbe,+popcnt"
# What each library looks at; a variable that is already set stays as it is.
LIMITS = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels, and those that torch.compile writes
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": AVX2,
    }
}


def limit() -> None:
    """Tell the libraries what VQSPEECH_CPU says, if it says something that makes sense."""
    given = os.environ.get(VARIABLE, "")
    for name, value in LIMITS.get(given, {}).items():
        os.environ.setdefault(name, value)
    if given in LIMITS:
        # What torch.compile keeps does not tell processors apart: code for AVX-512 would be taken, and crashes here.
        graphs = os.path.join(tempfile.gettempdir(), f"torchinductor_{getpass.getuser()}_{given}")
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", graphs)


def check_limit() -> None:
    """Refuse what `limit` passed over.

    Raises
    ------
    VQSpeechError
        If VQSPEECH_CPU names no processor that we know, or one of another make than this.
    """
    given = os.environ.get(VARIABLE, "")
    if given and given not in LIMITS:
        raise VQSpeechError(f"{VARIABLE}={given} names no processor that we know. Use {', '.join(LIMITS)}, or unset it")
    if given and platform.machine().lower() not in ("x86_64", "amd64"):
        raise VQSpeechError(f"{VARIABLE}={given} is for x86-64 processors, and this is {platform.machine()}. Unset it")
