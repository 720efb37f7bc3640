"""The report's tables: winners, all rows, and the fits of predictors."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from nas.hardware.roofline import rate_text, share_text
from nas.reports.candidates import BY, choices_of_training
from nas.reports.cells import NOTHING, Cell, PageTable, architecture_cell, cost_cell, shown_costs
from nas.reports.wording import MEASURED, Wording, wording_of
from nas.results.front import Front, last_rows
from nas.results.notes.front_notes import listed
from nas.results.winner import Winner, broken_text, range_text
from nas.space.architecture import Architecture
from nas.space.parts.training_parts import precision_of
from nas.storage.journal_rows import Fit
from nas.values.error_words import OF_IMAGES, ErrorWords
from nas.values.evaluation import STAGES, Evaluation, PredictedValue
from nas.values.held_out import HeldOutError, width_text
from nas.values.measurement import Measurement
from nas.values.metric import METRICS, TRAINED, Metric, readable
from nas.values.objective import Limit

CARBON = "CO2e per million inferences"
NOISE = "noise_error"
Column = tuple[str, Metric, str]
"""The header, metric and kind of a column of costs, as ``shown_costs`` yields them."""


def winner_table(front: Front, costs: Sequence[Metric], of_training: Collection[str] = ()) -> PageTable:
    """Return a row for each winner, in the order of the front, with ``costs`` before all other metrics."""
    columns = list(
        shown_costs(
            [cost for cost in costs if cost.source != "trained"],
            (w.predicted for w in front),
            (w.measurements for w in front),
            (w.values for w in front),
            wording_of(front.table),
        )
    )
    first = [column for column in columns if column[1] in costs]
    rest = [column for column in columns if column[1] not in costs]
    tested, scored = f"Test {front.words.title}", _scored(front)
    titles = [f"{metric.title}, test" for metric in scored]
    headers = ["Winner", "Architecture", tested, *titles, *(header for header, _, _ in first)]
    headers += ["Limits"] if front.limits else []
    is_same = any(standing.same_as for standing in front.standings)
    headers += ["Same as"] if is_same else []
    headers += ["Bundle", "Throughput", "Executed precision"] if front.table is None else []
    headers += [CARBON] if front.gco2e_per_kwh is not None else []
    headers += [header for header, _, _ in rest]
    rows = []
    for winner, standing in zip(front.winners, front.standings, strict=True):
        place = "on the front" if standing.on_front else "not on the front"
        cells = [
            Cell(winner.architecture.id, place, winner.architecture.id, "id"),
            architecture_cell(winner.architecture, of_training=of_training),
            _accuracy_cell(winner),
            *(_score_cell(winner, metric) for metric in scored),
        ]
        found = winner.predicted, winner.measurements, winner.values
        cells += [cost_cell(kind, metric, *found) for _, metric, kind in first]
        if front.limits:
            cells.append(_limits_cell(winner, front.limits))
        if is_same:
            same = listed(standing.same_as) if standing.same_as else "–"
            cells.append(Cell(same, sort=same, kind="same"))
        if front.table is None:
            cells.append(Cell(winner.folder or "–", sort=winner.folder, kind="path"))
            cells += [_throughput_cell(winner), _executed_cell(winner)]
        if front.gco2e_per_kwh is not None:
            cells.append(_carbon_cell(winner.gco2e(front.gco2e_per_kwh)))
        cells += [cost_cell(kind, metric, *found) for _, metric, kind in rest]
        rows.append(tuple(cells))
    numeric = frozenset({tested, *titles, "Throughput", CARBON, *(header for header, _, _ in columns)})
    return PageTable(tuple(headers), tuple(rows), numeric)


def _scored(front: Front) -> list[Metric]:
    """Return the metrics beside the error that winners were tested by, the trained objective first."""
    found = [METRICS[name] for name in TRAINED if any(name in winner.scores for winner in front)]
    return sorted(found, key=lambda metric: metric != front.quality)


def _accuracy_cell(winner: Winner) -> Cell:
    words = winner.words
    bounds, text, shown = words.range_text(winner.test_interval), words.text(winner.test_error), winner.test_error
    bounds += "" if winner.seeds is None else f"; {winner.seeds.text(words)}"
    if winner.chance_mark:
        return Cell(text, f"{bounds}, {winner.chance_mark}", words.shown(shown), "flagged")
    return Cell(text, bounds, words.shown(shown))


def _score_cell(winner: Winner, metric: Metric) -> Cell:
    if not winner.has(metric.name):
        return NOTHING
    found = winner.estimate(metric.name)
    bounds = range_text(metric, found.interval.lower, found.interval.upper)
    if metric.name == NOISE:
        bounds += "".join(f"; {name} {metric.format(each.value)}" for name, each in winner.noise.items())
    return Cell(metric.format(found.value), bounds, found.value)


def _throughput_cell(winner: Winner) -> Cell:
    found = winner.throughput
    if found is None:
        return NOTHING
    peak = "" if found.share_of_peak is None else f"{share_text(found.share_of_peak)} of the measured peak"
    if found.share_of_peak is not None and found.share_of_peak > 1 and found.beyond_bound:
        peak = f"{peak}. {found.beyond_bound}"
    return Cell(f"{rate_text(found.items_per_s)} per s", peak, found.items_per_s)


def _executed_cell(winner: Winner) -> Cell:
    """Return the precision that ran, with the accuracy before deployment if deployment changed it."""
    before = winner.exported_test_error
    changed = before is not None and before != winner.test_error
    detail = f"{winner.words.text(before)} in fp32, before deployment" if before is not None and changed else ""
    chosen = precision_of(winner.architecture)
    details = [*([f"{chosen} was chosen"] if chosen else []), *([detail] if detail else [])]
    return Cell(winner.executed_precision or "–", "; ".join(details), winner.executed_precision or "")


def _carbon_cell(grams: float | None) -> Cell:
    return NOTHING if grams is None else Cell(readable(grams * 1e6, "g"), "from measured energy", grams)


def _limits_cell(winner: Winner, limits: Iterable[Limit]) -> Cell:
    broken = winner.broken(limits)
    if not broken:
        return Cell("met", sort="0 met", kind="met")
    text = "not met: " + "; ".join(broken_text(winner, limit) for limit in broken)
    return Cell(text, sort=f"1 {text}", kind="broken")


MOST_LISTED, MOST_FAILED = 1000, 100
"""The most architectures in the table of all evaluations, and how many places in it failed ones always get."""


@dataclass(frozen=True)
class History:
    """All rows about one architecture, oldest first.

    ``shared`` are measurements of architectures that differ only in the choices ``of_training``. ``error_words`` are
    the task's.
    """

    rows: tuple[Evaluation, ...]
    shared: tuple[Evaluation, ...] = ()
    of_training: frozenset[str] = frozenset()
    error_words: ErrorWords = OF_IMAGES

    @property
    def architecture(self) -> Architecture:
        """The architecture of all rows."""
        return self.rows[0].architecture

    @cached_property
    def last(self) -> Evaluation:
        """The last row of the furthest stage. A retraining that failed leaves the model before it as it is."""
        stage = max((row.stage for row in self.rows), key=STAGES.index)
        return last_rows(self.rows, stage)[self.architecture]

    @cached_property
    def scored(self) -> Evaluation | None:
        """The row that gives the architecture its error: the winner's, else that of the last training."""
        found = [
            row for row in self.rows if row.stage in ("winner", "train") and _error_of(row, MEASURED)[0] is not None
        ]
        return max(reversed(found), key=lambda row: STAGES.index(row.stage), default=None)

    @property
    def order(self) -> tuple[float, ...]:
        """The place in a table: winners, then candidates by error, then those without one, then failed ones."""
        error = None if self.scored is None else _error_of(self.scored, MEASURED)[0]
        rank = 3 if self.last.failed else 2 if error is None else 0 if self.last.stage == "winner" else 1
        return rank, math.inf if error is None else error

    def row(self, columns: Sequence[Column], words: Wording) -> tuple[Cell, ...]:
        """Return the architecture's cells, each of one line; intervals and reasons are among its stages."""
        predicted: dict[str, PredictedValue] = {}
        measurements: dict[str, Measurement] = {}
        values: dict[str, float] = {}
        for each in self.shared:
            measurements |= each.measurements
        for each in self.rows:
            predicted |= each.predicted
            measurements |= each.measurements
            values |= each.values
        error = None if self.scored is None else _error_of(self.scored, words)[0]
        trained = [epochs for each in self.rows if (epochs := _epochs_of(each, words)) is not None]
        stages = [_stage_line(each, columns, words, self.error_words) for each in self.rows]
        cells = [
            Cell(self.architecture.id, sort=self.architecture.id, kind="id"),
            architecture_cell(self.architecture, stages, self.of_training),
            self._outcome_cell(words),
            Cell(str(self.rows[0].round), sort=self.rows[0].round),
            NOTHING if error is None else Cell(self.error_words.error_text(error), sort=error),
            Cell(str(trained[-1]), sort=float(trained[-1])) if trained else NOTHING,
        ]
        for _, metric, kind in columns:
            cells.append(replace(cost_cell(kind, metric, predicted, measurements, values), detail=""))
        return tuple(cells)

    def _outcome_cell(self, words: Wording) -> Cell:
        """Return the furthest stage, and how it ended unless it was done."""
        outcome, stage = _outcome_cell(self.last), _stage_name(self.last, words)
        text = stage if outcome.text == "done" else f"{stage}: {outcome.text}"
        return Cell(text, sort=f"{self.order[0]:.0f} {text}", kind=outcome.kind)


def _stage_line(row: Evaluation, columns: Sequence[Column], words: Wording, error_words: ErrorWords) -> str:
    """Return one row in words: its stage, outcome, error, epochs, and measured and predicted values with bounds."""
    outcome = _outcome_cell(row)
    parts = [outcome.text + (f" ({outcome.detail})" if outcome.detail else "")]
    error, split = _error_of(row, words)
    epochs = _epochs_of(row, words)
    parts += [] if error is None else [f"{error_words.error} {error_words.error_text(error)} ({split})"]
    parts += [] if epochs is None else [f"{epochs} epoch{'s' * (epochs != 1)}"]
    for header, metric, kind in columns:
        cell = cost_cell(kind, metric, row.predicted, row.measurements, row.values)
        if kind != "value" and cell is not NOTHING:  # counted values are the same in every row
            name = header.lower().replace(",", "")
            parts.append(f"{name} {cell.text}{f' ({cell.detail})' if cell.detail else ''}")
    return f"{_stage_name(row, words)}, round {row.round}: {'; '.join(parts)}"


def _stage_name(row: Evaluation, words: Wording) -> str:
    return words.row_stages[row.stage] if row.by == "train" else "candidate"


def _epochs_of(row: Evaluation, words: Wording) -> int | None:
    """Return the epochs of a training; looking an error up, or estimating it by shared weights, takes none."""
    return row.details.get("epochs") if words is MEASURED and row.by == "train" else None


def _error_of(row: Evaluation, words: Wording) -> tuple[float | None, str]:
    if row.failed:
        return None, ""
    if "test_error" in row.details:
        return float(row.details["test_error"]), words.winner_error_source
    way = f", {BY[row.by]}" if row.by in BY else ""
    return (float(row.values["error"]), f"{words.search_error_source}{way}") if "error" in row.values else (None, "")


def _outcome_cell(row: Evaluation) -> Cell:
    if row.failure is not None:
        return Cell(f"failed: {row.failure.kind}", row.failure.reason, f"2 {row.failure.kind}", "broken")
    if not row.reached_full_fidelity:
        epochs, subset = row.details.get("epochs"), row.details.get("subset")
        reached = ""
        if epochs is not None and subset is not None:
            reached = f"after epoch {epochs} on {100 * subset:.3g} % of the training items"
        return Cell("stopped early", reached, "1", "stopped")
    flags = [flag for measurement in row.measurements.values() for flag in measurement.flags]
    details = [*(["measured in an earlier run"] if row.details.get("kept") else []), *flags]
    return Cell("done", "; ".join(details), "0", "flagged" if flags else "")


@dataclass(frozen=True)
class EvaluationTable:
    """A table of evaluations with one row for each architecture, and how many architectures were left out of it."""

    table: PageTable
    left_out: int


def evaluation_table(
    rows: Sequence[Evaluation],
    costs: Sequence[Metric],
    words: Wording = MEASURED,
    error_words: ErrorWords = OF_IMAGES,
) -> EvaluationTable:
    """Return a row for each architecture: winners first, then by error, then those without one.

    A click on an architecture unfolds its choices and its stages. Of more than ``MOST_LISTED`` architectures, the
    table has the winners, those with the lowest errors, and at least ``MOST_FAILED`` failed ones if there are as many.
    """
    by_architecture: dict[Architecture, list[Evaluation]] = {}
    for row in rows:
        by_architecture.setdefault(row.architecture, []).append(row)
    of_training = choices_of_training(rows)
    shared: dict[Architecture, list[Evaluation]] = {}

    def part_of(architecture: Architecture) -> Architecture:
        return architecture.without(of_training)

    for row in rows:
        if of_training and row.stage == "measure":
            shared.setdefault(part_of(row.architecture), []).append(row)
    histories = sorted(
        (
            History(tuple(found), tuple(shared.get(part_of(architecture), ())), of_training, error_words)
            for architecture, found in by_architecture.items()
        ),
        key=lambda each: each.order,
    )
    sound = [each for each in histories if not each.last.failed]
    failed = [each for each in histories if each.last.failed]
    sound = sound[: MOST_LISTED - min(len(failed), MOST_FAILED)]
    shown = [*sound, *failed[: MOST_LISTED - len(sound)]]
    columns = list(
        shown_costs(costs, (r.predicted for r in rows), (r.measurements for r in rows), (r.values for r in rows), words)
    )
    headers = ("Architecture", "Choices and stages", "Outcome", "Round", error_words.error_title, "Epochs")
    table = tuple(each.row(columns, words) for each in shown)
    numeric = frozenset({"Round", error_words.error_title, "Epochs", *(header for header, _, _ in columns)})
    return EvaluationTable(
        PageTable((*headers, *(header for header, _, _ in columns)), table, numeric), len(histories) - len(shown)
    )


def fit_table(fits: Sequence[Fit]) -> PageTable:
    """Return the held-out errors of each round's predictors."""
    headers = (
        *("Round", "Metric", "Samples", "Mean error (MAPE)", "Spearman", "Kendall", "Within 5 %", "Within 10 %"),
        *("Width of 90 % bounds", "Doubts"),
    )
    rows = tuple(
        (
            Cell(str(fit.round), sort=fit.round),
            Cell(METRICS[fit.metric].title if fit.metric in METRICS else fit.metric, sort=fit.metric),
            Cell(str(fit.samples), sort=fit.samples),
            _share_cell(fit.held_out.mape),
            _correlation_cell(fit.held_out.spearman),
            _correlation_cell(fit.held_out.kendall),
            _share_cell(fit.held_out.within_5_percent),
            _share_cell(fit.held_out.within_10_percent),
            _width_cell(fit.held_out),
            Cell("not good enough", " ".join(fit.verdict), "1", "broken") if fit.verdict else NOTHING,
        )
        for fit in fits
    )
    return PageTable(headers, rows, frozenset(headers) - {"Metric", "Doubts"})


def _correlation_cell(value: float) -> Cell:
    return NOTHING if math.isnan(value) else Cell(f"{value:.3f}", sort=value)


def _width_cell(held_out: HeldOutError) -> Cell:
    return Cell(width_text(held_out.width, held_out.samples), sort=held_out.width)


def _share_cell(share: float) -> Cell:
    return NOTHING if math.isnan(share) else Cell(f"{100 * share:.1f} %", sort=share)
