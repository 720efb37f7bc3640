"""The task of signals: from folders, CSV, NumPy and .ts files to windows in three splits that share no recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recordings import RATE, tone, write_classes, write_wav

import nas
from nas.errors import DataError, NasError
from nas.tasks.batches import items_at
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.signals import SignalPreparation
from nas.tasks.loading import Loading, load_task
from nas.tasks.signals.signals import Signals
from nas.tasks.signals.tones import made_tones


def load(path: Path | str, **options: Any) -> Signals:
    found = load_task("signals", str(path), Loading(), options)
    assert isinstance(found, Signals)
    return found


def all_windows(task: Signals) -> np.ndarray[Any, Any]:
    return np.concatenate([task.train.signals, task.validation.signals, task.test.signals])


class TestTones:
    """Data without a name are generated tones."""

    def test_tones_are_always_the_same(self) -> None:
        first, second = load(""), load("tones")
        assert first.fingerprint == second.fingerprint
        assert first.default_space == "conv1d"
        assert (len(first.train), len(first.validation), len(first.test)) == (1280, 320, 400)
        assert first.warnings == ()
        assert "4 classes, 1 channel of 256 samples at 1024 Hz" in repr(first)

    def test_options_reach_them(self) -> None:
        task = load("", features="log-mel", bands=8, shift=0, noise=0)
        assert task.signature.inputs[0].shape == (8, 24)
        raw = items_at(task.train, slice(0, 3)).raw
        assert torch.equal(task.augmented(raw, torch.Generator())[0], raw[0])


class TestFolders:
    def test_a_folder_of_classes(self, tmp_path: Path) -> None:
        task = load(write_classes(tmp_path))
        assert task.classes == ("high", "low")
        assert task.signature.inputs[0].shape == (1, 300)
        assert (len(task.train), len(task.validation), len(task.test)) == (12, 4, 4)
        assert task.warnings == ()
        assert task.form.rate == RATE

    def test_folders_of_splits(self, tmp_path: Path) -> None:
        for title in ("train", "val", "test"):
            write_classes(tmp_path / title, files=3, samples=200 + len(title))
        task = load(tmp_path, window=200)
        assert [len(each) for each in (task.train, task.validation, task.test)] == [6, 6, 6]
        assert "of 18 of 18 recordings only the middle is used. To use all, set step." in task.warnings

    def test_windows_of_a_recording_stay_in_one_split(self, tmp_path: Path) -> None:
        """Each recording is a constant, so a window tells which one it comes from."""
        for number in range(20):
            samples = np.full((1, 500 + number), (number + 1) / 32, np.float32)
            write_wav(tmp_path / f"class{number % 2}" / f"{number}.wav", samples)
        task = load(tmp_path, seconds=0.1, step=0.05)
        found = [set(each.signals.ravel().tolist()) for each in (task.train, task.validation, task.test)]
        assert [len(each) for each in found] == [12, 4, 4]
        assert len(set.union(*found)) == 20
        assert len(all_windows(task)) == 20 * 9

    def test_few_recordings_are_cut_into_blocks(self, tmp_path: Path) -> None:
        """One recording of each class: no sample is in two splits, and a warning tells of it."""
        for name in ("a", "b"):
            ramp = np.arange(1000, dtype=np.float32)[None] / 1000 + (name == "b")
            write_wav(tmp_path / name / "only.wav", ramp - 1)
        task = load(tmp_path, window=50, step=10)
        samples = [set(each.signals.ravel().tolist()) for each in (task.train, task.validation, task.test)]
        assert all(samples)
        assert not samples[0] & samples[1]
        assert not samples[0] & samples[2]
        assert not samples[1] & samples[2]
        assert "the few recordings of a, b are cut into blocks of time" in task.warnings[0]

    def test_mixed_rates(self, tmp_path: Path) -> None:
        write_classes(tmp_path)
        odd = write_wav(tmp_path / "low" / "odd.wav", tone(20, 600), rate=2000)
        with pytest.raises(DataError, match=r"the same sampling rate unless rate is set.*1000 Hz.*odd\.wav 2000"):
            load(tmp_path)
        task = load(tmp_path, rate=1000)
        assert task.signature.inputs[0].shape == (1, 300)
        assert task.warnings == ("recordings are resampled to 1000 Hz: 1 of 2000 Hz.",)
        item = task.preparation.read([odd])[0][0]
        assert any(np.array_equal(item, window) for window in all_windows(task))

    def test_mixed_channels(self, tmp_path: Path) -> None:
        write_classes(tmp_path)
        write_wav(tmp_path / "low" / "odd.wav", tone(20, 300, channels=2))
        with pytest.raises(DataError, match=r"same number of channels, but .* has 1 and .*odd\.wav 2.*set mono"):
            load(tmp_path)
        assert load(tmp_path, mono=True).form.channels == 1

    def test_short_recordings_are_padded_or_refused(self, tmp_path: Path) -> None:
        write_classes(tmp_path)
        with pytest.raises(DataError, match="at most four times the 300 samples of the longest recording"):
            load(tmp_path, seconds=2)
        task = load(tmp_path, seconds=0.4)
        assert task.signature.inputs[0].shape == (1, 400)
        assert not all_windows(task)[..., 300:].any()
        assert task.warnings == ("20 of 20 recordings are shorter than a window and are padded with zeros.",)

    def test_a_broken_file_is_left_out_and_named(self, tmp_path: Path) -> None:
        write_classes(tmp_path)
        (tmp_path / "low" / "empty.wav").write_bytes(b"")
        (warning,) = load(tmp_path).warnings
        assert "1 of 21 recordings was left out as unreadable" in warning
        assert "empty.wav is empty" in warning
        (tmp_path / "low" / "text.wav").write_text("no recording")
        with pytest.raises(DataError, match=r"at most 5% of the recordings may be broken, which is 1 of 22, but 2 are"):
            load(tmp_path)

    def test_classes_without_recordings(self, tmp_path: Path) -> None:
        write_classes(tmp_path)
        (tmp_path / "silence").mkdir()
        with pytest.raises(DataError, match=r"silence has none that ends in \.wav, \.csv"):
            load(tmp_path)
        write_wav(tmp_path / "silence" / "a.wav", np.zeros((1, 300), np.float32))
        assert any("no test window is of silence" in each for each in load(tmp_path).warnings)


class TestTables:
    def test_columns_are_channels(self, tmp_path: Path) -> None:
        """Windows never cross a change of label."""
        rows = [f"{n},{-n},{'walk' if n // 100 % 2 else 'rest'}" for n in range(1200)]
        (tmp_path / "log.csv").write_text("x,y,activity\n" + "\n".join(rows) + "\n")
        task = load(tmp_path / "log.csv", window=20, step=10, label="activity")
        assert task.classes == ("rest", "walk")
        assert task.signature.inputs[0].shape == (2, 20)
        windows = all_windows(task)
        assert len(windows) == 12 * 9
        assert (windows[:, 0, 0] // 100 == windows[:, 0, -1] // 100).all()
        assert task.form.columns == ("x", "y")

    def test_a_group_is_in_one_split(self, tmp_path: Path) -> None:
        """Labels alternate within each person's rows."""
        rows = [f"{n},{n // 10 % 2},{n // 100}" for n in range(2000)]
        (tmp_path / "log.csv").write_text("x,label,person\n" + "\n".join(rows) + "\n")
        task = load(tmp_path / "log.csv", window=5, step=5, group="person")
        persons = [set((each.signals[:, 0, 0] // 100).tolist()) for each in (task.train, task.validation, task.test)]
        assert [len(each) for each in persons] == [13, 3, 4]
        assert len(set.union(*persons)) == 20

    def test_fractions_are_values(self, tmp_path: Path) -> None:
        """A window gets the mean of its rows, in the units of the data."""
        rows = [f"{n % 7},{n / 10}" for n in range(500)]
        (tmp_path / "log.csv").write_text("x,label\n" + "\n".join(rows) + "\n")
        task = load(tmp_path / "log.csv", window=10, step=10)
        assert task.classes == ()
        values = np.concatenate([each.targets for each in (task.train, task.validation, task.test)])
        values = values * np.float32(task.scale[0]) + np.float32(task.offset[0])
        np.testing.assert_allclose(np.sort(values[:, 0]), np.arange(50) + 0.45, atol=1e-4)
        assert task.criterion.kind == "regression"
        assert task.answers["names"] == ["value"]

    def test_a_row_is_a_window(self, tmp_path: Path) -> None:
        rows = [",".join(map(str, [number] * 6)) + f",{'ab'[number % 2]}" for number in range(40)]
        (tmp_path / "rows.csv").write_text("a,b,c,d,e,f,label\n" + "\n".join(rows) + "\n")
        task = load(tmp_path / "rows.csv", channels=2)
        assert task.signature.inputs[0].shape == (2, 3)
        assert len(all_windows(task)) == 40
        names = [name for name, _ in task.preparation.items(tmp_path / "rows.csv")]
        assert names[3] == f"{tmp_path / 'rows.csv'}[3]"


class TestArrays:
    def test_npz_and_npy(self, tmp_path: Path) -> None:
        windows, labels = made_tones()
        np.savez(tmp_path / "a.npz", X=windows, y=labels, X_test=windows[::250], y_test=labels[::250])
        task = load(tmp_path / "a.npz")
        assert len(task.test) == 8
        assert "8 of 8 test windows equal windows of an earlier split" in task.warnings[-1]
        np.save(tmp_path / "b.npy", windows)
        with pytest.raises(DataError, match=r"there is no .*labels\.npy"):
            load(tmp_path / "b.npy")
        np.save(tmp_path / "labels.npy", np.array(["x", "y"])[labels % 2])
        assert load(tmp_path / "b.npy").classes == ("x", "y")

    @pytest.mark.parametrize(
        ("labels", "classes"),
        [
            (np.arange(40) % 2 + 1, ("1", "2")),
            (np.arange(40) % 2 * 7, ("0", "7")),
            (np.array(["up", "down"] * 20), ("down", "up")),
            (np.arange(40) % 2 * 1.0, ("0", "1")),
            (np.arange(40) % 2 == 1, ("False", "True")),
        ],
    )
    def test_labels_of_every_kind_become_classes(self, labels: Any, classes: tuple[str, ...]) -> None:
        task = nas.Signals.from_arrays(np.random.default_rng(0).random((40, 16)), labels)
        assert task.classes == classes
        assert set(task.train.targets.tolist()) == {0, 1}

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"labels": np.zeros(40, int)}, "at least 2 classes, but all of labels are '0'"),
            ({"labels": np.full(40, 1.5)}, "targets must differ, but all of labels are 1.5"),
            ({"labels": np.arange(40).astype(str)}, "40 of 40 values in labels differ"),
            ({"labels": np.r_[np.arange(39) / 2, np.nan]}, r"labels must be finite, but labels\[39\] is nan"),
            ({"labels": np.arange(30) % 2}, "windows has 40 and labels 30"),
            (
                {"windows": np.ones((40, 2, 3, 4))},
                r"\(N, channels, samples\), but got float64 of shape \(40, 2, 3, 4\)",
            ),
            ({"windows": np.ones((40, 3, 1)), "layout": "channels-first"}, "at least 2 samples"),
            ({"windows": np.array([["a"] * 8] * 40)}, "must be numbers"),
            ({"features": "mfcc"}, "features must be one of raw, log-mel, but got 'mfcc'"),
            ({"features": "log-mel"}, "log-mel needs the rate"),
            ({"groups": np.zeros(40)}, "windows of one recording are never in two splits"),
            ({"groups": np.zeros(3)}, "groups must name the recording of each of 40 windows"),
            ({"test_windows": np.ones((3, 8))}, "test_windows and test_labels must be given together"),
            ({"validation_share": 1.5}, "validation_share must lie between 0 and 1"),
            ({"classes": ("a", "a")}, "classes must be at least 2 different names"),
            ({"classes": ("a", "b"), "labels": np.arange(40) % 3}, "must name one of 2 classes, but has 2"),
        ],
    )
    def test_what_cannot_be_learned_is_refused(self, changes: dict[str, Any], reason: str) -> None:
        given = {"windows": np.random.default_rng(0).random((40, 16)), "labels": np.arange(40) % 2, **changes}
        with pytest.raises(ValueError, match=reason):
            nas.Signals.from_arrays(given.pop("windows"), given.pop("labels"), **given)

    def test_infinite_values_are_named(self) -> None:
        windows = np.ones((40, 2, 16))
        windows[3, 1, 7] = np.inf
        with pytest.raises(ValueError, match=r"windows must be finite, but windows\[3, 1, 7\] is inf"):
            nas.Signals.from_arrays(windows, np.arange(40) % 2)


class TestSeries:
    TRAIN = "# made up\n@timeStamps false\n@univariate true\n@classLabel true a b\n@data\n"

    def write(self, path: Path, text: str) -> Path:
        path.write_text(text)
        return path

    def test_the_test_file_lies_beside_the_training_file(self, tmp_path: Path) -> None:
        lines = "".join(f"{n},2,3:4,5,{n}:{'ab'[n % 2]}\n" for n in range(12))
        train = self.write(tmp_path / "X_TRAIN.ts", self.TRAIN + lines)
        self.write(tmp_path / "X_TEST.ts", self.TRAIN + "7,7,7:8,8,8:b\n")
        task = load(train)
        assert task.test.signals.tolist() == [[[7, 7, 7], [8, 8, 8]]]
        assert task.classes == ("a", "b")
        assert len(task.train) + len(task.validation) == 12

    @pytest.mark.parametrize(
        ("line", "reason"),
        [("1,?,3:a", "could not convert"), ("1,nan,3:a", "missing or infinite"), ("1,2:1,2,3:a", r"got \[2, 3\]")],
    )
    def test_a_broken_line_is_named(self, tmp_path: Path, line: str, reason: str) -> None:
        path = self.write(tmp_path / "X.ts", f"{self.TRAIN}1,2,3:a\n{line}\n")
        with pytest.raises(DataError, match=reason) as error:
            load(path)
        assert "line 7" in str(error.value)

    def test_a_value_that_is_no_number_is_named(self, tmp_path: Path) -> None:
        head = self.TRAIN.replace("@classLabel true a b", "@targetLabel true")
        path = self.write(tmp_path / "X.ts", f"{head}1,2,3:0.5\n1,2,3:high\n")
        with pytest.raises(DataError, match=r"line 7: could not convert string to float: 'high'"):
            load(path)


class TestInputs:
    @pytest.mark.parametrize("features", ["raw", "log-mel"])
    @pytest.mark.parametrize("ending", ["wav", "csv", "npy"])
    def test_bundle_and_training_give_identical_inputs(self, tmp_path: Path, ending: str, features: str) -> None:
        """Of 100 files, 0 values differ, also on the way that training takes, and through JSON."""
        options: dict[str, Any] = {"features": features, "bands": 12, "seconds": 0.3, "rate": RATE}
        folder = write_classes(tmp_path / "data", files=50, samples=340, channels=2)
        if ending == "csv":
            for path in list(folder.rglob("*.wav")):
                samples = np.random.default_rng(int(path.stem)).normal(0, 3, (340, 2))
                path.with_suffix(".csv").write_text("\n".join(f"{a!r},{b!r}" for a, b in samples.tolist()))
                path.unlink()
        if ending == "npy":
            given = np.random.default_rng(0).normal(0, 3, (100, 2, 300))
            np.savez(tmp_path / "a.npz", windows=given, labels=np.arange(100) % 2)
            del options["seconds"]
            task = load(tmp_path / "a.npz", **options)
            for number, window in enumerate(given):
                np.save(folder / f"{number}.npy", window[None])
            paths = [folder / f"{number}.npy" for number in range(100)]
        else:
            task = load(folder, **options)
            paths = sorted(folder.rglob(f"*.{ending}"))
        deployed = SignalPreparation.of({"preparation": json.loads(json.dumps(task.preparation.to_json()))})
        known = set()
        for split in (task.train, task.validation, task.test):
            batch = items_at(split, slice(0, len(split)))
            prepared = task.prepared(batch.raw)
            assert torch.equal(task.inputs_of(batch.raw)[0], torch.from_numpy(prepared[0]))
            known |= {each.tobytes() for each in prepared[0]}
        found = {each.tobytes() for path in paths for each in deployed.prepared(deployed.read([path]))[0]}
        assert len(paths) == 100
        assert found == known

    def test_augmentation_shifts_and_adds_noise(self) -> None:
        """By default by 2 % of the window, and the same for a seed."""
        task = load("")
        raw = items_at(task.train, slice(0, 50)).raw
        first, second = (task.augmented(raw, torch.Generator().manual_seed(0))[0] for _ in range(2))
        assert torch.equal(first, second)
        shifted = Signals.from_arrays(*made_tones(), shift=5, noise=0).augmented(raw, torch.Generator().manual_seed(0))[
            0
        ]
        found = [
            next(offset for offset in range(-5, 6) if torch.equal(new[0, 5:-5], old[0, 5 + offset : 251 + offset]))
            for new, old in zip(shifted, raw[0], strict=True)
        ]
        assert min(found) == -5
        assert max(found) == 5

    def test_deployed_windows_of_a_long_recording(self, tmp_path: Path) -> None:
        """Each window of a recording is answered for, by its start."""
        task = load(write_classes(tmp_path / "data", samples=400), seconds=0.1, step=0.1)
        path = write_wav(tmp_path / "long.wav", tone(20, 350))
        names = [name for name, _ in task.preparation.items(path)]
        assert names == [f"{path}@{start}" for start in ("0s", "0.1s", "0.2s")]

    def test_a_deployed_recording_of_another_rate_is_told(self, tmp_path: Path) -> None:
        task = load(write_classes(tmp_path / "data"))
        path = write_wav(tmp_path / "fast.wav", tone(20, 600), rate=2000)
        with pytest.warns(UserWarning, match="all tested recordings had 1000 Hz. Others are resampled"):
            assert task.preparation.read([path])[0].shape == (1, 1, 300)

    @pytest.mark.parametrize("in_rows", [False, True])
    def test_a_deployed_recording_with_a_rate_is_refused_where_training_knew_none(
        self, tmp_path: Path, in_rows: bool
    ) -> None:
        """Samples of WAV files lie within [-1, 1], and nobody knows how to resample them. CSV files are as before."""
        for number in range(12):
            samples = 1000 * tone(20 if number % 2 else 150, 300, number)[0]
            file = tmp_path / "data" / f"class{number % 2}" / f"{number}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(f"{each:.3f}" for each in samples))
        if in_rows:
            rows = [",".join(map(str, [*range(number, number + 8), "ab"[number % 2]])) for number in range(40)]
            (tmp_path / "rows.csv").write_text("\n".join([",".join([*"abcdefgh", "label"]), *rows]))
        task = load(tmp_path / ("rows.csv" if in_rows else "data"))
        wav = write_wav(tmp_path / "new.wav", tone(20, 300))
        told = r"must tell no sampling rate, as those .*, but .*new\.wav has 1000 Hz.*CSV or \.npy file .* train on WAV"
        with pytest.raises(InputError, match=told):
            task.preparation.read([wav])
        assert len(task.preparation.read([tmp_path / ("rows.csv" if in_rows else "data/class0/0.csv")])[0])

    @pytest.mark.parametrize(
        ("array", "reason"),
        [
            (np.zeros((2, 2, 300)), r"shape \(N, 1, 300\), but got float64 of shape \(2, 2, 300\)"),
            (np.full((2, 300), np.nan), r"signals\[0, 0, 0\] is nan"),
            (np.zeros((2, 300), complex), "must be numbers"),
        ],
    )
    def test_deployed_arrays_are_checked(self, tmp_path: Path, array: Any, reason: str) -> None:
        task = load(write_classes(tmp_path))
        with pytest.raises(ValueError, match=reason):
            task.preparation.read(array)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("tonez", {}, "or the name tones, but there is no .*Did you mean 'tones'"),
        ("a.wav", {}, "must end in one of .*Put WAV files into a folder for each class"),
        ("", {"seconds": "1"}, "data.seconds must be a number of at least 0, but got '1'"),
        ("", {"window": 0}, "data.window must be a whole number of at least 1"),
        ("", {"rate": True}, "data.rate must be a whole number"),
        ("", {"kind": "both"}, "data.kind must be one of auto"),
        ("", {"mono": "yes"}, "data.mono must be true or false"),
        ("", {"features": "mel"}, "data.features must be one of raw, log-mel"),
        ("", {"shift": 256}, "shift must be at least 0 and less than a window"),
        (".", {}, "must hold a folder of recordings for each of at least 2 classes, but it holds 0|lies in"),
    ],
)
def test_wrong_names_and_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "a.wav", tone(20, 100))
    with pytest.raises(NasError, match=reason):
        load(name, **options)
