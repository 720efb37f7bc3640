"""Which predictor a trust report is about, and the limits that it is held against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from nas.errors import RecipeError, did_you_mean
from nas.prediction.predictor import load_predictor
from nas.prediction.samples import MOST_SAMPLES, MeasuredDevice
from nas.prediction.trust_report import TrustReport, trust_reports
from nas.progress import Progress
from nas.values.objective import Limit


@final
@dataclass(frozen=True)
class TrustRequest:
    """A predictor by its name, the limits to hold it against, and the largest number of measurements to use.

    Without ``limits``, those of the measured device count. More measurements than ``samples`` are drawn from at
    random with ``seed``.
    """

    predictor: str
    limits: Sequence[Limit]
    seed: int
    samples: int | None = None

    def report_on(self, data: MeasuredDevice, progress: Progress) -> list[TrustReport]:
        """Return one report for each metric of ``data``.

        Raises:
            RecipeError: an unknown predictor, a limit on another metric, or too few values.
        """
        method = load_predictor(self.predictor)
        check_limits(self.limits, data.values)
        found = trust_reports(
            data,
            method,
            self.predictor,
            limits=self.limits or data.limits,
            most=self.samples or MOST_SAMPLES,
            seed=self.seed,
            progress=progress,
        )
        return [report for report, _ in found]


def check_limits(limits: Iterable[Limit], metrics: Iterable[str]) -> None:
    """Check that each limit is on one of the reported ``metrics``. Raises RecipeError otherwise."""
    known = list(metrics)
    for limit in limits:
        if limit.metric.name not in known:
            raise RecipeError(
                f"a limit must be on a reported metric, but got {limit}. {did_you_mean(limit.metric.name, known)}"
            )
