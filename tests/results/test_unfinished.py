"""A folder with a bundle's name always holds a whole one."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from nas.errors import JournalError
from nas.results.bundle import WEIGHTS
from nas.results.bundled.unfinished import REPLACED, begin, made_aside, settle, unfinished, weights_of


@pytest.fixture(name="bundle")
def place_of_a_bundle(tmp_path: Path) -> Path:
    return tmp_path / "winners" / "0123"


def whole(bundle: Path, content: str) -> Path:
    bundle.mkdir(parents=True)
    (bundle / "model.onnx").write_text(content)
    return bundle


def broken_off(bundle: Path, error: BaseException) -> None:
    """Begin a new bundle, and end with an error."""
    with made_aside(bundle) as aside:
        (aside / "model.onnx").write_text("new")
        raise error


def test_weights_wait_until_the_bundle_is_whole(bundle: Path) -> None:
    """They are found in either place, and nothing else of a killed writer stays."""
    aside = begin(bundle)
    (aside / WEIGHTS).write_bytes(b"weights")
    assert weights_of(bundle) == aside / WEIGHTS
    (aside / f".{WEIGHTS}.77").write_bytes(b"half")
    (aside / "deployed").mkdir()
    (aside / "deployed" / "half.onnx").write_bytes(b"half")
    assert not bundle.exists()
    assert begin(bundle) == aside
    assert [path.name for path in aside.iterdir()] == [WEIGHTS]
    settle(bundle)
    assert weights_of(bundle) == bundle / WEIGHTS
    assert [path.name for path in bundle.parent.iterdir()] == ["0123"]


def test_a_bundle_that_is_made_again_has_its_weights(bundle: Path) -> None:
    """As in a run of an older version, which wrote weights to where the bundle lies."""
    bundle.mkdir(parents=True)
    (bundle / WEIGHTS).write_bytes(b"weights")
    assert (begin(bundle) / WEIGHTS).read_bytes() == b"weights"
    assert (bundle / WEIGHTS).is_file()


def test_an_error_leaves_nothing_and_keeps_the_older_bundle(bundle: Path) -> None:
    whole(bundle, "old")
    with pytest.raises(KeyboardInterrupt):
        broken_off(bundle, KeyboardInterrupt())
    assert (bundle / "model.onnx").read_text() == "old"
    assert list(bundle.parent.iterdir()) == [bundle]


def test_a_full_disk_is_told_in_a_sentence(bundle: Path) -> None:
    """Nothing is left."""
    with pytest.raises(JournalError, match=r"No space left on device\. Free some space"):
        broken_off(bundle, OSError(errno.ENOSPC, "No space left on device"))
    assert list(bundle.parent.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(JournalError, match="must be written to"), made_aside(tmp_path / "file" / "0123"):
        pytest.fail("there is no place")


def test_a_new_bundle_replaces_an_older_one(bundle: Path) -> None:
    whole(bundle, "old")
    with made_aside(bundle) as aside:
        (aside / "model.onnx").write_text("new")
    assert (bundle / "model.onnx").read_text() == "new"
    assert list(bundle.parent.iterdir()) == [bundle]


def test_an_older_bundle_comes_back_if_its_replacement_was_killed(bundle: Path) -> None:
    """Between both renames there is none for a moment."""
    replaced = unfinished(bundle).with_name(f"{bundle.name}{REPLACED}")
    whole(replaced, "old")
    begin(bundle)
    assert (bundle / "model.onnx").read_text() == "old"
