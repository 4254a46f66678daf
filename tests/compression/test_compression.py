"""Compression: the prior in whole numbers, the range coder on its tables, the file, and damaged ones."""

from __future__ import annotations

import hashlib
import math
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from priors import make_flat_prior, make_prior, write_run
from vqspeech.audio import load_audio
from vqspeech.compression import coder, compress, compress_file, container, decompress, decompress_file, read_compressed
from vqspeech.compression.container import CRC, HEADER, OVERHEAD, read_container, to_bytes
from vqspeech.compression.integers import IntegerPrior, exp_negative, product, share_out, sigmoid, tanh
from vqspeech.conversion import SamplingOptions, decode
from vqspeech.conversion.codes import encode
from vqspeech.errors import CheckpointError, CodesError, VQSpeechError
from vqspeech.pretrained.checkpoint import read_model, read_prior

UNIT = 1 << 16  # of activations


@pytest.fixture(scope="module")
def prior(tiny_model):
    return make_prior(tiny_model)


def codes_of(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 8, length).astype(np.int32)


def previous_of(codes, prior) -> np.ndarray:
    return np.concatenate([[prior.start], codes[:-1]])


# The prior in whole numbers


@pytest.mark.parametrize("ours, theirs", [(tanh, np.tanh), (sigmoid, lambda x: 1 / (1 + np.exp(-x)))])
def test_the_gates_functions_are_right_to_their_last_bit(ours, theirs):
    x = np.arange(-40 * UNIT, 40 * UNIT, 137)
    np.testing.assert_allclose(ours(x), theirs(x / UNIT) * UNIT, atol=0.51)


def test_the_exponential_is_right_to_a_ten_millionth():
    t = np.arange(0, 64 * UNIT, 97)
    np.testing.assert_allclose(exp_negative(t) / 2**30, np.exp(-t / UNIT), atol=1e-8)
    assert exp_negative(np.array([2**40])) == 0


def test_a_product_is_the_same_in_any_order_of_its_sum():
    random = np.random.default_rng(0)
    x, weight = random.integers(-(2**26), 2**26, (3, 50)), random.integers(-(2**22), 2**22, (50, 7))
    offset = random.integers(-(2**40), 2**40, 7)
    found = product(x, weight, offset)
    for row in range(3):
        for column in range(7):
            terms = [int(a) * int(b) for a, b in zip(x[row], weight[:, column], strict=True)]  # Python's, of any size
            exact = (sum(reversed(terms)) + int(offset[column]) + 2**19) >> 20
            assert found[row, column] == min(max(exact, -(2**26)), 2**26)


@given(weights=st.lists(st.integers(0, 2**30), min_size=2, max_size=20).filter(any), total=st.integers(0, 2**24))
def test_shares_are_whole_sum_to_the_total_and_are_off_by_rounding_alone(weights, total):
    (shares,) = share_out(np.array([weights]), total)
    assert shares.sum() == total
    exact = np.array(weights) / sum(weights) * total
    others = np.arange(len(weights)) != np.argmax(weights)
    assert (np.abs(shares - exact)[others] <= 1).all()


@pytest.mark.parametrize("speaker", [0, 2, None])
def test_the_tables_are_the_priors_probabilities_given_that_it_goes_on(prior, speaker):
    codes = codes_of(200)
    shares = IntegerPrior(prior, speaker).shares(previous_of(codes, prior))
    number = prior.unconditional if speaker is None else speaker
    with torch.no_grad():
        logits = prior(torch.from_numpy(codes[None]).long(), torch.tensor([number]))[0, :-1, :-1]
    np.testing.assert_allclose((shares + 1) / 2**24, logits.double().softmax(-1), atol=1e-3)
    assert (shares.sum(axis=1) == 2**24 - 8).all() and (shares >= 0).all()


@given(cuts=st.lists(st.integers(0, 60), max_size=8))
def test_the_tables_are_the_same_whatever_the_pieces(tiny_model, cuts):
    prior = make_prior(tiny_model)
    previous = previous_of(codes_of(60), prior)
    tables = IntegerPrior(prior, 1)
    edges = [0, *sorted(cuts), 60]
    pieces = [tables.shares(previous[a:b]) for a, b in zip(edges, edges[1:], strict=False) if b > a]
    np.testing.assert_array_equal(np.concatenate(pieces), IntegerPrior(prior, 1).shares(previous))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e12])
def test_weights_that_could_overflow_are_refused(tiny_model, value):
    prior = make_prior(tiny_model)
    with torch.no_grad():
        prior.wavenet.layers[1].past.weight[0, 0] = value
    with pytest.raises(CheckpointError, match="too large for whole numbers.*--stage prior"):
        IntegerPrior(prior, 0)


# The coder


def expand_by_hand(payload: bytes, num_codes: int, prior, speaker) -> list[int]:
    """A range decoder in Python's integers: 64 bits of state, words of 32 bits, tables of shares + 1."""
    words = list(struct.unpack(f">{len(payload) // 4 + 3}I", payload + bytes(-len(payload) % 4 + 12)))
    words += [0] * num_codes
    whole = 2**64
    lower, width, point = 0, whole - 1, words.pop(0) << 32 | words.pop(0)
    tables, previous, codes = IntegerPrior(prior, speaker), prior.start, []
    for _ in range(num_codes):
        table = [int(share) + 1 for share in tables.shares(np.array([previous]))[0]]
        step = width >> 24
        quantile = (point - lower) % whole // step
        code = below = 0
        while quantile >= below + table[code]:
            below += table[code]
            code += 1
        lower, width = (lower + step * below) % whole, step * table[code]
        if width < 2**32:
            lower, width, point = lower << 32 & whole - 1, width << 32, (point << 32 | words.pop(0)) & whole - 1
        codes.append(code)
        previous = code
    return codes


def test_what_is_compressed_a_range_decoder_of_twenty_lines_expands(prior):
    codes = codes_of(3000)
    payload = coder.pack_codes(codes, prior, 1)
    assert expand_by_hand(payload.data, len(codes), prior, 1) == codes.tolist()


@given(codes=st.lists(st.integers(0, 7), min_size=1, max_size=80), speaker=st.sampled_from([0, 1, 2, None]))
def test_codes_come_back_as_they_were(tiny_model, codes, speaker):
    prior = make_prior(tiny_model)
    payload = coder.pack_codes(np.array(codes), prior, speaker)
    np.testing.assert_array_equal(coder.unpack_codes(payload, len(codes), prior, speaker), codes)


def test_short_utterances_cost_their_cross_entropy_within_one_bit_on_average(prior):
    spent, expected = 0, 0.0
    for seed in range(200):
        codes = codes_of(20 + seed % 50, seed)
        shares = IntegerPrior(prior, 0).shares(previous_of(codes, prior))
        expected -= float(np.log2((shares[np.arange(len(codes)), codes] + 1) / 2**24).sum())
        spent += coder.pack_codes(codes, prior, 0).count
    assert abs(spent - expected) < 200


class KnownTables:
    """The tables of `IntegerPrior`, each computed once: they hang on the codes before alone."""

    known: dict[tuple[int, ...], np.ndarray] = {}

    def __init__(self, prior, speaker):
        self._prior, self._speaker, self._past, self.start = prior, speaker, (), prior.start

    def shares(self, previous):
        self._past += tuple(int(code) for code in previous)
        if self._past not in self.known:
            self.known[self._past] = IntegerPrior(self._prior, self._speaker).shares(np.array(self._past))
        return self.known[self._past][-len(previous) :]


def test_no_shorter_string_of_bits_gives_the_codes(prior, monkeypatch):
    """Tried one by one: every string of one bit less, and every shorter one, expands to other codes."""
    monkeypatch.setattr(KnownTables, "known", {})
    monkeypatch.setattr(coder, "IntegerPrior", KnownTables)
    for seed in range(10):
        codes = codes_of(2, seed)
        shortest = coder.pack_codes(codes, prior, 0).count
        assert shortest < 15
        for count in range(shortest):
            for number in range(2**count):
                data = (number << -count % 8).to_bytes(-(-count // 8), "big")
                with suppress(CodesError):
                    assert coder.unpack_codes(coder.Bits(data, count), 2, prior, 0).tolist() != codes.tolist()


@given(bits=st.lists(st.booleans(), max_size=70), checksum=st.integers(0, 2**32 - 1))
def test_a_payload_keeps_its_bits_and_the_checksum_follows_at_once(bits, checksum):
    written = "".join("01"[bit] for bit in bits)
    data = int(written or "0", 2) << -len(bits) % 8
    payload = coder.Bits(data.to_bytes(-(-len(bits) // 8), "big"), len(bits))
    joined = container._join(payload, checksum)
    assert "".join(f"{byte:08b}" for byte in joined).startswith(written + f"{checksum:032b}")
    assert len(joined) == -(-(len(bits) + 32) // 8)
    assert container._part(joined, len(bits)) == (payload, checksum)


def test_what_a_prior_is_sure_of_costs_nothing(tiny_model):
    prior = make_flat_prior(tiny_model, [30.0] + [0.0] * 8)
    payload = coder.pack_codes(np.zeros(100, np.int32), prior, None)
    assert payload == coder.Bits(b"", 0)
    np.testing.assert_array_equal(coder.unpack_codes(payload, 100, prior, None), np.zeros(100))


def test_long_recordings_go_in_segments_with_the_past_running_on(prior, monkeypatch):
    codes = codes_of(500)
    whole = coder.pack_codes(codes, prior, 1)
    monkeypatch.setattr(coder, "SEGMENT_CODES", 64)
    payload = coder.pack_codes(codes, prior, 1)
    np.testing.assert_array_equal(coder.unpack_codes(payload, 500, prior, 1), codes)
    assert whole.count < payload.count < whole.count + 7 * (32 + 8) + 8  # seven lengths and ends of whole bytes


def test_a_number_of_codes_that_cannot_be_is_refused_before_room_is_made_for_it(prior):
    payload = coder.pack_codes(codes_of(50), prior, 0)
    tracemalloc.start()
    try:
        with pytest.raises(CodesError, match="cannot hold"):
            coder.unpack_codes(payload, 10**12, prior, 0)
        with pytest.raises(CodesError, match="cannot hold so many codes"):
            coder.unpack_codes(payload, coder.SEGMENT_CODES, prior, 0)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


# The same on every machine

ELSEWHERE = """
import hashlib, sys
import numpy as np
import torch
from vqspeech.pretrained.checkpoint import read_model, read_prior
from vqspeech.compression import coder
from vqspeech.compression.integers import IntegerPrior
torch.set_num_threads(int(sys.argv[2]))
model = read_model(sys.argv[1])
prior = read_prior(sys.argv[1], model)
random = np.random.default_rng(0)
for length in (1, 40, 700):
    codes = random.integers(0, 8, length)
    shares = IntegerPrior(prior, 1).shares(np.concatenate([[prior.start], codes[:-1]]))
    payload = coder.pack_codes(codes, prior, 1)
    assert (coder.unpack_codes(payload, length, prior, 1) == codes).all()
    print(hashlib.sha256(shares.astype("<i8").tobytes()).hexdigest(), payload.count, payload.data.hex())
"""


def vector_extensions() -> str:
    """What numpy's loops can be told to do without."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))


@pytest.mark.slow
def test_payloads_are_the_same_across_processes_threads_and_vector_widths(tiny_model, prior, tmp_path):
    run = write_run(tmp_path / "run", tiny_model, prior)
    settings = [
        (1, {}),
        (4, {"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4", "NUMBA_NUM_THREADS": "4"}),
        (1, {"NPY_DISABLE_CPU_FEATURES": vector_extensions(), "OPENBLAS_CORETYPE": "Prescott"}),
        (2, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "ATEN_CPU_CAPABILITY": "default"}),
    ]
    printed = set()
    for threads, variables in settings:
        command = [sys.executable, "-c", ELSEWHERE, str(run), str(threads)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | variables, cwd=Path(__file__).parents[2]
        )
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    assert len(printed) == 1


def test_the_format_stays_as_it_is(tiny_model):
    """Files of today are read tomorrow: a prior of plain numbers gives these very bytes."""
    prior = make_prior(tiny_model)
    with torch.no_grad():
        for number, parameter in enumerate(prior.parameters()):
            count = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_(((count * 37 + 11 * number) % 64 / 64 - 0.5).view_as(parameter))
    codes = np.arange(100) * 5 % 8
    shares = IntegerPrior(prior, 1).shares(previous_of(codes, prior))
    assert (
        hashlib.sha256(shares.astype("<i8").tobytes()).hexdigest()
        == "fb83f2892e2292cd3a3245649fa300efcac982475c8d403603f5e14537ad058d"
    )
    payload = coder.pack_codes(codes, prior, 1)
    assert payload.data.hex() == "1d0cb5279f0ce21c1e773800792d505b1bc455210687a11c4c51782f152fc7bd98b10e18cef75e"
    assert payload.count == 311


# Files


@pytest.fixture
def packed(place, tiny_model, prior) -> Path:
    """A recording, compressed: in.vqs."""
    compress_file(tiny_model, prior, Path("in.wav"), Path("in.vqs"), "bob")
    return Path("in.vqs")


def test_a_file_gives_back_codes_length_and_speaker(packed, tiny_model, prior, chirp):
    codes, num_samples, speaker = read_compressed(packed, tiny_model, prior)
    pcm = np.round(chirp[:2000] * 32768).astype(np.float32) / 32768
    np.testing.assert_array_equal(codes, tiny_model.encode(pcm).numpy())
    assert (num_samples, speaker) == (2000, "bob")


def test_the_file_is_small_and_says_so(place, tiny_model, prior):
    sizes = compress_file(tiny_model, prior, Path("in.wav"), Path("in.vqs"), "bob")
    assert (
        sizes.file_bytes == Path("in.vqs").stat().st_size == OVERHEAD + len("bob") + -(-(sizes.payload_bits + 32) // 8)
    )
    assert sizes.num_codes == 125
    assert sizes.payload_bits < 125 * 3 * 1.7  # untrained: far from 3 bits a code, further still from 4000 bytes
    assert f"{sizes.payload_bits} bits of them for 125 codes" in str(sizes)


def test_what_is_decompressed_lasts_as_long_as_the_recording(packed, tiny_model, prior):
    from vqspeech.audio import load_audio

    assert decompress_file(tiny_model, prior, packed, Path("out.wav"), "theo", SamplingOptions()) == 125
    assert len(load_audio("out.wav")) == 2000


def test_every_flipped_bit_is_noticed(packed):
    whole = packed.read_bytes()
    for bit in range(8 * len(whole)):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        Path("spoilt.vqs").write_bytes(spoilt)
        with pytest.raises(CodesError, match=r"spoilt.vqs is (damaged|truncated|of format|not a .vqs file)"):
            read_container("spoilt.vqs")


def test_every_truncation_is_noticed(packed):
    whole = packed.read_bytes()
    for length in range(len(whole)):
        Path("short.vqs").write_bytes(whole[:length])
        with pytest.raises(CodesError, match=r"short.vqs is (truncated|not a .vqs file)"):
            read_container("short.vqs")


def test_another_model_and_another_prior_are_told_apart(packed, tiny_model, lively_model, prior, other_run):
    with pytest.raises(CodesError, match="compressed with another model"):
        other = read_model(other_run)
        read_compressed(packed, other, make_prior(other))
    with pytest.raises(CodesError, match="compressed with another prior"):
        read_compressed(packed, tiny_model, make_prior(tiny_model, seed=1))


def rewrite(path: Path, **changes: int) -> None:
    """Change numbers of a header and make its checksum right again."""
    names = ("magic", "version", "name_bytes", "num_samples", "payload_bits", "model", "prior")
    whole = path.read_bytes()
    values = dict(zip(names, HEADER.unpack(whole[: HEADER.size]), strict=True)) | changes
    header, body = HEADER.pack(*values.values()), whole[OVERHEAD:]
    path.write_bytes(header + CRC.pack(zlib.crc32(body, zlib.crc32(header))) + body)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"num_samples": 2**32 - 1}, "says it lasts 149 hours, at most 24 are believed"),
        ({"num_samples": 24 * 3600 * 8000}, "damaged.*bytes cannot hold"),
        ({"num_samples": 60_000}, "damaged.*cannot hold so many codes"),
        ({"num_samples": 1984}, "damaged: the codes do not agree with their checksum"),
        ({"num_samples": 0}, "holds no samples"),
        ({"payload_bits": 2**32 - 1}, "truncated: its header announces 536870"),
        ({"version": 1}, "of format 1, this vqspeech reads 2. Decompress it with the vqspeech that made it"),
    ],
)
def test_a_header_that_lies_is_refused_in_little_memory(packed, tiny_model, prior, changes, sentence):
    rewrite(packed, **changes)
    tracemalloc.start()
    try:
        with pytest.raises(CodesError, match=sentence):
            decompress_file(tiny_model, prior, packed, Path("out.wav"), "theo", SamplingOptions())
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    assert not list(Path().glob("*out*"))


def test_a_checksum_that_is_not_the_codes_is_refused(packed, tiny_model, prior):
    packed.write_bytes(to_bytes(replace(read_container(packed), codes_checksum=1)))
    with pytest.raises(CodesError, match="damaged: the codes do not agree with their checksum"):
        read_compressed(packed, tiny_model, prior)


def test_a_speaker_whom_the_model_does_not_know_is_told(packed, tiny_model, prior):
    packed.write_bytes(to_bytes(replace(read_container(packed), speaker="zoë")))
    with pytest.raises(CodesError, match="names the speaker 'zoë', whom this model does not know"):
        read_compressed(packed, tiny_model, prior)


def test_every_file_of_a_run_is_read_by_a_model_loaded_anew(packed, tiny_model, prior, tmp_path):
    run = write_run(tmp_path / "run", tiny_model, prior)
    model = read_model(run)
    codes, _, _ = read_compressed(packed, model, read_prior(run, model))
    np.testing.assert_array_equal(codes, read_compressed(packed, tiny_model, prior)[0])


# In memory


def test_bytes_in_memory_are_those_of_the_file(packed, tiny_model, prior):
    wav = load_audio("in.wav", tiny_model.sample_rate)
    assert compress(tiny_model, wav, "bob", prior=prior) == packed.read_bytes()


@pytest.mark.parametrize("speaker", [None, "theo"])
def test_bytes_in_memory_are_spoken_like_their_codes_and_last_as_long(speaker, place, tiny_model, prior):
    wav = load_audio("in.wav", tiny_model.sample_rate)[:1001]  # no multiple of the hop length
    spoken = decompress(tiny_model, compress(tiny_model, wav, "ann", prior=prior), speaker, seed=3, prior=prior)
    expected = decode(tiny_model, encode(tiny_model, wav), speaker or "ann", seed=3)
    np.testing.assert_array_equal(spoken, expected[:1001])


def test_damaged_bytes_in_memory_are_refused_in_words(tiny_model, prior):
    data = compress(tiny_model, np.zeros(1000, np.float32), prior=prior)
    with pytest.raises(VQSpeechError, match="the compressed recording names no speaker"):
        decompress(tiny_model, data, prior=prior)
    for damaged, words in ((data[:-1], "is truncated"), (data[:-1] + b"\1", "is damaged"), (b"RIFF", "not a .vqs")):
        with pytest.raises(CodesError, match=f"the compressed recording {words}|recording is {words}"):
            decompress(tiny_model, damaged, "ann", prior=prior)


def test_a_model_made_in_memory_asks_for_its_prior(tiny_model):
    with pytest.raises(CheckpointError, match="made in memory"):
        compress(tiny_model, np.zeros(100, np.float32))
