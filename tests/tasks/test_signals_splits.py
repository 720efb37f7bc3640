"""Recordings and windows split by time or by group, and columns of times that are no channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import tone, write_classes, write_wav

from nas.errors import DataError, RecipeError
from nas.tasks.folds import check_folds, folds_of
from nas.tasks.loading import Loading
from nas.tasks.signals.loading import load_signals
from nas.tasks.signals.signals import Signals


def load(path: Path, **options: Any) -> Signals:
    return load_signals(str(path), Loading(folder=path.parent), **options)


def values(task: Signals) -> list[np.ndarray]:
    """The values of the first channel, of each split."""
    return [each.signals[:, 0].ravel() for each in (task.train, task.validation, task.test)]


def write_rows(path: Path, names: str, rows: list[str]) -> Path:
    path.write_text("\n".join([names, *rows]) + "\n")
    return path


COUNT = 1000
ROWS = [f"{n},2024-01-01 {n // 60:02}:{n % 60:02},{'ab'[n // 10 % 2]},{n // 100}" for n in range(COUNT)]


class TestTime:
    @pytest.mark.parametrize("order", ["when", "rows"])
    def test_a_table_is_split_by_time(self, tmp_path: Path, order: str) -> None:
        """No sample is in two splits, although windows overlap."""
        log = write_rows(tmp_path / "log.csv", "x,when,label,person", ROWS)
        task = load(log, window=5, step=2, order=order, columns=["x"])
        train, validation, test = values(task)
        assert train.max() < validation.min()
        assert validation.max() < test.min()
        assert test.min() == pytest.approx(800)
        assert task.facts["split by"] == f"time, of {order}"
        assert task.training_defaults == {}
        with pytest.raises(DataError, match="folds must be 1, because windows are split by time"):
            check_folds(task, 3)

    def test_values_that_change_from_row_to_row_are_cut_where_a_split_ends(self, tmp_path: Path) -> None:
        """One long recording gives all splits, and each window keeps the mean of its own rows."""
        log = write_rows(tmp_path / "log.csv", "x,label", [f"{n},{n / 8}" for n in range(COUNT)])
        task = load(log, window=10, step=5, order="rows")
        train, validation, test = values(task)
        assert train.max() < validation.min() <= validation.max() < test.min()
        scaled = task.test.targets[:, 0] * task.scale[0] + task.offset[0]
        np.testing.assert_allclose(scaled, task.test.signals[:, 0].mean(axis=1) / 8, rtol=1e-4)

    def test_files_are_split_by_a_part_of_their_names(self, tmp_path: Path) -> None:
        for day in range(10):
            for name in ("a", "b"):
                samples = np.full((1, 300), day / 16, np.float32)
                write_wav(tmp_path / "data" / name / f"take{99 - day}_2024-01-{day + 1:02}.wav", samples)
        task = load(tmp_path / "data", order=r"_(.*)\.wav")
        assert [sorted(set((16 * each).tolist())) for each in values(task)] == [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9]]

    def test_arrays_are_split_by_time(self, tmp_path: Path) -> None:
        """In a file by another array or by their order, in Python by times."""
        order = np.random.default_rng(0).permutation(100)
        windows = np.repeat(order[:, None], 8, axis=1).astype(np.float32)
        given = {"windows": windows, "labels": order % 2}
        np.savez(tmp_path / "a.npz", **given, taken_at=order)
        for task in (load(tmp_path / "a.npz", order="taken_at"), Signals.from_arrays(**given, order=order)):
            train, validation, test = values(task)
            assert train.max() < validation.min() <= validation.max() < test.min() == 80
        np.save(tmp_path / "w.npy", windows)
        np.save(tmp_path / "labels.npy", order % 2)
        assert set(values(load(tmp_path / "w.npy", order="rows"))[2]) == set(order[80:])
        with pytest.raises(DataError, match=r"order must name an array of .*, but 'when' is none of windows, labels"):
            load(tmp_path / "a.npz", order="when")
        with pytest.raises(ValueError, match="order must have a time for each of 100 windows, but has 3"):
            Signals.from_arrays(**given, order=[1, 2, 3])

    def test_few_times_make_splits_of_odd_sizes_and_a_warning(self, tmp_path: Path) -> None:
        """Equal times stay together: in Python as in files. A test that was given has no wanted size."""
        windows = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
        times = np.repeat([2021, 2022, 2023], (5, 15, 80))
        given: dict[str, Any] = {"windows": windows, "labels": np.arange(100) % 2}
        np.savez(tmp_path / "a.npz", **given, year=times)
        told = (
            "the test split has 80 % of the windows instead of 20 %, because equal times stay together, "
            "and windows that would be in two splits are left out."
        )
        for task in (load(tmp_path / "a.npz", order="year"), Signals.from_arrays(**given, order=times)):
            assert [len(task.train), len(task.validation), len(task.test)] == [5, 15, 80]
            assert told in task.warnings
            assert any(each.startswith("the validation split has 75 %") for each in task.warnings)
        tested = Signals.from_arrays(**given, order=times, test_windows=windows[:70], test_labels=given["labels"][:70])
        assert not any(each.startswith("the test split") for each in tested.warnings)
        even = Signals.from_arrays(**given, order=np.arange(100))
        assert not any("instead of" in each for each in even.warnings)

    def test_what_has_no_time_is_refused(self, tmp_path: Path) -> None:
        log = write_rows(tmp_path / "log.csv", "x,when,label,person", [*ROWS[500:], *ROWS[:500]])
        with pytest.raises(DataError, match="by time or by group, but got order 'when' and group 'person'"):
            load(log, window=5, order="when", group="person")
        with pytest.raises(DataError, match=r"log\.csv must have a column 'then'"):
            load(log, window=5, order="then")
        unsorted = write_rows(
            tmp_path / "u.csv", "x,when,label", [f"{n},{n % 7},{'ab'[n // 20 % 2]}" for n in range(200)]
        )
        with pytest.raises(DataError, match=r"u\.csv from line 2 goes back in time"):
            load(unsorted, window=5, step=5, order="when")
        with pytest.raises(DataError, match="tones has neither groups nor times"):
            load_signals("tones", Loading(), order="rows")


class TestGroups:
    def folder(self, root: Path, persons: int = 3, nested: bool = True) -> Path:
        for person in range(persons):
            for name in ("high", "low"):
                for take in range(4):
                    samples = np.full((1, 300), (person + 1) / 16, np.float32)
                    file = f"p{person}/{take}.wav" if nested else f"p{person}_{take}.wav"
                    write_wav(root / name / file, samples)
        return root

    @pytest.mark.parametrize(("nested", "group"), [(True, "folder"), (False, "p[0-9]+"), (False, "^(.*)_")])
    def test_files_of_a_person_stay_together(self, tmp_path: Path, nested: bool, group: str) -> None:
        """In each split and in each fold; of three persons, folds are two, because one is tested."""
        task = load(self.folder(tmp_path / "data", nested=nested), group=group)
        persons = [set(each.tolist()) for each in values(task)]
        assert [len(each) for each in persons] == [1, 1, 1]
        assert len(set.union(*persons)) == 3
        assert task.training_defaults == {"training": {"folds": 2}}
        for fold in folds_of(task, 2):
            parts = [set(part[0].numpy().ravel().tolist()) for part in (fold.train[0], fold.validation[0])]
            assert not parts[0] & parts[1]
        assert task.facts["split by"] == f"groups, of {group}"
        assert any(each.startswith("the test split has only 1 of the groups, and intervals") for each in task.warnings)

    def test_validation_is_by_group_where_the_test_is_given(self, tmp_path: Path) -> None:
        """A group that is in a given split and in another one is told."""
        self.folder(tmp_path / "data" / "train", persons=4)
        self.folder(tmp_path / "data" / "test", persons=2)
        task = load(tmp_path / "data", group="folder")
        persons = [set(each.tolist()) for each in values(task)]
        assert not persons[0] & persons[1]
        assert (
            "16 of 16 test windows share a group with windows of an earlier split, so test "
            "errors look better than they are. Keep groups in one split." in task.warnings
        )

    def test_windows_of_one_validation_recording_are_in_one_fold(self, tmp_path: Path) -> None:
        """Also where the validation split is given."""
        for title, files in (("train", 4), ("val", 4), ("test", 2)):
            write_classes(tmp_path / title, files=files)
        task = load(tmp_path, window=50, step=25, group="none")
        assert task.validation.groups is not None
        assert len(np.unique(task.validation.groups)) == 8
        assert not set(task.validation.groups) & set(task.train.groups)

    def test_windows_of_one_test_recording_are_a_group(self, tmp_path: Path) -> None:
        """Also where the test is given: overlapping windows made intervals of test errors several times too narrow."""
        for title, files in (("train", 4), ("val", 4), ("test", 3)):
            write_classes(tmp_path / title, files=files)
        assert "66 of 66 test windows share a group" in " ".join(load(tmp_path, window=50, step=25).warnings)
        task = load(tmp_path, window=50, step=25, group="none")
        assert task.test.groups is not None
        assert np.unique(task.test.groups, return_counts=True)[1].tolist() == [11] * 6
        assert not set(task.test.groups) & {*task.train.groups, *task.validation.groups}  # type: ignore[misc]
        assert load(tmp_path, window=300, group="none").test.groups is None, "each window is a recording"
        own = load(tmp_path, window=50, step=25, group=r"[0-9]+")
        assert len(np.unique(own.test.groups)) == 3

    def test_test_windows_may_have_groups_too(self, tmp_path: Path) -> None:
        """In Python and in files; with those of training or alone. A group in both splits is told."""
        rng = np.random.default_rng(0)
        given: dict[str, Any] = {"windows": rng.random((40, 16)), "labels": np.arange(40) % 2}
        tested = {"test_windows": rng.random((12, 16)), "test_labels": np.arange(12) % 2}
        persons, others = np.arange(40) // 4, np.arange(12) // 4 + 9
        np.savez(tmp_path / "a.npz", **given, **tested, groups=persons, test_groups=others)
        np.savez(tmp_path / "b.npz", **given, **tested, person=persons, test_person=others)
        for task in (
            Signals.from_arrays(**given, **tested, groups=persons, test_groups=others),
            load(tmp_path / "a.npz"),
            load(tmp_path / "b.npz", group="person"),
        ):
            assert task.test.groups is not None
            assert np.array_equal(task.test.groups, others)
            told = (
                "4 of 12 test windows share a group with windows of an earlier split, so test "
                "errors look better than they are. Keep groups in one split."
            )
            assert told in task.warnings
        for groups in ({}, {"groups": persons}, {"order": np.arange(40)}):
            task = Signals.from_arrays(**given, **tested, **groups, test_groups=others + 20)
            assert len(np.unique(task.test.groups)) == 3
            assert not any("share a group" in each for each in task.warnings)
        assert Signals.from_arrays(**given, **tested, test_groups=np.arange(12)).test.groups is None

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"test_groups": np.arange(5)}, r"test_groups must name the recording of each of 12 test windows.*\(5,\)"),
            ({"test_groups": list("abcdefghijkl")}, "test_groups must be text if groups are, but got int64 and <U1"),
            ({"test_windows": None, "test_labels": None}, "test_groups name the recordings of test_windows, but these"),
        ],
    )
    def test_groups_that_fit_no_test_windows_are_refused(self, changes: dict[str, Any], reason: str) -> None:
        tested = {"test_windows": np.ones((12, 16)), "test_labels": np.arange(12) % 2, "test_groups": np.arange(12)}
        windows = np.random.default_rng(0).random((40, 16))
        with pytest.raises(ValueError, match=reason):
            Signals.from_arrays(windows, np.arange(40) % 2, groups=np.arange(40) // 4, **{**tested, **changes})

    def test_folds_are_no_more_than_groups_by_default(self) -> None:
        windows = np.random.default_rng(0).random((60, 16))
        task = Signals.from_arrays(windows, np.arange(60) % 2, groups=np.arange(60) // 20)
        assert task.training_defaults == {"training": {"folds": 2}}

    def test_other_groups_of_arrays(self, tmp_path: Path) -> None:
        given = {"windows": np.random.default_rng(0).random((40, 16)), "labels": np.arange(40) % 2}
        np.savez(tmp_path / "a.npz", **given, person=np.arange(40) // 8)
        task = load(tmp_path / "a.npz", group="person")
        assert [len(np.unique(each.groups)) for each in (task.train, task.validation, task.test)] == [3, 1, 1]

    @pytest.mark.parametrize("name", ["groups.npy", "more/groups.npy", "{folder}/more/groups.npy"])
    def test_groups_of_an_npy_file_lie_anywhere(self, tmp_path: Path, name: str) -> None:
        """Their path is seen from the folder of the windows."""
        named = name.format(folder=tmp_path)
        (tmp_path / "more").mkdir()
        for file, array in (("w.npy", np.random.default_rng(0).random((60, 8))), ("labels.npy", np.arange(60) % 2)):
            np.save(tmp_path / file, array)
        np.save(tmp_path / named, np.arange(60) // 4)
        assert load(tmp_path / "w.npy", group=named).train.groups is not None
        with pytest.raises(DataError, match=r"none/g\.npy cannot be read as \.npy"):
            load(tmp_path / "w.npy", group="none/g.npy")
        with pytest.raises(DataError, match="path in UTF-8 without zero bytes"):
            load(tmp_path / "w.npy", order="a\0")

    def test_files_without_a_group_are_named(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path / "data")
        write_wav(folder / "high" / "loose.wav", tone(20, 300))
        with pytest.raises(DataError, match=r"must lie in a folder below .* but 1 of 25 do not, such as loose\.wav"):
            load(folder, group="folder")
        with pytest.raises(RecipeError, match=r"data\.group must be 'folder' or a regular expression"):
            load(folder, group="(")
        (tmp_path / "t.ts").write_text("@data\n")
        with pytest.raises(DataError, match=r"t\.ts has neither groups nor times.*data.order=rows"):
            load(tmp_path / "t.ts", group="folder")


class TestColumnsOfTimes:
    def test_a_column_of_times_is_no_channel_of_a_table(self, tmp_path: Path) -> None:
        """Unless it is named: then it is as before."""
        rows = [f"{n},{n % 7},{n % 5},{'ab'[n // 50 % 2]}" for n in range(600)]
        log = write_rows(tmp_path / "log.csv", "time_s,x,y,label", rows)
        task = load(log, window=8, step=8)
        assert task.form.columns == ("x", "y")
        assert any("time_s holds times and is no channel." in each for each in task.warnings)
        assert load(log, window=8, step=8, columns=["time_s", "x"]).form.channels == 2

    def test_nor_of_recordings_in_a_folder(self, tmp_path: Path) -> None:
        """A winner then takes files with that column, too."""
        for name in ("a", "b"):
            for number in range(6):
                rows = [f"2024-01-01 10:{n:02},{(n * (number + 1)) % 7}" for n in range(40)]
                (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
                file = write_rows(tmp_path / "data" / name / f"{number}.csv", "Timestamp,x", rows)
        task = load(tmp_path / "data")
        assert task.form.columns == ("x",)
        assert task.preparation.read([file])[0].shape == (1, 1, 40)

    def test_a_growing_t_is_a_time_and_another_one_a_channel(self, tmp_path: Path) -> None:
        for count, channels in ((600, 1), (5, 2)):
            rows = [f"{n % count},{n % 7},{'ab'[n // 50 % 2]}" for n in range(600)]
            assert load(write_rows(tmp_path / "log.csv", "t,x,label", rows), window=8).form.channels == channels

    @pytest.mark.parametrize("order", ["", "t"])
    def test_a_column_t_of_dates_is_a_time(self, tmp_path: Path, order: str) -> None:
        """It is no number, and may be the order itself."""
        rows = [f"2024-01-01 {n // 60:02}:{n % 60:02},{n % 7},{'ab'[n // 50 % 2]}" for n in range(600)]
        log = write_rows(tmp_path / "log.csv", "t,x,label", rows)
        assert load(log, window=8, order=order).form.columns == ("x",)
        with pytest.raises(DataError, match=r"line 2, column 't' has 'soon'"):
            load(write_rows(tmp_path / "log.csv", "t,x,label", ["soon,1,a", *rows]), window=8)


def test_windows_that_look_like_parts_of_recordings_are_told() -> None:
    """Neighbours with the same class would be in different splits."""
    windows = np.random.default_rng(0).random((200, 16))
    labels = np.arange(200) // 10 % 2
    (told,) = Signals.from_arrays(windows, labels).warnings
    assert "windows look like a series" in told
    assert Signals.from_arrays(windows, labels, groups=np.arange(200) // 10).warnings == ()


def test_signals_without_the_new_keys_are_split_as_before() -> None:
    """The fingerprints of version 0.8, which resumed runs compare."""
    rng = np.random.default_rng(0)
    rng.choice(["no", "yes"], 300)
    windows, labels = rng.standard_normal((90, 2, 16)).astype("f4"), np.arange(90) % 3
    assert Signals.from_arrays(windows, labels).fingerprint == "9d61a4cd64e9"
    assert Signals.from_arrays(windows, labels, groups=np.arange(90) // 9).fingerprint == "30b754177221"
