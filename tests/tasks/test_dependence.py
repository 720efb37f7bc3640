"""Items that depend on each other stay in one split: found by what they show, and by names that this bears out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas
import pytest
from PIL import Image, ImageEnhance, ImageOps
from recordings import write_wav
from small_bundle import colours

from nas.tasks.dependence import Signs, copies_of, dependence
from nas.tasks.images.loading import load_data
from nas.tasks.images.twins import twins
from nas.tasks.loading import Loading, load_task
from nas.tasks.tabular.tabular import Tabular

COUNT = 40
GROUPS = np.repeat(np.arange(COUNT), 3)
NUMBERED = [f"img_{number:04}.jpg" for number in range(len(GROUPS))]


def pairs_of(groups: npt.NDArray[Any]) -> set[tuple[int, int]]:
    return {tuple(pair) for pair in np.argwhere(np.triu(groups[:, None] == groups, 1)).tolist()}


def signs(names: list[str], groups: npt.NDArray[Any], likeness: float, seed: int = 0) -> Signs:
    """Items of two classes, of which those of a group are as alike as ``likeness`` says."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(groups.max() + 1, 12))[groups]
    contents = likeness * shared + (1 - likeness) * rng.normal(size=(len(groups), 12))
    return Signs(groups % 2, contents, names)


def test_numbered_names_join_nothing() -> None:
    """Most files are merely numbered, and random contents bear no grouping out."""
    batches = [f"a{number % 7}_{number}.jpg" for number in range(len(GROUPS))]
    for seed in range(5):
        for names in (NUMBERED, batches):
            assert dependence(signs(names, GROUPS, 0.0, seed)) is None


def test_names_with_one_stem_join_what_is_alike() -> None:
    names = [f"cat_{group:02}_{7 * place + group}.jpg" for place, group in enumerate(GROUPS.tolist())]
    found = dependence(signs(names, GROUPS, 0.6))
    assert found is not None
    assert pairs_of(found.groups) == pairs_of(GROUPS)
    assert dependence(signs(names, GROUPS, 0.0)) is None


def test_views_are_known_by_their_names_alone() -> None:
    sides = "front", "back", "side"
    names = [f"{group:03}_{sides[place % 3]}.png" for place, group in enumerate(GROUPS.tolist())]
    found = dependence(signs(names, GROUPS, 0.0))
    assert found is not None
    assert pairs_of(found.groups) == pairs_of(GROUPS)


def test_neighbours_in_a_series_stay_together() -> None:
    """A burst ends where the next one begins, though numbers go on."""
    found = dependence(signs(NUMBERED, GROUPS, 0.9))
    assert found is not None
    wanted, mine = pairs_of(GROUPS), pairs_of(found.groups)
    assert len(mine & wanted) >= 0.95 * len(wanted)
    assert len(mine - wanted) <= 0.01 * len(wanted)


def test_kinds_within_a_class_are_no_groups() -> None:
    """Red and sour apples are alike, but a group of half a class would leave little to split."""
    kinds = np.repeat(np.arange(4), 30)
    names = [f"{('red', 'green', 'sour', 'sweet')[kind]}_{place}.jpg" for place, kind in enumerate(kinds.tolist())]
    found = dependence(signs(names, kinds, 0.5))
    assert found is None or np.bincount(found.groups).max() < 10


def test_copies_are_joined_with_the_first() -> None:
    assert copies_of("abcab").tolist() == [[0, 3], [1, 4]]


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "encoded anew": lambda picture: picture,
    "scaled": lambda picture: picture.resize((64, 60)),
    "mirrored": ImageOps.mirror,
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
    "cut": lambda picture: picture.crop((8, 6, 88, 84)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_pictures_of_one_scene_stay_together(tmp_path: Path, change: str) -> None:
    """Whatever they are called, each is found with its changed copy, and with no other one."""
    for seed in range(COUNT):
        scene = colours((100, 96), seed)
        for number, picture in enumerate((scene, CHANGES[change](scene))):
            path = tmp_path / ("cat", "dog")[seed % 2] / f"{np.random.default_rng((seed, number)).integers(10**9)}.jpg"
            path.parent.mkdir(exist_ok=True)
            picture.save(path, quality=(95, 60)[number])
    data = load_data(f"folder:{tmp_path}")
    groups = [split.groups for split in (data.train, data.validation, data.test) if split.groups is not None]
    sizes = np.bincount(np.concatenate(groups))
    assert (sizes == 2).sum() >= 0.95 * COUNT
    assert sizes.max() == 2
    assert not any(set(one) & set(other) for one, other in combinations(map(np.ndarray.tolist, groups), 2))
    assert load_data(f"folder:{tmp_path}", group="none").train.groups is None


def test_noise_and_blank_pictures_are_no_twins() -> None:
    rng = np.random.default_rng(0)
    blank = np.repeat(rng.integers(0, 256, (40, 3, 1, 1)), 16, axis=2).repeat(16, axis=3)
    for thumbnails in (blank, rng.integers(0, 3, (40, 3, 16, 16)), blank[:1], rng.integers(0, 256, (200, 3, 16, 16))):
        assert not len(twins(thumbnails.astype(np.uint8)))


def test_cuts_of_one_recording_stay_together(tmp_path: Path) -> None:
    """They are known by their names and by a hum that differs from recording to recording."""
    rng = np.random.default_rng(0)
    for recording in range(12):
        hum = rng.uniform(20, 400)
        for cut in range(6):
            times = np.arange(2000) / 2000
            samples = np.sin(2 * np.pi * hum * times + cut) / 4 + rng.normal(0, 0.1, 2000)
            folder = tmp_path / ("calm", "loud")[recording % 2]
            write_wav(folder / f"rec{recording}_{cut:03}.wav", samples[None].astype(np.float32))
    task = load_task("signals", str(tmp_path), Loading(), {})
    assert "72 of 72 recordings depend on others and form 12 groups" in task.warnings[0]
    assert load_task("signals", str(tmp_path), Loading(), {"group": "none"}).warnings == ()


def visits(shuffled: bool = False) -> pandas.DataFrame:
    """Five visits of each of 120 patients, whose age and weight hardly change."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(120), 5)
    age, weight = (rng.normal(60, 10, 120)[patient] + rng.normal(0, 0.5, 600) for _ in range(2))
    ill = np.where(age + weight + rng.normal(0, 20, 120)[patient] > 120, "yes", "no")
    named = rng.permutation(patient) if shuffled else patient
    return pandas.DataFrame({"patientId": named, "age": age, "weight": weight, "ill": ill})


def test_visits_of_one_patient_stay_together() -> None:
    """The column that names patients is found, and models do not see it. Numbers that tell nothing stay."""
    task = Tabular.from_frame(visits(), target="ill")
    splits = [
        set(split.groups.tolist()) for split in (task.train, task.validation, task.test) if split.groups is not None
    ]
    assert sum(map(len, splits)) == len(set.union(*splits)) == 120
    assert [column.name for column in task.columns.numbers] == ["age", "weight"]
    for other in (
        Tabular.from_frame(visits(), target="ill", group="none"),
        Tabular.from_frame(visits(True), target="ill"),
    ):
        assert other.train.groups is None
        assert len(other.columns.numbers) == 3


def test_repeated_rows_stay_together() -> None:
    """But rows with few values are often equal, and are no copies."""
    frame = visits().drop(columns="patientId")
    task = Tabular.from_frame(pandas.concat([frame, frame[:200]]), target="ill")
    assert "400 of 800 rows depend on others and form 200 groups" in " ".join(task.warnings)
    few = frame.assign(age=frame.age > 60, weight=frame.weight.round(-1))
    assert Tabular.from_frame(few, target="ill").train.groups is None
