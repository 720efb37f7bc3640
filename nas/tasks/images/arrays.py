"""Checking arrays that a user gives: whether they are plainly images, and which classes their labels name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

ImageArray = npt.NDArray[np.uint8]
LabelArray = npt.NDArray[np.int64]

LEVELS = 256
"""The levels of a pixel. Floats are rounded to them."""
_LEVELS_LOOKED_AT = 1_000_000
"""So many values of an array of floats tell whether they are levels of pixels."""
_LONGEST, _LONGEST_OF_THIN = 4, 8
"""The largest ratio of an image's sides: where no axis of channels tells that it is one, and of a thin one."""
_THIN = 4
"""An image with a side of at most this many pixels is thin."""
_MOST_CLASSES = 100
"""Above this number of classes, each must have two images on average."""


def checked_images(images: npt.NDArray[Any], title: str) -> ImageArray:
    """Return images, uint8 of shape (N, channels, height, width), from an array called ``title``.

    Raises:
        ValueError: the array is not plainly of images: its type, range, shape or values are those of other data.
    """
    images = np.asarray(images)
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(
            f"{title} must have the shape (N, height, width) or (N, channels, height, width), but got {images.shape}."
        )
    if images.ndim == 4 and images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        raise ValueError(f"channels of {title} must come before height and width, but got {images.shape}.")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"{title} must be uint8, or floats within [0, 1], but got {images.dtype}.")
    _check_sides(images, title)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(_with_channels(images), dtype=np.uint8)
    smallest, largest = float(images.min()), float(images.max())
    if not (smallest >= 0 and largest <= 1):  # NaN fails both
        raise ValueError(f"floats in {title} must lie within [0, 1], but got {smallest:g} to {largest:g}.")
    if images.ndim == 3 and len(np.unique(images.reshape(-1)[:_LEVELS_LOOKED_AT])) > LEVELS:
        raise ValueError(
            f"{title} must be images, but floats of shape {images.shape} with more than the {LEVELS} levels of pixels "
            f"may be signals, which nas.Signals.from_arrays takes. If they are grey images, pass {title}[:, None]: "
            f"they are rounded to {LEVELS} levels."
        )
    return np.ascontiguousarray(np.rint(_with_channels(images) * (LEVELS - 1)), dtype=np.uint8)


def _check_sides(images: npt.NDArray[Any], title: str) -> None:
    """Check that the sides are those of an image. Raises ValueError if they are those of a signal."""
    *_, height, width = images.shape
    short, long = sorted((height, width))
    has_channels = images.ndim == 4
    if long > _LONGEST_OF_THIN * short and short <= _THIN:
        raise ValueError(
            f"{title} must be images, but {width}×{height} pixels (shape {images.shape}) are too thin for one: they "
            "look like signals, which nas.Signals.from_arrays takes."
        )
    if long > _LONGEST * short and not has_channels:
        raise ValueError(
            f"{title} of shape {images.shape} may be signals, because {width}×{height} pixels are a very long image: "
            f"then take nas.Signals.from_arrays. If they are grey images, pass {title}[:, None]."
        )


def _with_channels(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return images[:, None] if images.ndim == 3 else images


def checked_labels(
    labels: npt.NDArray[Any], test_labels: npt.NDArray[Any] | None, classes: Sequence[str] | None
) -> tuple[LabelArray, LabelArray | None, tuple[str, ...]]:
    """Return the labels as numbers from 0, those of the test images, and the names of the classes.

    With ``classes``, labels are their numbers or their names. Without, each different label is a class, in order, and
    the classes are called by their labels.

    Raises:
        ValueError: labels are neither integers nor text, are negative, are no classes, or are too many.
    """
    known = _plain_labels(labels, "labels")
    if classes is None:
        values = np.unique(known)
        check_class_count(len(values), len(known), str(values[-1]))
        names = tuple(map(str, values.tolist()))
    else:
        names = tuple(classes)
        values = np.array(names) if known.dtype.kind == "U" else np.arange(len(names))
    found = _numbers(known, values, "labels")
    missing = sorted(set(range(len(names))) - set(found.tolist()))
    if missing:
        raise ValueError(f"each class must have at least one image, but class {names[missing[0]]} has none.")
    tested = None if test_labels is None else _numbers(_plain_labels(test_labels, "test_labels"), values, "test_labels")
    return found, tested, names


def check_class_count(classes: int, images: int, last: str) -> None:
    """Check that classes have several images each. Raises ValueError, which names the ``last`` one."""
    if classes > max(_MOST_CLASSES, images // 2):
        raise ValueError(
            f"labels must name classes that have several images each, but {classes} of {images} labels differ, up to "
            f"{last}."
        )


def checked_label_matrix(labels: npt.NDArray[Any], title: str, names: int | None) -> npt.NDArray[np.float32]:
    """Return the given labels of each image, 0 or 1, float32 of shape (N, labels).

    Raises:
        ValueError: other values or another shape, a column without a label, or one label in each row, as for classes.
    """
    marks = np.asarray(labels)
    if marks.dtype.kind not in "biuf" or not len(marks) or marks.shape[1] < 2 or not np.isin(marks, (0, 1)).all():
        raise ValueError(
            f"several labels for each image must be 0 or 1 in an array of shape (N, labels), but {title} are "
            f"{marks.dtype} of shape {marks.shape}."
        )
    if names is not None and marks.shape[1] != names:
        raise ValueError(f"{title} must have a column for each of {names} classes, but they have {marks.shape[1]}.")
    if title == "labels" and (marks.sum(axis=1) == 1).all():
        raise ValueError(
            "each image has exactly one label, so they are classes. Pass their numbers: labels.argmax(axis=1)."
        )
    missing = np.flatnonzero(~marks.astype(bool).any(axis=0))
    if title == "labels" and len(missing):
        raise ValueError(f"each label must have at least one image, but label {missing[0]} has none.")
    return marks.astype(np.float32)


def _plain_labels(labels: npt.NDArray[Any], title: str) -> npt.NDArray[Any]:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iuU" or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"{title} must be integers or text of shape (N,), but got {labels.dtype} of shape {labels.shape}."
        )
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError(f"{title} must not be negative, but got {labels.min()}.")
    return labels


def _numbers(labels: npt.NDArray[Any], values: npt.NDArray[Any], title: str) -> LabelArray:
    """Return the place of each label in ``values``. Raises ValueError with the largest label that is not there."""
    if (labels.dtype.kind == "U") != (values.dtype.kind == "U"):
        raise ValueError(f"{title} must be text where other labels are, else integers, but got {labels.dtype}.")
    strange = labels[~np.isin(labels, values)]
    if len(strange):
        listed = f"{values[0]} to {values[-1]}" if values.dtype.kind != "U" else f"among {', '.join(values[:10])}"
        largest = max(strange.tolist())
        raise ValueError(
            f"{title} must be {listed} for {len(values)} classes, but the largest of the others is {largest}."
        )
    order = np.argsort(values, kind="stable")
    return order[np.searchsorted(values, labels, sorter=order)].astype(np.int64)
