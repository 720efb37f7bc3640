"""What is asked of a finished run: its recipe with other limits, objectives or another target, checked beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

from nas.errors import RecipeError, did_you_mean
from nas.recipe.recipe import Recipe
from nas.results.run import Run
from nas.results.solved import SolvedPoint
from nas.searching.solving.places import Place, place_of
from nas.searching.solving.seeded import Seeded
from nas.values.metric import METRICS
from nas.values.objective import Limit, Objective, measured_metrics, modelled_metrics, trained_metrics


@final
@dataclass(frozen=True)
class Asked:
    """A run, the ``recipe`` that it is solved for, and the ``place`` of its values.

    ``target`` is the text of another target, or None.
    """

    run: Run
    recipe: Recipe
    target: str | None
    measure: int | None
    place: Place

    @property
    def on(self) -> str:
        """The name of the run's further target that is asked for; empty for its first one and for any other."""
        named = self.run.recipe.named_targets.items()
        return next((name for name, each in named if name and each == self.recipe.parsed_target), "")

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is minimised."""
        return self.recipe.parsed_objectives

    @property
    def limits(self) -> tuple[Limit, ...]:
        """What has to hold."""
        return self.recipe.parsed_limits

    @property
    def metrics(self) -> tuple[str, ...]:
        """The measured metrics among objectives and limits, each once."""
        return measured_metrics(self.objectives, self.limits)

    def lacking(self, known: Seeded) -> list[str]:
        """Return the measured metrics of which the search itself knew nothing on the target."""
        return [name for name in self.metrics if name not in known.searched]

    def budget(self, known: Seeded) -> int:
        """Return how many architectures may be measured, those of earlier times included."""
        return self.place.usual_budget(self, known) if self.measure is None else self.measure

    def measures(self, known: Seeded) -> bool:
        """Return True if something has to be measured or predicted beyond what is known."""
        return bool(self.metrics) and (self.budget(known) > 0 or bool(self.lacking(known)))

    @property
    def models(self) -> bool:
        """True if a modelled metric, which depends on the target's precision, is minimised or limited."""
        return bool(modelled_metrics(self.objectives, self.limits))


def asked_of(
    run: Run,
    limits: Iterable[str] | None,
    objectives: Iterable[str] | None,
    target: str | None,
    measure: int | None,
) -> Asked:
    """Return what is asked of a run. Without ``limits`` or ``objectives``, the run's own hold.

    Raises:
        RecipeError: a limit, an objective or a target that is malformed or unknown, another target for a run that chose
            the precision, or a negative number to measure.
    """
    for what, texts in (("limits", limits), ("objectives", objectives)):
        if isinstance(texts, str):
            raise RecipeError(f"{what} are a list of texts, such as [{texts!r}], but got the text alone.")
    if measure is not None and measure < 0:
        raise RecipeError(f"measure is how many architectures may be measured, 0 or more, but got {measure}.")
    recipe, place = run.recipe, place_of(run.recipe)
    changes: dict[str, Any] = {} if target is None else place.named(recipe, target)
    if limits is not None:
        changes["limits"] = list(limits)
    if objectives is not None:
        changes["objectives"] = list(objectives)
    if changes:
        recipe = Recipe.from_mapping({**recipe.model_dump(exclude_unset=True), **changes})
    return Asked(run, recipe, target, measure, place)


def check_trained(asked: Asked, candidates: Sequence[SolvedPoint]) -> None:
    """Check that the run found the trained metrics that are asked for. Raises RecipeError if it did not."""
    known = set.intersection(*(set(point.trained) for point in candidates))
    for name in trained_metrics(asked.objectives, asked.limits):
        if name not in known:
            raise RecipeError(
                f"a metric that needs training must be one that the run has of its candidates, but "
                f"{asked.run.run_folder} has no {name} ({METRICS[name].title.lower()}). {did_you_mean(name, known)}"
            )
