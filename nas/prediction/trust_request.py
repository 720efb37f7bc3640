"""Which predictor a trust report is about, and the limits that it is held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, final

from nas.errors import RecipeError, did_you_mean
from nas.prediction.guarded import fit_guarded
from nas.prediction.predictor import PREDICTOR_ARGUMENTS, PredictorMethod, load_predictor
from nas.prediction.samples import MOST_SAMPLES, MeasuredDevice
from nas.prediction.trust_report import TrustReport, trust_reports
from nas.progress import Progress
from nas.space.plug_ins import check_options
from nas.values.objective import Limit


@final
@dataclass(frozen=True)
class TrustRequest:
    """A predictor by its name, the limits to hold it against, and the largest number of measurements to use.

    ``options`` go to the predictor. Without ``limits``, those of the measured device count. If there are more than
    ``samples`` measurements, that many are drawn at random with ``seed``.
    """

    predictor: str
    limits: Sequence[Limit]
    seed: int
    samples: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def method(self) -> PredictorMethod:
        """Return the predictor's method, with its options and its answers checked. Raises RecipeError if unknown."""
        method = load_predictor(self.predictor)
        check_options(method, self.options, self.predictor, "predictor", PREDICTOR_ARGUMENTS)
        return partial(fit_guarded, method, self.predictor, **self.options)

    def report_on(self, data: MeasuredDevice, progress: Progress) -> list[TrustReport]:
        """Return one report for each metric of ``data``.

        Raises:
            RecipeError: an unknown predictor, a limit on another metric, or too few values.
        """
        method = self.method()
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
