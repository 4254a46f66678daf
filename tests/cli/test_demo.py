"""The demo: one call trains, converts, shows and measures; the next one only converts and measures again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from trainings import after_step, assert_same, state_of, stop
from vqspeech.audio import load_audio
from vqspeech.cli.demo import HEADLINES, run_demo
from vqspeech.cli.main import main
from vqspeech.data.embedded import VOICES, build_embedded

RECIPE = """
name = "small"
[data]
corpus = "embedded"
sample_rate = 8000
leave_out = ["m1", "nguyen", "grandma", "m7"]
valid_share = 0.1
test_share = 0.2
[encoder]
strides = [4, 4, 8]
channels = 8
residual_blocks = 1
[bottleneck]
num_codes = 8
code_dim = 4
[decoder]
residual_channels = 8
skip_channels = 8
cycles = 1
layers_per_cycle = 4
condition_channels = 8
speaker_dim = 4
[loss]
spectral = 1.0
[train]
steps = 6
batch_size = 2
crop_samples = 1024
warm_start_steps = 2
validate_every = 6
checkpoint_every = 2
validation_utterances = 2
probe_utterances = 0
precision = "float32"
compile = "off"
"""
RUN = Path("run")


@dataclass
class Demo:
    """A demo that ran: where, what it returned, and what it said."""

    folder: Path
    figures: dict[str, Any]
    said: list[str]

    @property
    def sentences(self) -> list[tuple[str, str, list[np.ndarray]]]:
        """Of each conversion the source's voice, the target's, and what there is to hear: source, own, converted."""
        rows = []
        for number in range(6):
            (source,), (own,), (other,) = (
                sorted((self.folder / RUN / "listen").glob(f"{number}.{kind}.*.wav"))
                for kind in ("source", "reconstruction", "conversion")
            )
            assert source.stem.split(".")[2] == own.stem.split(".")[2]
            wavs = [load_audio(path) for path in (source, own, other)]
            rows.append((source.stem.split(".")[2], other.stem.split(".")[2], wavs))
        return rows


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Iterator[Demo]:
    """The demo on some minutes of speech and a network of a few hundred weights."""
    for package in ("espeakng_loader", "pocketsphinx"):
        pytest.importorskip(package, reason="needs the extra `demo`")
    folder = tmp_path_factory.mktemp("demo")
    (folder / "recipe.toml").write_text(RECIPE)
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("vqspeech.data.preparation.build_embedded", partial(build_embedded, minutes=3))
        patch.setattr("vqspeech.cli.demo.JUDGED", 6)
        patch.setattr("vqspeech.evaluation.trials.texts.MAX_TEXTS", 24)
        patch.setattr("vqspeech.evaluation.judges.speakers._LEAST_RECORDINGS", 3)
        figures = run_demo(Path("recipe.toml"), RUN, notify=said.append)
        assert figures is not None
        yield Demo(folder, figures, said)


def numbers(figures: Any) -> Iterator[float]:
    if isinstance(figures, dict):
        for value in figures.values():
            yield from numbers(value)
    else:
        yield figures


def test_six_sentences_are_there_to_listen_to(demo):
    assert len(list((demo.folder / RUN / "listen").iterdir())) == 6 * 4 + 1
    for source, target, (recording, reconstruction, converted) in demo.sentences:
        assert {source, target} <= {voice.name for voice in VOICES}
        assert source != target
        assert len(recording) == len(reconstruction) == len(converted) <= 4 * 8000
        assert not np.array_equal(reconstruction, converted)
    assert len({target for _, target, _ in demo.sentences}) > 1


def test_sources_are_the_sentences_that_were_named(demo):
    lines = [line for line in demo.said if line.startswith("converted ")]
    assert len(lines) == 6
    corpus = demo.folder / "prepared" / "embedded-8000"
    for line, (source, target, (recording, *_)) in zip(lines, demo.sentences, strict=True):
        utterance = line.split()[1]
        assert utterance.startswith(f"{source}/")
        text = (corpus / "text" / f"{utterance}.txt").read_text().strip()
        assert line == f"converted {utterance} to {target}: “{text}”"
        spoken = load_audio(corpus / "wav" / f"{utterance}.wav")
        np.testing.assert_array_equal(recording, spoken[: 4 * 8000])


def test_every_sentence_has_its_picture(demo):
    import matplotlib.pyplot as plt

    for number in range(6):
        height, width, _ = plt.imread(demo.folder / RUN / "listen" / f"{number}.png").shape
        assert min(height, width) > 200


def test_figures_are_those_of_the_report_it_leaves(demo):
    figures = demo.figures
    assert json.loads((demo.folder / RUN / "demo.json").read_text()) == figures
    assert all(math.isfinite(number) for number in numbers(figures))
    assert (figures["steps"], figures["warm_start_steps"], figures["judged"]) == (6, 2, 6)
    assert figures["minutes"] > 0 and figures["samples_per_s"] > 0
    report = json.loads((demo.folder / RUN / "evaluation" / "report.json").read_text())
    found = {figure["name"]: figure for section in report["sections"] for figure in section["figures"]}
    shown = figures["figures"]
    for name, label, beside in HEADLINES:
        assert shown[label]["value"] == found[name]["value"], name
        controls = {control["name"]: control["value"] for control in found[name]["controls"]}
        assert {one: shown[label][one] for one in beside} == {one: controls[one] for one in beside}
    assert (demo.folder / RUN / "evaluation" / "report.html").stat().st_size > 100_000  # with its sounds


def test_the_judges_know_the_voices_and_the_sentences(demo):
    """What they say of real recordings shows whether what they say of conversions counts."""
    shown = demo.figures["figures"]
    assert shown["heard as the target"]["real recordings heard as their speaker"] > 0.8
    sentences = shown["right sentence among 21"]
    assert sentences["source unchanged"] >= 0.5 > 0.2 > sentences["random codes"]
    # A network of a few hundred weights after six steps says nothing, and the judges hear that.
    assert shown["right sentence and target's voice in one conversion"]["value"] < 0.3
    # Half a minute of speech is enough for cepstra to tell something about phonemes.
    phonemes = shown["frames whose phoneme the codes tell, silence excluded"]
    assert phonemes["k-means on MFCCs"] > phonemes["shuffled codes"]


def test_a_second_call_trains_nothing_and_finds_the_same(demo, capsys):
    state = state_of("run")
    before = {name: (RUN / name).read_bytes() for name in ("model.safetensors", "metrics.jsonl")}
    heard = [wav for *_, wavs in demo.sentences for wav in wavs]
    figures = run_demo(Path("recipe.toml"), RUN, notify=lambda line: None)
    assert figures is not None
    assert_same(state_of("run"), state)
    assert state_of("run")["seconds"] == state["seconds"]
    for name, content in before.items():
        assert (RUN / name).read_bytes() == content, name
    for name in figures.keys() - {"minutes", "samples_per_s"}:
        assert figures[name] == demo.figures[name], name
    for first, second in zip(heard, [wav for *_, wavs in demo.sentences for wav in wavs], strict=True):
        np.testing.assert_array_equal(first, second)
    said = capsys.readouterr().out
    assert "small: 6 steps, 2 of them the warm start" in said
    share = next(row for row in said.splitlines() if "heard as the target" in row)
    assert f"{100 * figures['figures']['heard as the target']['value']:.1f} %" in share
    assert "Listen to run/listen/*.wav" in said


def test_an_interrupted_demo_ends_at_once_and_the_next_call_goes_on(demo, tmp_path, monkeypatch):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "prepared").symlink_to(demo.folder / "prepared")
    monkeypatch.chdir(tmp_path)
    after_step(monkeypatch, 3, stop)
    stopped = CliRunner().invoke(main, ["demo", "--recipe", "recipe.toml", "--out", str(RUN)])
    assert stopped.exit_code == 130, stopped.output
    assert "stopped and saved at step 3 of 6" in stopped.stderr
    # Before it trains, the demo lets the model speak that came with the package.
    assert [path.name for path in (RUN / "listen").iterdir()] == ["example.p225.wav"]
    assert load_audio(RUN / "listen" / "example.p225.wav").std() > 0.01
    assert not (RUN / "demo.json").exists()
    figures = run_demo(Path("recipe.toml"), RUN, notify=lambda line: None)
    assert figures is not None
    assert_same(state_of(str(RUN)), state_of(str(demo.folder / RUN)))
    for name in ("steps", "figures"):
        assert figures[name] == demo.figures[name], name
