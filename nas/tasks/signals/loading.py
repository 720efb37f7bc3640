"""Signals by name: a folder of recordings, a CSV, NumPy or .ts file, or generated tones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.errors import DataError, did_you_mean
from nas.tasks.deployed.recordings import Recording
from nas.tasks.deployed.signals import SignalForm
from nas.tasks.loading import Loading, check_texts, loads_task, path_of
from nas.tasks.signals.array_file import read_arrays
from nas.tasks.signals.csv_file import read_columns, read_rows
from nas.tasks.signals.folder import read_folder
from nas.tasks.signals.gathering import Labelled, Wanted, signals_from
from nas.tasks.signals.signals import FEATURES, MEL_BANDS, NOISE, Signals
from nas.tasks.signals.targets import KINDS, Kind
from nas.tasks.signals.tones import CLASSES, RATE, made_tones
from nas.tasks.signals.ts_file import read_ts
from nas.tasks.signals.windows import VALIDATION_SHARE

TONES = "tones"
ENDINGS = (".csv", ".npz", ".npy", ".ts")
_Rule = tuple[str, tuple[type, ...], int]
"""An option's rule in words, its types, and its least value."""


@loads_task
def load_signals(
    data: str,
    loading: Loading,
    *,
    seconds: float | None = None,
    window: int | None = None,
    step: float | None = None,
    rate: int | None = None,
    mono: bool = False,
    features: str = "raw",
    bands: int = MEL_BANDS,
    label: str = "",
    group: str = "",
    columns: Sequence[str] | None = None,
    channels: int = 1,
    labels: str = "",
    kind: Kind = "auto",
    shift: int | None = None,
    noise: float = NOISE,
) -> Signals:
    """Return the signals called ``data``, the path of a folder or a file: the task "signals". No name gives tones.

    A window has ``seconds``, or ``window`` samples, and one starts every ``step``, in the same unit. Without ``step``
    the middle of each recording is the only window, and without a length all recordings must have the same. ``rate``
    resamples recordings to so many samples a second, and ``mono`` averages channels. ``features`` are "raw", or
    "log-mel" with so many ``bands``. In a CSV file, ``label`` and ``group`` name columns and ``columns`` the channels;
    without a length each row is a window of ``channels``. ``labels`` is the file of labels of an .npy file. ``kind``
    says whether labels are classes or values. Augmentation shifts by ``shift`` samples and adds ``noise``.

    Raises:
        DataError: the signals cannot be used, or an option is wrong.
    """
    check_texts(label=label, group=group, labels=labels)
    names = _names(columns)
    wanted = Wanted(seconds, window, step, rate, mono, features, bands, kind, shift, noise)
    _check_options({**dataclasses.asdict(wanted), "channels": channels})
    share = loading.validation_share or VALIDATION_SHARE
    if data in ("", TONES):
        return _tones(wanted, share, loading.seed)
    path = _path(data, loading.folder)
    notes: list[str] = []
    found_columns: tuple[str, ...] = ()
    ending = path.suffix.lower()
    try:
        if path.is_dir():
            recordings, notes = read_folder(path, names, loading.progress)
            found_columns = tuple(names)
        elif ending == ".ts":
            recordings, kind = _series(path, rate)
            wanted = dataclasses.replace(wanted, kind=kind if wanted.kind == "auto" else wanted.kind)
        elif ending == ".csv" and (seconds is not None or window is not None):
            recordings, found_columns = read_columns(path, label, group, names, kind)
            recordings = [_with_rate(each, rate) for each in recordings]
        elif ending == ".csv":
            return _rows(path, data, label, group, names, channels, wanted, share, loading.seed)
        else:
            return _arrays(path, data, _path(labels, loading.folder) if labels else None, wanted, share, loading.seed)
    except OSError as error:
        raise DataError(f"data must be readable, but {error.filename} is not: {error.strerror}.") from error
    return signals_from(data, recordings, wanted, share, loading.seed, found_columns, notes)


def _names(columns: object) -> list[str]:
    """Return the names of columns that a recipe gives. Raises DataError if they are none."""
    found = [columns] if isinstance(columns, str) else [] if columns is None else columns
    if not isinstance(found, (list, tuple)) or not all(isinstance(each, str) for each in found):
        raise DataError(f"data.columns must be names of columns, but got {columns!r}.")
    return list(found)


def _with_rate(labelled: Labelled, rate: int | None) -> Labelled:
    """Return a recording of a file that does not tell its rate with the one that the user gives."""
    return dataclasses.replace(labelled, recording=Recording(labelled.recording.samples, rate))


def _tones(wanted: Wanted, share: float, seed: int) -> Signals:
    signals, labels = made_tones()
    return _from_arrays({"windows": signals, "labels": labels}, TONES, wanted, share, seed, rate=RATE, classes=CLASSES)


def _arrays(path: Path, name: str, labels: Path | None, wanted: Wanted, share: float, seed: int) -> Signals:
    if wanted.seconds is not None or wanted.window is not None or wanted.step is not None or wanted.mono:
        raise DataError(f"windows in {path.name} are taken as they are: leave out seconds, window, step and mono.")
    return _from_arrays(read_arrays(path, labels), name, wanted, share, seed, rate=wanted.rate)


def _from_arrays(arrays: dict[str, Any], name: str, wanted: Wanted, share: float, seed: int, **more: Any) -> Signals:
    try:
        return Signals.from_arrays(
            arrays.pop("windows"),
            arrays.pop("labels"),
            **arrays,
            kind=wanted.kind,
            features=wanted.features,
            bands=wanted.bands,
            validation_share=share,
            seed=seed,
            name=name,
            shift=wanted.shift,
            noise=wanted.noise,
            **more,
        )
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def _rows(
    path: Path,
    name: str,
    label: str,
    group: str,
    columns: Sequence[str],
    channels: int,
    wanted: Wanted,
    share: float,
    seed: int,
) -> Signals:
    """Return the data set of a CSV file with a window in each row."""
    if wanted.step is not None or wanted.mono:
        raise DataError(f"each row of {path.name} is a window: leave out step and mono, or set window, in rows.")
    recordings, found = read_rows(path, label, group, columns, channels, wanted.kind)
    recordings = [_with_rate(each, wanted.rate) for each in recordings]
    made = signals_from(name, recordings, wanted, share, seed, found)
    form: SignalForm = dataclasses.replace(made.form, rows=True)
    return dataclasses.replace(made, form=form)


def _series(path: Path, rate: int | None) -> tuple[list[Labelled], Kind]:
    train, test = read_ts(path)
    parts = [("train" if test else None, train), *([("test", test)] if test else [])]
    found = [
        Labelled(Recording(samples, rate), label, path, split)
        for split, series in parts
        for samples, label in zip(series.samples, series.labels, strict=True)
    ]
    return found, "regression" if isinstance(train.labels[0], float) else "classification"


def _path(text: str, here: Path) -> Path:
    """Return the path that a user writes, seen from the folder ``here``. Raises DataError if nothing is there."""
    path = path_of(text, here)
    try:
        if path.is_dir():
            return path.resolve()
        exists = path.is_file()
    except OSError as error:
        raise DataError(f"signals need the path of a folder or a file, but {path} is none: {error}") from error
    if not exists:
        raise DataError(
            f"signals need the path of a folder or a file, or the name {TONES}, but there is no {path}. "
            f"{did_you_mean(text, [TONES])}"
        )
    if path.suffix.lower() not in ENDINGS:
        hint = " Put WAV files into a folder for each class." if path.suffix.lower() == ".wav" else ""
        raise DataError(f"a file of signals must end in one of {', '.join(ENDINGS)}, but got {path.name}.{hint}")
    return path


def _check_options(options: dict[str, Any]) -> None:
    """Check the types of options, as recipes may have any. Raises DataError."""
    whole: _Rule = ("a whole number of at least 1", (int,), 1)
    number: _Rule = ("a number of at least 0", (int, float), 0)
    rules: dict[str, _Rule] = {
        **dict.fromkeys(("window", "rate", "bands", "channels"), whole),
        **dict.fromkeys(("seconds", "step", "noise"), number),
        "shift": ("a whole number of at least 0", (int,), 0),
    }
    for name, (rule, types, least) in rules.items():
        value = options[name]
        if value is not None and (type(value) not in types or not least <= value < math.inf):
            raise DataError(f"data.{name} must be {rule}, but got {value!r}.")
    if not isinstance(options["mono"], bool):
        raise DataError(f"data.mono must be true or false, but got {options['mono']!r}.")
    for name, known in (("kind", KINDS), ("features", FEATURES)):
        if options[name] not in known:
            raise DataError(f"data.{name} must be one of {', '.join(known)}, but got {options[name]!r}.")
