"""Conversions before the judges: every pair of voices gets its turn, and shares can be counted by hand."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from judged_conversions import Shares, measure_conversions

from vqspeech.errors import CorpusError
from vqspeech.evaluation.trials import synthesis


def always(answer: str) -> SimpleNamespace:
    """A judge that hears the same in everything."""
    return SimpleNamespace(predict=lambda wavs: [answer] * len(wavs))


class Hearing:
    """A judge that keeps what it was played."""

    def __init__(self) -> None:
        self.played: list[list[np.ndarray]] = []

    def predict(self, wavs) -> list[str]:
        self.played.append(list(wavs))
        return ["?"] * len(wavs)


@pytest.fixture
def asked(monkeypatch) -> list[tuple[str, str]]:
    """Who was asked to speak, by the wav asked to be spoken: (first samples, voice); speaking takes no time."""
    calls: list[tuple[str, str]] = []

    def convert_many(model, requests, voice, **settings):
        calls.extend((request.wav.tobytes(), request.speaker) for request in requests)
        return [np.full(10, model.speakers.index(request.speaker), np.float32) for request in requests]

    monkeypatch.setattr(synthesis, "convert_many", convert_many)
    return calls


def listen(model, store, content, speaker, split="train", **settings) -> dict[str, Shares]:
    judges = SimpleNamespace(content=content, speaker=speaker)
    return measure_conversions(model, store, judges, split=split, content_of=lambda name: name[-1], **settings)


def test_every_utterance_is_spoken_by_its_own_voice_and_one_other(model, store, asked):
    listen(model, store, always("0"), always("ada"), num_threads=1)
    chosen = store.utterances("train")
    assert len(asked) == 2 * len(chosen)
    pairs = Counter()
    for index, own, other in zip(chosen, asked[: len(chosen)], asked[len(chosen) :], strict=True):
        speaker = store.speakers[store.speaker(index)]
        assert own == (store.wav(index).tobytes(), speaker)
        assert other[0] == own[0]
        assert other[1] != speaker
        pairs[speaker, other[1]] += 1
    assert len(pairs) == 3 * 2
    for speaker in store.speakers:  # the others take turns
        first, second = (count for (source, _), count in pairs.items() if source == speaker)
        assert abs(first - second) <= 1


def test_shares_are_counted(model, store, asked):
    """The content judge hears take 0 everywhere, the voice judge reads the voice from the fake conversions."""

    def hear(wavs):
        return [model.speakers[int(wav[0])] if len(wav) == 10 else "ada" for wav in wavs]

    shares = listen(model, store, always("0"), SimpleNamespace(predict=hear))
    names = [store.utterance_id(index) for index in store.utterances("train")]
    zeros = sum(name.endswith("0") for name in names) / len(names)
    ada = sum(name.startswith("ada/") for name in names) / len(names)
    both = names.count("ada/ada-0") / len(names)
    assert 0 < zeros < 1 and 0 < ada < 1
    assert shares == {
        "recordings": Shares(zeros, ada, both, ada, len(names)),
        "reconstructions": Shares(zeros, 1.0, zeros, 1.0, len(names)),
        "conversions": Shares(zeros, 1.0, zeros, 0.0, len(names)),
    }


def test_a_model_that_keeps_the_voice_is_found_out(model, store, monkeypatch):
    monkeypatch.setattr(synthesis, "convert_many", lambda model, requests, *_, **__: [r.wav for r in requests])
    own = {store.wav(i).tobytes(): store.speakers[store.speaker(i)] for i in store.utterances("train")}
    classifier = SimpleNamespace(predict=lambda wavs: [own[wav.tobytes()] for wav in wavs])
    shares = listen(model, store, always("?"), classifier)
    assert (shares["recordings"].speaker, shares["reconstructions"].speaker) == (1.0, 1.0)
    assert (shares["conversions"].speaker, shares["conversions"].source) == (0.0, 1.0)
    assert {share.content for share in shares.values()} == {share.both for share in shares.values()} == {0.0}


def test_the_judges_hear_recordings_then_reconstructions_then_conversions(model, store):
    """With the untrained model itself; the number of threads changes nothing."""
    heard = []
    for num_threads in (1, 2):
        content, done = Hearing(), []
        listen(model, store, content, always("ada"), "valid", num_threads=num_threads, advance=done.append)
        heard.append(content.played)
        assert done == list(range(1, 2 * len(store.utterances("valid")) + 1))
    once, again = heard
    assert [len(wavs) for wavs in once] == [len(store.utterances("valid"))] * 3
    sources, reconstructions, converted = once
    for index, source, own, other in zip(store.utterances("valid"), sources, reconstructions, converted, strict=True):
        np.testing.assert_array_equal(source, store.wav(index))
        assert len(source) == len(own) == len(other)
        assert not np.array_equal(own, other)
    for wavs, same in zip(once, again, strict=True):
        for wav, repeated in zip(wavs, same, strict=True):
            np.testing.assert_array_equal(wav, repeated)


def test_every_so_many_utterances_can_be_taken(model, store, asked):
    shares = listen(model, store, always("0"), always("ada"), every=3)
    assert shares["conversions"].count == -(-len(store.utterances("train")) // 3)


def test_a_corpus_of_other_speakers_is_refused(tiny_model, store):
    with pytest.raises(CorpusError, match="ada, ben, cyd, the model has ann, bob, theo.*Give the corpus"):
        listen(tiny_model, store, always("0"), always("ada"))
