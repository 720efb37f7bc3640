"""Bad signals: recordings, tables and arrays that are none, and options that do not fit them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bad_inputs.bad_input import BadInput
from recordings import tone, write_classes, write_wav

Prepare = Callable[[Path], Any]
SEARCH = ("search", "--task", "signals")
FOLDER = (*SEARCH, "--data", "data", "--dry-run")
TABLE = (*SEARCH, "--data", "log.csv", "--set", "data.window=8", "--dry-run")
ARRAYS = (*SEARCH, "--data", "a.npz", "--dry-run")
ROWS = [f"{number},{number % 7},{'ab'[number // 50 % 2]}" for number in range(400)]


def folder(change: Prepare, files: int = 10) -> Prepare:
    """Return what writes two classes of good recordings and then does something to their folder."""
    return lambda here: change(write_classes(here / "data", files=files))


def recording(samples: np.ndarray[Any, Any], rate: int = 1000) -> Prepare:
    """Return what adds a recording to one of the classes."""
    return folder(lambda root: write_wav(root / "low" / "odd.wav", samples, rate))


def spoilt(content: bytes, count: int = 3) -> Prepare:
    """Return what gives some recordings this content."""
    return folder(lambda root: [(root / "low" / f"{number}.wav").write_bytes(content) for number in range(count)])


def table(*changes: tuple[int, str], names: str = "x,y,label") -> Prepare:
    """Return what writes a table in which some lines are others."""
    rows = [names, *ROWS]
    for line, text in changes:
        rows[line - 1] = text
    return lambda here: (here / "log.csv").write_text("\n".join(rows) + "\n")


def arrays(**changes: Any) -> Prepare:
    """Return what writes windows with labels, some of which are others."""
    given = {"windows": np.random.default_rng(0).random((40, 3, 16)), "labels": np.arange(40) % 2, **changes}
    return lambda here: np.savez(here / "a.npz", **{name: each for name, each in given.items() if each is not None})


def enormous(name: str, gib: int) -> Prepare:
    """Return what writes a file of this size, which takes no room on the disk."""

    def write(here: Path) -> None:
        np.save(here / "labels.npy", np.arange(4))
        with (here / name).open("wb") as file:
            file.truncate(gib * 2**30)

    return write


def packed(here: Path) -> None:
    """Write an archive of 9 GiB of zeros, whose directory alone is true."""
    with zipfile.ZipFile(here / "a.npz", "w") as archive:
        archive.writestr("windows.npy", b"\x93NUMPY")
        archive.infolist()[0].file_size = 9 * 2**30


def with_nan() -> np.ndarray[Any, Any]:
    """Return windows of which one has a value that is no number."""
    windows = np.random.default_rng(0).random((40, 3, 16))
    windows[4, 2, 9] = np.nan
    return windows


BAD_INPUTS = {
    "a pipe in place of a table": BadInput(
        TABLE, ("log.csv is a named pipe",), lambda here: os.mkfifo(here / "log.csv")
    ),
    "no such folder": BadInput(FOLDER, ("the path of a folder or a file, or the name tones, but there is no",)),
    "a misspelt name": BadInput((*SEARCH, "--data", "tonse"), ("Did you mean 'tones'?",)),
    "a single recording": BadInput(
        (*SEARCH, "--data", "a.wav"),
        ("must end in one of .csv, .npz, .npy, .ts, but got a.wav", "folder for each class"),
        lambda here: write_wav(here / "a.wav", tone(20, 100)),
    ),
    "an empty folder": BadInput(
        FOLDER, ("a folder of recordings for each of at least 2 classes",), lambda here: (here / "data").mkdir()
    ),
    "one class only": BadInput(
        FOLDER,
        ("each of at least 2 classes, but it holds 1",),
        folder(lambda root: [*(each.unlink() for each in (root / "low").iterdir()), (root / "low").rmdir()]),
    ),
    "recordings beside the classes": BadInput(
        FOLDER,
        ("must lie in the folder of their class", "loose.wav"),
        folder(lambda root: write_wav(root / "loose.wav", tone(20, 300))),
    ),
    "mixed sampling rates": BadInput(
        FOLDER, ("the same sampling rate unless rate is set", "--set data.rate=8000"), recording(tone(20, 300), 8000)
    ),
    "mixed lengths": BadInput(
        FOLDER,
        ("recordings have 299 to 300 samples, and windows 300", "1 of 21 recordings are shorter than a window"),
        recording(tone(20, 299)),
        status=0,
    ),
    "one recording of seven samples": BadInput(
        FOLDER,
        ("1 of 21 recordings was left out as shorter than a quarter of a window", "odd.wav has 7 of 300 samples"),
        recording(tone(20, 7)),
        status=0,
    ),
    "windows of more than a number holds": BadInput(
        (*FOLDER, "--set", "data.seconds=1e308"), ("at most four times the 300 samples",), folder(str)
    ),
    "a rate of 149 GiB": BadInput(
        (*FOLDER, "--set", "data.rate=1000000000000"), ("1000 Hz cannot become 1000000000000 Hz",), folder(str)
    ),
    "a pattern that is none": BadInput(
        (*FOLDER, "--set", "data.group=("), ("data.group must be 'folder' or a regular expression",), folder(str)
    ),
    "files without a group": BadInput(
        (*FOLDER, "--set", "data.group=folder"),
        ("must lie in a folder below", "20 of 20 do not"),
        folder(str),
    ),
    "an order of nothing": BadInput(
        (*FOLDER, "--set", "data.order=low"), ("each file must have a part like 'low'",), folder(str)
    ),
    "an order that is no time": BadInput(
        (*FOLDER, "--set", "data.order=wav"),
        ("must name numbers or times", "has 'wav'"),
        folder(str),
    ),
    "an unknown layout": BadInput(
        (*ARRAYS, "--set", "data.layout=NTC"), ("data.layout must be one of auto, channels-first",), arrays()
    ),
    "channels where samples should be": BadInput(
        ARRAYS,
        ("(40, 64, 3) are taken as 64 samples of 3 channels", "layout=channels-first"),
        arrays(windows=np.random.default_rng(0).random((40, 64, 3))),
        status=0,
    ),
    "mixed channels": BadInput(
        FOLDER, ("the same number of channels", "--set data.mono=true"), recording(tone(20, 300, channels=2))
    ),
    "too short": BadInput(
        (*FOLDER, "--set", "data.seconds=9"),
        ("at most four times the 300 samples of the longest recording", "data.window=300"),
        folder(str),
    ),
    "infinite samples": BadInput(
        FOLDER,
        ("must hold finite samples, but has inf at 0.000 s in channel 0",),
        recording(np.full((1, 300), np.inf, np.float32)),
        status=0,
    ),
    "empty recordings": BadInput(FOLDER, ("at most 5% of the recordings may be broken", "is empty"), spoilt(b"")),
    "text as recordings": BadInput(FOLDER, ("cannot be read as WAV",), spoilt(b"hello")),
    "recordings that break off": BadInput(FOLDER, ("breaks off",), spoilt(b"RIFF\xff\xff\x00\x00WAVEfmt ")),
    "seconds of unknown rate": BadInput(
        (*SEARCH, "--data", "log.csv", "--set", "data.seconds=1"), ("set rate, or set window",), table()
    ),
    "seconds and a window": BadInput(
        (*FOLDER, "--set", "data.seconds=1", "--set", "data.window=9"), ("but got both",), folder(str)
    ),
    "no number in a column": BadInput(TABLE, ("line 5, column 'y' has 'loud'",), table((5, "3,loud,a"))),
    "a missing number": BadInput(TABLE, ("line 5, column 'x' is empty",), table((5, ",3,a"))),
    "a short row": BadInput(TABLE, ("line 7: a row must have 3 cells, but it has 2",), table((7, "1,2"))),
    "no such label": BadInput((*TABLE, "--set", "data.label=class"), ("has no 'class', only x, y, label",), table()),
    "a row without a label": BadInput(TABLE, ("each row must have a label, but line 9",), table((9, "1,2,"))),
    "no names of columns": BadInput(
        TABLE,
        ("needs a first row with the names of its columns",),
        table((1, "1,2,3"), *((n, "1,2,3") for n in range(2, 402))),
    ),
    "one label": BadInput(
        TABLE, ("at least 2 classes, but all of labels are 'a'",), table(*((n, f"{n},2,a") for n in range(2, 402)))
    ),
    "no labels": BadInput(ARRAYS, ("must hold windows and labels, but", "holds windows"), arrays(labels=None)),
    "fewer labels": BadInput(ARRAYS, ("windows has 40 and labels 39",), arrays(labels=np.arange(39) % 2)),
    "constant labels": BadInput(ARRAYS, ("at least 2 classes",), arrays(labels=np.zeros(40, int))),
    "infinite windows": BadInput(ARRAYS, ("windows[4, 2, 9] is nan",), arrays(windows=with_nan())),
    "pictures": BadInput(
        ARRAYS,
        ("(N, samples) or (N, channels, samples), but got uint8",),
        arrays(windows=np.zeros((40, 3, 8, 8), np.uint8)),
    ),
    "pickled objects": BadInput(
        ARRAYS, ("cannot be read as .npz", "allow_pickle"), arrays(labels=np.array([{}] * 40, dtype=object))
    ),
    "enormous windows": BadInput(
        (*SEARCH, "--data", "a.npy", "--dry-run"), ("arrays must fit into 8 GiB", "take 9"), enormous("a.npy", 9)
    ),
    "an enormous series": BadInput(
        (*SEARCH, "--data", "a.ts", "--dry-run"), ("must have at most 2 GiB, but it has 3.0",), enormous("a.ts", 3)
    ),
    "an enormous table": BadInput(TABLE, ("must have at most 2 GiB, but it has 3.0",), enormous("log.csv", 3)),
    "enormous arrays in a small file": BadInput(ARRAYS, ("arrays must fit into 8 GiB", "take 9"), packed),
    "no archive": BadInput(ARRAYS, ("cannot be read as .npz",), lambda here: (here / "a.npz").write_bytes(b"PK")),
    "one group": BadInput(
        ARRAYS, ("windows of one recording are never in two splits",), arrays(groups=np.zeros(40, int))
    ),
    "a class that is only tested": BadInput(
        ARRAYS,
        ("each class must have a training window, but '9' has none",),
        arrays(test_windows=np.ones((2, 3, 16)), test_labels=np.array([1, 9])),
    ),
    "log-mel without a rate": BadInput(
        (*ARRAYS, "--set", "data.features=log-mel"), ("log-mel needs the rate",), arrays()
    ),
    "no such features": BadInput((*SEARCH, "--set", "data.features=mfcc"), ("must be one of raw, log-mel",)),
    "a file of labels that is a number": BadInput(
        (*ARRAYS, "--set", "data.labels=5"), ("data.labels must be text, but got 5",), arrays()
    ),
    "columns that are a number": BadInput(
        (*TABLE, "--set", "data.columns=5"), ("must be a list of names of columns",), table()
    ),
    "an unknown option": BadInput((*SEARCH, "--set", "data.second=1"), ("has no option 'second'", "'seconds'")),
    "a space of images": BadInput(
        (*SEARCH, "--space", "mobilenet", "--dry-run"),
        ("takes images", "but the data have signals, float32 of shape (1, 256)", "conv1d"),
    ),
    "images in a space of signals": BadInput(
        ("search", "--space", "conv1d", "--dry-run"),
        ("takes signals, float32 of shape (channels, samples), but the data have images", "mobilenet"),
    ),
}
