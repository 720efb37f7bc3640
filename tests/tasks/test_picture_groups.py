"""Groups of pictures: in folders by a part of the path, in tables by a column, and in arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.errors import DataError, RecipeError
from nas.tasks.batches import items_at
from nas.tasks.folds import check_folds, folds_of
from nas.tasks.images.images import Images
from nas.tasks.images.loading import load_data, load_images
from nas.tasks.loading import Loading

PERSONS, TAKES = 4, 5


def persons_of(split: object) -> set[int]:
    """The persons of the pictures in a split: each shows its own, by a grey level."""
    return set((items_at(split, slice(0, len(split))).raw[0][:, 0, 0, 0].numpy() // 40).tolist())  # type: ignore[arg-type]


def write_persons(root: Path, pattern: str = "p{}/{}.png") -> Path:
    for person in range(PERSONS):
        for number, name in enumerate(("cat", "dog")):
            for take in range(TAKES):
                path = root / name / pattern.format(person, take)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (16, 16), 40 * person + 10 * number + take).save(path)
    return root


def check(data: Images) -> None:
    """Each split has persons of its own, and so has each fold; larger pictures keep their groups."""
    splits = [persons_of(each) for each in (data.train, data.validation, data.test)]
    assert [len(each) for each in splits] == [2, 1, 1]
    assert len(set.union(*splits)) == PERSONS
    for task in (data, data.prepared_for({"image_size": 24})):
        for fold in folds_of(task, 3):
            assert not persons_of(fold.train) & persons_of(fold.validation)
        with pytest.raises(DataError, match="at most the number of groups of images, 3, but got 5"):
            check_folds(task, 5)
    assert data.facts["split by"] == "groups"
    if data.name != "custom":
        assert any(each.startswith("the test split has only 1 of the groups, and intervals") for each in data.warnings)


@pytest.mark.parametrize(("pattern", "group"), [("p{}/{}.png", "folder"), ("p{}_{}.png", "^p([0-9])_")])
def test_pictures_of_a_person_stay_together_in_a_folder(tmp_path: Path, pattern: str, group: str) -> None:
    check(load_data(f"folder:{write_persons(tmp_path, pattern)}", group=group))


def test_pictures_of_a_person_stay_together_in_a_table(tmp_path: Path) -> None:
    """Also those that validate where the test is given by a column; a shared group is told."""
    write_persons(tmp_path / "photos")
    files = sorted((tmp_path / "photos").rglob("*.png"))
    rows = [f"{each.relative_to(tmp_path)},{each.parent.parent.name},{each.parent.name}" for each in files]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["path,label,person", *rows]))
    check(load_data(str(table), group="person"))
    splits = ["test" if row.endswith(("p0", "cat,p1")) else "train" for row in rows]
    table.write_text("\n".join(["path,label,person,split", *map(",".join, zip(rows, splits, strict=True))]))
    data = load_data(str(table), group="person")
    assert persons_of(data.test) == {0, 1}
    assert not persons_of(data.train) & persons_of(data.validation)
    assert "5 of 15 test pictures share a group with pictures of an earlier split" in " ".join(data.warnings)
    with pytest.raises(DataError, match=r"data\.group must be a column of .*Did you mean 'person'"):
        load_data(str(table), group="persons")
    table.write_text("\n".join(["path,label,person", *rows[1:], rows[0].rpartition(",")[0] + ","]))
    with pytest.raises(DataError, match="each row must have a group, but in row 40"):
        load_data(str(table), group="person")


def test_pictures_of_a_person_stay_together_in_arrays() -> None:
    persons = np.arange(PERSONS * TAKES * 2) % PERSONS
    images = np.broadcast_to((40 * persons)[:, None, None], (len(persons), 16, 16)).astype(np.uint8)
    check(Images.from_arrays(images, np.arange(len(persons)) // 20, groups=persons))
    with pytest.raises(ValueError, match="groups must name that of each of 40 images"):
        Images.from_arrays(images, np.arange(len(persons)) // 20, groups=persons[:3])


def test_groups_need_pictures_that_have_some(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.group is for pictures in folders or tables, but got 'x' for digits"):
        load_images("digits", Loading(), group="x")
    with pytest.raises(DataError, match=r"must have a part like 'q', because data\.group says so, but 40 of 40"):
        load_data(f"folder:{write_persons(tmp_path)}", group="q")
    with pytest.raises(DataError, match="images of at least two groups, because groups stay together"):
        load_data(f"folder:{tmp_path}", group="png")


def test_pictures_without_groups_are_split_as_before() -> None:
    """The fingerprint of version 0.8, which resumed runs compare."""
    images = np.random.default_rng(0).integers(0, 256, (90, 8, 8)).astype("u1")
    assert Images.from_arrays(images, np.arange(90) % 3).fingerprint == "f99ac183da37"


def test_few_pictures_of_a_class_are_told(tmp_path: Path) -> None:
    """Three of a class give one to train, one to validate and one to test."""
    for name in ("cat", "dog"):
        for take in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("L", (16, 16), 40 * take + 100 * (name == "dog")).save(tmp_path / name / f"{take}.png")
    told = load_data(f"folder:{tmp_path}").warnings
    assert any(each.startswith("2 of 2 classes have fewer than 5 training images, such as cat with 1") for each in told)
