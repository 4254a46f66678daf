"""Where each corpus keeps its recordings, speakers and texts."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from vqspeech.config import DataConfig
from vqspeech.data.corpora import Utterance, find_root, find_utterances, split_of
from vqspeech.errors import CorpusError


def lay(root: Path, *files: str) -> Path:
    """A folder of empty files."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def config(corpus: str, **values: Any) -> DataConfig:
    return DataConfig.model_validate({"corpus": corpus, **values})


def brief(utterances: list[Utterance]) -> list[tuple[str, str, str | None]]:
    return [(utterance.utterance, utterance.speaker, utterance.text) for utterance in utterances]


def test_vctk_092_takes_one_microphone_and_the_text_where_there_is_one(tmp_path: Path) -> None:
    audio = "VCTK-Corpus-0.92/wav48_silence_trimmed"
    root = lay(tmp_path, *(f"{audio}/p225/p225_00{i}_mic{m}.flac" for i in (1, 2) for m in (1, 2)),
               f"{audio}/p225/._p225_001_mic1.flac", f"{audio}/log.txt", f"{audio}/s5/s5_001_mic1.flac")  # fmt: skip
    text = root / "VCTK-Corpus-0.92" / "txt" / "p225" / "p225_001.txt"
    text.parent.mkdir(parents=True)
    text.write_text("Please call Stella.\n")
    expected = [("p225_001", "p225", "Please call Stella."), ("p225_002", "p225", None), ("s5_001", "s5", None)]
    assert brief(find_utterances(config("vctk"), root)) == expected
    assert brief(find_utterances(config("vctk"), root / "VCTK-Corpus-0.92")) == expected
    second = find_utterances(config("vctk", mic="mic2"), root)
    assert [utterance.audio.name for utterance in second] == ["p225_001_mic2.flac", "p225_002_mic2.flac"]


def test_vctk_080_is_wav_without_microphones(tmp_path: Path) -> None:
    lay(tmp_path, "wav48/p225/p225_001.wav", "wav48/p226/p226_001.wav", "txt/p226/p226_001.txt")
    assert brief(find_utterances(config("vctk"), tmp_path)) == [("p225_001", "p225", None), ("p226_001", "p226", None)]


def test_librispeech_speakers_are_the_first_part_of_the_id_and_transcripts_are_optional(tmp_path: Path) -> None:
    lay(tmp_path / "LibriSpeech", "test-other/1089/134686/1089-134686-0000.flac", "SPEAKERS.TXT",
        "test-other/1089/134686/1089-134686-0001.flac", "train-clean-100/19/198/19-198-0000.flac")  # fmt: skip
    chapter = tmp_path / "LibriSpeech" / "test-other" / "1089" / "134686"
    (chapter / "1089-134686.trans.txt").write_text("1089-134686-0000 HE HOPED\n1089-134686-0001 STUFF IT\n")
    expected = [
        ("1089-134686-0000", "1089", "HE HOPED"),
        ("1089-134686-0001", "1089", "STUFF IT"),
        ("19-198-0000", "19", None),
    ]
    assert brief(find_utterances(config("librispeech"), tmp_path)) == expected
    assert brief(find_utterances(config("librispeech"), tmp_path / "LibriSpeech")) == expected
    assert len(find_utterances(config("librispeech"), tmp_path / "LibriSpeech" / "test-other")) == 2


def test_fsdd_digits_become_words_and_takes_become_splits(tmp_path: Path) -> None:
    names = [f"7_theo_{take}.wav" for take in (0, 4, 5, 9, 10, 49)] + ["0_george_12.wav", "notes.wav"]
    lay(tmp_path / "recordings", *names)
    found = find_utterances(config("fsdd"), tmp_path)
    assert find_utterances(config("fsdd"), tmp_path / "recordings") == found
    assert {utterance.utterance: utterance.split for utterance in found} == {
        "0_george_12": "train", "7_theo_0": "test", "7_theo_4": "test", "7_theo_5": "valid", "7_theo_9": "valid",
        "7_theo_10": "train", "7_theo_49": "train",
    }  # fmt: skip
    assert {(utterance.speaker, utterance.text) for utterance in found} == {("george", "zero"), ("theo", "seven")}


def test_folder_speakers_are_the_subfolders_at_any_depth_and_keep_their_names(tmp_path: Path) -> None:
    lay(tmp_path, "ann/a.wav", "ann/day 1/b.FLAC", "Zoë O'Neil, the_2nd/c.mp3", "Zoë O'Neil, the_2nd/d.ogg",
        "stray.wav", "ann/notes.txt", ".hidden/e.wav", "ann/a.flac")  # fmt: skip
    found = find_utterances(config("folder"), tmp_path)
    assert [(utterance.utterance, utterance.speaker) for utterance in found] == [
        ("Zoë O'Neil, the_2nd/c", "Zoë O'Neil, the_2nd"),
        ("Zoë O'Neil, the_2nd/d", "Zoë O'Neil, the_2nd"),
        ("ann/a", "ann"),
        ("ann/a.wav", "ann"),  # a.flac beside it took the short id
        ("ann/day 1/b", "ann"),
    ]


def test_a_link_that_leads_back_up_is_followed_once(tmp_path: Path) -> None:
    lay(tmp_path, "ann/a.wav")
    (tmp_path / "ann" / "loop").symlink_to(tmp_path)
    assert len(find_utterances(config("folder"), tmp_path)) == 1


def test_embedded_utterances_carry_texts_and_labels(tmp_path: Path) -> None:
    lay(tmp_path, "wav/en-gb/0001.wav", "wav/en-us/0001.wav", "labels/en-gb/0001.tsv", "text/en-gb/0001.txt")
    (tmp_path / "text/en-gb/0001.txt").write_text("Hello.")
    gb, us = find_utterances(config("embedded"), tmp_path)
    assert (gb.utterance, gb.speaker, gb.text) == ("en-gb/0001", "en-gb", "Hello.")
    assert gb.labels == tmp_path / "labels/en-gb/0001.tsv" and us.labels is None


def write_manifest(folder: Path, *entries: Any) -> Path:
    path = folder / "all.jsonl"
    path.write_text("\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries))
    return path


def test_manifest_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    path = write_manifest(
        tmp_path,
        {"audio": "in/a.wav", "speaker": "ann/1", "text": "hi", "offset_s": 1.5, "duration_s": 2},
        "",
        {"audio": "/far/b.wav", "speaker": "bob"},
    )
    expected = [
        Utterance("/far/b.wav", "bob", Path("/far/b.wav")),
        Utterance("in/a.wav#1.5+2.0", "ann/1", tmp_path / "in/a.wav", "hi", 1.5, 2.0),
    ]
    assert find_utterances(config("manifest"), path) == expected
    assert find_utterances(config("manifest"), tmp_path) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"audio": "a.wav"', "line 2 is not JSON"),
        ("[1, 2]", "line 2 is not an object"),
        ({"audio": "a.wav"}, "line 2 lacks speaker"),
        ({"speaker": "ann"}, "line 2 lacks audio"),
        ({"audio": "a.wav", "speaker": 3}, "line 2: speaker = 3, expected a name"),
        ({"audio": "a.wav", "speaker": "ann", "offset_s": "1"}, "line 2: offset_s = '1', expected seconds"),
        ({"audio": "a.wav", "speaker": "ann", "duration_s": 0}, "line 2: .*a duration above 0"),
        ({"audio": "a.wav", "speaker": "ann", "offset_s": -1}, "line 2: .*an offset of 0 or more"),
        ({"audio": "x.wav", "speaker": "ann"}, "line 2 repeats line 1"),
        ({"audio": "a\0.wav", "speaker": "ann"}, "line 2: audio = .* holds a character that no file's name can"),
        ({"audio": "a.wav", "speaker": "\ud800"}, "line 2: speaker = .* holds a character that no file's name can"),
    ],
)
def test_a_wrong_manifest_line_is_named_by_its_number(tmp_path: Path, line: Any, message: str) -> None:
    path = write_manifest(tmp_path, {"audio": "x.wav", "speaker": "ann"}, line)
    with pytest.raises(CorpusError, match=message):
        find_utterances(config("manifest"), path)


def test_a_manifest_may_name_files_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    path.write_bytes(b'{"audio": "\xff.wav", "speaker": "ann"}\n')
    (found,) = find_utterances(config("manifest"), path)
    assert os.fsencode(found.audio.name) == b"\xff.wav"


def test_a_folder_of_several_manifests_asks_which(tmp_path: Path) -> None:
    lay(tmp_path, "a.jsonl", "b.jsonl")
    with pytest.raises(CorpusError, match=r"holds 2 \.jsonl files"):
        find_utterances(config("manifest"), tmp_path)


@pytest.mark.parametrize("corpus", ["vctk", "librispeech", "fsdd", "folder", "embedded"])
def test_an_empty_folder_is_told_what_was_looked_for(tmp_path: Path, corpus: str) -> None:
    lay(tmp_path, "readme.txt")
    with pytest.raises(CorpusError, match=f"no recordings in {tmp_path}: expected "):
        find_utterances(config(corpus), tmp_path)
    with pytest.raises(CorpusError, match="does not exist. Fetch it"):
        find_utterances(config(corpus, help="Fetch it"), tmp_path / "missing")


def test_the_corpus_is_sought_by_option_then_recipe_then_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {name: tmp_path / name for name in ("option", "recipe", "environment")}
    for place in places.values():
        place.mkdir()
    data = config("vctk", root=str(places["recipe"]))
    monkeypatch.setenv("VQSPEECH_DATA", str(places["environment"]))
    assert find_root(data, places["option"]) == places["option"]
    assert find_root(data) == places["recipe"]
    assert find_root(config("vctk")) == places["environment"]
    monkeypatch.delenv("VQSPEECH_DATA")
    with pytest.raises(CorpusError, match="neither --data, nor data.root.*nor VQSPEECH_DATA. Fetch VCTK"):
        find_root(config("vctk", help="Fetch VCTK"))
    with pytest.raises(CorpusError, match="missing does not exist. Fetch VCTK"):
        find_root(config("vctk", help="Fetch VCTK"), tmp_path / "missing")


def test_splits_hang_on_the_id_alone_and_have_the_wanted_shares() -> None:
    data = config("vctk", valid_share=0.1, test_share=0.2)
    splits = Counter(split_of(f"p{i:05d}", data) for i in range(20_000))
    # Binomial standard deviations are 0.0021 and 0.0028.
    assert splits["valid"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert splits["test"] / 20_000 == pytest.approx(0.2, abs=0.012)


def test_the_hash_of_the_splits_never_changes() -> None:
    # printf p225_001 | sha256sum: the first 8 bytes, read as a fraction, are compared with the shares.
    data = config("vctk", valid_share=0.1, test_share=0.2)
    assert split_of("p225_001", data) == "test"  # 26952727cbde77a8 is 0.151
    assert split_of("p225_005", data) == "valid"  # 42de735fe1990d2d is 0.261
    assert split_of("p225_002", data) == "train"  # 6424f0b2047b8377 is 0.391


@pytest.mark.real_data
def test_the_pieces_of_real_corpora_are_found(real_data: Path) -> None:
    expected = {"fsdd": (3000, 6), "librispeech": (331, 261), "vctk": (24, 4)}
    for corpus, counts in expected.items():
        if (real_data / corpus).is_dir():
            found = find_utterances(config(corpus), real_data / corpus)
            assert (len(found), len({utterance.speaker for utterance in found})) == counts
