"""A run as it was recorded: everything that a report is made from, and how many architectures reached each stage."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.recipe.recipe import Recipe
from nas.results.first_answer import FirstAnswer
from nas.results.front import Front, front_of
from nas.results.front_views import front_text
from nas.results.records import Record, records_of
from nas.results.timeline import Timeline
from nas.storage.journal_rows import WORDS, BaselineTested, Fit
from nas.values.error_words import ErrorWords
from nas.values.evaluation import Evaluation, Stage
from nas.values.indexed_rows import IndexedRows
from nas.values.objective import Limit, Objective

if TYPE_CHECKING:
    import pandas

    from nas.results.exports.export import Exported

MOST_DAMAGES = 5
"""A report lists no more of them."""


@dataclass(frozen=True, repr=False)
class Run:
    """The record of a run, finished or not; ``nas.load_run`` reads it from the run's folder.

    Attributes:
        name: the name of the run's folder.
        recipe_text: the resolved recipe, as TOML; ``recipe`` is the same as an object.
        objectives: what was minimised.
        limits: what had to hold.
        target: where measured values come from: a target, or a table's device.
        rows: every evaluation, oldest first.
        fits: the held-out error of each fit of a predictor.
        run_folder: the folder of the run.
        notes: circumstances of the run, for people: versions, the data set, the cost of the search.
        gco2e_per_kwh: the carbon intensity of the electricity, if the recipe gives one.
        table: the file that all values were read from; None where models were trained and measured.
        is_over: True once nothing is left to do.
        ended_by: the reason why the run ended before its time; None for other runs.
        baselines: models of another kind that were fitted to the same data, tested and measured.
        damages: what of the run's folder cannot be read, a sentence each. Damaged rows are left out everywhere.
        timeline: when each row was written, what limits turned away, and what the parts of the run cost.

    Example::

        run = nas.load_run("runs/digits-mobilenet")
        print(run.front)
        errors = [row.values["error"] for row in run.rows if row.stage == "train" and not row.failed]
    """

    name: str
    recipe_text: str
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    target: str
    rows: tuple[Evaluation, ...]
    fits: tuple[Fit, ...]
    run_folder: Path
    notes: Mapping[str, Any] = field(default_factory=dict)
    gco2e_per_kwh: float | None = None
    table: str | None = None
    is_over: bool = False
    ended_by: str | None = None
    damages: tuple[str, ...] = ()
    baselines: tuple[BaselineTested, ...] = ()
    timeline: Timeline = field(default_factory=Timeline)

    def __repr__(self) -> str:
        state = "finished" if self.is_over else f"ended: {self.ended_by}" if self.ended_by else "not finished"
        told = "".join(f" {damage}" for damage in self.damages_in_short)
        return f"Run {self.name}, {state}, {len(self.rows)} rows.{told} {front_text(self.front)}"

    @property
    def damages_in_short(self) -> list[str]:
        """The first damages, and how many more there are."""
        more = len(self.damages) - MOST_DAMAGES
        return [*self.damages[:MOST_DAMAGES], *([f"There are {more} further damages."] if more > 0 else [])]

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return Recipe.from_toml(self.recipe_text)

    @property
    def is_untrained(self) -> bool:
        """True for a finished run without trainings: then the answer is what was measured."""
        if not (self.is_over and self.rows and all(row.stage == "measure" for row in self.rows)):
            return False
        try:
            return tomllib.loads(self.recipe_text).get("trials") == 0
        except tomllib.TOMLDecodeError:  # the damage is told elsewhere
            return False

    @cached_property
    def index(self) -> IndexedRows:
        """The index of the run's rows, made once for all that is told of the run."""
        return IndexedRows(self.rows)

    @cached_property
    def front(self) -> Front:
        """The winners that the run has so far."""
        front = front_of(self.index, self.objectives, self.limits, self.run_folder, self.words)
        first = FirstAnswer.of(self.rows, self.objectives, self.limits) if self.is_untrained else None
        front = replace(front, gco2e_per_kwh=self.gco2e_per_kwh, table=self.table, items=self._items)
        return replace(front, baselines=self.baselines, first=first)

    @property
    def _items(self) -> dict[str, int]:
        """The number of items of each split; none where the run does not say it."""
        data = self.notes.get("data set")
        if not isinstance(data, Mapping):
            return {}
        found = {split: data.get(f"{split} {self.words.noun}") for split in ("training", "validation", "test")}
        return {split: int(count) for split, count in found.items() if count} if all(found.values()) else {}

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """What is known of each architecture, in the order in which the run met them."""
        return tuple(records_of(self.index, self.front))

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a data frame with a row an architecture, trained or not; ``docs/exporting.md`` lists the columns.

        ``front.to_dataframe()`` has the winners alone.
        """
        import pandas

        from nas.results.exports.tidy import table_of

        columns, rows = table_of(self, self.records)
        return pandas.DataFrame(rows, columns=[column.name for column in columns])

    def export(self, form: str, out: Path | str | None = None) -> Exported:
        """Write the run in a form such as ``csv`` or ``optuna``, which ``nas list`` shows, or by ``module:Name``.

        ``out`` is a file; for some forms a folder or a URI. By default it lies in the run's folder.

        Raises:
            RecipeError: an unknown form, a place that cannot be written, or a package that is not installed.
        """
        from nas.results.exports.exporting import export

        return export(self, form, out)

    @property
    def words(self) -> ErrorWords:
        """The words for the error of the run's task."""
        data = self.notes.get("data set")
        return ErrorWords.from_json(data.get(WORDS) if isinstance(data, Mapping) else None)

    @property
    def place(self) -> str:
        """Where winners were found, for people: ``on onnxruntime-cpu:…`` or ``in the table …``."""
        if self.table is None:
            return f"on {self.target}"
        device = self.target.partition(":")[2]
        return f"in the table {Path(self.table).name}{f', device {device}' if device else ''}"


@dataclass(frozen=True)
class StageCount:
    """The numbers of distinct architectures in one stage; ``failures`` counts the failed ones by kind."""

    stage: Stage
    reached: int
    finished: int
    stopped_early: int
    failures: Mapping[str, int]

    @property
    def failed(self) -> int:
        """The number of architectures that failed in this stage."""
        return sum(self.failures.values())


def funnel_of(rows: Sequence[Evaluation] | IndexedRows) -> tuple[StageCount, ...]:
    """Count the architectures that reached and finished each stage. The last row about one in a stage counts.

    Those that share a training, and differ in their deployment, count once.
    """
    counts = []
    for stage, counting in IndexedRows.of(rows).counting.items():
        last = [row for row in counting.values() if not row.is_shared]
        stopped = sum(not row.failed and not row.reached_full_fidelity for row in last)
        failures = Counter(row.failure.kind for row in last if row.failure is not None)
        finished = len(last) - stopped - failures.total()
        counts.append(StageCount(stage, len(last), finished, stopped, dict(failures.most_common())))
    return tuple(counts)
