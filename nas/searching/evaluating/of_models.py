"""What all ways of evaluating models have in common: errors that are expected, and how winners are made."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from nas.errors import CandidateError
from nas.jobs.execution import Executor, Job, Report, Work, reports_of
from nas.recipe.recipe import Recipe
from nas.searching.fitting import Fitting
from nas.searching.proposer import Prior
from nas.searching.state import RunState
from nas.searching.trained_weights import TrainedWeights
from nas.searching.winners.baselines import Baselines
from nas.searching.winners.retraining import Retraining
from nas.space.parts.known_values import known_prior
from nas.training.deployed_errors import InPrecisions
from nas.training.settings import TrainingSettings, training_seed
from nas.training.zero_cost import ScorePrior, ZeroCostEvaluation
from nas.values.metric import LARGEST_VALUE, is_result
from nas.values.objective import trained_metrics


class OfModels:
    """The base of evaluators whose winners are models. ``folder`` is the run's."""

    weights: TrainedWeights | None = None
    """Where the best candidates' weights are kept; None where they are not."""
    scoring: Work | None = None
    """The work that scores many candidates at once; None where each has a job of its own."""

    def __init__(self, state: RunState, folder: Path) -> None:
        self._state = state
        self._folder = folder

    def prior(self) -> Prior | None:
        """Return zero-cost scores if the recipe asks for them, or else what the space knows."""
        state, recipe = self._state, self._state.recipe
        if recipe.prior == "none":
            return known_prior(state.resolved.space)
        scoring = ZeroCostEvaluation(
            state.resolved.space,
            state.resolved.source,
            recipe.prior,
            recipe.zero_cost.batch,
            recipe.training.device,
            recipe.execution.threads_per_worker,
            clock=state.stopwatch,
        )
        return ScorePrior(scoring, lambda architecture: training_seed(recipe, architecture))

    def make_winners(self, fitting: Fitting, executor: Executor) -> None:
        """Retrain, export, measure and test winners, and fit models of another kind to compare them with."""
        Retraining(self._state, fitting, self._folder, weights=self.weights).run(executor)
        TrainedWeights(self._state, self._folder).clear()  # also those of an earlier part of the run
        Baselines(self._state, self._folder).run()


def reported(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of the metrics that reports must have: the error, and what else is minimised or limited."""
    asked = trained_metrics(recipe.parsed_objectives, recipe.parsed_limits)
    return tuple(dict.fromkeys(("error", *asked)))


def in_precisions(state: RunState, work: Work, settings: TrainingSettings, *, keeps_weights: bool = False) -> Work:
    """Return work that also finds the errors in the precisions that candidates choose from; ``work`` where it is none.

    ``work`` keeps the weights, of which the last report keeps none unless ``keeps_weights``.
    """
    recipe, resolved = state.recipe, state.resolved
    if not recipe.precisions:
        return work
    return InPrecisions(
        work,
        resolved.space,
        resolved.source,
        recipe.targets,
        settings.threads,
        robustness=settings.robustness,
        wanted=reported(recipe),
        narrow=resolved.device.facts.adds_bytes_in_16_bits,
        keeps_weights=keeps_weights,
        clock=state.stopwatch,
    )


@final
@dataclass(frozen=True)
class Checked:
    """Work whose reports must hold the epoch and the metrics ``wanted``; any other report fails the candidate."""

    work: Work
    wanted: tuple[str, ...] = ("error",)

    def __call__(self, job: Job) -> Iterator[Report]:
        """Yield the reports of the work.

        Raises:
            CandidateError: a report has no epoch, or ``check_report`` raises it.
        """
        with contextlib.closing(reports_of(self.work, job)) as reports:
            for report in reports:
                check_report(report, self.wanted)
                if not isinstance(report.get("epoch"), int):
                    raise CandidateError("report", f"a report must have an epoch, but one has {sorted(report)}.")
                yield report


def check_report(report: Report, wanted: tuple[str, ...]) -> None:
    """Check that a report has the metrics ``wanted``.

    Raises:
        CandidateError: it lacks one, or one is no finite number of at least 0.
    """
    for name in wanted:
        value = report.get(name)
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            found = "has none" if value is None else f"has {value!r}"
            raise CandidateError("report", f"a report must have a finite {name} of at least 0, but one {found}.")
        if not is_result(value):
            raise CandidateError("nan", f"{name} must be at most {LARGEST_VALUE:g}, but was {value:g}: it diverged.")
