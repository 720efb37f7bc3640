"""What the methods know of an architecture: sums over its layers by kind, totals, and its encoded choices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.layer import KINDS
from nas.predictor import MIN_SAMPLES, FloatArray, Subject

_KIND_INDEX = {kind: index for index, kind in enumerate(KINDS)}


def layer_sums(subjects: Sequence[Subject]) -> FloatArray:
    """Per kind of layer its count, multiply-accumulates, moved elements and weights, shape (N, 4 kinds).

    Moved elements are those of the inputs and outputs.
    """
    rows = [
        (
            index * len(KINDS) + _KIND_INDEX[layer.kind],
            layer.macs,
            layer.input_elements + layer.output_elements,
            layer.params,
        )
        for index, subject in enumerate(subjects)
        for layer in subject.layers
    ]
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    cells = table[:, 0].astype(np.int64)
    size = len(subjects) * len(KINDS)
    columns = [np.bincount(cells, minlength=size)]
    columns += [np.bincount(cells, weights=table[:, column], minlength=size) for column in (1, 2, 3)]
    return np.stack(columns, axis=-1).astype(np.float64).reshape(len(subjects), 4 * len(KINDS))


def log_totals(sums: FloatArray) -> FloatArray:
    """Logarithms of the totals over all kinds, shape (N, 4), from ``layer_sums``."""
    totals: FloatArray = np.log1p(sums.reshape(len(sums), len(KINDS), 4).sum(axis=1))
    return totals


def encodings(subjects: Sequence[Subject], width: int | None = None) -> FloatArray:
    """The encoded choices, shape (N, D). Raises ValueError where they differ in length, or from ``width``."""
    widths = {len(subject.encoding) for subject in subjects}
    if width is not None:
        widths.add(width)
    if len(widths) > 1:
        raise ValueError(f"encodings must have the same length, those fitted too, but got {sorted(widths)}.")
    return np.array([subject.encoding for subject in subjects], dtype=np.float64).reshape(len(subjects), max(widths))


def check_samples(subjects: Sequence[Subject], values: FloatArray) -> FloatArray:
    """The values as floats, shape (N,).

    Raises:
        ValueError: fewer than ``MIN_SAMPLES``, another number of values than of subjects, or a value that is
            not positive and finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(subjects),):
        raise ValueError(f"values must have one value a subject, shape ({len(subjects)},), but got {values.shape}.")
    if len(values) < MIN_SAMPLES:
        raise ValueError(f"a predictor must be fitted to at least {MIN_SAMPLES} samples, but got {len(values)}.")
    unfit = values[~(np.isfinite(values) & (values > 0))]
    if len(unfit):
        raise ValueError(f"values must be positive and finite, but got {unfit[0]}.")
    return values
