"""Where a finished run got its values, and gets further ones: models that are measured on a device, or a table.

Solving asks the place for all that differs between the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np

from nas.errors import RecipeError
from nas.recipe.recipe import Recipe
from nas.results.notes.front_notes import listed
from nas.results.run import Run
from nas.results.solved import SolvedPoint
from nas.tables.table_evaluation import chance_error_among
from nas.values.error_words import ErrorWords
from nas.values.evaluation import Evaluation
from nas.values.objective import Limit, Objective
from nas.values.target import Target

if TYPE_CHECKING:
    from nas.hardware.bench import Bench
    from nas.hardware.measuring import Measurer
    from nas.progress import Progress
    from nas.searching.instruments import Instruments
    from nas.searching.solving.request import Asked
    from nas.searching.solving.seeded import Seeded
    from nas.searching.solving.space_and_bench import SpaceAgain
    from nas.storage.measurement_store import MeasurementStore
    from nas.tasks.task import Task


DEFAULT_MEASURED = 10
"""Architectures that are measured where a target or a metric is new, unless another number is asked for."""


@final
class OnDevice:
    """Models were trained, and are measured on a device.

    Attributes:
        counts_by_target: True if modelled values of a candidate are others on another target.
        is_free: True if values are looked up, which takes no time.
        evaluated: the participle of what was done with candidates.
        about_trained_limits: sentences about limits that need training.
    """

    counts_by_target = True
    is_free = False
    evaluated = "trained"
    about_trained_limits: tuple[str, ...] = (
        "Limits that need training are checked against the test of retrained models, and else against the short "
        "trainings of the search. Retrained models are usually better.",
    )

    def named(self, recipe: Recipe, target: str) -> dict[str, Any]:
        """Return the keys of the recipe that name another target in the place of all that it has.

        Of limits and objectives, those of that target hold there, or else those of the first one.

        Raises:
            RecipeError: it is malformed, or the run chose the precision: then its errors hold for its own target alone.
        """
        wanted = Target.parse(target)
        named = str(wanted)
        if recipe.precisions and named != recipe.target:
            raise RecipeError(
                f"a run that chose the precision is solved on its own target, {recipe.target}, but got {named}: its "
                f"errors in {', '.join(recipe.precisions)} hold for that runtime alone. Leave the target out, or "
                "search again on the other one."
            )
        on = next((name for name, each in recipe.named_targets.items() if each == wanted), "")
        asked: dict[str, Sequence[Limit | Objective]] = {
            "limits": recipe.parsed_limits,
            "objectives": recipe.parsed_objectives,
        }
        there = {
            key: [str(each.on_target("")) for each in found if each.metric.on == on or each.metric.source != "measured"]
            for key, found in asked.items()
        }
        return {"target": named, "further_targets": [], **(there if recipe.further_targets else {})}

    def benches(
        self, asked: Asked, task: Task | None, instruments: Instruments, progress: Progress
    ) -> dict[str, Bench]:
        """Return the benches that measure on the target, by precision; none where nothing is measured."""
        from nas.searching.solving.space_and_bench import benches_again  # it loads torch, which takes seconds

        return benches_again(asked, task, instruments, progress)

    def measurer(
        self, asked: Asked, again: SpaceAgain, benches: Mapping[str, Bench], store: MeasurementStore, task: Task | None
    ) -> Measurer:
        """Return what finds further values of candidates."""
        from nas.results.data_of_run import source_of
        from nas.searching.resolving import measurer_of

        source = source_of(asked.recipe, task)
        return measurer_of(asked.recipe, again.plain, again.plain_look, again.signature, benches, store, source)

    def usual_budget(self, asked: Asked, known: Seeded) -> int:
        """Return how many architectures are measured where no number is asked for: a few of what is new."""
        return DEFAULT_MEASURED if asked.lacking(known) else 0

    def check_measures(self, run: Run) -> None:
        """Do nothing: models can always be built again and measured."""

    def about_front(self, points: Sequence[SolvedPoint], front: Sequence[SolvedPoint]) -> list[str]:
        """Return nothing: what a candidate is worth is told by the test of its retrained model."""
        return []

    def error_title(self, words: ErrorWords) -> str:
        """Return the title of a candidate's error."""
        return f"validation {words.title}"

    def training_s(self, trained: Iterable[Evaluation]) -> list[float]:
        """Return the seconds that trainings took, as far as they are known."""
        return [float(row.details["seconds"]) for row in trained if row.details.get("seconds")]

    def without_model(self, points: Sequence[SolvedPoint]) -> list[SolvedPoint]:
        """Return the points that have no model yet, but could have one."""
        return [point for point in points if not point.folder]


@final
class InTable:
    """Values are looked up in a table: nothing is trained, measured or exported."""

    counts_by_target = False
    is_free = True
    evaluated = "looked up"
    about_trained_limits: tuple[str, ...] = ()

    def named(self, recipe: Recipe, target: str) -> dict[str, Any]:
        """Return another device of the table."""
        return {"table": {**recipe.table.model_dump(exclude_unset=True), "device": target}}

    def benches(
        self, asked: Asked, task: Task | None, instruments: Instruments, progress: Progress
    ) -> dict[str, Bench]:
        """Return none: nothing is measured."""
        return {}

    def measurer(
        self, asked: Asked, again: SpaceAgain, benches: Mapping[str, Bench], store: MeasurementStore, task: Task | None
    ) -> Measurer:
        """Return the table. Raises as ``table_again`` does."""
        from nas.searching.solving.space_and_bench import table_again

        return table_again(asked, again.space)

    def usual_budget(self, asked: Asked, known: Seeded) -> int:
        """Return the number of all candidates that are not known yet, beside those of earlier times: all are free."""
        unknown = [point for point in known.points if not point.is_measured(asked.metrics)]
        return len(known.measured_later) + known.parts(unknown) if unknown else 0

    def check_measures(self, run: Run) -> None:
        """Refuse to measure: raises RecipeError."""
        raise RecipeError(f"the values of {run.run_folder} were looked up in {run.table}: there is nothing to measure.")

    def about_front(self, points: Sequence[SolvedPoint], front: Sequence[SolvedPoint]) -> list[str]:
        """Return a sentence about points that learned nothing, as several candidates of a table show."""
        chance = chance_error_among(np.array([point.trained["error"] for point in points]))
        found = [each.architecture.id for each in front if chance is not None and each.trained["error"] >= chance]
        if not found or chance is None:
            return []
        words = front[0].words
        return [
            f"Near chance, so of no use: {listed(found)}. {words.constant.capitalize()} gives {words.text(chance)}."
        ]

    def error_title(self, words: ErrorWords) -> str:
        """Return the title of an error: the table does not tell of which split it is."""
        return words.title

    def training_s(self, trained: Iterable[Evaluation]) -> list[float]:
        """Return nothing: a table's seconds are simulated."""
        return []

    def without_model(self, points: Sequence[SolvedPoint]) -> list[SolvedPoint]:
        """Return nothing: a table makes no models."""
        return []


Place = OnDevice | InTable


def place_of(recipe: Recipe) -> Place:
    """Return the place of a run's values."""
    return InTable() if recipe.evaluate == "table" else OnDevice()
