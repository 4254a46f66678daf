"""Generation: codes drawn from the prior until it says stop, continued from a prompt, spoken by the decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from priors import make_flat_prior, make_prior
from vqspeech.audio import save_audio
from vqspeech.conversion import SamplingOptions, decode
from vqspeech.errors import AudioError, CodesError, VQSpeechError
from vqspeech.generation import CodeSamplingOptions, draw_codes, read_prompt, sample, speak_many
from vqspeech.generation.code_sampling import CODES_AT_A_TIME, MOST_TRIES, TRY_DISTANCE
from vqspeech.generation.speech import FIRST_UTTERANCE
from vqspeech.sampling.random import uniforms
from vqspeech.sampling.rules import draw

EXACT = CodeSamplingOptions(seed=5, engine="torch")


@pytest.fixture(scope="module")
def prior(tiny_model):
    return make_prior(tiny_model, stop_bias=-1.0)


def draw_all(prior, *arguments, **options) -> dict[int, list[int]]:
    return {number: codes.tolist() for number, codes in draw_codes(prior, *arguments, **options)}


def draw_by_hand(prior, speaker, number, longest, seed, prompt=(), trial=0) -> list[int]:
    """One code after the other, each from the parallel forward over all before it."""
    codes = list(prompt)
    numbers = uniforms(seed, number, trial * TRY_DISTANCE, len(codes) + longest)
    while len(codes) < len(prompt) + longest:
        with torch.no_grad():
            logits = prior(torch.tensor([codes], dtype=torch.long), torch.tensor([speaker]))[0, -1].numpy()
        code = draw(logits, numbers[len(codes)], 1.0)
        if code == prior.stop:
            break
        codes.append(code)
    return codes or draw_by_hand(prior, speaker, number, longest, seed, prompt, trial + 1)


@pytest.mark.parametrize("engine", ["torch", "numba"])
@pytest.mark.parametrize("prompt", [(), (3, 1, 4, 1, 5)])
def test_drawn_codes_are_those_of_a_naive_loop_over_the_parallel_forward(prior, engine, prompt):
    draws = CodeSamplingOptions(seed=5, engine=engine, precision="float32")
    given = np.array(prompt, np.int32) if prompt else None
    drawn = draw_all(prior, 1, 8, 40, draws, given)
    assert drawn == {number: draw_by_hand(prior, 1, number, 40, 5, prompt) for number in range(8)}
    assert len({len(codes) for codes in drawn.values()}) > 2  # they end by themselves, at different places


def test_an_utterance_is_the_same_however_many_are_drawn_beside_it(prior):
    many = draw_all(prior, 0, 30, 50, CodeSamplingOptions(seed=1, precision="float32"))
    assert sorted(many) == list(range(30))
    few = draw_all(prior, 0, 3, 50, CodeSamplingOptions(seed=1, precision="float32"))
    assert few == {number: many[number] for number in range(3)}


@given(longest=st.integers(1, 3 * CODES_AT_A_TIME))
def test_no_utterance_is_longer_than_allowed_and_none_holds_the_stop_symbol(tiny_model, longest):
    prior = make_prior(tiny_model, stop_bias=-3.0)
    drawn = draw_all(prior, 2, 4, longest, EXACT)
    assert max(map(len, drawn.values())) <= longest
    assert all(0 <= code < prior.stop for codes in drawn.values() for code in codes)


def test_without_a_stop_utterances_last_as_long_as_allowed(tiny_model):
    prior = make_prior(tiny_model, stop_bias=-1000.0)
    assert [len(codes) for codes in draw_all(prior, 0, 3, 37, EXACT).values()] == [37, 37, 37]


def test_codes_come_as_often_as_the_prior_says(tiny_model):
    probabilities = np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05])  # the last is the stop symbol's
    prior = make_flat_prior(tiny_model, np.log(probabilities).tolist())
    drawn = list(draw_all(prior, None, 1000, 1000, CodeSamplingOptions(seed=2, precision="float32")).values())
    codes = np.concatenate(drawn)
    expected = probabilities[:8] / 0.95
    share = np.bincount(codes, minlength=8) / len(codes)
    assert np.abs(share - expected).max() < 5 * np.sqrt(0.25 / len(codes))
    # Lengths are geometric; an utterance without codes is drawn again, so that their mean is 1 / 0.05.
    assert np.mean([len(utterance) for utterance in drawn]) == pytest.approx(20, abs=5 * 20 / np.sqrt(1000))


def test_the_voice_changes_what_is_said_and_another_seed_too(prior):
    said = draw_all(prior, 0, 4, 30, EXACT)
    assert draw_all(prior, 1, 4, 30, EXACT) != said
    assert draw_all(prior, None, 4, 30, EXACT) != said
    assert draw_all(prior, 0, 4, 30, CodeSamplingOptions(seed=6, engine="torch")) != said


def test_a_narrow_nucleus_is_the_likeliest_code(prior):
    narrow = draw_all(prior, 0, 2, 20, CodeSamplingOptions(top_p=1e-6, engine="torch"))
    assert narrow == draw_all(prior, 0, 2, 20, CodeSamplingOptions(temperature=0, engine="torch"))


def test_a_prior_that_only_stops_is_told_of_after_some_tries(tiny_model):
    prior = make_flat_prior(tiny_model, [0.0] * 8 + [1000.0])
    with pytest.raises(VQSpeechError, match="ends every utterance before its first code.*--stage prior"):
        draw_all(prior, 0, 1, 10, EXACT)
    assert draw_all(prior, 0, 1, 10, EXACT, np.array([7])) == {0: [7]}  # nothing to add to a prompt is an answer


def test_an_utterance_that_ends_before_it_begins_is_drawn_again(tiny_model):
    prior = make_flat_prior(tiny_model, [0.0] * 8 + [np.log(8.0)])  # half of all draws are stops
    drawn = draw_all(prior, 0, 200, 10, EXACT)
    assert len(drawn) == 200 and all(drawn.values())
    assert MOST_TRIES >= 16  # 200 utterances fail with probability 200 / 2^16


def test_a_prompt_of_another_codebook_is_refused(prior):
    with pytest.raises(CodesError, match="beyond 0 ... 7"):
        draw_all(prior, 0, 1, 10, EXACT, np.array([8]))


def test_utterances_spoken_together_sound_as_each_does_alone(tiny_model):
    random = np.random.default_rng(0)
    utterances = {number: random.integers(0, 8, 20 + 30 * number).astype(np.int32) for number in range(4)}
    options = SamplingOptions(seed=3, precision="float32")
    spoken = speak_many(tiny_model, utterances.items(), "bob", options, num_threads=2)
    for number, codes in utterances.items():
        alone = decode(tiny_model, codes, "bob", seed=3, utterance=FIRST_UTTERANCE + number, precision="float32")
        np.testing.assert_array_equal(spoken[number], alone)


def test_a_prompt_is_read_in_whole_frames(place, tiny_model, chirp):
    save_audio("prompt.wav", chirp[: 10 * 16 + 5], 8000)
    codes = read_prompt(tiny_model, place / "prompt.wav")
    assert len(codes) == 10
    whole = tiny_model.encode(np.round(chirp[: 10 * 16 + 5] * 32768).astype(np.float32) / 32768).numpy()
    np.testing.assert_array_equal(codes, whole[:10])


def test_a_prompt_at_another_rate_or_shorter_than_a_frame_is_refused(place, tiny_model, chirp):
    save_audio("other.wav", chirp, 16000)
    with pytest.raises(AudioError, match="16000 Hz, a prompt for this model needs 8000 Hz. Resample"):
        read_prompt(tiny_model, place / "other.wav")
    save_audio("short.wav", chirp[:15], 8000)
    with pytest.raises(AudioError, match=r"15 samples, shorter than one frame of the model \(16 samples, 2 ms\)"):
        read_prompt(tiny_model, place / "short.wav")


def test_samples_are_the_drawn_codes_spoken_and_say_who_ended_them(tiny_model, prior):
    exact = {"engine": "torch", "precision": "float32"}
    made = sample(tiny_model, "bob", 3, max_duration_s=40 / tiny_model.code_rate, seed=5, prior=prior, **exact)
    assert [one.number for one in made] == [0, 1, 2]
    for one in made:
        assert one.codes.tolist() == draw_by_hand(prior, 1, one.number, 40, 5)
        assert one.has_ended == (len(one.codes) < 40)
        alone = decode(tiny_model, one.codes, "bob", seed=5, utterance=FIRST_UTTERANCE + one.number, **exact)
        np.testing.assert_array_equal(one.wav, alone)


def test_a_sample_that_is_cut_has_not_ended_and_keeps_its_prompt(tiny_model):
    endless = make_flat_prior(tiny_model, [0.0] * 8 + [-1000.0])
    (one,) = sample(tiny_model, "ann", max_duration_s=0.01, prompt=np.array([3, 1]), prior=endless)
    assert len(one.codes) == 2 + 5 and one.codes[:2].tolist() == [3, 1] and not one.has_ended
