"""The error curves of trainings that ran to their end, and what they tell of a training that is stopped.

Sums and sorted ratios follow each curve that is added, so a question costs about the same however many there are. The
same curves in the same order give the same answers, whenever they were asked first.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

Curve = Sequence[float]
LEAST_ERROR = 1e-3
"""The smallest error in a logarithm; smaller ones are raised to it."""


@final
class WholeCurves:
    """Error curves of trainings that ran to their end, oldest first: an error after each epoch, counted from 1.

    Example::

        curves = WholeCurves([(0.5, 0.25), (0.4, 0.3)])
        curves.expected((0.2,))  # 0.125: the median training ends with 0.625 times its first error
    """

    def __init__(self, curves: Iterable[Curve] = ()) -> None:
        self._curves: list[Curve] = []
        self._ratios: dict[int, list[float]] = {}
        self._pairs: dict[int, _Pairs] = {}
        for curve in curves:
            self.add(curve)

    def __len__(self) -> int:
        return len(self._curves)

    def first(self, count: int) -> list[Curve]:
        """Return the oldest ``count`` curves."""
        return self._curves[:count]

    def add(self, curve: Curve) -> None:
        """Add the curve of a training that has ended. An empty one, of a model without epochs, tells nothing."""
        if not curve:
            return
        self._curves.append(curve)
        for epoch, ratios in self._ratios.items():
            ratio = _ratio(curve, epoch)
            if ratio is not None:
                bisect.insort(ratios, ratio)
        for epoch, pairs in self._pairs.items():
            pairs.add(curve, epoch)

    def expected(self, curve: Curve) -> float | None:
        """Return the last error that a stopped training would have reached, by the median of what others did.

        Returns None if no other one says so.
        """
        epoch = len(curve)
        if epoch == 0:
            return None
        if epoch not in self._ratios:
            found = (_ratio(each, epoch) for each in self._curves)
            self._ratios[epoch] = sorted(ratio for ratio in found if ratio is not None)
        ratios = self._ratios[epoch]
        if not ratios:
            return None
        middle = len(ratios) // 2
        median = ratios[middle] if len(ratios) % 2 else (ratios[middle - 1] + ratios[middle]) / 2
        return curve[-1] * median

    def noise(self, epoch: int) -> float:
        """Return the noise of an error after an epoch: the standard deviation of its logarithm.

        It is the part that a regression of the last errors on those after the epoch leaves unexplained, in the units of
        the latter. It is infinite without a positive correlation.
        """
        if epoch not in self._pairs:
            self._pairs[epoch] = _Pairs()
            for each in self._curves:
                self._pairs[epoch].add(each, epoch)
        return self._pairs[epoch].noise


def _ratio(curve: Curve, epoch: int) -> float | None:
    """Return the last error, relative to that after an epoch; None where there is none."""
    return curve[-1] / curve[epoch - 1] if len(curve) >= epoch and curve[epoch - 1] > 0 else None


@dataclass
class _Pairs:
    """Sums over pairs of logarithms of errors, after an epoch and in the end (Welford, 1962)."""

    count: int = 0
    early: float = 0.0
    late: float = 0.0
    early_squares: float = 0.0
    late_squares: float = 0.0
    products: float = 0.0

    def add(self, curve: Curve, epoch: int) -> None:
        """Add a curve that has come so far."""
        if len(curve) < epoch:
            return
        early, late = (math.log(max(error, LEAST_ERROR)) for error in (curve[epoch - 1], curve[-1]))
        self.count += 1
        from_early, from_late = early - self.early, late - self.late
        self.early += from_early / self.count
        self.late += from_late / self.count
        self.early_squares += from_early * (early - self.early)
        self.late_squares += from_late * (late - self.late)
        self.products += from_early * (late - self.late)

    @property
    def noise(self) -> float:
        """The standard deviation that is not explained."""
        spread = math.sqrt(self.early_squares * self.late_squares)
        correlation = self.products / spread if spread > 0 else 0.0
        if correlation <= 0 or self.count < 2:
            return math.inf
        unexplained = math.sqrt(max(0.0, 1 - correlation**2)) / correlation
        return math.sqrt(self.early_squares / (self.count - 1)) * unexplained
