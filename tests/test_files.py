"""Files are whole or absent, and found whatever leads to them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from vqspeech.errors import AudioError, VQSpeechError
from vqspeech.files import find_files, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_under_its_name_only_when_it_is_whole(tmp_path):
    with write_whole(tmp_path / "out.txt") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "out.txt").exists()
    assert (tmp_path / "out.txt").read_text() == "whole"
    assert names(tmp_path) == ["out.txt"]


def test_a_crash_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), write_whole(tmp_path / "out.txt") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_an_interrupt_keeps_the_old_file(tmp_path):
    (tmp_path / "out.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), write_whole(tmp_path / "out.txt") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "out.txt").read_text() == "old"
    assert names(tmp_path) == ["out.txt"]


def test_an_old_file_is_replaced(tmp_path):
    (tmp_path / "out.txt").write_text("old")
    with write_whole(tmp_path / "out.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "out.txt").read_text() == "new"


def test_missing_folders_are_made(tmp_path):
    with write_whole(tmp_path / "a" / "b" / "out.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a" / "b" / "out.txt").read_text() == "whole"


def test_the_temporary_name_lies_beside_the_final_one_and_keeps_its_suffix(tmp_path):
    with write_whole(tmp_path / "out.wav") as temporary:
        temporary.touch()
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".wav"


def test_a_full_disk_is_told_in_one_sentence_with_the_remedy_and_keeps_the_old_file(tmp_path):
    (tmp_path / "out.txt").write_text("old")
    with pytest.raises(VQSpeechError, match=r"cannot write .*out\.txt: No space left on device\. Free some space"):
        with write_whole(tmp_path / "out.txt") as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert (tmp_path / "out.txt").read_text() == "old"
    assert names(tmp_path) == ["out.txt"]


def test_a_folder_that_is_a_file_is_told_as_the_error_the_caller_asked_for(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(AudioError, match=r"cannot write .*out\.wav"),
        write_whole(tmp_path / "file" / "out.wav", AudioError),
    ):
        raise AssertionError("never reached")


def test_files_are_found_at_any_depth_by_suffix_and_in_order(tmp_path):
    for name in ("b.wav", "a.WAV", "x/c.flac", "x/y/d.wav", "e.txt", ".hidden.wav", ".git/f.wav", "x/._d.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path, (".wav", ".flac"))]
    assert found == ["a.WAV", "b.wav", "x/c.flac", "x/y/d.wav"]


def test_linked_folders_are_searched_once(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.wav").touch()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "here")
    assert list(find_files(tmp_path / "here", (".wav",))) == [tmp_path / "here" / "link" / "a.wav"]
