"""What several seeds say of a winner's recipe, and what a winner was before it was retrained again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.values.error_words import ErrorWords
from nas.values.measurement import Estimate, Interval

WITHIN = 0.95


@dataclass(frozen=True)
class OverSeeds:
    """The test errors of several trainings of one network, which differ in their seeds alone.

    Attributes:
        errors: the error of each; the first is that of the winner's own model.
        failed: the number of further seeds that failed.
    """

    errors: tuple[float, ...]
    failed: int = 0

    @property
    def mean(self) -> float:
        """The mean error."""
        return float(np.mean(self.errors))

    @property
    def spread(self) -> float:
        """The standard deviation between seeds."""
        return float(np.std(self.errors, ddof=1))

    @property
    def estimate(self) -> Estimate:
        """The mean error with the 95 % interval of Student's t: where the mean of many seeds would lie.

        All seeds are tested on the same items, so the interval says nothing about other items.
        """
        from scipy.special import stdtrit

        half = float(stdtrit(len(self.errors) - 1, (1 + WITHIN) / 2)) * self.spread / math.sqrt(len(self.errors))
        return Estimate(self.mean, Interval(max(0.0, self.mean - half), self.mean + half))

    def text(self, words: ErrorWords) -> str:
        """Return the mean and its interval for people: ``94.12 % over 3 seeds (93.80–94.44 %)``."""
        found = self.estimate
        upper = min(found.interval.upper, 1.0) if words.is_share and words.accuracy else found.interval.upper
        bounds = words.range_text(Interval(found.interval.lower, max(upper, found.interval.lower)))
        failed = f", {self.failed} more failed" if self.failed else ""
        count = len(self.errors)
        if found.interval.is_point:
            return f"{words.text(found.value)} in each of {count} seeds{failed}"
        return f"{words.text(found.value)} over {count} seeds ({bounds}){failed}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        found = self.estimate
        return {
            "count": len(self.errors),
            "failed": self.failed,
            "test_errors": list(self.errors),
            "mean": found.value,
            "interval_95": found.interval.to_json(),
            "standard_deviation": self.spread,
        }


def over_seeds(errors: Sequence[float], failed: int = 0) -> OverSeeds | None:
    """Return what several seeds say; None where there is one alone."""
    return OverSeeds(tuple(map(float, errors)), failed) if len(errors) > 1 else None


@dataclass(frozen=True)
class Earlier:
    """A model that a winner's network had before it was retrained again. Its bundle still lies in its folder.

    Attributes:
        test_error: its error on the test split.
        test_interval: the 95 % interval of that.
        folder: its bundle, relative to the run folder.
        epochs: the epochs of its training; None where that was not recorded.
    """

    test_error: float
    test_interval: Interval
    folder: str
    epochs: int | None = None

    def text(self, words: ErrorWords) -> str:
        """Return it for people: ``93.10 % (92.58–93.59 %) after 16 epochs, in winners/0123456789ab``."""
        epochs = "" if self.epochs is None else f" after {self.epochs} epoch{'s' * (self.epochs != 1)}"
        return f"{words.text(self.test_error)} ({words.range_text(self.test_interval)}){epochs}, in {self.folder}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "test_error": self.test_error,
            "test_error_interval_95": self.test_interval.to_json(),
            "bundle": self.folder,
            "epochs": self.epochs,
        }
