"""The report's tables: winners, and the fits of predictors."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from nas.hardware.roofline import rate_text, share_text
from nas.reports.cells import NOTHING, Cell, PageTable, architecture_cell, cost_cell, shown_costs
from nas.reports.wording import wording_of
from nas.results.front import Front
from nas.results.notes.front_notes import listed
from nas.results.winner import Winner, broken_text, range_text
from nas.space.parts.training_parts import precision_of
from nas.storage.journal_rows import Fit
from nas.values.held_out import HeldOutError, width_text
from nas.values.metric import METRICS, TRAINED, Metric, readable
from nas.values.objective import Limit

CARBON = "CO2e per million inferences"
NOISE = "noise_error"


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
