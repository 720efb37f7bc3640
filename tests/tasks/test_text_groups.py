"""Files of a group are in one split of a text."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from nas.errors import DataError
from nas.tasks.loading import Loading
from nas.tasks.texts.loading import load_text
from nas.tasks.texts.texts import Texts


def prose(count: int, seed: int) -> str:
    """Return lines of words drawn at random."""
    draw = random.Random(seed)
    return "".join(draw.choice(("the", "cat", "sat", "on", "a", "mat")) + draw.choice(" \n") for _ in range(count))


def loaded(folder: Path, **options: Any) -> Texts:
    return load_text(str(folder), Loading(folder=folder), context=16, root=f"{folder}-cache", **options)


def names_of(task: Texts, folder: Path, title: str) -> set[str]:
    """Return the files whose text is in a split."""
    spelled = task.preparation.spelled
    text = b"".join(spelled[token] for token in task.tokens.tokens(title).tolist())  # type: ignore[arg-type]
    return {path.stem for path in folder.rglob("*.txt") if path.read_bytes() in text}


@pytest.mark.parametrize(("files", "most"), [(30, None), (4, None), (30, 20_000)])
def test_files_of_a_group_are_in_one_split(tmp_path: Path, files: int, most: int | None) -> None:
    """However few or large they are: no file is cut where groups are named."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(files):
        (folder / f"{number % 4}-{number}.txt").write_text(prose(200, number))
    task = loaded(folder, group="^[0-9]+", most_bytes=most)
    groups = [
        {name.split("-")[0] for name in names_of(task, folder, title)} for title in ("train", "validation", "test")
    ]
    assert [len(each) for each in groups] == [2, 1, 1]
    assert len(set.union(*groups)) == 4
    assert task.facts["split by"] == "groups, of ^[0-9]+"


def test_groups_of_texts_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    for title in ("train", "test"):
        for name in ("anna", "bert", "cora"):
            (folder / title / name).mkdir(parents=True)
            (folder / title / name / "1.txt").write_text(prose(200, len(title + name)))
    task = loaded(folder, group="folder")
    assert "3 of 3 test texts share a group with texts of an earlier split" in " ".join(task.warnings)
    with pytest.raises(DataError, match=r"must have a part like 'x\{3\}'"):
        loaded(folder, group="x{3}")
    with pytest.raises(DataError, match=r"files of at least two groups, which data\.group keeps together, but got 1"):
        loaded(folder / "train", group="txt")
