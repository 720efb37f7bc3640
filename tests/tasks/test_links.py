"""Recordings and texts may link within the folder of their data set, and not out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_tones import write_tones

from nas.errors import DataError
from nas.progress import NullProgress
from nas.tasks.signals.folder import read_folder
from nas.tasks.texts.sources import text_files


@pytest.fixture(name="tones")
def folder_of_tones(tmp_path: Path) -> Path:
    folder = tmp_path / "tones"
    write_tones(folder, each=3)
    return folder


def recordings(folder: Path) -> int:
    return len(read_folder(folder, (), NullProgress()).recordings)


class TestRecordings:
    def test_may_link_within_their_folder(self, tones: Path) -> None:
        (tones / "low" / "again.wav").symlink_to(tones / "low" / "00.wav")
        assert recordings(tones) == 7
        (tones.parent / "alias").symlink_to(tones)
        assert recordings(tones.parent / "alias") == 7

    def test_outside_of_it_are_refused(self, tones: Path) -> None:
        (tones / "low" / "00.wav").rename(tones.parent / "secret.wav")
        (tones / "low" / "outside.wav").symlink_to(tones.parent / "secret.wav")
        with pytest.raises(DataError, match=r"must lie within .*outside.wav links to .*secret.wav"):
            recordings(tones)

    @pytest.mark.parametrize("place", ["deep", "low/deep"])
    def test_in_a_linked_folder_are_refused(self, tones: Path, place: str) -> None:
        (tones / place).symlink_to(tones / "high")
        with pytest.raises(DataError, match=r"must not be links, but .*deep links to .*high"):
            recordings(tones)


class TestTexts:
    def test_may_link_within_their_folder_and_not_out_of_it(self, tmp_path: Path) -> None:
        folder = tmp_path / "texts"
        folder.mkdir()
        (folder / "a.txt").write_text("one")
        (folder / "b.txt").symlink_to(folder / "a.txt")
        (folder / "broken.txt").symlink_to(folder / "nothing.txt")
        assert text_files(folder, (".txt",)) == [folder / "a.txt", folder / "b.txt"]
        (tmp_path / "alias").symlink_to(folder)
        assert len(text_files(tmp_path / "alias", (".txt",))) == 2
        (tmp_path / "secret.txt").write_text("two")
        (folder / "outside.txt").symlink_to(tmp_path / "secret.txt")
        with pytest.raises(DataError, match=r"must lie within .*outside.txt links to .*secret.txt"):
            text_files(folder, (".txt",))

    def test_of_a_linked_folder_are_left_out(self, tmp_path: Path) -> None:
        folder, other = tmp_path / "texts", tmp_path / "other"
        for each in (folder, other):
            each.mkdir()
            (each / "a.txt").write_text("one")
        (folder / "linked").symlink_to(other)
        assert text_files(folder, (".txt",)) == [folder / "a.txt"]
