"""From recordings to a data set: one rate, one number of channels, windows, and splits that share no recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import DataError, first_few
from nas.tasks.criteria import Kind
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.recordings import Recording
from nas.tasks.deployed.signals import SignalForm, cut
from nas.tasks.signals.signals import MEL_BANDS, NOISE, Signals, paired, with_features
from nas.tasks.signals.targets import targets_from
from nas.tasks.signals.windows import VALIDATION_SHARE, numbered
from nas.tasks.splitting import TEST_SHARE

FEWEST_RECORDINGS = 5
"""A class with fewer recordings is cut into blocks of time, so that each split gets some."""
LARGEST_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Labelled:
    """A recording with its label.

    Attributes:
        recording: its samples.
        label: its class, its value, or an array with a value for each sample; windows get the mean of theirs.
        path: the file that it comes from.
        split: the split that it belongs to, if that is given.
        group: recordings of one group are never in two splits; None for a group of its own.
    """

    recording: Recording
    label: Any
    path: Path
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Wanted:
    """What a user asks for: see ``load_signals`` and ``Loading``."""

    seconds: float | None = None
    window: int | None = None
    step: float | None = None
    rate: int | None = None
    mono: bool = False
    features: str = "raw"
    bands: int = MEL_BANDS
    kind: Kind = "auto"
    shift: int | None = None
    noise: float = NOISE
    validation_share: float = VALIDATION_SHARE
    seed: int = 0

    @property
    def is_cut(self) -> bool:
        """True if recordings are cut into windows of a length."""
        return self.seconds is not None or self.window is not None


def signals_from(
    name: str,
    recordings: Sequence[Labelled],
    columns: Sequence[str],
    wanted: Wanted,
    notes: Sequence[str] = (),
) -> Signals:
    """Return the data set of windows of recordings.

    Raises:
        DataError: recordings differ in rate, channels or length and no option says what to do, or are too short.
    """
    told = list(notes)
    form = _form_of(recordings, wanted, tuple(columns), told)
    pieces = _blocks(recordings, form, told)
    windows, labels, groups, splits = [], [], [], []
    total = 0
    for number, piece in enumerate(pieces):
        try:
            found = form.windows(piece.recording, piece.path)
        except InputError as error:
            raise DataError(str(error)) from error
        total += found.nbytes
        if total > LARGEST_BYTES:
            raise DataError("windows must fit into 8 GiB, but these need more. Take a larger step, or a lower rate.")
        windows.append(found)
        labels += _labels(piece.label, form, len(found))
        groups += [f"{number} " if piece.group is None else piece.group] * len(found)
        splits += [piece.split or "train"] * len(found)
    try:
        targets = targets_from(np.array(labels), "labels", wanted.kind)
        form = with_features(form, wanted.features, wanted.bands)
        numbers = numbered(groups, len(groups))
        everything = paired(form, np.concatenate(windows), targets.values, "windows", numbers)
        of = {title: np.array(splits) == title for title in ("train", "validation", "test")}
        if not of["train"].any():
            raise ValueError("there must be training recordings, but there are none.")
        # Intervals of splits that are given are for other windows.
        given = {
            title: replace(everything.take(mask), groups=None) if mask.any() else None for title, mask in of.items()
        }
        return Signals.divided(
            name,
            form,
            everything.take(of["train"]),
            given["validation"],
            given["test"],
            targets.classes,
            (wanted.validation_share, TEST_SHARE),
            wanted.seed,
            shift=wanted.shift,
            noise=wanted.noise,
            notes=tuple(told),
        )
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def _labels(label: Any, form: SignalForm, count: int) -> list[Any]:
    """Return the label of each of ``count`` windows of a recording."""
    if not isinstance(label, np.ndarray):
        return [label] * count
    padded = np.pad(label, (0, max(0, form.samples - len(label))), mode="edge")
    return [float(window.mean()) for window in cut(padded[None], form.samples, form.step)]


def _form_of(recordings: Sequence[Labelled], wanted: Wanted, columns: tuple[str, ...], told: list[str]) -> SignalForm:
    """Return the form of windows. What is done to recordings is added to ``told``."""
    rate = _common_rate(recordings, wanted, told)
    channels = 1 if wanted.mono else _common_channels(recordings)
    lengths = [_length(each.recording, rate) for each in recordings]
    if wanted.seconds is not None and wanted.window is not None:
        raise DataError("the length of windows is set by seconds or by window, in samples, but got both.")
    if wanted.seconds is not None and rate is None:
        raise DataError("seconds need a rate, the samples in a second, but it is unknown: set rate, or set window.")
    per_unit = 1 if wanted.seconds is None else rate or 1
    asked = wanted.window if wanted.seconds is None else round(wanted.seconds * per_unit)
    if asked is None:
        shortest, longest = int(np.argmin(lengths)), int(np.argmax(lengths))
        example = "window=128" if rate is None else "seconds=1"
        if lengths[shortest] != lengths[longest]:
            raise DataError(
                f"recordings must have the same length unless seconds or window is set, but "
                f"{recordings[shortest].path} has {lengths[shortest]} samples and {recordings[longest].path} "
                f"{lengths[longest]}. Set one, for example by --set data.{example}."
            )
        asked = lengths[0]
    if asked < 2:
        raise DataError(f"a window must have at least 2 samples, but got {asked}.")
    if wanted.step is not None and wanted.step <= 0:
        raise DataError(f"step must be above 0, but got {wanted.step}.")
    step = 0 if wanted.step is None else max(1, round(wanted.step * per_unit))
    padded, cropped = sum(each < asked for each in lengths), sum(each > asked for each in lengths)
    if padded:
        told.append(f"{padded} of {len(lengths)} recordings are shorter than a window and are padded with zeros.")
    if cropped and not step:
        told.append(f"of {cropped} of {len(lengths)} recordings only the middle is used. To use all, set step.")
    rates = tuple(sorted({each.recording.rate for each in recordings if each.recording.rate is not None}))
    return SignalForm(channels, asked, step, rate, rates, wanted.mono, columns=columns)


def _length(recording: Recording, rate: int | None) -> int:
    """Return the number of samples that a recording has at a rate: as scipy's resampling rounds it."""
    samples = int(recording.samples.shape[1])
    if rate is None or recording.rate in (None, rate):
        return samples
    assert recording.rate is not None
    return -(-samples * rate // recording.rate)


def _common_rate(recordings: Sequence[Labelled], wanted: Wanted, told: list[str]) -> int | None:
    if wanted.rate is not None and wanted.rate < 1:
        raise DataError(f"rate must be at least 1 sample a second, but got {wanted.rate}.")
    rates = Counter(each.recording.rate for each in recordings)
    if wanted.rate is None:
        if len(rates) > 1:
            first = recordings[0]
            other = next(each for each in recordings if each.recording.rate != first.recording.rate)
            raise DataError(
                f"recordings must have the same sampling rate unless rate is set, but {first.path} has "
                f"{first.recording.rate} Hz and {other.path} {other.recording.rate}. "
                f"Set one, for example by --set data.rate={max(filter(None, rates))}, and others are resampled to it."
            )
        return next(iter(rates))
    resampled = {rate: count for rate, count in rates.items() if rate not in (None, wanted.rate)}
    if resampled:
        listed = ", ".join(f"{count} of {rate} Hz" for rate, count in sorted(resampled.items(), key=str))
        told.append(f"recordings are resampled to {wanted.rate} Hz: {listed}.")
    return wanted.rate


def _common_channels(recordings: Sequence[Labelled]) -> int:
    first = recordings[0]
    for other in recordings:
        if len(other.recording.samples) != len(first.recording.samples):
            raise DataError(
                f"recordings must have the same number of channels, but {first.path} has "
                f"{len(first.recording.samples)} and {other.path} {len(other.recording.samples)}. "
                "To average channels, set mono, for example by --set data.mono=true."
            )
    return len(first.recording.samples)


def _blocks(recordings: Sequence[Labelled], form: SignalForm, told: list[str]) -> list[Labelled]:
    """Return the recordings, those of classes with few of them cut into blocks of time of at least a window each."""
    if not form.step:
        return list(recordings)
    counts = Counter(map(_class_of, recordings))
    found: list[Labelled] = []
    cut_classes = []
    for each in recordings:
        samples, rate = each.recording
        least = form.samples * (rate or 1) / (form.rate or rate or 1)
        wanted = -(-FEWEST_RECORDINGS // counts[_class_of(each)])
        parts = min(wanted, int(samples.shape[1] // least))
        if each.split not in (None, "train") or each.group is not None or parts < 2:
            found.append(each)
            continue
        cut_classes.append(_class_of(each))
        for places in np.array_split(np.arange(samples.shape[1]), parts):
            block = Recording(samples[:, places[0] : places[-1] + 1], rate)
            label = each.label[places] if isinstance(each.label, np.ndarray) else each.label
            found.append(replace(each, recording=block, label=label))
    if cut_classes:
        names = list(dict.fromkeys(cut_classes))
        of = f" of {first_few(names)}" if any(names) else ""
        told.append(
            f"the few recordings{of} are cut into blocks of time, which may be in "
            "different splits: test errors on new recordings can be higher. Add recordings."
        )
    return found


def _class_of(recording: Labelled) -> str:
    """Return the class of a recording as text; no text if it has values."""
    return "" if isinstance(recording.label, (float, np.ndarray)) else str(recording.label)
