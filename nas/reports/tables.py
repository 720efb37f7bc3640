"""The report's tables: winners, all rows, and the fits of predictors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from nas.hardware.roofline import rate_text, share_text
from nas.reports.candidates import BY
from nas.reports.cells import NOTHING, Cell, PageTable, architecture_cell, cost_cell, shown_costs
from nas.reports.wording import MEASURED, Wording, wording_of
from nas.results.front import Front
from nas.results.winner import Winner, accuracy_range_text, accuracy_text, broken_text
from nas.storage.journal_rows import Fit
from nas.values.evaluation import STAGES, Evaluation
from nas.values.metric import METRICS, Metric, readable
from nas.values.objective import Limit

CARBON = "CO2e per million inferences"


def winner_table(front: Front, costs: Sequence[Metric]) -> PageTable:
    """Return a row for each winner, in the order of the front, with ``costs`` before all other metrics."""
    columns = list(
        shown_costs(
            costs,
            (w.predicted for w in front),
            (w.measurements for w in front),
            (w.values for w in front),
            wording_of(front.table),
        )
    )
    first = [column for column in columns if column[1] in costs]
    rest = [column for column in columns if column[1] not in costs]
    headers = ["Winner", "Architecture", "Test accuracy", *(header for header, _, _ in first)]
    headers += ["Limits"] if front.limits else []
    headers += ["Bundle", "Throughput", "Executed precision"] if front.table is None else []
    headers += [CARBON] if front.gco2e_per_kwh is not None else []
    headers += [header for header, _, _ in rest]
    rows = []
    for winner, on_front in zip(front.winners, front.on_front, strict=True):
        place = "on the front" if on_front else "not on the front"
        cells = [
            Cell(winner.architecture.id, place, winner.architecture.id, "id"),
            architecture_cell(winner.architecture),
            Cell(accuracy_text(winner.test_error), accuracy_range_text(winner.test_interval), 1 - winner.test_error),
        ]
        found = winner.predicted, winner.measurements, winner.values
        cells += [cost_cell(kind, metric, *found) for _, metric, kind in first]
        if front.limits:
            cells.append(_limits_cell(winner, front.limits))
        if front.table is None:
            cells.append(Cell(winner.folder or "–", sort=winner.folder, kind="path"))
            cells += [_throughput_cell(winner), _executed_cell(winner)]
        if front.gco2e_per_kwh is not None:
            cells.append(_carbon_cell(winner.gco2e(front.gco2e_per_kwh)))
        cells += [cost_cell(kind, metric, *found) for _, metric, kind in rest]
        rows.append(tuple(cells))
    numeric = frozenset({"Test accuracy", "Throughput", CARBON, *(header for header, _, _ in columns)})
    return PageTable(tuple(headers), tuple(rows), numeric)


def _throughput_cell(winner: Winner) -> Cell:
    found = winner.throughput
    if found is None:
        return NOTHING
    peak = "" if found.share_of_peak is None else f"{share_text(found.share_of_peak)} of the measured peak"
    return Cell(f"{rate_text(found.items_per_s)} per s", peak, found.items_per_s)


def _executed_cell(winner: Winner) -> Cell:
    """Return the precision that ran, with the accuracy before deployment if deployment changed it."""
    before = winner.exported_test_error
    changed = before is not None and before != winner.test_error
    detail = f"{accuracy_text(before)} in fp32, before deployment" if before is not None and changed else ""
    return Cell(winner.executed_precision or "–", detail, winner.executed_precision or "")


def _carbon_cell(grams: float | None) -> Cell:
    return NOTHING if grams is None else Cell(readable(grams * 1e6, "g"), "from measured energy", grams)


def _limits_cell(winner: Winner, limits: Iterable[Limit]) -> Cell:
    broken = winner.broken(limits)
    if not broken:
        return Cell("met", sort="0 met", kind="met")
    text = "not met: " + "; ".join(broken_text(winner, limit) for limit in broken)
    return Cell(text, sort=f"1 {text}", kind="broken")


def row_table(rows: Sequence[Evaluation], costs: Sequence[Metric], words: Wording = MEASURED) -> PageTable:
    """Return every row, ordered by stage and then as recorded."""
    columns = list(
        shown_costs(costs, (r.predicted for r in rows), (r.measurements for r in rows), (r.values for r in rows), words)
    )
    headers = ("Row", "Stage", "Round", "Architecture", "Choices", "Outcome", "Error", "Epochs")
    ordered = sorted(enumerate(rows, 1), key=lambda pair: STAGES.index(pair[1].stage))
    table = []
    for number, row in ordered:
        error, split = _error_of(row, words)
        # Looking an error up, or estimating it by shared weights or a score, takes no epochs.
        epochs = row.details.get("epochs") if words is MEASURED and row.by == "train" else None
        cells = [
            Cell(str(number), sort=number),
            Cell(words.row_stages[row.stage] if row.by == "train" else "candidate", sort=f"{STAGES.index(row.stage)}"),
            Cell(str(row.round), sort=row.round),
            Cell(row.architecture.id, sort=row.architecture.id, kind="id"),
            architecture_cell(row.architecture),
            _outcome_cell(row),
            NOTHING if error is None else Cell(METRICS["error"].format(error), split, error),
            NOTHING if epochs is None else Cell(str(epochs), sort=float(epochs)),
        ]
        for _, metric, kind in columns:
            cells.append(cost_cell(kind, metric, row.predicted, row.measurements, row.values))
        table.append(tuple(cells))
    numeric = frozenset({"Row", "Round", "Error", "Epochs", *(header for header, _, _ in columns)})
    return PageTable((*headers, *(header for header, _, _ in columns)), tuple(table), numeric)


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
            reached = f"after epoch {epochs} on {100 * subset:.3g} % of the training images"
        return Cell("stopped early", reached, "1", "stopped")
    flags = [flag for measurement in row.measurements.values() for flag in measurement.flags]
    details = [*(["measured in an earlier run"] if row.details.get("kept") else []), *flags]
    return Cell("done", "; ".join(details), "0", "flagged" if flags else "")


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
            _share_cell(fit.held_out.width),
            Cell("not good enough", " ".join(fit.verdict), "1", "broken") if fit.verdict else NOTHING,
        )
        for fit in fits
    )
    return PageTable(headers, rows, frozenset(headers) - {"Metric", "Doubts"})


def _correlation_cell(value: float) -> Cell:
    return NOTHING if math.isnan(value) else Cell(f"{value:.3f}", sort=value)


def _share_cell(share: float) -> Cell:
    return NOTHING if math.isnan(share) else Cell(f"{100 * share:.1f} %", sort=share)
