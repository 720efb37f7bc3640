"""From recordings to a data set: one rate, one number of channels, windows, and splits that share no recording."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import DataError, first_few
from nas.tasks.batches import IntArray
from nas.tasks.broken_items import MOST_BROKEN, check_few, left_out, named
from nas.tasks.criteria import Kind
from nas.tasks.dependence import NONE
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.recordings import Recording
from nas.tasks.deployed.signals import LEAST_SHARE, SignalForm, cut
from nas.tasks.signals.labelled import Labelled, class_of, grouped
from nas.tasks.signals.signals import MEL_BANDS, NOISE, Signals, with_features
from nas.tasks.signals.targets import targets_from
from nas.tasks.signals.windows import TITLES, VALIDATION_SHARE, numbered, paired, time_warnings
from nas.tasks.splitting import TEST_SHARE, latest

FEWEST_RECORDINGS = 5
"""A class with fewer recordings is cut into blocks of time, so that each split gets some."""
LARGEST_BYTES = 8 * 2**30
LARGEST_FACTOR = 100_000
"""Resampling by p / q takes a filter of 20 times the larger one."""


@dataclass(frozen=True)
class Wanted:
    """What a user asks for: see ``load_signals`` and ``Loading``; and ``told``, what labels were taken for."""

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
    group: str = ""
    order: str = ""
    layout: str = "auto"
    label: str = ""
    columns: tuple[str, ...] = ()
    channels: int = 1
    told: tuple[str, ...] = ()

    @property
    def split_by(self) -> str:
        """How recordings are split where that is not at random; else empty."""
        if self.order:
            return f"time, of {self.order}"
        return f"groups, of {self.group}" if self.group not in ("", NONE) else ""

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
        DataError: recordings differ in rate or channels and no option says what to do, or too many are too short.
    """
    told = list(notes)
    form = _form_of(recordings, wanted, tuple(columns), told)
    recordings = _fitting(recordings, form, wanted, told)
    pieces = _by_time(recordings, form, wanted) if wanted.order else _blocks(recordings, form, told)
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
        of = {title: np.array(splits) == title for title in TITLES}
        if not of["train"].any():
            raise ValueError("there must be training recordings, but there are none.")
        given = {title: everything.take(mask) if mask.any() else None for title, mask in of.items()}
        if wanted.order and given["test"] is not None and all(each.split != "test" for each in recordings):
            given["test"] = replace(given["test"], groups=None)  # it may be the end of one recording
        told += _time_warnings(recordings, wanted, of) if wanted.order else []
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
            split_by=wanted.split_by,
            is_ordered=bool(wanted.order),
            readings=(*wanted.told, *targets.told),
        )
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def _time_warnings(
    recordings: Sequence[Labelled], wanted: Wanted, of: Mapping[str, npt.NDArray[np.bool_]]
) -> list[str]:
    """Return reasons to doubt splits by time. ``of`` masks the windows of each."""
    there = {str(each.split) for each in recordings}
    return time_warnings([int(mask.sum()) for mask in of.values()], (wanted.validation_share, TEST_SHARE), there)


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
    if 8 * channels * max(lengths) > LARGEST_BYTES:
        raise DataError(
            f"a recording must fit into 8 GiB, but at {rate} samples a second the longest has {max(lengths):,} samples "
            "of 8 bytes. Take a lower data.rate."
        )
    if wanted.seconds is not None and wanted.window is not None:
        raise DataError("the length of windows is set by seconds or by window, in samples, but got both.")
    if wanted.seconds is not None and rate is None:
        raise DataError("seconds need a rate, the samples in a second, but it is unknown: set rate, or set window.")
    per_unit = 1 if wanted.seconds is None else rate or 1
    asked = wanted.window if wanted.seconds is None else wanted.seconds * per_unit
    if asked is None:
        asked = _usual_length(lengths, told)
    if asked < 2:
        raise DataError(f"a window must have at least 2 samples, but got {asked:.4g}.")
    longest = max(lengths)
    if longest < 2:
        raise DataError(
            f"recordings must have at least 2 samples, but the longest of {len(lengths)} has {longest}. In a table, a "
            "recording is a run of rows with one label and one group."
        )
    if asked > longest / LEAST_SHARE:
        raise DataError(
            f"a window must have at most four times the {longest} samples of the longest recording, or it would be "
            f"padding alone, but got {asked:.4g}. Set a shorter one: data.window={longest}, without data.seconds."
        )
    if wanted.step is not None and wanted.step <= 0:
        raise DataError(f"step must be above 0, but got {wanted.step}.")
    step = 0 if wanted.step is None else max(1, round(min(wanted.step * per_unit, longest + 1)))
    rates = tuple(sorted({each.recording.rate for each in recordings if each.recording.rate is not None}))
    return SignalForm(channels, round(asked), step, rate, rates, wanted.mono, columns=columns)


def _usual_length(lengths: Sequence[int], told: list[str]) -> int:
    """Return the length of recordings; where they differ, that of most of them or else the median, which is told."""
    (common, count), *others = Counter(lengths).most_common()
    if not others:
        return common
    is_usual = 2 * count >= len(lengths)
    usual = common if is_usual else sorted(lengths)[len(lengths) // 2]
    which = f"which {count} of {len(lengths)} have" if is_usual else "the median"
    told.append(
        f"recordings have {min(lengths)} to {max(lengths)} samples, and windows {usual}, {which}. Another length is "
        "set by data.window, or by data.seconds."
    )
    return usual


def _fitting(recordings: Sequence[Labelled], form: SignalForm, wanted: Wanted, told: list[str]) -> list[Labelled]:
    """Return the recordings that are long enough for a window. Others are left out if they are few, and named.

    Raises:
        DataError: they are many, or a class loses all of its recordings.
    """
    lengths = [_length(each.recording, form.rate) for each in recordings]
    least = LEAST_SHARE * form.samples
    found = [each for each, length in zip(recordings, lengths, strict=True) if length >= least]
    if len(found) < len(recordings):
        pairs = zip(recordings, lengths, strict=True)
        short = [f"{each.name} has {length} of {form.samples} samples" for each, length in pairs if length < least]
        most = math.floor(sorted(lengths)[max(1, int(MOST_BROKEN * len(lengths)))] / LEAST_SHARE)
        is_in_seconds = wanted.seconds is not None and form.rate is not None
        fit = f"seconds={math.floor(1000 * most / (form.rate or 1)) / 1000:g}" if is_in_seconds else f"window={most}"
        what = "shorter than a quarter of a window"
        check_few(short, len(lengths), "recordings", what, f"Set at most data.{fit}, or remove them")
        told += left_out(short, len(lengths), "recordings", what)
        for lost in sorted(set(map(class_of, recordings)) - set(map(class_of, found))):
            raise DataError(f"each class must have a recording, but all of {lost!r} are {what}: {named(short)}.")
    padded, cropped = (sum(map(test, lengths)) for test in (lambda n: least <= n < form.samples, form.samples.__lt__))
    if padded:
        told.append(f"{padded} of {len(lengths)} recordings are shorter than a window and are padded with zeros.")
    if cropped and not form.step:
        told.append(f"of {cropped} of {len(lengths)} recordings only the middle is used. To use all, set step.")
    return found if wanted.group or wanted.order else grouped(found, told)


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
    for rate in filter(None, rates):
        _check_resampling(rate, wanted.rate or rate)
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


def _check_resampling(rate: int, wanted: int) -> None:
    """Check that recordings can be resampled. Raises DataError where the filter of scipy would take gigabytes."""
    if max(rate, wanted) // math.gcd(rate, wanted) > LARGEST_FACTOR:
        raise DataError(
            f"recordings are resampled by a ratio of whole numbers up to {LARGEST_FACTOR:,}, but {rate} Hz cannot "
            f"become {wanted} Hz by one. Set a rate in a simpler ratio, such as data.rate={2 * rate}."
        )


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
    counts = Counter(map(class_of, recordings))
    found: list[Labelled] = []
    cut_classes = []
    for each in recordings:
        samples, rate = each.recording
        least = form.samples * (rate or 1) / (form.rate or rate or 1)
        wanted = -(-FEWEST_RECORDINGS // counts[class_of(each)])
        parts = min(wanted, int(samples.shape[1] // least))
        if each.split not in (None, "train") or each.group is not None or parts < 2:
            found.append(each)
            continue
        cut_classes.append(class_of(each))
        found += [_block(each, places) for places in np.array_split(np.arange(samples.shape[1]), parts)]
    if cut_classes:
        names = list(dict.fromkeys(cut_classes))
        of = f" of {first_few(names)}" if any(names) else ""
        told.append(
            f"the few recordings{of} are cut into blocks of time, which may be in "
            "different splits: test errors on new recordings can be higher. Add recordings."
        )
    return found


def _by_time(recordings: Sequence[Labelled], form: SignalForm, wanted: Wanted) -> list[Labelled]:
    """Return the recordings, each in a split: the earliest samples train, later ones validate, and the last are tested.

    Where windows start every ``step``, a recording is cut where a split ends, so that no window is in two of them.
    Otherwise it belongs to the split of its first sample. Splits that are given stay.
    """
    free = [each for each in recordings if each.split in (None, "train")]
    counts = [int(each.recording.samples.shape[1]) for each in free]
    moments = np.concatenate([_moments_of(each, count) for each, count in zip(free, counts, strict=True)])
    titles = np.full(len(moments), "train", dtype="<U10")
    there = {each.split for each in recordings}
    for title, share in (("test", TEST_SHARE), ("validation", wanted.validation_share)):
        if title not in there:
            rest = np.flatnonzero(titles == "train")
            try:
                titles[rest[latest(moments[rest], share)]] = title
            except ValueError as error:
                raise DataError(f"data.order must tell recordings of a {title} split apart: {error}") from error
    found = [each for each in recordings if each.split not in (None, "train")]
    for each, own in zip(free, np.split(titles, np.cumsum(counts)[:-1]), strict=True):
        found += _cut_by_title(each, own, form) if form.step else [replace(each, split=str(own[0]))]
    return found


def _moments_of(recording: Labelled, count: int) -> IntArray:
    """Return the time of each sample. Raises DataError if none is known, or samples are not in its order."""
    if recording.moments is None:
        raise DataError("data.order splits recordings by time, but of these data no times are known. Leave it out.")
    if recording.moments.ndim and (np.diff(recording.moments) < 0).any():
        raise DataError(
            f"rows of a recording must be in the order of time, but {recording.name} goes back in time. Sort the file "
            "by data.order."
        )
    return np.broadcast_to(recording.moments, count)


def _cut_by_title(recording: Labelled, titles: npt.NDArray[np.str_], form: SignalForm) -> list[Labelled]:
    ends = [*(np.flatnonzero(titles[1:] != titles[:-1]) + 1).tolist(), len(titles)]
    if len(ends) == 1:
        return [replace(recording, split=str(titles[0]))]
    pieces = [(start, end, str(titles[start])) for start, end in zip([0, *ends], ends, strict=False)]
    found = [replace(_block(recording, np.arange(start, end)), split=title) for start, end, title in pieces]
    return [each for each in found if _length(each.recording, form.rate) >= form.samples]  # as a rest is left out


def _block(recording: Labelled, places: IntArray) -> Labelled:
    """Return the part of a recording at ``places``, which lie one after the other."""
    samples, rate = recording.recording
    label = recording.label[places] if isinstance(recording.label, np.ndarray) else recording.label
    return replace(recording, recording=Recording(samples[:, places[0] : places[-1] + 1], rate), label=label)
