"""A resumed run goes on as it began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.errors import JournalError
from nas.searching.user_inputs.circumstances import check_same
from nas.storage.journal_rows import Began


def began(**facts: Any) -> Began:
    data = {"name": "folder:photos", "fingerprint": "0123", **facts}
    return Began(space={"choices": "ab"}, machine={"processor": "one"}, versions={}, data_set=data)


@pytest.mark.parametrize(
    ("fact", "words", "key"),
    [("mirrored", "mirrored", "data.mirror"), ("random parts", "cut to random parts", "data.random_parts")],
)
def test_training_changes_pictures_as_before(fact: str, words: str, key: str) -> None:
    """A run of a version that changed no picture would else go on with other ones than it began with."""
    check_same(began(), began(), Path("run"))
    check_same(began(**{fact: True}), began(**{fact: True}), Path("run"))
    with pytest.raises(JournalError, match=f"in run these are not {words} in training, and now they are.*{key}"):
        check_same(began(), began(**{fact: True}), Path("run"))
    with pytest.raises(JournalError, match=f"in run these are {words} in training, and now they are not"):
        check_same(began(**{fact: True}), began(), Path("run"))


def test_other_data_are_refused() -> None:
    with pytest.raises(JournalError, match="the data set that it began with, but the fingerprint was 0123 and is 4567"):
        check_same(began(), began(fingerprint="4567"), Path("run"))


def test_other_splits_are_refused() -> None:
    """A run of a version that validated on a tenth of few pictures would else go on with other errors."""
    then, now = ({"training images": 480 - count, "validation images": count} for count in (48, 96))
    check_same(began(**then), began(**then), Path("run"))
    with pytest.raises(JournalError, match="the validation images were 48 and are 96 now"):
        check_same(began(**then), began(**now, fingerprint="4567"), Path("run"))
    with pytest.raises(JournalError, match="the fingerprint was"):  # pictures were added
        check_same(began(**then), began(**{**now, "training images": 500}, fingerprint="4567"), Path("run"))


def test_other_channels_are_refused() -> None:
    """A run of a version that took a column of times as a channel is told what has changed."""
    then, now = ({"signal shape": [channels, 128]} for channels in (3, 2))
    check_same(began(**then), began(**then), Path("run"))
    with pytest.raises(JournalError, match=r"were 3 channels of 128 samples and are 2 channels of 128 .*data\.columns"):
        check_same(began(**then), began(**now, fingerprint="4567"), Path("run"))


def test_data_that_are_read_another_way_are_told() -> None:
    """A run of an older version, which took decimal commas for categories, is refused with what changed."""
    told = {"read as": "read as numbers: price (1,5 is 1.5)."}
    check_same(began(), began(**told), Path("run"))  # the same data all the same
    with pytest.raises(JournalError, match=r"Then: plain numbers and text. Now: read as numbers: price"):
        check_same(began(), began(**told, fingerprint="4567"), Path("run"))
    with pytest.raises(JournalError, match="fingerprint was"):
        check_same(began(**told), began(**told, fingerprint="4567"), Path("run"))
