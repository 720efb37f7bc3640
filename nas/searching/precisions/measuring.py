"""Measuring architectures whose precision is a choice: each on the target of its own precision."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from nas.hardware.bench import target_part
from nas.hardware.measuring import Measurer
from nas.progress import Progress
from nas.space.architecture import Architecture
from nas.space.parts.candidate import PRECISION
from nas.values.evaluation import Evaluation


@final
@dataclass(frozen=True)
class InOwnPrecision:
    """A measurer with one of its own for each precision, by name. They know the space without the choice.

    So measurements are kept and found again as those of runs on a target of that precision.
    """

    measurers: Mapping[str, Measurer]

    @property
    def fingerprint(self) -> str | None:
        """One identifier of all targets, and of all their reference speeds; None if one must not be kept."""
        return fingerprint_of_all([measurer.fingerprint for measurer in self.measurers.values()])

    @property
    def device_s(self) -> float:
        """Seconds for which the measurers have held the device so far."""
        return sum(measurer.device_s for measurer in self.measurers.values())

    def rows(
        self,
        architectures: Sequence[Architecture],
        metrics: Sequence[str],
        *,
        round_number: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> list[Evaluation]:
        """Return one row for each architecture, measured in its own precision."""
        found: dict[Architecture, Evaluation] = {}
        for precision, measurer in self.measurers.items():
            own = {a: a.without([PRECISION]) for a in architectures if a[PRECISION] == precision}
            if own:
                rows = measurer.rows(list(own.values()), metrics, round_number=round_number, rng=rng, progress=progress)
                found |= {a: replace(row, architecture=a) for a, row in zip(own, rows, strict=True)}
        return [found[architecture] for architecture in architectures]


def fingerprint_of_all(found: Sequence[str | None]) -> str | None:
    """Return one identifier of several targets, and of all their reference speeds; None if one must not be kept."""
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None
    targets, whole = ("+".join(parts) for parts in (map(target_part, known), known))
    return f"{_digest(targets, 16)}-{_digest(whole, 8)}"


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
