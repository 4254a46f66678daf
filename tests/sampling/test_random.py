"""Random numbers by address, against Philox4x64-10 written out from its paper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqspeech.errors import VQSpeechError
from vqspeech.sampling.random import uniforms

WORD = st.integers(0, 2**64 - 1)


def philox4x64(counter: list[int], key: list[int]) -> list[int]:
    """Ten rounds of Philox4x64 [Salmon et al. 2011, §3.3], in plain integers."""
    x, k, mask = list(counter), list(key), 2**64 - 1
    for _ in range(10):
        low, high = x[0] * 0xD2E7470EE14C6C93, x[2] * 0xCA5A826395121157
        x = [(high >> 64) ^ x[1] ^ k[0], high & mask, (low >> 64) ^ x[3] ^ k[1], low & mask]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return x


def test_written_out_philox_gives_the_published_known_answer():
    # Random123's kat_vectors: philox4x64 10, counter and key all zero.
    assert philox4x64([0] * 4, [0] * 2) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]


@given(seed=WORD, utterance=WORD, sample=st.integers(0, 2**40))
def test_uniform_is_the_word_of_its_address(seed, utterance, sample):
    block = philox4x64([1 + sample // 4, 0, 0, 0], [seed, utterance])
    assert uniforms(seed, utterance, sample, 1)[0] == (block[sample % 4] >> 11) * 2.0**-53


@given(seed=WORD, cuts=st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_blocks_of_any_size_join_to_the_same_numbers(seed, cuts):
    starts = np.cumsum([0, *cuts])
    pieces = [uniforms(seed, 3, int(start), count) for start, count in zip(starts, cuts, strict=False)]
    assert np.array_equal(np.concatenate(pieces), uniforms(seed, 3, 0, sum(cuts)))


def test_numbers_fill_the_unit_interval_evenly():
    counts = np.histogram(uniforms(0, 0, 0, 16000), bins=16, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 37.70  # chi-square, 15 degrees of freedom, 0.1 % table value


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5])
def test_seed_beyond_64_bits_is_refused_by_name(seed):
    with pytest.raises(VQSpeechError, match=r"seed .* is not a whole number from 0 to 2\*\*64 - 1"):
        uniforms(seed, 0, 0, 1)
