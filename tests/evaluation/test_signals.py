"""The six ways a trial sounds: each waveform of a trial is one, and what is silent is told by two rules."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from vqspeech.evaluation.figures.types import Trial
from vqspeech.evaluation.measures.sound import FADED_DB, has_faded
from vqspeech.evaluation.trials.pairs import Pair
from vqspeech.evaluation.trials.signals import (
    CONTROLS,
    CONVERSION,
    INAUDIBLE_DB,
    RANDOM,
    RECONSTRUCTION,
    SIGNALS,
    inaudible,
    is_audible,
    level_db,
)


def at_level(db: float) -> np.ndarray:
    """A square wave, whose level is its amplitude."""
    return np.where(np.arange(800) % 8 < 4, 1, -1).astype(np.float32) * np.float32(10 ** (db / 20))


def trial(**changed: np.ndarray) -> Trial:
    sounds = {signal.name: at_level(-20) for signal in SIGNALS} | changed
    return Trial("u", "ann", "bob", None, codes=np.zeros(4, np.int32), **sounds)


def test_every_waveform_of_a_trial_is_one_signal():
    assert sorted(signal.name for signal in SIGNALS) == sorted(one.name for one in fields(Trial) if one.type == "Wav")
    own = trial(conversion=at_level(-3))
    assert CONVERSION.of(own) is own.conversion and RECONSTRUCTION.of(own) is own.reconstruction


def test_controls_are_the_signals_that_no_codes_of_the_source_were_decoded_for():
    assert set(CONTROLS) == set(SIGNALS) - {CONVERSION, RECONSTRUCTION}
    assert {signal.name for signal in SIGNALS if signal.keeps_content} == {"source", "mu_law", "shifted"}
    assert [signal for signal in CONTROLS if signal.in_target_voice] == [RANDOM]


@pytest.mark.parametrize("db", [-90.0, -60.5, -59.5, -20.0, 0.0])
def test_a_level_is_that_of_the_amplitude_and_decides_what_can_be_heard(db):
    assert level_db(at_level(db)) == pytest.approx(db, abs=1e-3)
    assert is_audible(at_level(db)) == (db > INAUDIBLE_DB)


def test_silence_and_what_is_not_finite_cannot_be_heard():
    nothing, zeros, broken = np.zeros(0, np.float32), np.zeros(9, np.float32), np.full(9, np.inf, np.float32)
    assert level_db(zeros) == level_db(nothing) == -200 and np.isnan(level_db(broken))
    assert not any(map(is_audible, (nothing, zeros, broken)))
    assert inaudible([trial(random=zeros), trial()], RANDOM) == ["u"]


def test_a_signal_has_faded_where_it_is_far_below_its_source_or_cannot_be_heard():
    assert not has_faded(trial(conversion=at_level(-20 + FADED_DB + 0.5)), CONVERSION)
    assert has_faded(trial(conversion=at_level(-20 + FADED_DB - 0.5)), CONVERSION)
    quiet = at_level(-45)
    assert not has_faded(trial(source=quiet, conversion=at_level(INAUDIBLE_DB + 0.5)), CONVERSION)
    assert has_faded(trial(source=quiet, conversion=at_level(INAUDIBLE_DB - 0.5)), CONVERSION)


def test_a_pair_is_written_as_the_names_of_kept_conversions_have_it():
    assert repr(Pair("a/1", "ann", "bob")) == "Choice(utterance='a/1', speaker='ann', target='bob')"
