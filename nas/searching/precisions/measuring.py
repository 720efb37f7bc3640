"""Measuring architectures on each target of a recipe, and each in its own precision where that is a choice."""

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
from nas.values.evaluation import KEPT, Evaluation
from nas.values.metric import bare_name, on_target, target_in


@final
@dataclass(frozen=True)
class OnEachTarget:
    """A measurer with one of its own for each of ``Recipe.measured_targets``, by the same names.

    With ``chooses`` the precision is a choice of the space, which the measurers do not know. So measurements are kept
    and found again as those of runs on a target of that precision.
    """

    measurers: Mapping[str, Measurer]
    chooses: bool

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
        """Return one row for each architecture, with what was measured on all targets, or why that failed on one.

        What failed on a target is not measured on those after it.
        """
        found: dict[Architecture, Evaluation] = {}
        for key, measurer in self.measurers.items():
            target, precision = target_in(key), bare_name(key)
            wanted = [bare_name(name) for name in metrics if target_in(name) == target]
            own = {
                a: a.without([PRECISION]) if self.chooses else a
                for a in architectures
                if not (self.chooses and a[PRECISION] != precision) and not (a in found and found[a].failed)
            }
            if own and wanted:
                rows = measurer.rows(list(own.values()), wanted, round_number=round_number, rng=rng, progress=progress)
                for a, row in zip(own, rows, strict=True):
                    found[a] = _joined(found.get(a), replace(named_on(target, row), architecture=a))
        return [found[architecture] for architecture in architectures]


def named_on(target: str, row: Evaluation) -> Evaluation:
    """Return a row with the name of the target before its metrics, and in the reason of its failure."""
    if not target:
        return row
    failure = row.failure and replace(row.failure, reason=f"on {target}: {row.failure.reason}")
    return replace(
        row, measurements={on_target(target, name): found for name, found in row.measurements.items()}, failure=failure
    )


def _joined(before: Evaluation | None, row: Evaluation) -> Evaluation:
    """Return one row of two that tell of an architecture on different targets."""
    if before is None or row.failed:
        return row
    details = {**before.details, **row.details}
    if not (before.details.get(KEPT) and row.details.get(KEPT)):
        details.pop(KEPT, None)
    return replace(row, measurements={**before.measurements, **row.measurements}, details=details)


def fingerprint_of_all(found: Sequence[str | None]) -> str | None:
    """Return one identifier of several targets, and of all their reference speeds; None if one must not be kept.

    That of one alone is its own.
    """
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None
    if len(known) == 1:
        return known[0]
    targets, whole = ("+".join(parts) for parts in (map(target_part, known), known))
    return f"{_digest(targets, 16)}-{_digest(whole, 8)}"


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
