"""A data set by its name, loaded the same way in every process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from nas.errors import DataError
from nas.tasks.criteria import Classification, Criterion, MultiLabel, Regression
from nas.tasks.data_source import DataSource
from nas.tasks.images.images import Images
from nas.tasks.images.loading import load_data
from nas.tasks.images.well_known import DATA_SETS


class TestLoadData:
    def test_an_unknown_name_gets_a_suggestion(self) -> None:
        """The error suggests the nearest known name."""
        with pytest.raises(DataError, match=r"unknown data set 'cifar-10'. Did you mean 'cifar10'"):
            load_data("cifar-10")
        assert "digits" in DATA_SETS

    def test_a_folder_is_recognised(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who names a folder is told how it is written, whatever names are similar."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "digit").mkdir()
        (tmp_path / "photos.zip").write_bytes(b"")
        with pytest.raises(DataError, match=r"unknown data set 'digit'. To use the folder digit, write folder:digit"):
            load_data("digit")
        with pytest.raises(DataError, match=r"photos.zip is a file: put images into a folder for each class"):
            load_data("photos.zip")
        with pytest.raises(DataError, match=r"There is no folder .*photos/all either"):
            load_data("photos/all")

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("folder:", "data need a path, but got none"),
            ("folder:~nosuchuser/x", "a user that does not exist here"),
            ("folder:a\0b", r"without zero bytes, but got 'a\\x00b'"),
            ("folder:\udcff", r"in UTF-8 without zero bytes, but got '\\udcff'"),
            ("folder:" + "x" * 300, "must be readable|is no folder"),
        ],
    )
    def test_paths_that_are_none(self, name: str, message: str) -> None:
        """A path that no system takes is answered like one that is missing."""
        with pytest.raises(DataError, match=message):
            load_data(name)

    def test_roots_that_are_none(self) -> None:
        """The folder of named sets is checked like one of images."""
        with pytest.raises(DataError, match="a user that does not exist here"):
            load_data("mnist", root=Path("~nosuchuser"))

    def test_a_link_to_itself_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.raises(DataError, match="loop is no folder"):
            load_data(f"folder:{tmp_path / 'loop'}")

    def test_the_names_are_known_without_torch(self) -> None:
        """The import is light, so that the command line answers quickly."""
        code = "import sys, nas.tasks.images.well_known; print({'torch', 'sklearn', 'PIL'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"


class TestDataSource:
    def test_a_given_data_set_is_returned(self, digits: Images) -> None:
        """A given data set is returned as the same object."""
        assert DataSource(given=digits).load() is digits

    def test_it_is_loaded_once(self) -> None:
        """A process that trains many candidates reads the files only once."""
        assert DataSource(name="digits").load() is DataSource(name="digits").load()

    def test_data_that_change_during_a_search_are_refused(self, tmp_path: Path) -> None:
        """A worker that starts later must not train on other pictures than the earlier ones."""
        for title in ("a", "b"):
            (tmp_path / title).mkdir()
            for index in range(3):
                Image.new("L", (4, 4), index).save(tmp_path / title / f"{index}.png")
        source = DataSource(name=f"folder:{tmp_path}").pinned()
        DataSource(name="digits").load()  # forgets what this process has loaded
        assert source.load().fingerprint == source.fingerprint
        DataSource(name="digits").load()
        (tmp_path / "b" / "1.png").unlink()
        with pytest.raises(DataError, match=r"must stay as they are during a search, but folder:.* has changed since"):
            source.load()

    def test_relative_paths_keep_their_meaning_elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Relative paths stay valid when Ray Tune moves a worker to another folder."""
        for title in ("a", "b"):
            (tmp_path / "images" / title).mkdir(parents=True)
            for index in range(3):
                Image.new("L", (4, 4)).save(tmp_path / "images" / title / f"{index}.png")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        source = DataSource(name="folder:images")
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert source.load().classes == ("a", "b")


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [(Classification(10), True), (MultiLabel(10), True), (Regression((1.0,) * 10), False)],
    ids=str,
)
def test_the_criterion_tells_if_models_classify(criterion: Criterion, expected: bool) -> None:
    """How large the outputs for classes are matters little, and the largest of predicted values are answers."""
    task: Any = SimpleNamespace(criterion=criterion)
    assert DataSource(given=task).classifies() == expected
