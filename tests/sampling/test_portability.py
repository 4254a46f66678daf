"""Processors without AVX-512 run the compiled engine too, and a kernel cache that cannot be used stops nothing."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from patience import HUNG_S
from vqspeech.audio import load_audio
from wavenets import HOP, in_float16, make_condition, make_wavenet, parallel_logits

IS_X86 = platform.machine() == "x86_64"
PROCESSORS = {"generic": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+sse2,+sse" if IS_X86 else ""}}
PROCESSORS |= {"avx2": {"VQSPEECH_CPU": "avx2"}} if IS_X86 else {}
# What these processors do not have.
FORBIDDEN = {"generic": ("ymm", "zmm", "vdpbf16ps", "vcvtph2ps"), "avx2": ("zmm", "vdpbf16ps")}
CHOSEN = {"generic": "float32", "avx2": "float16"}  # by "auto"

SCRIPT = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "helpers")!r})
import vqspeech
import numpy as np
from wavenets import HOP, make_condition, make_wavenet
from vqspeech.errors import VQSpeechError
from vqspeech.sampling import kernel, layout, tile
from vqspeech.sampling.engines import get_engine
precisions = dict(zip(layout.ELEMENTS.values(), layout.ELEMENTS))
classes = np.random.default_rng(1).integers(0, 256, 24 * HOP)
logits = get_engine("numba").open(make_wavenet(), HOP, seed=0, utterance=0).force(classes, make_condition(24))
np.save(sys.argv[1], logits)
refusals = dict()
for name in layout.ELEMENTS:
    try:
        get_engine("numba", name)
    except VQSpeechError as error:
        refusals[name] = str(error)
dtype = get_engine("numba").dtype
code = "".join(kernel.LOOP.kept(np.dtype(dtype).name).inspect_asm().values())
used = [name for name in ("xmm", "ymm", "zmm", "vdpbf16ps", "vcvtph2ps") if name in code]
print(json.dumps([refusals, used, len(tile.product.signatures), precisions[dtype]]))
"""


@pytest.fixture(scope="module")
def fallbacks(tmp_path_factory) -> dict[str, tuple[np.ndarray, dict[str, str], list[str], int, str]]:
    """For each processor: logits of the compiled engine, the precisions that it refuses and how, the registers and
    instructions it uses, the forms of a product that it compiled, and the precision it chose."""
    folder = tmp_path_factory.mktemp("processors")
    running = {}
    for name, processor in PROCESSORS.items():
        running[name] = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder / f"{name}.npy")],
            env=os.environ | processor | {"NUMBA_CACHE_DIR": str(folder / name)},  # only what is new can be inspected
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    found = {}
    for name, process in running.items():
        out, err = process.communicate(timeout=HUNG_S)
        assert process.returncode == 0, err
        found[name] = (np.load(folder / f"{name}.npy"), *json.loads(out))
    return found


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_compiled_engine_on_this_processor_equals_parallel_forward(fallbacks, name):
    logits = fallbacks[name][0]
    classes = np.random.default_rng(1).integers(0, 256, 24 * HOP)
    wavenet = in_float16(make_wavenet()) if CHOSEN[name] == "float16" else make_wavenet()
    expected = parallel_logits(wavenet, classes, make_condition(24), 128)
    assert expected.std() > 1
    assert np.abs(logits - expected).max() <= 1e-4
    assert fallbacks[name][4] == CHOSEN[name]


@pytest.mark.parametrize("name", PROCESSORS)
def test_its_code_uses_no_instruction_that_this_processor_lacks(fallbacks, name):
    used = fallbacks[name][2]
    assert not {*used} & {*FORBIDDEN[name]}
    assert not IS_X86 or used


@pytest.mark.parametrize("name", PROCESSORS)
def test_one_form_of_a_product_serves_all(fallbacks, name):
    """Each form takes a second to compile before the first sound."""
    assert fallbacks[name][3] == 1


@pytest.mark.parametrize("name", PROCESSORS)
def test_what_this_processor_lacks_is_refused(fallbacks, name):
    refusals = fallbacks[name][1]
    assert refusals["bfloat16"] == "this processor has no bfloat16 products (AVX512-BF16). Use float16 or float32"
    if name == "generic":
        assert refusals["float16"] == "this processor cannot convert float16 (F16C). Use float32"
    assert len(refusals) == (2 if name == "generic" else 1)


def test_a_kernel_cache_that_cannot_be_written_stops_no_conversion(place, tiny_run):
    Path("file").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-c", "from vqspeech.cli.main import main; main()", "convert", "in.wav"]
        + ["--speaker", "ann", "--model", str(tiny_run)],
        env=os.environ | {"NUMBA_CACHE_DIR": str(Path("file/deeper").absolute())},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "in.ann.wav\n"), done.stderr
    assert len(load_audio("in.ann.wav")) == 2000
    assert Path("file").read_text() == "in the way"


@pytest.mark.slow
@pytest.mark.parametrize("length", [0, 100])
def test_a_damaged_kernel_cache_is_made_anew(place, tiny_run, length):
    """As after a crash or on a full disk: the file empty, or the code cut short."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(Path("cache").absolute())}

    def convert() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from vqspeech.cli.main import main; main()", "convert", "in.wav", "--force"]
            + ["--speaker", "ann", "--model", str(tiny_run)],
            env=environment,
            capture_output=True,
            text=True,
        )

    assert convert().returncode == 0
    expected = Path("in.ann.wav").read_bytes()
    kept = list(Path("cache").rglob("*loop_*.nbc"))
    assert kept
    for file in kept:
        os.truncate(file, length)
    done = convert()
    assert (done.returncode, done.stdout) == (0, "in.ann.wav\n"), done.stderr
    assert Path("in.ann.wav").read_bytes() == expected
    assert not any(file.exists() and file.stat().st_size == length for file in kept)
