"""`vqspeech units`: what it writes in each format, what it prints, what it refuses."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from commands import call, refuse
from vqspeech.audio import load_audio, save_audio
from vqspeech.cli.main import main
from vqspeech.conversion.codes import encode_file, load_codes
from vqspeech.errors import CodesError
from vqspeech.units import UnitsWriter, bit_rate, encode_recordings, read_items, write_units
from vqspeech.units.files import FORMATS, read_text_units

RATE, HOP = 8000, 16  # the tiny model's


@pytest.fixture
def folder(place, chirp) -> Path:
    """Three recordings in two folders, where the tests work."""
    for number, name in enumerate(("ann/one.wav", "ann/two.wav", "bob/three.flac")):
        save_audio(place / "in" / name, chirp[1000 * number : 1000 * number + 2100 + number], RATE)
    return place / "in"


@pytest.fixture
def codes(folder, tiny_model) -> dict[str, np.ndarray]:
    """Their codes, by the model itself."""
    return {
        path.stem: tiny_model.encode(load_audio(path, RATE)).numpy() for path in folder.rglob("*.*")
    }  # fmt: skip


def units_of(run, folder, *options) -> str:
    return call("units", run, folder, "--out", "out", *options)


def test_a_line_a_recording_as_speech2unit_writes(tiny_run, folder, codes):
    printed = units_of(tiny_run, folder)
    lines = Path("out/units.txt").read_text().splitlines()
    assert lines == [f"{name}|{' '.join(map(str, codes[name]))}" for name in ("one", "two", "three")]
    found = read_text_units("out/units.txt")
    assert all(np.array_equal(found[name], own) for name, own in codes.items())
    seconds = (2100 + 2101 + 2102) / RATE
    assert printed.startswith("out/units.txt: 3 recordings, 0.8 s, ")
    assert f"{sum(map(len, codes.values())) / seconds:.1f} units/s" in printed
    assert f"and {bit_rate(list(codes.values()), seconds):.0f} bits/s, deduplicated" in printed


def test_runs_are_written_once_and_their_lengths_kept(tiny_run, folder, codes):
    runs = {name: [(key, len(list(group))) for key, group in itertools.groupby(own)] for name, own in codes.items()}
    units_of(tiny_run, folder, "--dedup")
    assert all(np.array_equal(found, [code for code, _ in runs[name]])
               for name, found in read_text_units("out/units.txt").items())  # fmt: skip
    units_of(tiny_run, folder, "--dedup", "--format", "jsonl")
    for line in Path("out/units.jsonl").read_text().splitlines():
        entry = json.loads(line)
        assert list(zip(entry["units"], entry["durations"])) == runs[entry["file"]]
    units_of(tiny_run, folder, "--dedup", "--format", "npz")
    with np.load("out/one.npz") as arrays:
        assert list(zip(arrays["codes"], arrays["durations"])) == runs["one"]
        starts = np.cumsum([0, *(length for _, length in runs["one"])]) * HOP / RATE
        np.testing.assert_allclose(arrays["start_s"], starts[:-1])
        np.testing.assert_allclose(arrays["end_s"][:-1], starts[1:-1])
        assert arrays["end_s"][-1] == pytest.approx(2100 / RATE)  # the last code's frame is not full


def test_json_lines_are_discophons(tiny_run, folder, codes):
    units_of(tiny_run, folder, "--format", "jsonl")
    entries = [json.loads(line) for line in Path("out/units.jsonl").read_text().splitlines()]
    assert entries == [{"file": name, "units": codes[name].tolist()} for name in ("one", "two", "three")]


def test_npz_can_be_spoken_again_and_holds_times_and_vectors(tiny_run, tiny_model, folder, codes):
    units_of(tiny_run, folder, "--format", "npz", "--vectors")
    with np.load("out/two.npz") as arrays:
        assert np.array_equal(arrays["codes"], codes["two"])
        np.testing.assert_allclose(arrays["start_s"], np.arange(len(codes["two"])) * HOP / RATE)
        np.testing.assert_array_equal(arrays["vectors"], tiny_model.lookup(codes["two"]).numpy())
        assert (arrays["code_rate"], arrays["sample_rate"], arrays["num_codes"]) == (RATE / HOP, RATE, 8)
    call("decode", "out/two.npz", "--model", tiny_run, "--speaker", "bob", "--out", "a.wav", "--engine", "torch")
    encode_file(tiny_model, folder / "ann" / "two.wav", Path("plain.npz"))
    call("decode", "plain.npz", "--model", tiny_run, "--speaker", "bob", "--out", "b.wav", "--engine", "torch")
    assert len(load_audio("a.wav")) == len(load_audio("b.wav")) == 2101
    units_of(tiny_run, folder, "--format", "npz", "--force")
    with np.load("out/two.npz") as arrays:
        assert "vectors" not in arrays


@pytest.mark.parametrize(("form", "ending", "read"), [("npy", ".npy", np.load), ("zerospeech", ".txt", np.loadtxt)])
def test_features_are_a_row_a_code(tiny_run, tiny_model, folder, codes, form, ending, read):
    units_of(tiny_run, folder, "--format", form)
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(f"{name}{ending}" for name in codes)
    for name, own in codes.items():
        np.testing.assert_allclose(read(f"out/{name}{ending}"), tiny_model.lookup(own).numpy(), rtol=1e-5, atol=1e-6)
    assert "counting frames" in refuse("units", tiny_run, folder, "--out", "out", "--format", form, "--dedup")


def test_single_files_and_folders_may_be_mixed_and_a_file_twice_is_one(tiny_run, folder):
    printed = units_of(tiny_run, folder / "ann", folder / "bob/three.flac", folder / "ann/one.wav")
    assert "3 recordings" in printed and len(read_text_units("out/units.txt")) == 3


def test_two_recordings_of_one_name_are_refused(tiny_run, folder, chirp):
    save_audio(folder / "bob" / "one.wav", chirp[:1000], RATE)
    assert "would both be called one" in refuse("units", tiny_run, folder)


def test_what_exists_is_kept_unless_forced(tiny_run, folder):
    units_of(tiny_run, folder)
    assert "exists. Overwrite it with --force" in refuse("units", tiny_run, folder, "--out", "out")
    units_of(tiny_run, folder, "--force")
    units_of(tiny_run, folder, "--format", "npz")
    assert "two.npz exists" in refuse("units", tiny_run, folder / "ann/two.wav", "--out", "out", "--format", "npz")


def test_a_bad_recording_is_told_and_the_rest_is_written(tiny_run, folder):
    (folder / "bob" / "four.wav").write_bytes(b"RIFF, but no sound")
    result = CliRunner().invoke(main, ["units", str(tiny_run), str(folder), "--out", "out"])
    assert result.exit_code == 1 and "3 recordings" in result.stdout
    assert "four.wav" in result.stderr and "Error: " in result.stderr
    assert len(read_text_units("out/units.txt")) == 3


def test_where_nothing_can_be_read_nothing_is_written(tiny_run, place):
    Path("bad.wav").write_bytes(b"RIFF, but no sound")
    result = CliRunner().invoke(main, ["units", str(tiny_run), "bad.wav", "--out", "out"])
    assert result.exit_code == 1 and "none of 1 recordings can be read. " in result.stderr
    assert not [path for path in Path("out").rglob("*") if path.is_file()]


def test_names_that_a_format_cannot_write_are_refused_or_told(tiny_run, folder):
    (folder / "bob" / "three.flac").rename(folder / "bob" / "a|b.flac")
    assert "ends a name in the format text" in refuse("units", tiny_run, folder)
    units_of(tiny_run, folder, "--format", "jsonl")
    (folder / "bob" / "a|b.flac").rename(folder / "bob" / "a b.flac")
    result = CliRunner().invoke(main, ["units", str(tiny_run), str(folder), "--out", "out"])
    assert result.exit_code == 0 and "'a b': item files cannot name" in result.stderr


def test_labels_become_an_item_file_that_fits_the_units(tiny_run, folder, codes):
    """Triphones of the recordings that have labels, by the names that the units have."""
    Path("labels/ann").mkdir(parents=True)
    Path("labels/ann/one.lab").write_text("#\n" + "".join(f"{n * 0.04:.2f} 26 {p}\n" for n, p in enumerate("KATS", 1)))
    Path("labels/two.lab").write_text("#\n9.0 26 K\n")
    result = CliRunner().invoke(
        main, ["units", str(tiny_run), str(folder), "--out", "out", "--format", "jsonl", "--labels", "labels"]
    )
    assert result.exit_code == 1 and "such as one have labels of another duration" in result.stderr
    assert "no labels of these recordings" in result.stderr and not Path("out/units.item").exists()
    Path("labels/ann/one.lab").write_text(
        "#\n" + "".join(f"{end} 26 {p}\n" for end, p in zip((0.06, 0.12, 0.2, 0.2625), "KATS"))
    )
    result = CliRunner().invoke(
        main, ["units", str(tiny_run), str(folder), "--out", "out", "--force", "--labels", "labels"]
    )
    assert result.exit_code == 0 and "out/units.item: 2 triphones" in result.stdout
    assert "such as two have labels of another duration" in result.stderr
    items = read_items("out/units.item")
    assert [(one.file, one.phone, one.before, one.after, one.speaker) for one in items] == [
        ("one", "A", "K", "T", "ann"), ("one", "T", "A", "S", "ann"),
    ]  # fmt: skip
    assert items[0].file in read_text_units("out/units.txt")
    assert "exists" in refuse("units", tiny_run, folder, "--out", "out", "--format", "npz", "--labels", "labels")


def test_the_verb_offers_every_format():
    (option,) = [option for option in main.commands["units"].params if option.name == "form"]
    assert tuple(option.type.choices) == FORMATS


def test_nothing_to_encode_and_no_model_are_told(tiny_run, place):
    Path("empty").mkdir()
    for arguments, words in (
        ((tiny_run, "empty"), "holds no recordings"),
        ((tiny_run, "-"), "no name that its units could have"),
        (("nowhere", "in.wav"), "nowhere"),
    ):
        result = CliRunner().invoke(main, ["units", *map(str, arguments), "--out", "out"])
        assert result.exit_code == 1 and words in result.stderr
        assert not Path("out").exists()


def test_from_python(tiny_model, folder, codes):
    sources = {path.stem: path for path in sorted(folder.rglob("*.wav"))}
    write_units("out", encode_recordings(tiny_model, sources), "text")
    assert np.array_equal(read_text_units("out/units.txt")["two"], codes["two"])
    (encoded,) = encode_recordings(tiny_model, {"one": sources["one"]}, vectors=True)
    assert encoded.vectors.shape == (len(encoded.codes), 4) and encoded.duration_s == 2100 / RATE
    write_units("again", encode_recordings(tiny_model, sources), "npz", model=tiny_model)
    assert np.array_equal(load_codes("again/two.npz", tiny_model)[0], codes["two"])
    with pytest.raises(CodesError, match="two.npz exists|one.npz exists"):
        write_units("again", encode_recordings(tiny_model, sources), "npz", model=tiny_model)
    with pytest.raises(CodesError, match=", ".join(FORMATS)):
        UnitsWriter("out", "hdf5")
    with pytest.raises(CodesError, match="vectors=True"):
        write_units("out", encode_recordings(tiny_model, sources), "npy")
    Path("bad.txt").write_text("one 1 2 3\n")
    with pytest.raises(CodesError, match=r"expected name\|12 5 5 7"):
        read_text_units("bad.txt")


def test_an_interrupted_call_leaves_no_half_of_a_file(tiny_model, folder):
    def stop():
        yield from encode_recordings(tiny_model, {"one": folder / "ann" / "one.wav"})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_units("out", stop())
    assert not list(Path("out").iterdir())
