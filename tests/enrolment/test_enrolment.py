"""A new voice: fitted by likelihood to recordings, found by its name, and the base model is left as it was."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vqspeech
from commands import call, refuse
from priors import make_prior, write_run
from vqspeech.audio import load_audio, save_audio
from vqspeech.config import DataConfig
from vqspeech.enrolment import fitting, new_voice, similarity
from vqspeech.enrolment.recordings import Recording, Stretches, read_recordings
from vqspeech.errors import AudioError, CheckpointError, DependencyError, UnknownSpeakerError
from vqspeech.evaluation.judges.voiceprint import Voiceprints
from vqspeech.models.vqvae import VQVAE
from vqspeech.pretrained.checkpoint import read_model
from vqspeech.pretrained.voices import add_voice, read_voice, voice_file
from vqspeech.training.acceleration import find_acceleration
from vqspeech.training.schedule import Schedule

RATE = 8000  # Hz


def without(model: VQVAE, name: str) -> VQVAE:
    """The same model, never told of one of its speakers."""
    kept = [number for number, speaker in enumerate(model.speakers) if speaker != name]
    other = VQVAE(model.recipe, [model.speakers[number] for number in kept]).eval()
    weights = model.state_dict()
    weights["speaker_vectors.weight"] = weights["speaker_vectors.weight"][kept]
    other.load_state_dict(weights)
    return other


@pytest.fixture(scope="session")
def speaking_model(lively_model) -> VQVAE:
    """The lively model with voices that differ: ann, bob and theo are told apart by every layer."""
    model = without(lively_model, "")
    with torch.no_grad():
        model.speaker_vectors.weight.mul_(2)
    return model


@pytest.fixture(scope="session")
def bobs_speech(speaking_model, tmp_path_factory) -> Path:
    """Twelve seconds that bob says, in four recordings."""
    folder = tmp_path_factory.mktemp("bob")
    random = np.random.default_rng(0)
    for take in range(4):
        codes = np.repeat(random.integers(0, speaking_model.num_codes, 300), 5)
        save_audio(folder / f"{take}.wav", vqspeech.decode(speaking_model, codes, "bob", seed=take), RATE)
    return folder


@pytest.fixture
def deaf(monkeypatch) -> None:
    """Resemblyzer is not installed."""

    def missing(self) -> None:
        raise DependencyError("Resemblyzer does not load. Install it: pip install 'vqspeech[evaluate]'")

    monkeypatch.setattr(Voiceprints, "__init__", missing)


@pytest.fixture
def base(place, speaking_model, deaf, monkeypatch) -> Path:
    """A working folder with a run of ann and theo, who knows no bob; no voiceprints, and a short fit."""
    monkeypatch.setattr(new_voice, "STEPS", 20)
    monkeypatch.setattr(fitting, "CROP_SAMPLES", 512)
    monkeypatch.setattr("vqspeech.pretrained.bundled.FOLDER", place / "nothing bundled")
    return write_run(Path("runs/base"), without(speaking_model, "bob"), None)


def bits_of(model: VQVAE, store: Stretches, vector: torch.Tensor) -> float:
    train = fitting.fitting(fitting.crop_of(model.hop_length), 0, 1, 1.0)
    task = fitting.VoiceTask(model, store, vector, train, find_acceleration(train, "cpu"))
    return task.bits(vector)


# The fit


def test_a_voice_that_the_decoder_once_had_is_found_again_by_its_speech(base, speaking_model, bobs_speech, monkeypatch):
    monkeypatch.setattr(new_voice, "STEPS", 120)
    enrolment = vqspeech.enroll("bob", [bobs_speech], base, max_minutes=600)
    model = read_model(base)
    recordings, _ = read_recordings([bobs_speech], model.recipe.data)
    true = bits_of(model, Stretches(recordings, RATE), speaking_model.speaker_vectors.weight[1])
    assert enrolment.bits_nearest - true > 0.1  # nobody at hand speaks like bob
    assert enrolment.bits - true < 0.1 * (enrolment.bits_nearest - true)  # the new voice does


def test_only_the_vector_learns(speaking_model, bobs_speech):
    model = without(speaking_model, "bob")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recordings, _ = read_recordings([bobs_speech], model.recipe.data)
    train = fitting.fitting(fitting.crop_of(model.hop_length), 0, 5, 1.0)
    start = fitting.mean_vector(model)
    task = fitting.VoiceTask(model, Stretches(recordings, RATE), start, train, find_acceleration(train, "cpu"))
    found = fitting.fit_voice(task, train, 99.0, lambda step, of, bits: None)
    assert not torch.equal(found.vector, start)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [name for name, parameter in task.voice.named_parameters() if parameter.requires_grad] == ["vector"]
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_likelihood_that_is_descended_on_is_that_of_the_model(speaking_model, bobs_speech):
    """With the vector of a known speaker the bits are those of the model's own forward pass."""
    from vqspeech.likelihood.gains import compute_gains, held_out_batches

    recordings, _ = read_recordings([bobs_speech], speaking_model.recipe.data)
    store = Stretches(recordings, RATE)
    own = list(held_out_batches(speaking_model, store, "valid", store.split_sizes["valid"]))  # everybody is ann there
    vector = speaking_model.speaker_vectors.weight[0]
    train = fitting.fitting(fitting.crop_of(16), 0, 1, 1.0).model_copy(update={"precision": "float32"})
    task = fitting.VoiceTask(speaking_model, store, vector, train, find_acceleration(train, "cpu"))
    assert task.bits(vector) == pytest.approx(compute_gains(speaking_model, own).bits, abs=1e-4)


def test_with_linear_prediction_a_fit_descends_on_bits_that_compare(predicting_model, bobs_speech):
    from vqspeech.likelihood.gains import compute_gains, held_out_batches

    model = without(predicting_model, "")
    recordings, _ = read_recordings([bobs_speech], model.recipe.data)
    store = Stretches(recordings, RATE)
    own = list(held_out_batches(model, store, "valid", store.split_sizes["valid"]))  # everybody is ann there
    train = fitting.fitting(fitting.crop_of(16), 0, 8, 600.0).model_copy(update={"precision": "float32"})
    vector = model.speaker_vectors.weight[0]
    task = fitting.VoiceTask(model, store, vector, train, find_acceleration(train, "cpu"))
    begin = task.bits(vector)
    assert begin == pytest.approx(compute_gains(model, own).bits, abs=1e-4)
    terms = task.losses(0)
    assert float(terms["total"].detach()) > float(terms["bits"]) * np.log(2)  # the spectrum also teaches
    found = fitting.fit_voice(task, train, begin, lambda step, of, bits: None)
    assert found.bits < begin
    assert all(torch.equal(value, predicting_model.state_dict()[name]) for name, value in model.state_dict().items())


def test_with_long_term_prediction_a_fit_descends_on_the_pitch_too(pitched_model, bobs_speech):
    """The periods that a voice's vector tells give nats no gradient; the pitch of its speech teaches them."""
    from vqspeech.losses import pitch_loss, spectral_loss
    from vqspeech.nn.mel import LogMel
    from vqspeech.nn.pitch import PitchTracker

    model = without(pitched_model, "")
    recordings, _ = read_recordings([bobs_speech], model.recipe.data)
    train = fitting.fitting(fitting.crop_of(16), 0, 8, 600.0).model_copy(update={"precision": "float32"})
    task = fitting.VoiceTask(
        model, Stretches(recordings, RATE), model.speaker_vectors.weight[0], train, find_acceleration(train, "cpu")
    )
    terms, batch = task.losses(0), task.batches.batch(0)
    z_q = model.inference_codes(batch.wav, batch.frame_mask).z_q
    condition = model.decoder_condition(z_q, batch.frame_mask, torch.zeros(len(z_q), dtype=torch.long))
    spectral = spectral_loss(model, model.spectral_head(condition), batch, LogMel(RATE, 16, 20))
    periods = PitchTracker(RATE, 16).around_frames(batch.wav, model.lead, condition.shape[1])
    pitch = pitch_loss(model, model.pitch_head(condition), periods, batch)
    assert pitch.item() > 0
    expected = terms["bits"].item() * np.log(2) + spectral.item() + pitch.item()
    assert terms["total"].item() == pytest.approx(expected, rel=1e-5)
    terms["total"].backward()
    assert task.voice.vector.grad.abs().max() > 0


def test_the_nearest_voice_is_the_one_that_speaks(speaking_model, bobs_speech):
    recordings, _ = read_recordings([bobs_speech], speaking_model.recipe.data)
    train = fitting.fitting(fitting.crop_of(16), 0, 1, 1.0)
    start = fitting.mean_vector(speaking_model)
    task = fitting.VoiceTask(speaking_model, Stretches(recordings, RATE), start, train, find_acceleration(train, "cpu"))
    number, bits = task.nearest()
    assert speaking_model.speakers[number] == "bob"
    assert bits == min(task.bits(vector) for vector in speaking_model.speaker_vectors.weight)


def test_the_fit_keeps_its_best_and_ends_when_it_gains_no_more():
    observer = fitting.BestVector(torch.zeros(2), 5.0, lambda step, of, bits: None)
    state = SimpleNamespace(step=0, schedule=Schedule(0, 0, 1000), history=[], average=SimpleNamespace(module=None))
    course = [4.0, 3.5, 3.6, 3.49999, 3.7, 3.8, 3.9, 4.0, 4.1]
    for step, bits in enumerate(course, start=1):
        state.step = step
        state.average.module = SimpleNamespace(vector=torch.full((2,), bits))
        state.history.append({"bits": bits})
        observer.validated(state, {"bits": bits})
        if state.schedule.total == step:
            break
    assert observer.bits == 3.49999  # the least, although its gain was too small to count
    assert observer.vector.tolist() == pytest.approx([3.49999] * 2)
    assert step == 2 + fitting.PATIENCE  # counted from the last gain that does


def test_the_same_seed_gives_the_same_voice(base, bobs_speech, monkeypatch):
    monkeypatch.setattr(new_voice, "STEPS", 4)
    files = [vqspeech.enroll("bob", [bobs_speech], base, out=Path(out), seed=seed, max_minutes=600).file
             for out, seed in (("a", 1), ("b", 1), ("c", 2))]  # fmt: skip
    first, same, other = (read_voice(file)[1] for file in files)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_stopped_fit_leaves_nothing(base, bobs_speech):
    def stop(step: int, of: int, bits: float) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    assert vqspeech.enroll("bob", [bobs_speech], base, advance=stop) is None
    assert not voice_file("bob").exists()


# The voice file


def test_the_model_is_left_untouched_and_the_voice_is_found_by_its_name(base, bobs_speech):
    before = (base / "model.safetensors").read_bytes()
    said = call("enroll", "--name", "bob", "--model", base, bobs_speech)
    assert "runs/voices/bob.safetensors" in said and "bits per sample" in said
    assert (base / "model.safetensors").read_bytes() == before
    assert call("convert", "--speaker", "bob", "in.wav").split() == ["in.bob.wav"]
    call("convert", "--speaker", "ann", "in.wav")
    as_bob, as_ann = load_audio("in.bob.wav"), load_audio("in.ann.wav")
    assert len(as_bob) == len(as_ann) == 2000
    assert not np.array_equal(as_bob, as_ann)
    call("convert", "--speaker", "bob", "--model", base, "in.wav", "--force")
    assert np.array_equal(load_audio("in.bob.wav"), as_bob)
    call("encode", "in.wav", "--model", base)
    call("decode", "in.npz", "--speaker", "bob", "--force")
    listed = call("models")
    assert "bob  (runs/voices/bob.safetensors)" in listed and "voice for" in listed


def test_the_voice_says_what_it_belongs_to_and_how_good_it_is(base, bobs_speech):
    from vqspeech.pretrained.bundled import sha256_of

    enrolment = vqspeech.enroll("bob", [bobs_speech], base)
    card, vector = read_voice(enrolment.file)
    assert card.model == sha256_of(base / "model.safetensors")
    assert card.base == "runs/base/model.safetensors"
    assert vector.shape == (4,)
    assert card.figures["bits"] == enrolment.bits < card.figures["bits_nearest"]
    assert card.training["recordings"] == 4
    assert card.training["seconds"] == pytest.approx(12.0)
    assert enrolment.file.stat().st_size < 2000


def test_a_voice_elsewhere_is_given_by_its_path(base, bobs_speech):
    call("enroll", "--name", "bob", "--model", base, "--out", "elsewhere", bobs_speech)
    call("convert", "--speaker", "elsewhere/bob.safetensors", "in.wav")
    assert Path("in.bob.wav").is_file()
    assert "no model at hand knows" in refuse("convert", "--speaker", "bob", "in.wav")


def test_a_model_that_moved_is_known_by_its_hash_and_one_that_changed_is_not(base, bobs_speech, speaking_model):
    call("enroll", "--name", "bob", "--model", base, bobs_speech)
    base.rename("runs/renamed")
    call("convert", "--speaker", "bob", "in.wav")
    write_run(Path("runs/renamed"), speaking_model, None)  # trained on, say
    Path("runs/voices/bob.safetensors").rename("runs/voices/rob.safetensors")
    message = refuse("convert", "--speaker", "runs/voices/rob.safetensors", "in.wav")
    assert "not at hand or has changed" in message and "enroll the voice again" in message


def test_a_voice_does_not_speak_from_another_model(base, bobs_speech, other_run):
    call("enroll", "--name", "bob", "--model", base, bobs_speech)
    message = refuse("convert", "--speaker", "bob", "--model", other_run, "in.wav")
    assert "fitted to another model" in message and "SHA-256" in message


def test_a_model_that_knows_the_name_by_itself_needs_no_voice(base, bobs_speech, tiny_run):
    call("enroll", "--name", "bob", "--model", base, bobs_speech)
    call("convert", "--speaker", "bob", "--model", tiny_run, "in.wav")  # that one has its own bob


def test_the_prior_does_not_know_the_voice(base, bobs_speech, speaking_model):
    pytest.importorskip("constriction")
    model = without(speaking_model, "bob")
    prior = make_prior(model, stop_bias=1.0)
    write_run(base, model, prior)
    call("enroll", "--name", "bob", "--model", base, bobs_speech)
    assert torch.equal(prior.condition(2), prior.condition(None))
    call("sample", "--speaker", "bob", "--duration", 0.2)
    call("compress", "in.wav", "--speaker", "bob")
    call("decompress", "in.vqs", "--speaker", "bob")
    call("decompress", "in.vqs", "--speaker", "ann", "--model", base)
    assert "names no speaker" in refuse("decompress", "in.vqs", "--model", base, "--out", "again.wav")


def test_a_vector_of_another_size_or_a_taken_name_does_not_join(tiny_model):
    model = without(tiny_model, "bob")
    add_voice(model, "new", torch.ones(4))
    assert model.speakers == ("ann", "theo", "new")
    assert model.speaker_index("new") == 2
    assert torch.equal(model.speaker_vectors.weight[2], torch.ones(4))
    assert torch.equal(model.speaker_vectors.weight[:2], tiny_model.speaker_vectors.weight[[0, 2]])
    for name, vector in (("ann", torch.ones(4)), ("long", torch.ones(5))):
        with pytest.raises(UnknownSpeakerError, match="cannot join"):
            add_voice(model, name, vector)


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_voice_is_a_sentence(base, content):
    Path("runs/voices").mkdir(parents=True)
    Path("runs/voices/bob.safetensors").write_bytes(content)
    assert "cannot be read as a voice" in refuse("convert", "--speaker", "bob", "in.wav")
    assert "cannot be read as a voice" in call("models")


def test_a_voice_of_a_newer_version_is_a_sentence(base, bobs_speech):
    from safetensors.torch import load_file, save_file

    file = vqspeech.enroll("bob", [bobs_speech], base).file
    save_file(load_file(file), file, {"vqspeech voice": json.dumps({"format": 2})})
    with pytest.raises(CheckpointError, match="newer vqspeech"):
        read_voice(file)


# Bad input


def test_too_little_speech_is_refused_with_its_seconds(base, chirp):
    save_audio("short.wav", chirp, RATE)
    message = refuse("enroll", "--name", "bob", "--model", base, "short.wav", "in.wav")
    assert "1.2 s of speech in all" in message and "at least 10 s" in message


def test_less_than_half_a_minute_is_used_with_a_warning(base, bobs_speech):
    told: list[str] = []
    vqspeech.enroll("bob", [bobs_speech], base, notify=told.append)
    assert any("only 12.0 s of speech" in line for line in told)


def test_silent_and_unreadable_recordings_are_named_and_the_rest_is_used(base, bobs_speech):
    save_audio("silent.wav", np.zeros(RATE), RATE)
    Path("text.wav").write_text("text")
    enrolment = vqspeech.enroll("bob", [bobs_speech, "silent.wav", "text.wav", "missing.wav"], base)
    assert enrolment.seconds == pytest.approx(12.0)
    left_out = [note for note in enrolment.notes if note.startswith("left out")]
    assert [name in note for name, note in zip(("silent", "text", "missing"), left_out, strict=True)] == [True] * 3


def test_silence_alone_is_refused(base):
    save_audio("silent.wav", np.zeros(20 * RATE), RATE)
    message = refuse("enroll", "--name", "bob", "--model", base, "silent.wav")
    assert "0.0 s of speech" in message and "silent.wav is silent" in message


def test_a_name_that_is_taken_is_refused(base, bobs_speech):
    assert "knows a speaker 'ann' already" in refuse("enroll", "--name", "ann", "--model", base, bobs_speech)
    arguments = ["enroll", "--name", "bob", "--model", base, bobs_speech]
    call(*arguments)
    assert "there is a voice 'bob' already" in refuse(*arguments)
    call(*arguments, "--force")


def test_the_name_of_a_speaker_of_another_model_is_refused_where_it_would_hide_him(base, bobs_speech, monkeypatch):
    monkeypatch.setattr("vqspeech.pretrained.bundled.FOLDER", Path(vqspeech.__file__).parent / "weights")
    message = refuse("enroll", "--name", "lucas", "--model", base, bobs_speech)
    assert "the bundled fsdd has a speaker 'lucas'" in message and "--out" in message
    call("enroll", "--name", "lucas", "--model", base, bobs_speech, "--out", "elsewhere")
    assert Path("elsewhere/lucas.safetensors").is_file()


@pytest.mark.parametrize("name", ["", "../bob", "a/b", "bob.safetensors", ".bob"])
def test_a_name_that_cannot_be_a_file_is_refused(base, bobs_speech, name):
    assert "cannot name a voice" in refuse("enroll", "--name", name, "--model", base, bobs_speech)


def test_an_unknown_base_model_is_refused(base, bobs_speech):
    assert "no model at nowhere" in refuse("enroll", "--name", "bob", "--model", "nowhere", bobs_speech)


def test_without_resemblyzer_it_is_said_that_nobody_judged(base, bobs_speech):
    enrolment = vqspeech.enroll("bob", [bobs_speech], base)
    assert enrolment.likeness is None and enrolment.agreement is None
    assert any("was not judged" in note and "vqspeech[evaluate]" in note for note in enrolment.notes)


class FakeVoiceprints:
    """Hears nothing but the pitch of a hum: 110 Hz is one voice, 165 Hz another at right angles to it."""

    def of(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        spectrum = np.abs(np.fft.rfft(wav))
        frequency = np.fft.rfftfreq(len(wav), 1 / sample_rate)
        low, high = (spectrum[np.abs(frequency - f) < 5].sum() for f in (110, 165))
        return np.array([low, high]) / np.hypot(low, high)


def hums(*pitches: float) -> list[Recording]:
    t = np.arange(6 * RATE) / RATE
    return [
        Recording(Path(f"{number}.wav"), (8000 * np.sin(2 * np.pi * pitch * t)).astype(np.int16))
        for number, pitch in enumerate(pitches)
    ]


def test_recordings_of_two_voices_are_told_apart_and_the_odd_ones_named():
    one = similarity.compare_recordings(FakeVoiceprints(), hums(110, 110, 110, 110), RATE)
    assert one.is_one_voice and one.similarity == pytest.approx(1, abs=0.01)
    two = similarity.compare_recordings(FakeVoiceprints(), hums(110, 110, 165, 110), RATE)
    assert not two.is_one_voice and two.similarity < 0.2
    assert two.odd == ("2.wav",)
    # One passage disagrees with nothing.
    assert similarity.compare_recordings(FakeVoiceprints(), hums(110), RATE).is_one_voice


def test_two_voices_are_warned_of_with_their_similarity(base, bobs_speech, monkeypatch):
    monkeypatch.setattr(new_voice, "Voiceprints", FakeVoiceprints)
    for one in hums(110, 110, 165):
        save_audio(one.path, one.wav, RATE)
    told: list[str] = []
    enrolment = vqspeech.enroll("bob", ["0.wav", "1.wav", "2.wav"], base, notify=told.append)
    (warning,) = [line for line in told if "two different voices" in line]
    assert "2.wav" in warning and f"{enrolment.agreement.similarity:.2f}" in warning


def test_likeness_is_that_of_what_is_said_again_to_the_recordings(base, bobs_speech, monkeypatch):
    """Voiceprints that know a waveform by its level: the figures are then plain ratios of levels."""

    class Levels:
        def of(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
            angle = float(np.abs(wav).mean())
            return np.array([np.cos(angle), np.sin(angle)])

    monkeypatch.setattr(new_voice, "Voiceprints", Levels)
    monkeypatch.setattr(similarity, "PASSAGE_S", 1.0)
    like = vqspeech.enroll("bob", [bobs_speech], base).likeness
    assert 0 < like.voice <= 1 and 0 < like.nearest <= 1
    assert like.recordings > 0.99  # the held-out recordings are as loud as the others


@pytest.mark.real_data
@pytest.mark.slow
def test_resemblyzer_tells_one_reader_from_two(real_data):
    folder = real_data / "librispeech" / "LibriSpeech" / "test-other"
    if not folder.is_dir():
        pytest.skip(f"no test-other at {folder}")
    voiceprints = pytest.importorskip("resemblyzer") and Voiceprints()
    data = DataConfig(corpus="folder", sample_rate=16000)
    readers = [read_recordings([path], data)[0] for path in sorted(folder.iterdir())[:4]]
    for first, second in zip(readers, readers[1:], strict=False):
        assert similarity.compare_recordings(voiceprints, first, 16000).is_one_voice
        assert not similarity.compare_recordings(voiceprints, first + second, 16000).is_one_voice


# The recordings


def test_recordings_are_prepared_as_the_models_corpus_was(tmp_path):
    """Trimmed at -40 dB, and brought to -20 dB full scale with one gain for all."""
    t = np.arange(8 * RATE) / RATE
    loud, soft = 0.2 * np.sin(2 * np.pi * 200 * t), 0.05 * np.sin(2 * np.pi * 200 * t)
    for name, wav in (("loud", loud), ("soft", soft)):
        save_audio(tmp_path / f"{name}.wav", np.concatenate([np.zeros(RATE), wav, np.zeros(RATE)]), RATE)
    data = DataConfig(corpus="folder", sample_rate=RATE, trim_db=40, level="speaker", level_db=-20)
    recordings, problems = read_recordings([tmp_path], data)
    assert problems == []
    assert [len(one.pcm) for one in recordings] == [8 * RATE, 8 * RATE]
    wav = np.concatenate([one.wav for one in recordings])
    assert 10 * np.log10(np.mean(wav**2)) == pytest.approx(-20, abs=0.02)
    levels = [np.sqrt(np.mean(one.wav**2)) for one in recordings]
    assert levels[0] / levels[1] == pytest.approx(4, rel=0.01)


def test_too_few_recordings_name_the_first_that_was_lost(tmp_path):
    (tmp_path / "text.wav").write_text("text")
    with pytest.raises(AudioError, match="0 usable recordings with 0.0 s .*text.wav is not a recording"):
        read_recordings([tmp_path], DataConfig(corpus="folder"))


@given(st.lists(st.integers(10, 1500), min_size=2, max_size=12))
def test_stretches_are_the_recordings_and_those_held_out_are_no_part_of_the_rest(lengths):
    rate = 100  # Hz, so that 4 s are 400 samples
    starts = np.cumsum([0, *lengths])
    recordings = [
        Recording(Path(f"{number}.wav"), np.arange(starts[number], starts[number + 1]).astype(np.int16))
        for number in range(len(lengths))
    ]
    store = Stretches(recordings, rate)
    parts = {split: [store.read(index) for index in store.utterances(split)] for split in ("train", "valid")}
    everything = np.sort(np.concatenate([*parts["train"], *parts["valid"]]))
    assert max(len(piece) for piece in [*parts["train"], *parts["valid"]]) <= 400
    held_out = sum(map(len, parts["valid"]))
    assert held_out <= 20 * rate or len(parts["valid"]) == 1
    num_all = sum(-(-length // 400) for length in lengths)
    assert len(parts["train"]) + len(parts["valid"]) == num_all
    assert np.array_equal(everything, np.arange(starts[-1]))
    assert store.duration_s("valid") == held_out / rate
    first = store.utterances("train")[0]
    assert np.array_equal(store.read(first, 3, 4), store.read(first)[3:7])
