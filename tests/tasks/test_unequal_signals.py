"""Recordings of unequal length, and windows whose axes are in another order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import tone, write_classes, write_wav

from nas.errors import DataError
from nas.tasks.deployed.inputs import InputError
from nas.tasks.loading import Loading
from nas.tasks.signals.loading import load_signals
from nas.tasks.signals.signals import Signals


def load(path: Path, **options: Any) -> Signals:
    return load_signals(str(path), Loading(folder=path.parent), **options)


class TestLengths:
    def test_one_short_recording_is_left_out_and_named(self, tmp_path: Path) -> None:
        """With and without a length of windows: the advice of the one case must not fail in the other."""
        write_classes(tmp_path, files=20)
        write_wav(tmp_path / "low" / "odd.wav", tone(20, 7))
        for options in ({}, {"window": 300}, {"seconds": 0.3}):
            task = load(tmp_path, **options)
            assert task.signature.inputs[0].shape == (1, 300)
            assert sum(map(len, (task.train, task.validation, task.test))) == 40
            (told,) = [each for each in task.warnings if "left out" in each]
            assert "1 of 41 recordings was left out as shorter than a quarter of a window" in told
            assert "odd.wav has 7 of 300 samples" in told

    def test_windows_are_as_long_as_most_recordings_or_the_median(self, tmp_path: Path) -> None:
        write_classes(tmp_path / "one", files=10)
        write_wav(tmp_path / "one" / "low" / "odd.wav", tone(20, 299))
        task = load(tmp_path / "one")
        assert task.form.samples == 300
        assert task.warnings[0].startswith("recordings have 299 to 300 samples, and windows 300, which 20 of 21 have.")
        assert task.warnings[1] == "1 of 21 recordings are shorter than a window and are padded with zeros."
        for name in ("a", "b"):
            for number in range(10):
                write_wav(tmp_path / "all" / name / f"{number}.wav", tone(20, 200 + 10 * number))
        task = load(tmp_path / "all")
        assert task.form.samples == 250
        assert "samples, and windows 250, the median. Another length is set by data.window" in task.warnings[0]
        assert "of 8 of 20 recordings only the middle is used. To use all, set step." in task.warnings

    def test_advice_for_many_short_ones_can_be_followed(self, tmp_path: Path) -> None:
        write_classes(tmp_path, files=10)
        for number in range(5):
            write_wav(tmp_path / "low" / f"odd{number}.wav", tone(20, 30))
        with pytest.raises(DataError, match=r"shorter than a quarter of a window, .*but 5 are: .*data\.window=120"):
            load(tmp_path)
        assert sum(map(len, [(task := load(tmp_path, window=120)).train, task.validation, task.test])) == 25
        with pytest.raises(DataError, match=r"Set at most data\.seconds=0\.12"):
            load(tmp_path, seconds=0.3)
        assert load(tmp_path, seconds=0.12).form.samples == 120

    def test_a_class_that_loses_all_its_recordings_is_named(self, tmp_path: Path) -> None:
        write_classes(tmp_path, files=20)
        write_wav(tmp_path / "silence" / "odd.wav", tone(20, 7))
        with pytest.raises(DataError, match="each class must have a recording, but all of 'silence' are shorter"):
            load(tmp_path)

    def test_a_short_run_of_rows_is_named_by_its_line(self, tmp_path: Path) -> None:
        labels = ["a" if n // 50 % 2 else "b" for n in range(2000)]
        labels[100:105] = ["a"] * 5
        rows = [f"{n % 7},{label}" for n, label in enumerate(labels)]
        (tmp_path / "log.csv").write_text("x,label\n" + "\n".join(rows) + "\n")
        task = load(tmp_path / "log.csv", window=40)
        assert not any("left out" in each for each in task.warnings)  # the rows before have the same label
        labels[120:125] = ["a"] * 5
        rows = [f"{n % 7},{label}" for n, label in enumerate(labels)]
        (tmp_path / "log.csv").write_text("x,label\n" + "\n".join(rows) + "\n")
        (told,) = [each for each in load(tmp_path / "log.csv", window=40).warnings if "left out" in each]
        assert "log.csv from line 122 has 5 of 40 samples" in told

    def test_recordings_of_one_row_are_told(self, tmp_path: Path) -> None:
        """Such as where a column of times is taken for the group: no window would help."""
        rows = [f"{n},{n % 7},{'ab'[n // 50 % 2]}" for n in range(400)]
        (tmp_path / "log.csv").write_text("n,x,label\n" + "\n".join(rows) + "\n")
        with pytest.raises(DataError, match="at least 2 samples, but the longest of 400 has 1"):
            load(tmp_path / "log.csv", window=8, step=8, group="n")

    @pytest.mark.parametrize("options", [{"seconds": 1e308}, {"window": 10**18}, {"seconds": 1e308, "step": 1e308}])
    def test_windows_that_would_be_padding_alone_are_refused(self, tmp_path: Path, options: dict[str, Any]) -> None:
        write_classes(tmp_path)
        with pytest.raises(DataError, match="at most four times the 300 samples of the longest recording"):
            load(tmp_path, **options)
        assert load(tmp_path, window=100, step=1e308).form.step > 200  # one window each

    def test_rates_that_take_gigabytes_are_refused(self, tmp_path: Path) -> None:
        write_classes(tmp_path)
        with pytest.raises(DataError, match="but 1000 Hz cannot become 1000000000000 Hz by one"):
            load(tmp_path, rate=10**12)
        with pytest.raises(DataError, match="each of 1000000000 mel bands must hold a frequency"):
            load(tmp_path, features="log-mel", bands=10**9)
        write_wav(tmp_path / "low" / "long.wav", np.zeros((1, 30_000), np.float32))
        with pytest.raises(DataError, match="fit into 8 GiB, but at 100000000 samples a second the longest has 3,"):
            load(tmp_path, rate=10**8)


class TestLayouts:
    TIME_S = np.arange(64) / 64

    def walks(self, channels: int) -> np.ndarray:
        """Windows of channels that change slowly in time, shape (40, 64, channels)."""
        rng = np.random.default_rng(0)
        return np.cumsum(rng.standard_normal((40, 64, channels)), axis=1) + 50 * rng.standard_normal(channels)

    @pytest.mark.parametrize("channels", [1, 3, 12])
    def test_channels_may_be_last(self, channels: int) -> None:
        """They are found by the shape or by the values, and a sentence tells."""
        windows, labels = self.walks(channels), np.arange(40) % 2
        task = Signals.from_arrays(windows, labels)
        assert (task.form.channels, task.form.samples) == (channels, 64)
        expected = Signals.from_arrays(windows.transpose(0, 2, 1), labels, layout="channels-first")
        np.testing.assert_array_equal(task.train.signals, expected.train.signals)
        told = f"windows of shape (40, 64, {channels}) are taken as 64 samples of {channels} channels."
        assert any(each.startswith(told) for each in task.warnings)
        assert not any("are taken as" in each for each in expected.warnings)

    def test_a_winner_takes_arrays_as_the_search_did(self) -> None:
        windows, labels = self.walks(3).astype(np.float32), np.arange(40) % 2
        preparation = Signals.from_arrays(windows, labels).preparation
        (items,) = preparation.read(windows)
        np.testing.assert_array_equal(items, windows.transpose(0, 2, 1))
        again = type(preparation).of({"preparation": preparation.to_json()})
        np.testing.assert_array_equal(again.read(windows)[0], items)
        with pytest.raises(InputError, match=r"shape \(N, 64, 3\)"):
            preparation.read(windows.transpose(0, 2, 1))
        (single,) = Signals.from_arrays(self.walks(1), labels).preparation.read(np.zeros((2, 64)))
        assert single.shape == (2, 1, 64)

    def test_channels_stay_first_where_nothing_tells_otherwise(self) -> None:
        """Noise on sixteen channels, and what the option says."""
        windows, labels = np.random.default_rng(0).standard_normal((40, 16, 12)), np.arange(40) % 2
        assert Signals.from_arrays(windows, labels).form.channels == 16
        assert Signals.from_arrays(windows, labels, layout="channels-last").form.channels == 12
        assert Signals.from_arrays(self.walks(3), labels, layout="channels-first").form.channels == 64
        with pytest.raises(ValueError, match="one of auto, channels-first, channels-last, but got 'NTC'"):
            Signals.from_arrays(windows, labels, layout="NTC")
        with pytest.raises(ValueError, match=r"but windows have the shape \(40, 16\)"):
            Signals.from_arrays(windows[:, :, 0], labels, layout="channels-last")

    def test_a_recipe_names_the_layout(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", windows=self.walks(3), labels=np.arange(40) % 2)
        assert load(tmp_path / "a.npz").form.channels == 3
        assert load(tmp_path / "a.npz", layout="channels-first").form.channels == 64
