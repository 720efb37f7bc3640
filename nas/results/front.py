"""The front of a run: its winners, and which of them no other one beats in every objective."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from nas.errors import LimitError, RecipeError, did_you_mean
from nas.results.baselines import baseline_sentences, baselines_json
from nas.results.best_winner import best_of
from nas.results.evidence import differing_folds, folds_of_winner, is_fitted_winner, searched_of
from nas.results.failures import FailureCount, failure_counts
from nas.results.first_answer import FirstAnswer
from nas.results.found_by_id import found_by_id
from nas.results.front_views import front_html, front_plot, front_rows, front_text
from nas.results.notes.front_notes import no_best_text, notes_of, nothing_learned_text
from nas.results.seeds import Earlier, over_seeds
from nas.results.winner import Winner
from nas.space.architecture import Architecture
from nas.storage.journal_rows import BaselineTested
from nas.storage.retraining_rows import RETRAINING
from nas.values.comparison import Standing, standings
from nas.values.error_words import OF_IMAGES, ErrorWords
from nas.values.evaluation import PARENT, TESTED_PER_VALIDATED, TRIED, Evaluation, errors_elsewhere
from nas.values.indexed_rows import IndexedRows
from nas.values.layer_times import LayerTimes
from nas.values.measurement import Estimate, Interval, Measurement
from nas.values.metric import METRICS, TRAINED, Metric, on_target, target_in
from nas.values.objective import Limit, Objective, limits_of, quality_of

if TYPE_CHECKING:
    import pandas

    from nas.results.plots.plot import Plot

REPORT_NAME = "report.html"


@dataclass(frozen=True, repr=False)
class Front:
    """All winners of a run: first those on the front, then the others by test error.

    A front prints in a few lines, and has a length. ``front[0]`` is its first winner, ``front["3fa1"]`` the one whose
    id begins so, ``front[:2]`` a front of two, and ``for winner in front`` goes over all.

    Attributes:
        objectives: what was minimised.
        limits: what had to hold.
        winners: all winners.
        standings: for each winner its place: if it is on the front, which is that of the winners within the limits, or
            of all if none is, and from which others the test error and the measured values cannot tell it apart.
        run_folder: the folder of the run.
        failed: the number of architectures that were chosen but failed on the way to a winner.
        failures: all failed evaluations of the run, by kind.
        gco2e_per_kwh: the carbon intensity of the electricity, if the recipe gives one.
        table: the file that all values were read from; None where models were trained and measured.
        baselines: models of another kind that were fitted to the same data, such as boosted trees for tables.
        words: the words for the task's error.
        first: the answer of a search without trainings, which has no winners; None for any other.
        items: the number of items for ``training``, ``validation`` and ``test``; none where the run does not say it.

    Example::

        front = nas.search({"data": "digits", "trials": 12})
        print(front)
        smallest = min(front, key=lambda winner: winner.value("params"))
        front.to_dataframe().to_csv("front.csv")
    """

    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    winners: tuple[Winner, ...]
    standings: tuple[Standing, ...]
    run_folder: Path
    failed: int = 0
    failures: tuple[FailureCount, ...] = ()
    gco2e_per_kwh: float | None = None
    table: str | None = None
    baselines: tuple[BaselineTested, ...] = ()
    words: ErrorWords = OF_IMAGES
    first: FirstAnswer | None = None
    items: Mapping[str, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Winner]:
        return iter(self.winners)

    def __len__(self) -> int:
        return len(self.winners)

    @overload
    def __getitem__(self, index: int | str) -> Winner: ...

    @overload
    def __getitem__(self, index: slice) -> Front: ...

    def __getitem__(self, index: int | str | slice) -> Winner | Front:
        """Return the winner at a place or with an id, or the front of a slice of the winners.

        Raises:
            LookupError: no winner, or several, have an id that begins so; or there is no such place.
        """
        if isinstance(index, slice):
            return replace(self, winners=self.winners[index], standings=self.standings[index])
        if isinstance(index, str):
            return found_by_id(index, {winner.architecture.id: winner for winner in self.winners}, "winner")
        return self.winners[index]

    def __repr__(self) -> str:
        return front_text(self)

    def _repr_html_(self) -> str:
        return front_html(self)

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a data frame with a row a winner: choices, test error, medians with their bounds, counted values."""
        import pandas  # here, because it is slow to import

        return pandas.DataFrame(front_rows(self))

    def plot(self, metric: str | None = None) -> Plot:
        """Return a plot of test error against ``metric``, by default the first cost; a notebook shows it.

        Raises:
            ValueError: no such metric, or no winner has a value of it.
        """
        return front_plot(self, metric)

    @property
    def on_front(self) -> tuple[bool, ...]:
        """For each winner, True if it is on the front: no other one beats it beyond doubt, as ``standings`` says."""
        return tuple(standing.on_front for standing in self.standings)

    @property
    def scored(self) -> str:
        """The word before the errors of winners: they are those of a test, or what a table says."""
        return "test" if self.table is None else "final"

    @property
    def notes(self) -> tuple[tuple[str, ...], ...]:
        """For each winner the sentences that qualify it: near chance, not told apart from others, doubts."""
        return tuple(notes_of(self))

    @property
    def nothing_learned(self) -> str | None:
        """The sentence that says so if every winner is near chance, with what to do; None for any other front."""
        return nothing_learned_text(self.winners, self.words)

    @property
    def compared(self) -> tuple[str, ...]:
        """For each baseline the sentence that says if the best winner beats it."""
        return tuple(baseline_sentences(self))

    @property
    def best(self) -> Winner:
        """The winner of the lowest ``quality`` in the search, among those that meet the limits.

        A simple model gives way only to one that is surely better. The test decides where the search says little.

        Raises:
            LimitError: no winner meets them; the message says which is nearest.
        """
        found = self.best_or_none
        if found is None:
            raise LimitError(no_best_text(self))
        return found

    @property
    def best_or_none(self) -> Winner | None:
        """The same as ``best``, or None if no winner meets the limits."""
        return best_of((winner for winner in self.winners if winner.meets(self.limits)), self.quality)

    @property
    def nearest(self) -> Winner:
        """The best winner; where none meets the limits, the one that exceeds them least.

        Raises:
            LimitError: there are no winners.
        """
        if not self.winners:
            raise LimitError(no_best_text(self))
        return self.best_or_none or min(self.winners, key=lambda winner: winner.excess(self.limits))

    def within(self, *limits: Limit | str) -> Front:
        """Return the front of the winners that meet these limits, in the place of the run's own.

        Each limit is an object or text: ``front.within("latency_ms <= 1ms", "params <= 100k")``. Nothing is measured
        again. ``nas.solve`` asks all candidates of a run, also those that are no winners.

        Raises:
            RecipeError: a text is no limit, or names a target on which no winner was measured.
        """
        asked = limits_of(limits)
        self._check_targets(asked)
        winners, placed = _ordered([winner for winner in self.winners if winner.meets(asked)], self.objectives, asked)
        return replace(self, limits=asked, winners=winners, standings=placed)

    def _check_targets(self, limits: Sequence[Limit]) -> None:
        """Check that limits on further targets are on those of the run. Raises RecipeError."""
        known = self._further_targets
        for limit in limits:
            latency = on_target(limit.metric.on, "latency_ms")  # it is measured of every winner
            if limit.metric.on and self.winners and not any(each.has(latency) for each in self.winners):
                there = f"has {', '.join(known)}" if known else "measured on one target"
                raise RecipeError(
                    f"what stands before a metric is a further target of the run, but {self.run_folder} {there}, and "
                    f"got {str(limit)!r}. {did_you_mean(limit.metric.on, known)}".rstrip()
                )

    @property
    def reference(self) -> Architecture | None:
        """The architecture that the choices of others are compared with: the best winner's, else the first one's."""
        best = self.best_or_none or next(iter(self.winners), None)
        return None if best is None else best.architecture

    @property
    def shown_costs(self) -> tuple[Metric, ...]:
        """The metrics to show beside the error: ``quality`` if it is another one, costs, and latencies elsewhere."""
        elsewhere = {on_target(on, "latency_ms") for on in self._further_targets} - {each.name for each in self.costs}
        quality = [self.quality] if self.quality.name != "error" else []
        return (*quality, *self.costs, *METRICS.among(sorted(elsewhere)))

    @property
    def _further_targets(self) -> list[str]:
        """The names of the further targets on which winners were measured."""
        named = (target_in(name) for winner in self.winners for name in winner.measurements)
        return [name for name in dict.fromkeys(named) if name]

    @property
    def costs(self) -> tuple[Metric, ...]:
        """The metrics other than ``quality`` that were minimised or limited, in that order."""
        return cost_metrics(self.objectives, self.limits)

    @property
    def quality(self) -> Metric:
        """The first trained objective, or else the error: what a winner is good at, beside what it costs."""
        return quality_of(self.objectives)

    def to_json(self) -> dict[str, Any]:
        """Plain data for programs."""
        best = self.best_or_none
        return {
            "run_folder": str(self.run_folder),
            "table": self.table,
            "error": self.words.error,
            "objectives": [str(objective) for objective in self.objectives],
            "limits": [str(limit) for limit in self.limits],
            "best": None if best is None else best.architecture.id,
            "failed": self.failed,
            "failures": [vars(each) for each in self.failures],
            "nothing_learned": self.nothing_learned,
            "baselines": baselines_json(self),
            "items": dict(self.items),
            **({} if self.first is None else {"first_answer": self.first.to_json()}),
            "winners": [
                {
                    **winner.to_json(),
                    "gco2e": None if self.gco2e_per_kwh is None else winner.gco2e(self.gco2e_per_kwh),
                    "on_front": standing.on_front,
                    "same_as": list(standing.same_as),
                    "barely_ahead_of": list(standing.barely_ahead_of),
                    "notes": list(notes),
                    "meets_limits": winner.meets(self.limits),
                    "broken_limits": [str(limit) for limit in winner.broken(self.limits)],
                }
                for winner, standing, notes in zip(self.winners, self.standings, self.notes, strict=True)
            ],
        }


def front_of(
    rows: Sequence[Evaluation] | IndexedRows,
    objectives: Sequence[Objective],
    limits: Sequence[Limit],
    run_folder: Path,
    words: ErrorWords = OF_IMAGES,
) -> Front:
    """Return the front of the winners among ``rows``. The last row about an architecture that did not fail counts."""
    indexed = IndexedRows.of(rows)
    last, places = indexed.counting["winner"], indexed.places()
    folds = differing_folds(indexed.counting["train"].values()) is None
    winners = [
        _winner(row, run_folder, words, [indexed.rows[place] for place in places[architecture]], folds=folds)
        for architecture, row in last.items()
        if not row.failed
    ]
    ordered, placed = _ordered(winners, objectives, limits)
    failed = {each for each, row in (*indexed.counting["retrain"].items(), *last.items()) if row.failed}
    return Front(
        objectives=tuple(objectives),
        limits=tuple(limits),
        winners=ordered,
        standings=placed,
        run_folder=run_folder,
        failed=len(failed - {winner.architecture for winner in winners}),
        failures=failure_counts(indexed.rows),
        words=words,
    )


def cost_metrics(objectives: Iterable[Objective], limits: Iterable[Limit]) -> tuple[Metric, ...]:
    """Return the metrics among objectives and limits other than ``quality_of``, each once, in that order.

    The error is not among them: it is shown anyway.
    """
    shown = {"error", quality_of(objectives).name}
    metrics = [*(objective.metric for objective in objectives), *(limit.metric for limit in limits)]
    return tuple({metric.name: metric for metric in metrics if metric.name not in shown}.values())


def _winner(row: Evaluation, run_folder: Path, words: ErrorWords, rows: Sequence[Evaluation], *, folds: bool) -> Winner:
    """Return the winner of a row, given all rows of its architecture, and whether ``folds`` count in its run."""
    parity, folder = row.details.get("parity"), str(row.details.get("folder", ""))
    earlier = [each for each in rows if each.stage == "winner" and not each.failed]
    return Winner(
        architecture=row.architecture,
        test_error=float(row.details["test_error"]),
        test_interval=Interval(*map(float, row.details["test_interval"])),
        predicted=row.predicted,
        measurements=row.measurements,
        values={name: value for name, value in row.values.items() if name not in TRAINED},
        folder=folder,
        bundle=_within(run_folder, folder),
        parity=None if parity is None else float(parity),
        exported_test_error=row.details.get("exported_test_error"),
        chance_error=row.details.get("chance_error"),
        scores=_estimates({**row.details.get("scores", {}), **errors_elsewhere(row.details)}),
        noise=_estimates(row.details.get("noise", {})),
        fp32={name: Measurement.from_json(found) for name, found in row.details.get("fp32", {}).items()},
        exported=_exported(row.details),
        seeds=over_seeds(row.details.get("seed_errors", ()), row.details.get("failed_seeds", 0)),
        retraining=row.details.get(RETRAINING, 0),
        earlier=tuple(map(_earlier_model, earlier[:-1])),
        is_parent=bool(row.details.get(PARENT)),
        is_fitted=is_fitted_winner(rows),
        searched=searched_of(row, rows),
        by_folds=folds_of_winner(rows) if folds else {},
        tested_per_validated=row.details.get(TESTED_PER_VALIDATED, 1.0),
        tried=row.details.get(TRIED, 1),
        confusion=row.details.get("confusion"),
        layer_times=LayerTimes.from_json(row.details["layer_times"]) if row.details.get("layer_times") else None,
        words=words,
    )


def _earlier_model(row: Evaluation) -> Earlier:
    lower, upper = row.details["test_interval"]
    folder, epochs = str(row.details.get("folder", "")), row.details.get("epochs")
    return Earlier(float(row.details["test_error"]), Interval(float(lower), float(upper)), folder, epochs)


def _exported(details: Mapping[str, Any]) -> Estimate | None:
    """Return the test error before deploying, with its interval, which is known where the precision was chosen."""
    if "exported_interval" not in details:
        return None
    return Estimate.within(float(details["exported_test_error"]), *map(float, details["exported_interval"]))


def _estimates(found: Mapping[str, Sequence[float]]) -> dict[str, Estimate]:
    return {name: Estimate.within(*each) for name, each in found.items()}


def _within(run_folder: Path, folder: str) -> Path | None:
    """Return the bundle's folder, or None if there is none within the run's folder."""
    bundle = run_folder / folder
    return bundle if folder and bundle.resolve().is_relative_to(run_folder.resolve()) else None


def _ordered(
    winners: Sequence[Winner], objectives: Sequence[Objective], limits: Sequence[Limit]
) -> tuple[tuple[Winner, ...], tuple[Standing, ...]]:
    """Return winners in the order of a front, and the place of each among them."""
    quality = quality_of(objectives)
    placed = _standings(winners, [objective.metric.name for objective in objectives] or ["error"], limits)
    ordered = sorted(
        winners,
        key=lambda winner: (
            not placed[winner.architecture.id].on_front,
            winner.score(quality),
            tuple(winner.score(each.metric) for each in objectives if each.metric.name != quality.name),
            winner.architecture.id,
        ),
    )
    return tuple(ordered), tuple(placed[winner.architecture.id] for winner in ordered)


def _standings(winners: Sequence[Winner], names: Sequence[str], limits: Sequence[Limit]) -> dict[str, Standing]:
    """Return each winner's place by its id; one that lacks an objective is not on the front.

    Neither is one that breaks a limit, unless none meets them: it would push off those that meet them.
    """
    complete = {winner.architecture.id: winner for winner in winners if all(map(winner.has, names))}
    points = {key: [winner.estimate(name) for name in names] for key, winner in complete.items()}
    placed, off = standings(points), Standing(on_front=False)
    within = standings({key: points[key] for key, winner in complete.items() if winner.meets(limits)}) or placed
    keys = [winner.architecture.id for winner in winners]
    return {key: replace(placed.get(key, off), on_front=within.get(key, off).on_front) for key in keys}
