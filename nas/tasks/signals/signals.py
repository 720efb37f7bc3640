"""The task of signals: windows with a class or values each, in three splits that share no recording."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from nas.space.signature import Signature, TensorType
from nas.tasks.batches import Tensors
from nas.tasks.criteria import Classification, Criterion, Kind, Regression
from nas.tasks.deployed.recordings import Float32Array
from nas.tasks.deployed.signals import LogMel, SignalForm, SignalPreparation
from nas.tasks.doubts import (
    copy_warnings,
    few_groups_warnings,
    few_warnings,
    group_warnings,
    imbalance_warnings,
    missing_warnings,
)
from nas.tasks.folds import most_folds
from nas.tasks.signals.corrupting import CORRUPTIONS, corrupted_windows
from nas.tasks.signals.layout import has_channels_last, layout_notes
from nas.tasks.signals.targets import targets_from
from nas.tasks.signals.windows import (
    VALIDATION_SHARE,
    Windows,
    checked_windows,
    divide,
    divided_by_time,
    grouped_windows,
    joined_labels,
    paired,
    windows_warnings,
)
from nas.tasks.splitting import GROUPS_STAY, TEST_SHARE
from nas.tasks.task import Task

FEATURES = ("raw", "log-mel")
MEL_BANDS = 40
NOISE = 0.02
"""The usual standard deviation of the noise of augmentation, in standard deviations of the channel."""
FEW, FOLDS = 500, 5
"""With fewer windows to train and validate by, candidates are trained in so many folds."""
SHIFT_SHARE = 50
"""Augmentation usually shifts by at most one of so many samples."""


@dataclass(frozen=True, eq=False, repr=False)
class Signals(Task):
    """Windows of signals with a class, or with values to predict. The test split scores winners, once.

    Attributes:
        name: its name, for people.
        train: the windows to train on.
        validation: the windows that compare candidates.
        test: the windows that score winners.
        form: how a recording becomes such windows.
        classes: the names of the classes, by label; none if values are predicted.
        offset: the mean of each value over the training windows; targets are standardised.
        scale: the standard deviation of each value.
        shift: augmentation shifts a window by up to so many samples, or frames of a spectrogram.
        noise: the standard deviation of augmentation's noise, in standard deviations of the channel.
        notes: what a user should know about the loading, such as files that were left out.
        split_by: how windows were split where that is not at random, such as "time, of day"; else empty.
        is_ordered: windows were split by time: those of training are the earliest.
        readings: what labels were taken for, and the option that changes it.
    """

    name: str
    train: Windows
    validation: Windows
    test: Windows
    form: SignalForm
    classes: tuple[str, ...] = ()
    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    shift: int = 0
    noise: float = NOISE
    notes: tuple[str, ...] = ()
    split_by: str = ""
    is_ordered: bool = False
    readings: tuple[str, ...] = ()

    noun: ClassVar[str] = "windows"
    default_space: ClassVar[str | None] = "conv1d"

    def __post_init__(self) -> None:
        for title, split in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            if not len(split):
                raise ValueError(f"each split must hold at least one window, but {title} is empty.")
            if split.signals.shape[1:] != self.form.shape:
                raise ValueError(f"windows must have the shape {self.form.shape}, but {title} has {split}.")
        if not 0 <= self.shift < self.form.shape[1]:
            raise ValueError(f"shift must be at least 0 and less than a window, but got {self.shift}.")
        if not 0 <= self.noise < 10:
            raise ValueError(f"noise must be at least 0 and below 10, but got {self.noise}.")
        for label in sorted(set(range(len(self.classes))) - set(self.train.targets.ravel().tolist())):
            raise ValueError(
                f"each class must have a training window, but {self.classes[label]!r} has none: give more recordings."
            )

    def __repr__(self) -> str:
        counts = f"{len(self.train)} training, {len(self.validation)} validation and {len(self.test)} test windows"
        return f"Signals {self.name}: {counts}, {self.in_words}"

    @property
    def signature(self) -> Signature:
        """Windows to logits, or to values."""
        outputs = len(self.classes) or len(self.offset)
        return Signature((TensorType("signals", self.form.shape),), (outputs,))

    @property
    def criterion(self) -> Criterion:
        """One class for each window, or values."""
        return Classification(len(self.classes)) if self.classes else Regression(tuple(self.scale))

    @property
    def simple_spaces(self) -> tuple[str, ...]:
        """Fixed kernels with a ridge."""
        return ("rocket",)

    @property
    def answers(self) -> dict[str, Any]:
        """The names of the classes, or what brings values back to their units."""
        if self.classes:
            return {"kind": self.criterion.kind, "names": list(self.classes)}
        names = [f"value{number}" for number in range(len(self.offset))] if len(self.offset) > 1 else ["value"]
        return {"kind": self.criterion.kind, "names": names, "offset": list(self.offset), "scale": list(self.scale)}

    @property
    def in_words(self) -> str:
        """The number of classes, and the shape of windows."""
        form = self.form
        what = f"{len(self.classes)} classes" if self.classes else f"{len(self.offset)} values to predict"
        channels = f"{form.channels} channel{'s' if form.channels > 1 else ''}"
        rate = f" at {form.rate} Hz" if form.rate else ""
        mel = f", as {form.log_mel.bands} mel bands" if form.log_mel else ""
        return f"{what}, {channels} of {form.samples} samples{rate}{mel}"

    @property
    def facts(self) -> dict[str, Any]:
        """The shape of windows, and what is predicted."""
        found: dict[str, Any] = {"classes": len(self.classes)} if self.classes else {"values": len(self.offset)}
        found["signal shape"] = [self.form.channels, self.form.samples]
        if self.form.rate:
            found["samples a second"] = self.form.rate
        if self.form.log_mel:
            found["mel bands"] = self.form.log_mel.bands
        return {**found, "split by": self.split_by} if self.split_by else found

    @property
    def memory_bytes(self) -> int:
        """The memory that the windows take."""
        return sum(split.signals.nbytes for split in (self.train, self.validation, self.test))

    @cached_property
    def preparation(self) -> SignalPreparation:
        """The way from a recording to a model's input: the one that the windows of this data set went."""
        mean, std = self._moments
        return SignalPreparation(self.form, tuple(mean.tolist()), tuple(np.where(std > 0, std, 1).tolist()))

    @cached_property
    def _moments(self) -> tuple[Float32Array, Float32Array]:
        """The mean and the standard deviation of each channel over the training windows."""
        mean = self.train.signals.mean(axis=(0, 2), dtype=np.float64)
        squares = np.zeros_like(mean)
        for start in range(0, len(self.train), 1000):
            part = self.train.signals[start : start + 1000]
            squares += np.square(part - mean[None, :, None]).sum(axis=(0, 2))
        std = np.sqrt(squares / (len(self.train) * self.form.shape[1]))
        return mean.astype(np.float32), np.where(std < 1e-7 * np.abs(mean), 0, std).astype(np.float32)

    @property
    def training_defaults(self) -> dict[str, dict[str, Any]]:
        """Cross-validation for few windows: the errors of a few validation windows cannot tell candidates apart.

        There are no more folds than groups, and none by time.
        """
        folds = 0 if self.why_one_fold else min(FOLDS, most_folds(self))
        is_few = len(self.train) + len(self.validation) < FEW
        return {"training": {"folds": folds}} if is_few and folds > 1 else {}

    @property
    def why_one_fold(self) -> str:
        """Windows that were split by time are in no folds."""
        return "windows are split by time, and a fold would be tested on what came before" if self.is_ordered else ""

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what makes results doubtful."""
        found = list(self.notes)
        constant = np.flatnonzero(self._moments[1] == 0)
        if len(constant):
            found.append(f"channel {constant[0]} is constant in all training windows, so it tells models nothing.")
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        found += few_groups_warnings(self.test.groups) if self.split_by.startswith("groups") else []
        if self.classes:
            counts = np.bincount(self.train.targets.ravel(), minlength=len(self.classes))
            found += few_warnings(counts, self.classes, self.noun)
            found += imbalance_warnings(counts, self.classes, self.noun)
            present = {title: set(splits[title].targets.ravel().tolist()) for title in ("validation", "test")}
            found += missing_warnings(present, self.classes, "window")
        keys = {title: [each.tobytes() for each in split.signals] for title, split in splits.items()}
        torn = group_warnings({title: split.groups for title, split in splits.items()}, self.noun)
        return (*found, *(torn or copy_warnings(keys, self.noun)))

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that depend on all windows, targets and classes, but not on the name."""
        form = dataclasses.asdict(self.form)
        if not self.form.channels_last:  # as in version 0.8, whose runs go on
            del form["channels_last"]
        digest = hashlib.sha256(json.dumps([self.classes, form]).encode())
        for split in (self.train, self.validation, self.test):
            for each in (split.signals, split.targets):
                digest.update(f"{each.shape}".encode())
                digest.update(np.ascontiguousarray(each).data)
        return digest.hexdigest()[:12]

    @property
    def corruptions(self) -> tuple[str, ...]:
        """What may spoil a window; another gain only shifts a spectrogram, so it is for raw signals."""
        return tuple(each for each in CORRUPTIONS if each != "gain" or self.form.log_mel is None)

    def corrupted(self, raw: Tensors, name: str, strength: float, generator: torch.Generator) -> Tensors:
        """Return windows under a corruption."""
        mean, std = (torch.tensor(each).view(1, -1, 1) for each in (self.preparation.mean, self.preparation.std))
        return (corrupted_windows(raw[0], mean, std, name, strength, generator),)

    def augmented(self, raw: Tensors, generator: torch.Generator) -> Tensors:
        """Shift each window by up to ``shift`` samples, repeating its first or last one, and add noise."""
        (signals,) = raw
        count, channels, samples = signals.shape
        if self.shift:
            offsets = torch.randint(-self.shift, self.shift + 1, (count, 1), generator=generator)
            places = (torch.arange(samples) + offsets).clamp(0, samples - 1)
            signals = signals.gather(2, places[:, None].expand(count, channels, samples))
        if self.noise:
            std = torch.tensor(self.preparation.std).view(1, -1, 1) * self.noise
            signals = signals + std * torch.randn(signals.shape, generator=generator)
        return (signals,)

    @property
    def why_closed(self) -> str:
        """Values to predict are standardised by the windows' own, and further data may be of groups of the test."""
        if not self.classes:
            return "values to predict are standardised by the recordings' own"
        return GROUPS_STAY if self.split_by.startswith("groups") else ""

    @property
    def raw_form(self) -> dict[str, Any]:
        """The form of windows, beside models and answers."""
        return {**super().raw_form, "form of windows": asdict(self.form)}

    def inputs_of(self, raw: Tensors) -> Tensors:
        """Return windows normalised like deployed ones."""
        (signals,) = raw
        mean, std = (
            torch.tensor(each, dtype=torch.float32, device=signals.device).view(1, -1, 1)
            for each in (self.preparation.mean, self.preparation.std)
        )
        return ((signals - mean) / std,)

    @classmethod
    def from_arrays(
        cls,
        windows: npt.NDArray[Any],
        labels: Any,
        *,
        test_windows: npt.NDArray[Any] | None = None,
        test_labels: Any = None,
        test_groups: Any = None,
        groups: Any = None,
        order: Any = None,
        classes: Sequence[str] | None = None,
        kind: Kind = "auto",
        rate: int | None = None,
        layout: str = "auto",
        features: str = "raw",
        bands: int = MEL_BANDS,
        validation_share: float = VALIDATION_SHARE,
        test_share: float = TEST_SHARE,
        seed: int = 0,
        name: str = "custom",
        shift: int | None = None,
        noise: float = NOISE,
    ) -> Signals:
        """Build a data set from windows, numbers of shape (N, samples) or (N, channels, samples), and their labels.

        Labels are text or numbers, shape (N,) or (N, values): classes or values, as ``kind`` says. ``groups`` names
        the recording of each window: no recording is in two splits. Without it, equal windows are not, unless it is
        "none". ``test_groups`` names those of the test windows: intervals of test errors are for other recordings.
        ``order`` holds a time for each window instead, a number or a date: the latest are tested, after validation.
        ``layout`` is "channels-last" for the shape (N, samples, channels), and "auto" finds out. ``features`` are
        "raw", or "log-mel" with as many ``bands``, which needs the ``rate`` in samples a second. Without test windows,
        ``test_share`` of each class's recordings become the test split, always the same; ``seed`` picks
        ``validation_share`` of the others.

        Raises:
            ValueError: the arrays are no finite signals with labels, or an option has no such value.
        """
        is_last = has_channels_last(np.asarray(windows), layout)
        signals = checked_windows(windows, "windows", channels_last=is_last)
        form = SignalForm(signals.shape[1], signals.shape[2], rate=rate, channels_last=is_last)
        form = with_features(form, features, bands)
        targets = targets_from(joined_labels(labels, test_windows, test_labels), "labels", kind, classes)
        every, test = signals, None
        if test_windows is not None:
            tried = checked_windows(test_windows, "test_windows", channels_last=is_last, like=signals)
            every = np.concatenate([signals, tried])
            test = paired(form, tried, targets.values[len(labels) :], "test_windows")
        notes = layout_notes(np.asarray(windows), layout, channels_last=is_last)
        numbers, test = grouped_windows(groups, test_groups, every, test, notes, is_ordered=order is not None)
        given = paired(form, signals, targets.values[: len(labels)], "windows", numbers)
        shares = validation_share, test_share
        splits: tuple[Windows, Windows | None, Windows | None] = given, None, test
        if order is not None:
            splits = divided_by_time(given, order, groups, test, *shares, notes)
        elif numbers is None or groups is None:
            notes += windows_warnings(given)
        how = "" if numbers is None else "copies that were found" if groups is None else "groups"
        told: dict[str, Any] = {"split_by": "time" if order is not None else how, "notes": tuple(notes)}
        told |= {"shift": shift, "noise": noise, "is_ordered": order is not None, "readings": targets.told}
        return cls.divided(name, form, *splits, targets.classes, shares, seed, **told)

    @classmethod
    def divided(
        cls,
        name: str,
        form: SignalForm,
        given: Windows,
        validation: Windows | None,
        test: Windows | None,
        classes: tuple[str, ...],
        shares: tuple[float, float],
        seed: int,
        *,
        shift: int | None = None,
        noise: float = NOISE,
        **more: Any,
    ) -> Signals:
        """Build a data set from windows in the form of items, splits that are there, and shares for those missing.

        ``more`` are further attributes.
        """
        splits = divide(given, validation, test, *shares, seed)
        offset: tuple[float, ...] = ()
        scale: tuple[float, ...] = ()
        if not classes:
            values = splits[0].targets.astype(np.float64)
            offset = tuple(values.mean(axis=0).tolist())
            scale = tuple(np.where(values.std(axis=0) > 0, values.std(axis=0), 1).tolist())
            middle, spread = np.array(offset, np.float32), np.array(scale, np.float32)
            splits = tuple(dataclasses.replace(each, targets=(each.targets - middle) / spread) for each in splits)  # type: ignore[assignment]
        reach = form.shape[1] // SHIFT_SHARE if shift is None else shift
        return cls(name, *splits, form, classes, offset, scale, shift=reach, noise=noise, **more)


def with_features(form: SignalForm, features: str, bands: int = MEL_BANDS) -> SignalForm:
    """Return the form with the features that are asked for. Raises ValueError if these windows cannot have them."""
    if features not in FEATURES:
        raise ValueError(f"features must be one of {', '.join(FEATURES)}, but got {features!r}.")
    if features == "raw":
        return form
    if form.rate is None:
        raise ValueError("log-mel needs the rate, the samples in a second, but it is unknown: set rate.")
    if bands < 1:
        raise ValueError(f"bands must be at least 1, but got {bands}.")
    return dataclasses.replace(form, log_mel=LogMel.usual(form.rate, bands, form.samples))
