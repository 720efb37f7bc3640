"""A data set by its name, loaded the same way in every process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from nas.errors import DataError
from nas.tasks.data_source import DataSource, load_data
from nas.tasks.dataset import DataSet
from nas.tasks.named_data import DATA_SETS


class TestLoadData:
    def test_an_unknown_name_gets_a_suggestion(self) -> None:
        """The error suggests the nearest known name."""
        with pytest.raises(DataError, match=r"unknown data set 'cifar-10'. Did you mean 'cifar10'"):
            load_data("cifar-10")
        assert "digits" in DATA_SETS

    def test_importing_loads_neither_torch_nor_sklearn(self) -> None:
        """The import is light, so that the command line answers quickly."""
        code = "import sys, nas.tasks.data_source; print({'torch', 'torchvision', 'sklearn', 'PIL'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"


class TestDataSource:
    def test_a_given_data_set_is_returned(self, digits: DataSet) -> None:
        """A given data set is returned as the same object."""
        assert DataSource(given=digits).load() is digits

    def test_it_is_loaded_once(self) -> None:
        """A process that trains many candidates reads the files only once."""
        assert DataSource(name="digits").load() is DataSource(name="digits").load()

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
