"""The examples run as their first lines say, and what they print is right."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vqspeech.audio import load_audio, save_audio
from vqspeech.config import DataConfig
from vqspeech.conversion import convert
from vqspeech.data.corpora import find_utterances
from vqspeech.pictures import plot_training
from vqspeech.pretrained.example import list_recordings

EGS = Path(__file__).resolve().parent.parent / "egs"


@pytest.fixture()
def runs(place, tiny_run) -> Path:
    """The folder an example's first lines suppose: runs/fsdd beside in.wav."""
    (place / "runs" / "fsdd").mkdir(parents=True)
    (place / "runs" / "fsdd" / "model.safetensors").write_bytes((tiny_run / "model.safetensors").read_bytes())
    return place


@pytest.fixture()
def run(monkeypatch, capsys):
    """Run a script as Python does, within this process; what it prints."""

    def run_script(*command: str) -> str:
        monkeypatch.setattr(sys, "argv", list(command))
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(command[0], run_name="__main__")
        assert ended.value.code == 0
        return capsys.readouterr().out

    return run_script


def usage(example: Path) -> list[str]:
    """The command in an example's docstring, without what is optional."""
    line = next(line for line in example.read_text().splitlines() if line.startswith("python egs/"))
    words = re.sub(r"\[.*?\]", "", line).split()
    return [str(EGS.parent / words[1]), *words[2:]]


def test_there_are_examples_and_each_is_short_and_documented():
    examples = sorted(EGS.glob("*.py"))
    names = ["convert", "inspect_codes", "invent_voices", "join_corpora", "list_voices", "make_recordings"]
    names += ["plot_training", "reconstruct"]
    assert [example.stem for example in examples] == names
    for example in examples:
        text = example.read_text()
        assert len(text.splitlines()) < 50
        assert text.startswith('"""')


def test_reconstruct_writes_the_recording_again_and_a_picture(runs, run):
    example = usage(EGS / "reconstruct.py")
    said = run(*["ann" if word == "theo" else word for word in example])
    assert len(load_audio("in.reconstructed.wav")) == 2000
    assert Path("in.reconstructed.png").stat().st_size > 1000
    # 2,000 samples of 16 bits; 125 codes of 3 bits.
    assert said == "in.reconstructed.wav: 32.0 kbit of sound through 0.38 kbit of codes, 85 times less\n"


def test_convert_speaks_in_every_voice(runs, run, tiny_model):
    assert run(*usage(EGS / "convert.py")).split() == ["in.ann.wav", "in.bob.wav", "in.theo.wav", "in.voices.png"]
    expected = convert(tiny_model, load_audio("in.wav", 8000), "bob")
    assert np.abs(load_audio("in.bob.wav") - expected).max() <= 1 / 32768
    assert Path("in.voices.png").stat().st_size > 1000


def test_inspect_codes_counts_what_the_encoder_gave(runs, tiny_model, chirp):
    save_audio("more.wav", chirp[:800], 8000)
    command = [sys.executable, *usage(EGS / "inspect_codes.py"), "more.wav"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    codes = [tiny_model.encode(load_audio(name)).tolist() for name in ("in.wav", "more.wav")]
    assert "175 in 2 recordings, 500 per second" in said
    assert f"{len(set(codes[0] + codes[1]))} of 8" in said
    changes = sum(a != b for track in codes for a, b in zip(track, track[1:], strict=False))
    assert f"{175 / (changes + 2) * 2:.1f} ms" in said  # a code lasts 2 ms
    commonest = max(range(8), key=(codes[0] + codes[1]).count)
    assert re.search(rf"commonest +{commonest} \(", said)
    assert Path("in.codes.png").is_file() and Path("more.codes.png").is_file()


def test_plot_training_draws_every_validation_of_a_run(runs, run):
    probe = {"content": 0.2, "content_control": 0.0, "target": 0.5, "still_source": 0.2, "own": 0.9}
    figures = {"bits": 4.5, "bits_silence": 2.0, "code_gain": 1.2, "speaker_gain": 0.8, "perplexity": 80.0}
    rows = [{"kind": "train", "step": step, "seconds": 60.0 * step, "bits": 5.0 * (step > 1)} for step in (1, 2, 3)]
    rows += [{"kind": "validation", "step": 1, "seconds": 60.0, "warm_start": True}]
    rows += [{"kind": "validation", "step": 3, "seconds": 180.0, "warm_start": False, "probe": probe} | figures]
    (runs / "runs" / "fsdd" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(*usage(EGS / "plot_training.py"))
    assert (runs / "curves.png").read_bytes().startswith(b"\x89PNG")

    curves = plot_training(rows).axes[1]
    assert [line.get_xdata().tolist() for line in curves.lines] == [[3.0], [3.0]]  # minutes; the warm start left out
    assert [line.get_ydata().tolist() for line in curves.lines] == [[1.2], [0.8]]


def test_join_corpora_splits_readers_by_their_last_and_vctk_by_its_shared_sentences(place, run):
    for name in ["1688/1/1688-1-000" + str(take) for take in range(6)] + ["19/2/19-2-0000"]:
        save_audio(f"LibriSpeech/test-other/{name}.flac", np.zeros(800, np.float32), 16000)
    Path("LibriSpeech/SPEAKERS.TXT").write_text("1688 | M | test-other | 9.83 | winam\n")
    for name in ("p225/p225_003", "p225/p225_008", "p225/p225_016", "s5/s5_008"):
        save_audio(f"VCTK-Corpus-0.92/wav48_silence_trimmed/{name}_mic1.flac", np.zeros(800, np.float32), 16000)
    Path("VCTK-Corpus-0.92/txt/p225").mkdir(parents=True)
    Path("VCTK-Corpus-0.92/txt/p225/p225_003.txt").write_text("Six spoons.")
    assert run(*usage(EGS / "join_corpora.py")) == "english.jsonl\n"
    lines = [json.loads(line) for line in Path("english.jsonl").read_text().splitlines()]
    splits = {Path(line["audio"]).stem: line["split"] for line in lines}
    assert [splits[f"1688-1-000{take}"] for take in range(6)] == ["train", "train", "train", "valid", "test", "test"]
    assert splits["19-2-0000"] == splits["p225_003_mic1"] == "train"
    assert splits["p225_008_mic1"] == splits["p225_016_mic1"] == splits["s5_008_mic1"] == "test"
    assert [line["sex"] for line in lines if line["speaker"] == "1688"] == ["M"] * 6
    assert [line.get("text") for line in lines if line["speaker"] == "p225"] == ["Six spoons.", None, None]
    assert all(Path(line["audio"]).is_file() for line in lines)


def test_list_voices_holds_a_text_out_of_all_voices_that_say_it(place, run):
    texts = [f"sentence number {number} of this voice" for number in range(200)]
    for voice, style in (("nathalie", str), ("flemishguy", str.upper)):
        for number in range(len(texts)):
            save_audio(f"rhasspy/{voice}/{voice}_{number}.wav", np.zeros(80, np.float32), 16000)
        table = "".join(f"{voice}_{number}|{style(text)}!\n" for number, text in enumerate(texts))
        Path(f"rhasspy/{voice}/metadata.csv").write_text(table)
    assert run(*usage(EGS / "list_voices.py")) == "rhasspy.jsonl\n"
    lines = [json.loads(line) for line in Path("rhasspy.jsonl").read_text().splitlines()]
    assert len(lines) == 400 and all(Path(line["audio"]).is_file() for line in lines)
    assert {(line["speaker"], line.get("sex")) for line in lines} == {("nathalie", "F"), ("flemishguy", "M")}
    splits = [{line["text"].lower().rstrip("!") for line in lines if line["split"] == name} for name in
              ("train", "valid", "test")]  # fmt: skip
    assert sum(map(len, splits)) == len(texts) == len(set.union(*splits))  # a text is in one split, whoever says it
    assert 2 <= len(splits[1]) <= 20 and 2 <= len(splits[2]) <= 20  # about 5 % each


def test_invent_voices_copies_training_speech_into_voices_of_their_own(place, run):
    pytest.importorskip("pyworld", reason="pyworld is not installed: pip install 'vqspeech[perturb]'")
    times = np.arange(2400) / 8000
    buzz = (0.2 * np.sign(np.sin(2 * np.pi * 120 * times))).astype(np.float32)  # 120 Hz
    for take in (0, 7, *range(10, 18)):  # FSDD's takes 0-4 are its test split, 5-9 validate
        save_audio(f"free-spoken-digit-dataset/1_george_{take}.wav", buzz, 8000)
        save_audio(f"free-spoken-digit-dataset/1_theo_{take}.wav", buzz, 8000)
    script, recipe, *rest = usage(EGS / "invent_voices.py")
    said = run(script, str(EGS.parent / recipe), *rest, "--leave-out", "theo")
    lines = [json.loads(line) for line in Path("many/manifest.jsonl").read_text().splitlines()]
    voices = {line["speaker"] for line in lines}
    assert voices == {"george"} | {f"george-{copy:02d}" for copy in range(12)}
    assert said == f"many/manifest.jsonl: 13 voices, {10 + 8 * 3} utterances\n"
    assert {line["split"] for line in lines if line["speaker"] != "george"} == {"train"}
    assert not any("theo" in line["audio"] for line in lines)
    again = [load_audio(Path("many") / line["audio"]) for line in lines if line["speaker"] == "george-03"]
    assert len(again) == 2
    assert np.corrcoef(*again)[0, 1] > 0.9  # the same said again in the same voice, but for the noise
    copies = {
        line["speaker"]: load_audio(Path("many") / line["audio"]) for line in lines if line["speaker"] != "george"
    }
    assert {len(wav) for wav in copies.values()} == {2400}
    assert {round(np.log2(0.2 / wav.std())) for wav in copies.values()} == {1}  # half as loud, so that none clips
    pitches = [np.argmax(np.abs(np.fft.rfft(wav, 8000))[60:240]) + 60 for wav in copies.values()]
    assert min(pitches) < 110 < 130 < max(pitches)  # Hz, in other throats
    data = DataConfig(corpus="manifest", sample_rate=8000)
    found = find_utterances(data, Path("many"))
    assert len(found) == len(lines)
    assert all(utterance.audio.is_file() for utterance in found)


def test_make_recordings_makes_those_that_come_with_vqspeech(place):
    pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed: pip install 'vqspeech[demo]'")
    # A process of its own: espeak-ng keeps its state in static variables.
    subprocess.run([sys.executable, *usage(EGS / "make_recordings.py")], capture_output=True, check=True)
    made = {path.name: load_audio(path) for path in Path("recordings").iterdir()}
    kept = {path.name: load_audio(path) for path in list_recordings()}
    assert made.keys() == kept.keys()
    for name, wav in kept.items():
        assert np.abs(made[name] - wav).max() <= 2 / 32768, name
