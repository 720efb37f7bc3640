"""Windows of signals with their targets, and their division into splits that share no recording."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nas.tasks.batches import IntArray, Items, Places
from nas.tasks.dependence import NONE, Signs, copies_of, dependence
from nas.tasks.deployed.recordings import Float32Array, finite
from nas.tasks.deployed.signals import SignalForm
from nas.tasks.doubts import far_share_warnings
from nas.tasks.moments import moments_of, series_warnings
from nas.tasks.splitting import TEST_SEED, check_share, groups_taken, latest

VALIDATION_SHARE = 0.2
TITLES = ("train", "validation", "test")


@dataclass(frozen=True, eq=False, repr=False)
class Windows:
    """Windows, float32 of shape (N, channels, samples), and targets: classes, shape (N,), or values (N, values).

    ``groups`` number the recording of each; None if each is of its own: intervals of scores are for other recordings.
    """

    signals: Float32Array
    targets: npt.NDArray[Any]
    groups: IntArray | None = None

    def __post_init__(self) -> None:
        if self.signals.dtype != np.float32 or self.signals.ndim != 3 or len(self.signals) != len(self.targets):
            raise ValueError(
                "windows must be float32 of shape (N, channels, samples) with N targets, but got "
                f"{self.signals.dtype} of shape {self.signals.shape} with {len(self.targets)}."
            )

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return f"{len(self)} windows of {'×'.join(map(str, self.signals.shape[1:]))}"

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        return torch.from_numpy(self.signals[index].copy()), torch.as_tensor(self.targets[index])

    def items_at(self, places: Places) -> Items:
        """Return the windows at ``places`` with their targets."""
        return Items((torch.from_numpy(self.signals[places]),), torch.from_numpy(self.targets[places]))

    def take(self, mask: npt.NDArray[np.bool_]) -> Windows:
        """Return the windows where ``mask`` is true."""
        return Windows(self.signals[mask], self.targets[mask], None if self.groups is None else self.groups[mask])


def divide(
    train: Windows,
    validation: Windows | None,
    test: Windows | None,
    validation_share: float,
    test_share: float,
    seed: int,
) -> tuple[Windows, Windows, Windows]:
    """Return the three splits. Missing ones are taken from ``train``, the test first, and no group is in two of them.

    Each class gives a share of its groups, at least one but never the last. A group belongs to its commonest class.

    Raises:
        ValueError: there are too few groups, or a share is outside (0, 1).
    """
    check_share(validation_share, "validation_share")
    check_share(test_share, "test_share")
    if test is None:
        train, test = _carved(train, test_share, TEST_SEED, "test")
    if validation is None:
        train, validation = _carved(train, validation_share, seed, "validation")
    return shared(train), validation, shared(test)


def divided_by_time(
    given: Windows,
    order: Any,
    groups: Any,
    test: Windows | None,
    validation_share: float,
    test_share: float,
    told: list[str],
) -> tuple[Windows, Windows, Windows]:
    """Return three splits: the earliest windows, later ones to validate by, and the latest as a test if none is there.

    Sentences about splits of odd sizes are added to ``told``.

    Raises:
        ValueError: ``order`` has no time for each window, or all are the same; or there are groups, too.
    """
    if groups is not None:
        raise ValueError("windows are split by time or by group, but got order and groups. Leave one of them out.")
    if len(order) != len(given):
        raise ValueError(f"order must have a time for each of {len(given)} windows, but has {len(order)}.")
    check_share(validation_share, "validation_share")
    check_share(test_share, "test_share")
    moments = moments_of(order, "order", "windows", "window")
    is_given = () if test is None else ("test",)
    if test is None:
        is_late = latest(moments, test_share)
        given, moments, test = given.take(~is_late), moments[~is_late], given.take(is_late)
    is_late = latest(moments, validation_share)
    splits = given.take(~is_late), given.take(is_late), test
    told += time_warnings(list(map(len, splits)), (validation_share, test_share), is_given)
    return splits


def time_warnings(sizes: Sequence[int], shares: tuple[float, float], given: Collection[str] = ()) -> list[str]:
    """Return a sentence for each split by time that is far from its share, but those that were ``given``.

    ``sizes`` are those of the train, validation and test splits, and ``shares`` those of the last two.
    """
    wanted = {title: share for title, share in zip(TITLES[1:], shares, strict=True) if title not in given}
    why = "equal times stay together, and windows that would be in two splits are left out"
    return far_share_warnings(dict(zip(TITLES, sizes, strict=True)), wanted, "windows", why)


def windows_warnings(given: Windows) -> list[str]:
    """Return a sentence if windows that have no groups look like parts of longer recordings."""
    are_classes = given.targets.ndim == 1
    targets = given.targets if are_classes else given.targets[:, 0]
    advice = "If they are parts of a recording or of a person, give groups; to test on later ones, give their order."
    return series_warnings(targets, "windows", advice, are_classes=are_classes)


def _carved(windows: Windows, share: float, seed: int, title: str) -> tuple[Windows, Windows]:
    groups = np.arange(len(windows)) if windows.groups is None else windows.groups
    mask = groups_taken(windows.targets, groups, share, seed)
    if not mask.any():
        raise ValueError(
            f"a {title} split needs a class with at least two recordings, because windows of one recording are never "
            "in two splits, but no class has more than one. Give more recordings, or a split of your own."
        )
    return windows.take(~mask), shared(windows.take(mask))


def shared(windows: Windows) -> Windows:
    """Return the windows, without groups if each of these is of one window, which then is an item of its own."""
    is_shared = windows.groups is not None and len(np.unique(windows.groups)) < len(windows)
    return windows if is_shared else replace(windows, groups=None)


def numbered(
    groups: Sequence[Any] | npt.NDArray[Any], count: int, title: str = "groups", noun: str = "windows"
) -> IntArray:
    """Return a number for each different group. Raises ValueError unless there is one group for each window."""
    found = np.asarray(groups)
    if found.shape != (count,):
        raise ValueError(f"{title} must name the recording of each of {count} {noun}, but got shape {found.shape}.")
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def numbered_together(
    groups: Any, count: int, test_groups: Any, test: Windows | None
) -> tuple[IntArray | None, Windows | None]:
    """Return a number for each group of ``count`` windows, and the test with those of its own: equal where names are.

    Without names there are no numbers. Raises ValueError unless there is one group for each window, or if
    ``test_groups`` are given without a test.
    """
    own = None if groups is None or (isinstance(groups, str) and groups == NONE) else numbered(groups, count)
    if test_groups is None:
        return own, test
    if test is None:
        raise ValueError("test_groups name the recordings of test_windows, but these are not given. Give both.")
    numbers = numbered(test_groups, len(test), "test_groups", "test windows")
    if own is not None:
        names, tested = np.asarray(groups), np.asarray(test_groups)
        if {"U"} < {names.dtype.kind, tested.dtype.kind} <= set("Ubiuf"):  # a text is never equal to a number
            raise ValueError(f"test_groups must be text if groups are, but got {names.dtype} and {tested.dtype}.")
        own, numbers = np.split(numbered(np.concatenate([names, tested]), count + len(test)), [count])
    return own, replace(test, groups=numbers)


def grouped_windows(
    groups: Any, test_groups: Any, every: Float32Array, test: Windows | None, told: list[str], *, is_ordered: bool
) -> tuple[IntArray | None, Windows | None]:
    """Return a number for each window's group, and the test with those of its own; equal ones are told.

    The windows of the test are the last of ``every`` one. Without names of groups, equal windows are one, unless
    windows are ordered in time or ``groups`` is "none". Raises ValueError as ``numbered_together`` does.
    """
    count = len(every) - (0 if test is None else len(test))
    own, test = numbered_together(groups, count, test_groups, test)
    if groups is None and test_groups is None and not is_ordered:
        keys = [each.tobytes() for each in every]
        signs = Signs(np.zeros(len(every), np.int64), np.zeros((len(every), 1)), copies=copies_of(keys))
        found = dependence(signs)
        if found is not None:
            told.append(found.told("windows"))
            own, others = np.split(found.groups, [count])
            test = None if test is None else replace(test, groups=others)
    return own, test


def joined_labels(labels: Any, test_windows: Any, test_labels: Any) -> npt.NDArray[Any]:
    """Return the labels, and after them those of the test. Raises ValueError if these do not fit."""
    if (test_windows is None) != (test_labels is None):
        raise ValueError("test_windows and test_labels must be given together, but got only one of them.")
    known = np.asarray(labels)
    if test_labels is None:
        return known
    tested = np.asarray(test_labels)
    if (known.dtype.kind == "U") != (tested.dtype.kind == "U"):
        raise ValueError(f"test_labels must be text if labels are, but got {known.dtype} and {tested.dtype}.")
    return np.concatenate([known, tested])


def paired(
    form: SignalForm, windows: Float32Array, targets: npt.NDArray[Any], title: str, groups: IntArray | None = None
) -> Windows:
    """Return windows as items with their targets. Raises ValueError unless there is one for each."""
    if len(windows) != len(targets):
        raise ValueError(f"each window must have a label, but {title} has {len(windows)} and labels {len(targets)}.")
    return Windows(form.features(windows), targets, groups)


def checked_windows(
    windows: Any, title: str, *, channels_last: bool = False, like: Float32Array | None = None
) -> Float32Array:
    """Return windows, float32 of shape (N, channels, samples), which is that of others ``like`` them.

    Raises ValueError for any other, and with the place of infinite values.
    """
    found = np.asarray(windows)
    found = found.transpose(0, 2, 1) if channels_last and found.ndim == 3 else found
    if found.ndim == 2:
        found = found[:, None]
    if found.ndim != 3 or 0 in found.shape or found.dtype.kind not in "fiu":
        raise ValueError(
            f"{title} must be numbers of shape (N, samples) or (N, channels, samples), but got {found.dtype} of shape "
            f"{found.shape}."
        )
    if found.shape[2] < 2:
        raise ValueError(f"a window must have at least 2 samples, the last axis, but {title} has shape {found.shape}.")
    if like is not None and found.shape[1:] != like.shape[1:]:
        raise ValueError(f"windows must have one shape, but got {like.shape[1:]} and {found.shape[1:]} in test.")
    return finite(found, title)
