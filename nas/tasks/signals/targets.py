"""The targets of signals: a class for each window, or values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.tasks.criteria import KINDS, Kind
from nas.tasks.target_kind import are_classes, told_kind

LabelArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Targets:
    """The targets of all windows: numbers of classes with their names, or values of shape (N, values).

    ``told`` says what whole numbers were taken for.
    """

    values: npt.NDArray[Any]
    classes: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def targets_from(labels: Any, title: str, kind: Kind = "auto", classes: Sequence[str] | None = None) -> Targets:
    """Return the targets in an array of whole numbers, text or floats, called ``title`` in messages.

    ``target_kind.RULE`` tells classes from values. Each different label is a class, in order, called by itself; with
    ``classes``, labels are their numbers or names.

    Raises:
        ValueError: labels are not finite, are all the same, are no classes, or are nearly all different.
    """
    found = np.asarray(labels)
    if found.dtype == object and all(isinstance(each, str) for each in found.ravel()):
        found = found.astype(np.str_)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, but got {kind!r}.")
    if found.ndim not in (1, 2) or not len(found) or found.dtype.kind not in "iufUb":
        raise ValueError(
            f"{title} must be whole numbers, text or floats, one for each window, but got {found.dtype} of shape "
            f"{found.shape}."
        )
    if found.dtype.kind == "f":
        bad = np.argwhere(~np.isfinite(found))
        if len(bad):
            place = bad[0].tolist()
            raise ValueError(f"{title} must be finite, but {title}{place} is {found[tuple(place)]}.")
    told = told_kind(title, found, are_classes(found)) if classes is None and kind == "auto" else ()
    if kind == "regression" or (classes is None and not are_classes(found, kind)):
        return replace(_values(found, title), told=told)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise ValueError(f"classes must be one label for each window, but {title} has the shape {found.shape}.")
    if found.dtype.kind == "f":
        if (found != np.rint(found)).any():
            raise ValueError(
                f"classes must be whole numbers or text, but {title} has {found[found != np.rint(found)][0]}."
            )
        found = found.astype(np.int64)
    return replace(_classes(found, title, classes), told=told)


def _values(found: npt.NDArray[Any], title: str) -> Targets:
    if found.dtype.kind not in "iuf":
        raise ValueError(f"regression needs numbers as targets, but {title} has {found.dtype}.")
    values = found.reshape(len(found), -1).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{title} must be numbers of single precision, but the largest is {np.abs(found).max()}.")
    for number in range(values.shape[1]):
        if (values[:, number] == values[0, number]).all():
            raise ValueError(f"targets must differ, but all of {title} are {values[0, number]:g}.")
    return Targets(values)


def _classes(found: npt.NDArray[Any], title: str, classes: Sequence[str] | None) -> Targets:
    distinct = np.unique(found)
    if classes is None:
        known, names = distinct, tuple(str(each) for each in distinct.tolist())
        if len(names) < 2:
            raise ValueError(f"there must be at least 2 classes, but all of {title} are {names[0]!r}.")
        if len(names) > max(100, len(found) // 2) or len(names) == len(found) > 2:
            raise ValueError(
                f"classes must have several windows each, but {len(names)} of {len(found)} values in {title} differ. "
                "To predict numbers, set kind to regression."
            )
    else:
        names = tuple(classes)
        if len(names) < 2 or len(set(names)) < len(names):
            raise ValueError(f"classes must be at least 2 different names, but got {names}.")
        known = np.array(names) if found.dtype.kind == "U" else np.arange(len(names))
    strange = distinct[~np.isin(distinct, known)]
    if len(strange):
        raise ValueError(f"{title} must name one of {len(names)} classes, but has {strange[0].item()!r}.")
    order = np.argsort(known, kind="stable")
    return Targets(order[np.searchsorted(known, found, sorter=order)].astype(np.int64), names)
