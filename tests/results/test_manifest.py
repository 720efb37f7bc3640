"""A manifest has the hash of every file of a bundle, and whatever differs is named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nas.errors import JournalError
from nas.results.bundled.manifest import MANIFEST, changes_in, has_manifest, write_manifest


@pytest.fixture(name="folder")
def whole_folder(tmp_path: Path) -> Path:
    """A bundle with two files, one of them in a folder."""
    folder = tmp_path / "bundle"
    (folder / "deployed").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"model")
    (folder / "deployed" / "model.bin").write_bytes(b"weights")
    write_manifest(folder, "1.0")
    return folder


def test_a_whole_bundle_has_no_changes(folder: Path) -> None:
    """What Python compiles beside ``predict.py`` is no part of it."""
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "predict.pyc").write_bytes(b"compiled")
    found = changes_in(folder)
    assert has_manifest(folder)
    assert (found.files, found.missing, found.changed, found.added) == (2, (), {}, ())
    assert found.compiled == ("__pycache__/predict.pyc",)
    assert not found.touches("deployed")


def test_each_difference_is_named(folder: Path) -> None:
    """Missing, changed and further files, also where the size is the same."""
    (folder / "model.onnx").write_bytes(b"mobel")
    (folder / "deployed" / "model.bin").unlink()
    (folder / "notes.txt").write_text("mine")
    found = changes_in(folder)
    assert found.missing == ("deployed/model.bin",)
    assert found.added == ("notes.txt",)
    assert found.changed is not None
    assert found.changed["model.onnx"].startswith("its SHA-256 is ")
    assert found.touches("deployed")
    assert found.touches("model.onnx")
    assert not found.touches("notes.txt")


def test_another_size_is_told(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"longer model")
    assert changes_in(folder).changed == {"model.onnx": "it has 12 bytes instead of 5"}


def test_what_is_no_file_of_the_bundle_is_not_read(folder: Path, tmp_path: Path) -> None:
    """Neither a link that leads elsewhere, nor a named pipe, whose reading would never end."""
    (tmp_path / "elsewhere").write_bytes(b"model")
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere")
    (folder / "deployed" / "model.bin").unlink()
    os.mkfifo(folder / "deployed" / "model.bin")
    changed = changes_in(folder).changed
    assert changed == {"model.onnx": "it leads outside the bundle", "deployed/model.bin": "is a named pipe"}


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "\ud800"])
def test_a_name_that_no_system_takes_is_told(folder: Path, name: str) -> None:
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": {name: {"bytes": 1, "sha256": "0"}}}))
    changed = changes_in(folder).changed
    assert changed is not None
    assert list(changed) == [name]


def test_links_and_pipes_do_not_hang(folder: Path, tmp_path: Path) -> None:
    """Links in a circle, a link to a folder, and a manifest that is a pipe."""
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to("model.onnx")
    (folder / "more").symlink_to(tmp_path)
    found = changes_in(folder)
    assert found.changed == {"model.onnx": "it is a link to itself"}
    assert found.added == ("more",)
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)
    with pytest.raises(JournalError, match=r"must be a file, but .* is a named pipe"):
        changes_in(folder)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[[[", "must be readable"),
        ('{"format": 1}', "must be readable"),
        ('{"format": 1, "files": {"a": 3}}', "must be readable"),
        ('{"format": 1, "files": {"a": {"bytes": Infinity, "sha256": ""}}}', "must be readable"),
        ("[" * 100_000, "must be readable"),
        ('{"format": 9, "files": {}}', "format 1, but .* has 9. Upgrade nas"),
        *[
            (json.dumps({"format": 1, "files": {name: {"bytes": 1, "sha256": "0"}}}), "must lie within it")
            for name in ("../../secret", "/etc/passwd", "a\\b", "")
        ],
    ],
)
def test_a_manifest_that_is_none_is_refused(folder: Path, content: str, says: str) -> None:
    """Also one that names a path outside the bundle."""
    (folder / MANIFEST).write_text(content)
    with pytest.raises(JournalError, match=says):
        changes_in(folder)
