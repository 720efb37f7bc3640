"""Recordings are read from WAV and CSV files as numbers from -1 to 1; broken ones are refused with their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recordings import tone, write_24_bits, write_wav

from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.recordings import CsvTable, read_csv, read_recording
from nas.tasks.deployed.signals import LogMel, cut, resampled

STEREO = tone(50, 200, channels=2)


@pytest.mark.parametrize(
    ("dtype", "scale", "middle", "step"),
    [
        ("u1", 127, 128, 2**-7),
        ("i2", 32767, 0, 2**-15),
        ("i4", 2**31 - 128, 0, 2**-24),
        ("f4", 1, 0, 0),
        ("f8", 1, 0, 0),
    ],
)
def test_every_type_of_wav_gives_the_same_samples(
    tmp_path: Path, dtype: str, scale: float, middle: float, step: float
) -> None:
    """Within the step of their type, also in stereo."""
    stored = STEREO.astype(np.float64) * scale + middle
    written = (np.rint(stored) if dtype[0] != "f" else stored).astype(dtype)
    found = read_recording(write_wav(tmp_path / "a.wav", written))
    assert found.rate == 1000
    assert found.samples.shape == (2, 200)
    np.testing.assert_allclose(found.samples, STEREO, atol=1.5 * step)


def test_24_bits(tmp_path: Path) -> None:
    stored = np.rint(STEREO[0].astype(np.float64) * (2**23 - 1)).astype(np.int32)
    found = read_recording(write_24_bits(tmp_path / "a.wav", stored))
    np.testing.assert_allclose(found.samples[0], STEREO[0], atol=1e-6)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"RIFF", "breaks off"),
        (b"not a wave file at all", "cannot be read as WAV"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00", "breaks off: its header says 44 bytes, and it has 20"),
    ],
)
def test_a_broken_wav_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_recording(path)


def test_a_wav_that_breaks_off_is_refused(tmp_path: Path) -> None:
    """Scipy would return the first part without a word."""
    path = write_wav(tmp_path / "a.wav", np.rint(STEREO * 1000).astype(np.int16))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="breaks off"):
        read_recording(path)


def test_a_sample_that_is_no_number_is_named(tmp_path: Path) -> None:
    samples = STEREO.copy()
    samples[1, 120] = np.nan
    with pytest.raises(InputError, match=r"has nan at 0\.120 s in channel 1"):
        read_recording(write_wav(tmp_path / "a.wav", samples))


def test_a_csv_file_has_a_column_for_each_channel(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x;y;label\n1;2;a\n3;4.5;a\n", encoding="utf-8")
    assert read_recording(path, ["y", "x"]).samples.tolist() == [[2, 4.5], [1, 3]]
    path.write_text("1,2\n3,4\n", encoding="utf-8")
    assert read_recording(path).samples.tolist() == [[1, 3], [2, 4]]


def test_a_csv_file_may_have_decimal_commas(tmp_path: Path) -> None:
    """Between other delimiters a comma is the decimal sign; between commas it may separate thousands."""
    path = tmp_path / "a.csv"
    path.write_text("x;y\n1,5;2\n-3,25;4\n", encoding="utf-8")
    assert read_recording(path).samples.tolist() == [[1.5, -3.25], [2, 4]]
    path.write_text("1,5\t2\n3\t4,5\n", encoding="utf-8")
    assert read_recording(path).samples.tolist() == [[1.5, 3], [2, 4.5]]
    path.write_text('x,y\n"1,500",2\n3,4\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2, column 'x' has '1,500'"):
        read_recording(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x,y\n1,2\n3,nan\n", r"line 3, column 'y' has 'nan'"),
        ("x,y\n1,2\n3,\n", r"line 3, column 'y' is empty"),
        ("x,y\n1,2\n1e99,4\n", r"line 3, column 'x' has '1e99'"),
        ("x,y\n1,2\n3,4\nfive,6\n", r"line 4, column 'x' has 'five'"),
        ("x,y\n1,2\n3\n", r"line 3: a row must have 2 cells, but it has 1"),
        ("x,y\n", "has no rows below the names"),
        ("\n\n", "names the columns, but it is empty"),
    ],
)
def test_a_csv_file_is_refused_with_line_and_column(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        read_recording(path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="must have a column 'z', but has x, y"):
        read_csv(path).places(["z"])


@pytest.mark.timeout(10)
def test_many_columns_are_found_by_name_at_once() -> None:
    """Each row of a file may be a window of 50,000 samples."""
    names = tuple(f"sample{number}" for number in range(50_000))
    table = CsvTable(Path("a.csv"), (*names, "label"), [], [])
    assert table.places(names, without=("label",)) == list(range(50_000))


def test_windows_of_a_recording() -> None:
    samples = np.arange(10, dtype=np.float32)[None]
    assert cut(samples, 4, 0)[:, 0].tolist() == [[3, 4, 5, 6]]
    assert cut(samples, 4, 3)[:, 0].tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert cut(samples, 12, 3)[:, 0].tolist() == [[*range(10), 0, 0]]


def test_resampling_keeps_a_tone(tmp_path: Path) -> None:
    recording = read_recording(write_wav(tmp_path / "a.wav", tone(50, 1000)))
    half = resampled(recording, 500)
    assert half.samples.shape == (1, 500)
    spectrum = np.abs(np.fft.rfft(half.samples[0]))
    assert int(spectrum.argmax()) == 50


def test_a_tone_is_loudest_in_its_band() -> None:
    """Bands are triangles whose middles are equally far apart on the mel scale."""
    log_mel = LogMel.usual(8000, 20, 4000)
    centres = log_mel.filters().argmax(axis=1) * 8000 / log_mel.frame
    times = np.arange(4000) / 8000
    for band in (3, 10, 18):
        window = np.sin(2 * np.pi * centres[band] * times)[None].astype(np.float32)
        spectrogram = log_mel.of(window)
        assert spectrogram.shape == (20, log_mel.frames(4000)) == (20, 48)
        assert int(spectrogram.mean(axis=1).argmax()) == band


def test_log_mel_is_the_same_alone_and_among_others() -> None:
    windows = np.stack([tone(40 + number, 1000, seed=number) for number in range(8)])
    log_mel = LogMel.usual(1000, 10, 1000)
    together = np.stack([log_mel.of(window) for window in windows])
    assert all(np.array_equal(log_mel.of(window.copy()), each) for window, each in zip(windows, together, strict=True))


@pytest.mark.parametrize(
    ("samples", "bands", "reason"), [(30, 10, "at least two frames"), (4000, 200, "Take fewer bands")]
)
def test_log_mel_refuses_what_it_cannot_show(samples: int, bands: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        LogMel.usual(1000, bands, samples)
