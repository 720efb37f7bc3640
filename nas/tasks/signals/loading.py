"""Signals by name: a folder of recordings, a CSV, NumPy or .ts file, or generated tones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import DataError, did_you_mean
from nas.paths import why_no_file
from nas.progress import Progress
from nas.tasks.criteria import KINDS, Kind
from nas.tasks.dependence import NONE
from nas.tasks.loading import Loading, check_among, check_texts, loads_task, names_of, path_of
from nas.tasks.moments import ROWS
from nas.tasks.signals.array_file import read_arrays
from nas.tasks.signals.csv_file import LABEL, read_table
from nas.tasks.signals.folder import read_folder
from nas.tasks.signals.gathering import Wanted, signals_from
from nas.tasks.signals.labelled import Labelled
from nas.tasks.signals.layout import LAYOUTS
from nas.tasks.signals.signals import FEATURES, MEL_BANDS, NOISE, Signals
from nas.tasks.signals.tones import CLASSES, RATE, made_tones
from nas.tasks.signals.ts_file import read_ts
from nas.tasks.signals.windows import VALIDATION_SHARE
from nas.tasks.target_kind import told_kind

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
    order: str = "",
    layout: str = "auto",
    columns: Sequence[str] | None = None,
    channels: int = 1,
    labels: str = "",
    kind: Kind = "auto",
    shift: int | None = None,
    noise: float = NOISE,
) -> Signals:
    """Return the signals called ``data``, the path of a folder or a file: the task "signals". No name gives tones.

    A window has ``seconds``, or ``window`` samples, and one starts every ``step``, in the same unit. Without ``step``
    the middle of each recording is the only window; without a length, windows are as long as most recordings. ``rate``
    resamples recordings to so many samples a second, and ``mono`` averages channels. ``features`` are "raw", or
    "log-mel" with so many ``bands``. In a CSV file, ``label`` names a column and ``columns`` the channels; without a
    length each row is a window of ``channels``. ``group`` says which recordings stay in one split, and ``order`` which
    are later: columns of a CSV file, arrays of an .npz file, or patterns of the paths in a folder. ``labels`` is the
    file of labels of an .npy file, and ``layout`` that of its axes. ``kind`` says whether labels are classes or values.
    Augmentation shifts by ``shift`` samples and adds ``noise``.

    Raises:
        DataError: the signals cannot be used, or an option is wrong.
    """
    check_texts(label=label, group=group, order=order, labels=labels)
    names = names_of("columns", columns)
    share = loading.validation_share or VALIDATION_SHARE
    wanted = Wanted(seconds, window, step, rate, mono, features, bands, kind, shift, noise, share, loading.seed)
    wanted = dataclasses.replace(wanted, group=group, order=order, layout=layout)
    wanted = dataclasses.replace(wanted, label=label, columns=tuple(names), channels=channels)
    _check_options(dataclasses.asdict(wanted))
    if group not in ("", NONE) and order:
        raise DataError(f"recordings are split by time or by group, but got order {order!r} and group {group!r}.")
    if data in ("", TONES):
        _check_no_groups(TONES, wanted)
        windows, classes = made_tones()
        return _from_arrays(TONES, {"windows": windows, "labels": classes}, wanted, rate=RATE, classes=CLASSES)
    path, labels_path = _path(data, loading.folder), _path(labels, loading.folder) if labels else None
    _check_whole(path, wanted)
    try:
        return _from_path(data, path, labels_path, wanted, loading.progress)
    except OSError as error:
        raise DataError(f"data must be readable, but {error.filename} is not: {error.strerror}.") from error


def _from_path(data: str, path: Path, labels: Path | None, wanted: Wanted, progress: Progress) -> Signals:
    """Return the signals in a folder or a file, called ``data``; ``labels`` is the file of those of an .npy file."""
    group, order, rate = wanted.group, wanted.order, wanted.rate
    if path.is_dir():
        folder = read_folder(path, wanted.columns, progress, group, order)
        return signals_from(data, folder.recordings, folder.columns, wanted, folder.notes)
    if path.suffix.lower() == ".csv":
        channels = None if wanted.is_cut else wanted.channels
        read = read_table(path, wanted.label, group, wanted.columns, wanted.kind, rate, channels, order)
        wanted = _with_kind(wanted, read[0], wanted.label or LABEL)
        made = signals_from(data, *read[:2], wanted, read[2])
        return dataclasses.replace(made, form=dataclasses.replace(made.form, rows=not wanted.is_cut))
    if path.suffix.lower() == ".ts":
        _check_no_groups(path.name, wanted, by_rows=True)
        recordings = read_ts(path, rate)
        told: Kind = "regression" if isinstance(recordings[0].label, float) else "classification"
        wanted = dataclasses.replace(wanted, kind=told if wanted.kind == "auto" else wanted.kind)
        return signals_from(data, recordings, (), wanted)
    arrays: dict[str, Any] = read_arrays(path, labels, "" if group == NONE else group, order)
    if group == NONE:
        arrays["groups"] = NONE
    return _from_arrays(data, arrays, wanted, rate=rate, layout=wanted.layout)


def _with_kind(wanted: Wanted, recordings: Sequence[Labelled], column: str) -> Wanted:
    """Return the options with what the labels of a CSV file were taken for: text for classes, numbers for values."""
    labels = [each.label for each in recordings]
    kind: Kind = "classification" if isinstance(labels[0], str) else "regression"
    try:
        numbers = np.hstack([np.asarray(each, dtype=np.float64) for each in labels])
    except ValueError:  # text that is no number is clear
        numbers = np.empty(0)
    is_asked = wanted.kind == "auto" and len(numbers) > 0
    told = told_kind(column, numbers, kind == "classification") if is_asked else ()
    return dataclasses.replace(wanted, kind=kind, told=told)


def _check_whole(path: Path, wanted: Wanted) -> None:
    """Check that nothing cuts the windows of a file that holds whole ones. Raises DataError."""
    ending, is_changed = path.suffix.lower(), wanted.step is not None or wanted.mono
    if ending == ".csv" and is_changed and not wanted.is_cut:
        raise DataError(f"each row of {path.name} is a window: leave out step and mono, or set window, in rows.")
    if ending in (".npy", ".npz") and (is_changed or wanted.is_cut):
        raise DataError(f"windows in {path.name} are taken as they are: leave out seconds, window, step and mono.")


def _check_no_groups(name: str, wanted: Wanted, *, by_rows: bool = False) -> None:
    """Check that nothing asks for groups of data that have none. Raises DataError."""
    if wanted.group not in ("", NONE) or (wanted.order and not (by_rows and wanted.order == ROWS)):
        more = f" The order of its lines is data.order={ROWS}." if by_rows else ""
        raise DataError(f"{name} has neither groups nor times: leave out data.group and data.order.{more}")


def _from_arrays(name: str, arrays: dict[str, Any], wanted: Wanted, **more: Any) -> Signals:
    taken = ("kind", "features", "bands", "validation_share", "seed", "shift", "noise")
    options = {each: getattr(wanted, each) for each in taken}
    try:
        return Signals.from_arrays(**arrays, **options, name=name, **more)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def _path(text: str, here: Path) -> Path:
    """Return the path that a user writes, seen from the folder ``here``. Raises DataError if nothing is there."""
    path = path_of(text, here)
    try:
        if path.is_dir():
            return path.resolve()
        exists = path.is_file()
    except OSError as error:
        raise DataError(f"signals need the path of a folder or a file, but {path} is none: {error}") from error
    if not exists and path.exists():
        raise DataError(f"signals need the path of a folder or a file, but {path} {why_no_file(path)}.")
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
    check_among("layout", options["layout"], LAYOUTS)
    check_among("kind", options["kind"], KINDS)
    check_among("features", options["features"], FEATURES)
