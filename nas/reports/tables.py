"""The report's tables, the figures at its top, its funnel, and what it says about trust."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.hardware.roofline import rate_text, share_text
from nas.progress import duration_text
from nas.reports.candidates import BY, OUTSIDE, ways_of
from nas.reports.wording import MEASURED, Wording, wording_of
from nas.results.front import Front
from nas.results.run_record import FitRecord, RunRecord, funnel_of
from nas.results.winner import Winner, accuracy_range_text, accuracy_text, broken_text, range_text
from nas.space.architecture import Architecture
from nas.values.evaluation import STAGES, Evaluation, PredictedValue
from nas.values.measurement import Measurement
from nas.values.metric import METRICS, Metric, readable
from nas.values.objective import Limit

# Tables: cells of text with a smaller second line, and what to sort by


@dataclass(frozen=True)
class Cell:
    """A text with a smaller second line, what to sort by, how it looks, and an architecture's choices."""

    text: str
    detail: str = ""
    sort: float | str | None = None
    kind: str = ""
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def sort_text(self) -> str:
        """What the page sorts by; empty, which stands last, where there is nothing."""
        if self.sort is None or (isinstance(self.sort, float) and not math.isfinite(self.sort)):
            return ""
        return f"{self.sort:.12g}" if isinstance(self.sort, float | int) else self.sort


@dataclass(frozen=True)
class Table:
    """Headings, rows of as many cells, and the headings of the columns that hold numbers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[str] = frozenset()


_NOTHING = Cell("–")
EXACT = "exact"


def _architecture_cell(architecture: Architecture) -> Cell:
    choices = tuple((name, str(option)) for name, option in architecture.items())
    return Cell(architecture.short, sort=architecture.short, kind="architecture", choices=choices)


def _measured_cell(metric: Metric, measurements: Mapping[str, Measurement]) -> Cell:
    if metric.name not in measurements:
        return _NOTHING
    found = measurements[metric.name]
    detail = range_text(metric, found.interval.lower, found.interval.upper)
    if found.interval.is_point:
        detail = EXACT if found.table is None else ""
    return Cell(metric.format(found.median), detail, found.median, "flagged" if found.flags else "")


def _predicted_cell(metric: Metric, predicted: Mapping[str, PredictedValue]) -> Cell:
    if metric.name not in predicted:
        return _NOTHING
    guess = predicted[metric.name]
    bounds = range_text(metric, guess.lower, guess.upper)
    return Cell(metric.format(guess.mean), bounds if guess.known else f"{bounds}, {OUTSIDE}", guess.mean)


def _value_cell(metric: Metric, values: Mapping[str, float]) -> Cell:
    if metric.name not in values:
        return _NOTHING
    return Cell(metric.format(values[metric.name]), sort=float(values[metric.name]))


def _shown_costs(
    costs: Iterable[Metric],
    predicted: Iterable[Mapping[str, Any]],
    measured: Iterable[Mapping[str, Any]],
    values: Iterable[Mapping[str, Any]],
    words: Wording,
) -> Iterator[tuple[str, Metric, str]]:
    """Columns: header, metric and kind; the costs at first, then whatever else was found."""
    names_by_kind = {
        "predicted": {name for found in predicted for name in found},
        "measured": {name for found in measured for name in found},
        "value": {name for found in values for name in found},
    }
    first = {metric.name: metric for metric in costs}
    for metric in {**first, **METRICS}.values():
        if metric.name == "error":
            continue
        if metric.name in names_by_kind["predicted"]:
            yield f"{metric.title}, predicted", metric, "predicted"
        if metric.source == "measured" and (metric.name in names_by_kind["measured"] or metric.name in first):
            yield f"{metric.title}, {words.found}", metric, "measured"
        if metric.source != "measured" and (metric.name in names_by_kind["value"] or metric.name in first):
            yield (
                (metric.title if metric.source in metric.title else f"{metric.title} ({metric.source})"),
                metric,
                "value",
            )


def winner_table(front: Front, costs: Sequence[Metric]) -> Table:
    """Every winner, in the order of the front, with ``costs`` before whatever else was found."""
    columns = list(
        _shown_costs(
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
    headers += ["Bundle", *_EXTRA_HEADERS] if front.table is None else []
    headers += [*(["CO2e per million"] if front.gco2e_per_kwh is not None else [])]
    headers += [header for header, _, _ in rest]
    rows = []
    for winner, on_front in zip(front.winners, front.on_front, strict=True):
        place = "on the front" if on_front else "not on the front"
        cells = [
            Cell(winner.architecture.id, place, winner.architecture.id, "id"),
            _architecture_cell(winner.architecture),
            Cell(accuracy_text(winner.test_error), accuracy_range_text(winner.test_interval), 1 - winner.test_error),
        ]
        found = winner.predicted, winner.measurements, winner.values
        cells += [_cost_cell(kind, metric, *found) for _, metric, kind in first]
        if front.limits:
            cells.append(_limits_cell(winner, front.limits))
        if front.table is None:
            cells.append(Cell(winner.folder or "–", sort=winner.folder, kind="path"))
            cells += [_throughput_cell(winner), _executed_cell(winner)]
        if front.gco2e_per_kwh is not None:
            cells.append(_carbon_cell(winner.gco2e(front.gco2e_per_kwh)))
        cells += [_cost_cell(kind, metric, *found) for _, metric, kind in rest]
        rows.append(tuple(cells))
    numeric = frozenset({"Test accuracy", "Throughput", "CO2e per million", *(header for header, _, _ in columns)})
    return Table(tuple(headers), tuple(rows), numeric)


_EXTRA_HEADERS = ("Throughput", "Executed")


def _throughput_cell(winner: Winner) -> Cell:
    found = winner.throughput
    if found is None:
        return _NOTHING
    peak = "" if found.share_of_peak is None else f"{share_text(found.share_of_peak)} of the measured peak"
    return Cell(f"{rate_text(found.items_per_s)} per s", peak, found.items_per_s)


def _executed_cell(winner: Winner) -> Cell:
    """What really ran, and the accuracy before deploying where deploying changed it."""
    before = winner.exported_test_error
    changed = before is not None and before != winner.test_error
    detail = f"{accuracy_text(before)} before, in fp32" if before is not None and changed else ""
    return Cell(winner.executed_precision or "–", detail, winner.executed_precision or "")


def _carbon_cell(grams: float | None) -> Cell:
    return _NOTHING if grams is None else Cell(readable(grams * 1e6, "g"), "measured energy", grams)


def _cost_cell(
    kind: str,
    metric: Metric,
    predicted: Mapping[str, PredictedValue],
    measurements: Mapping[str, Measurement],
    values: Mapping[str, float],
) -> Cell:
    if kind == "predicted":
        return _predicted_cell(metric, predicted)
    return _measured_cell(metric, measurements) if kind == "measured" else _value_cell(metric, values)


def _limits_cell(winner: Winner, limits: Iterable[Limit]) -> Cell:
    broken = winner.broken(limits)
    if not broken:
        return Cell("met", sort="0 met", kind="met")
    text = "not met: " + "; ".join(broken_text(winner, limit) for limit in broken)
    return Cell(text, sort=f"1 {text}", kind="broken")


def row_table(rows: Sequence[Evaluation], costs: Sequence[Metric], words: Wording = MEASURED) -> Table:
    """Every row, by stage and then as recorded."""
    columns = list(
        _shown_costs(
            costs, (r.predicted for r in rows), (r.measurements for r in rows), (r.values for r in rows), words
        )
    )
    headers = ("Row", "Stage", "Round", "Architecture", "Choices", "Outcome", "Error", "Epochs")
    ordered = sorted(enumerate(rows, 1), key=lambda pair: STAGES.index(pair[1].stage))
    table = []
    for number, row in ordered:
        error, split = _error_of(row, words)
        # A table is not trained on, nor are shared weights or a score.
        epochs = row.details.get("epochs") if words is MEASURED and row.by == "train" else None
        cells = [
            Cell(str(number), sort=number),
            Cell(words.rows[row.stage] if row.by == "train" else "candidate", sort=f"{STAGES.index(row.stage)}"),
            Cell(str(row.round), sort=row.round),
            Cell(row.architecture.id, sort=row.architecture.id, kind="id"),
            _architecture_cell(row.architecture),
            _outcome_cell(row),
            _NOTHING if error is None else Cell(METRICS["error"].format(error), split, error),
            _NOTHING if epochs is None else Cell(str(epochs), sort=float(epochs)),
        ]
        for _, metric, kind in columns:
            cells.append(_cost_cell(kind, metric, row.predicted, row.measurements, row.values))
        table.append(tuple(cells))
    numeric = frozenset({"Row", "Round", "Error", "Epochs", *(header for header, _, _ in columns)})
    return Table((*headers, *(header for header, _, _ in columns)), tuple(table), numeric)


def _error_of(row: Evaluation, words: Wording) -> tuple[float | None, str]:
    if row.failed:
        return None, ""
    if "test_error" in row.details:
        return float(row.details["test_error"]), words.scored
    way = f", {BY[row.by]}" if row.by in BY else ""
    return (float(row.values["error"]), f"{words.seen_error}{way}") if "error" in row.values else (None, "")


def _outcome_cell(row: Evaluation) -> Cell:
    if row.failure is not None:
        return Cell(f"failed: {row.failure.kind}", row.failure.reason, f"2 {row.failure.kind}", "broken")
    if not row.reached_full_fidelity:
        epochs, subset = row.details.get("epochs"), row.details.get("subset")
        reached = ""
        if epochs is not None and subset is not None:
            reached = f"after epoch {epochs}, which saw {100 * subset:.3g} % of the training images"
        return Cell("stopped early", reached, "1", "stopped")
    flags = [flag for measurement in row.measurements.values() for flag in measurement.flags]
    details = [*(["measured in an earlier run"] if row.details.get("kept") else []), *flags]
    return Cell("done", "; ".join(details), "0", "flagged" if flags else "")


def fit_table(fits: Sequence[FitRecord]) -> Table:
    """How each round's predictors did on measured architectures that they had not seen."""
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
            Cell("not good enough", " ".join(fit.verdict), "1", "broken") if fit.verdict else _NOTHING,
        )
        for fit in fits
    )
    return Table(headers, rows, frozenset(headers) - {"Metric", "Doubts"})


def _correlation_cell(value: float) -> Cell:
    return _NOTHING if math.isnan(value) else Cell(f"{value:.3f}", sort=value)


def _share_cell(share: float) -> Cell:
    return _NOTHING if math.isnan(share) else Cell(f"{100 * share:.1f} %", sort=share)


# Figures at the top, trust and funnel


def tiles_of(front: Front, record: RunRecord) -> list[tuple[str, str, str]]:
    """The figures at the top: what, how much, and a remark."""
    tiles = []
    words = wording_of(front.table)
    best = front.best
    if best is not None:
        interval = ("" if best.test_interval.is_point else "95 %: ") + accuracy_range_text(best.test_interval)
        tiles.append(
            (
                "best test accuracy within the limits" if front.limits else "best test accuracy",
                accuracy_text(best.test_error),
                interval,
            )
        )
        for cost in front.costs[:2]:
            if best.has(cost.name):
                cell = _cost_cell(
                    "measured" if cost.source == "measured" else "value",
                    cost,
                    best.predicted,
                    best.measurements,
                    best.values,
                )
                has_interval = cost.source == "measured" and cell.detail not in ("", EXACT)
                remark = f"95 %: {cell.detail}" if has_interval else ""
                source = words.found if cost.source == "measured" else cost.source
                tiles.append(
                    (f"its {cost.title.removesuffix(f' ({cost.source})').lower()}, {source}", cell.text, remark)
                )
    meeting = sum(winner.meets(front.limits) for winner in front)
    if front.winners:
        within = f"{meeting} within the limits" if front.limits else f"{sum(front.on_front)} on the front"
        tiles.append(("winners", str(len(front)), within))
    counts = {count.stage: count for count in funnel_of(record.rows)}
    trained, measured = counts["train"], counts["measure"]
    if ways := ways_of(record.rows):
        tiles.append(("candidates evaluated", str(trained.reached), f"{', '.join(ways)}, not trained"))
    elif trained.reached:
        remark = f"{trained.stopped_early} stopped early" if front.table is None else _simulated_text(record.rows)
        tiles.append((words.evaluated_tile, str(trained.reached), remark))
    if measured.reached:
        tiles.append((words.costs_tile, str(measured.finished), words.costs_remark))
    return tiles


def _simulated_text(rows: Iterable[Evaluation]) -> str:
    """The time that the trainings of a table would have taken."""
    simulated_s = sum(row.details.get("seconds", 0.0) for row in rows if row.stage == "train")
    return f"{duration_text(simulated_s)} of training, simulated" if simulated_s else "none was trained"


def trust_sentences(front: Front, fits: Sequence[FitRecord]) -> list[str]:
    """How far the predictors, the winners' bounds and the exported models held, in a sentence each."""
    sentences = []
    for name, fit in {fit.metric: fit for fit in fits}.items():
        title = METRICS[name].title.lower() if name in METRICS else name
        width = fit.held_out.width
        bounds = f", and its 90 % bounds reached {50 * width:.0f} % to each side" if math.isfinite(width) else ""
        sentences.append(
            f"On {wording_of(front.table).known} that it had not seen, the last {title} predictor was off by "
            f"{100 * fit.held_out.mape:.1f} % on average{bounds} ({fit.held_out.samples} architectures)."
        )
        sentences.extend(fit.verdict)
    for name, metric in METRICS.items():
        pairs = [
            (w.predicted[name], w.measurements[name]) for w in front if {name} <= w.predicted.keys() & w.measurements
        ]
        if pairs:
            inside = sum(guess.lower <= found.median <= guess.upper for guess, found in pairs)
            sentences.append(
                f"{inside} of {len(pairs)} winners {wording_of(front.table).inside} the {metric.title.lower()} bounds "
                "predicted for them."
            )
    parities = [winner.parity for winner in front if winner.parity is not None]
    if parities:
        sentences.append(f"Exported and trained models gave equal outputs up to {max(parities):.2g}.")
    return sentences


@dataclass(frozen=True)
class FunnelStep:
    """How many architectures one stage was reached by; the shares are of the stage that most reached."""

    title: str
    count: int
    finished_percent: float
    stopped_percent: float
    failed_percent: float
    remark: str


def funnel_steps(rows: Sequence[Evaluation], words: Wording = MEASURED) -> list[FunnelStep]:
    """One step for each stage, in their order; of checks where there were any, and of retraining but in a table."""
    without = {"retrain"} if words is not MEASURED else set()
    counts = [c for c in funnel_of(rows) if c.stage not in without and (c.stage != "check" or c.reached)]
    titles = {**words.stages, "train": "Evaluated"} if ways_of(rows) else words.stages
    most = max((count.reached for count in counts), default=0) or 1
    steps = []
    for count in counts:
        remarks = [f"{count.finished} finished"] if count.finished != count.reached else []
        if count.stage == "train":
            remarks += ways_of(rows)
        if count.stage == "check" and count.reached:
            remarks.append("trained alone, to check errors found without training")
        remarks += [f"{count.stopped_early} stopped early"] if count.stopped_early else []
        if count.failed:
            kinds = ", ".join(f"{kind} {number}" for kind, number in count.failures.items())
            remarks.append(f"{count.failed} failed ({kinds})")
        steps.append(
            FunnelStep(
                title=titles[count.stage],
                count=count.reached,
                finished_percent=100 * count.finished / most,
                stopped_percent=100 * count.stopped_early / most,
                failed_percent=100 * count.failed / most,
                remark=", ".join(remarks),
            )
        )
    return steps
