"""The report's tables: winners, and the fits of predictors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial

from nas.hardware.roofline import rate_text, share_text
from nas.reports.candidates import OUTSIDE
from nas.reports.cells import NOTHING, Cell, Column, PageTable, architecture_cell
from nas.reports.wording import wording_of
from nas.results.first_answer import MARKED, UNMARKED, FirstAnswer, Untrained, metric_cell
from nas.results.front import Front
from nas.results.notes.front_notes import listed
from nas.results.winner import Winner, broken_text
from nas.storage.journal_rows import Fit
from nas.values.comparison import Standing
from nas.values.held_out import HeldOutError, correlation_text, per_cent, width_text
from nas.values.metric import METRICS, Metric, readable
from nas.values.objective import Limit

CARBON = "CO2e per million inferences"
NOISE = "noise_error"


def winner_table(front: Front, costs: Sequence[Metric], of_training: Collection[str] = ()) -> PageTable:
    """Return a row for each winner, in the order of the front, with ``costs`` before all other metrics."""
    standings = dict(zip((winner.architecture for winner in front), front.standings, strict=True))
    values = list(_value_columns(front, costs))
    columns = [
        Column("Winner", lambda winner: _id_cell(winner, standings[winner.architecture])),
        Column("Architecture", lambda winner: architecture_cell(winner.architecture, of_training)),
        Column(f"{front.scored.capitalize()} {front.words.title}", _accuracy_cell, is_numeric=True),
        *(
            Column(_scored_title(front, metric), partial(_score_cell, metric), is_numeric=True)
            for metric in _scored(front)
        ),
        *(column for metric, column in values if metric in costs),
    ]
    if front.limits:
        columns.append(Column("Limits", partial(_limits_cell, front.limits)))
    if any(standing.same_as for standing in front.standings):
        columns.append(Column("Same as", lambda winner: _same_cell(standings[winner.architecture])))
    if front.table is None:
        columns.append(Column("Bundle", lambda winner: Cell(winner.folder or "–", sort=winner.folder, kind="path")))
        columns.append(Column("Throughput", _throughput_cell, is_numeric=True))
        columns.append(Column("Executed precision", _executed_cell))
    if front.gco2e_per_kwh is not None:
        columns.append(Column(CARBON, partial(_carbon_cell, front.gco2e_per_kwh), is_numeric=True))
    return PageTable.of(front, [*columns, *(column for metric, column in values if metric not in costs)])


def first_answer_table(answer: FirstAnswer) -> PageTable:
    """Return a row for each model of a search without trainings, those on its front first."""

    def measured(metric: Metric, model: Untrained) -> Cell:
        found = model.measurements.get(metric.name)
        return NOTHING if found is None else Cell(*metric_cell(metric, found), found.median)

    columns: list[Column[Untrained]] = [
        Column(
            "Model", lambda each: Cell(f"{MARKED if each.on_front else UNMARKED} {each.architecture.id}", kind="id")
        ),
        Column("Architecture", lambda each: architecture_cell(each.architecture)),
        *(Column(metric.title, partial(measured, metric), is_numeric=True) for metric in answer.metrics),
    ]
    if (known := answer.known_name) is not None:
        columns.append(Column(known, partial(_known_cell, known), is_numeric=True))
    if answer.limits:
        columns.append(Column("Limits", lambda each: Cell("met" if each.meets else "not met")))
    return PageTable.of(answer.models, columns)


def _known_cell(name: str, model: Untrained) -> Cell:
    value = model.known.get(name)
    return NOTHING if value is None else Cell(f"{value:g}", sort=value)


def _value_columns(front: Front, costs: Iterable[Metric]) -> Iterator[tuple[Metric, Column[Winner]]]:
    """Yield the columns of each metric that is not trained: ``costs`` first, then all others with values."""
    first = {metric.name: metric for metric in costs}
    named = {name for winner in front for name in (*winner.measurements, *winner.predicted)}
    for metric in {**first, **{each.name: each for each in METRICS.among([*METRICS, *sorted(named)])}}.values():
        if metric.source == "trained":
            continue
        if any(metric.name in winner.predicted for winner in front):
            yield metric, Column(f"{metric.title}, predicted", partial(_predicted_cell, metric), is_numeric=True)
        if metric.name in first or any(winner.has(metric.name) for winner in front):
            title = metric.title if metric.source in metric.title else f"{metric.title} ({metric.source})"
            if metric.source == "measured":
                title = f"{metric.title}, {wording_of(front.table).value_source}"
            yield metric, Column(title, partial(_value_cell, metric), is_numeric=True)


def _value_cell(metric: Metric, winner: Winner) -> Cell:
    text, bounds = winner.told(metric)
    found = winner.measurements.get(metric.name)
    if found is None:
        return Cell(text, bounds, winner.value(metric.name)) if winner.has(metric.name) else NOTHING
    exact = "exact" if found.interval.is_point and found.table is None else ""
    return Cell(text, exact or bounds, found.median, "flagged" if found.flags else "")


def _predicted_cell(metric: Metric, winner: Winner) -> Cell:
    guess = winner.predicted.get(metric.name)
    if guess is None:
        return NOTHING
    text, bounds = winner.foretold(metric)
    return Cell(text, bounds if guess.known else f"{bounds}, {OUTSIDE}", guess.mean)


def _id_cell(winner: Winner, standing: Standing) -> Cell:
    place = "on the front" if standing.on_front else "not on the front"
    return Cell(winner.architecture.id, place, winner.architecture.id, "id")


def _same_cell(standing: Standing) -> Cell:
    same = listed(standing.same_as) if standing.same_as else "–"
    return Cell(same, sort=same, kind="same")


def _scored(front: Front) -> list[Metric]:
    """Return the metrics beside the error that winners were tested by, the trained objective first."""
    found = METRICS.among(sorted({name for winner in front for name in winner.scores}))
    return sorted(found, key=lambda metric: metric != front.quality)


def _scored_title(front: Front, metric: Metric) -> str:
    """Return the title of a column of test scores, which names what is shown: the accuracy, not the error."""
    name = front.words.name_of(metric) if metric.bare == "error" else metric.title
    return f"{name[:1].upper()}{name[1:]}, test"


def _accuracy_cell(winner: Winner) -> Cell:
    words = winner.words
    bounds, text, shown = words.range_text(winner.test_interval), words.text(winner.test_error), winner.test_error
    bounds += "" if winner.seeds is None else f"; {winner.seeds.text(words)}"
    if winner.chance_mark:
        return Cell(text, f"{bounds}, {winner.chance_mark}", words.shown(shown), "flagged")
    return Cell(text, bounds, words.shown(shown))


def _score_cell(metric: Metric, winner: Winner) -> Cell:
    if not winner.has(metric.name):
        return NOTHING
    text, bounds = winner.told(metric)
    if metric.name == NOISE:
        bounds += "".join(f"; {name} {metric.format(each.value)}" for name, each in winner.noise.items())
    return Cell(text, bounds, winner.value(metric.name))


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
    chosen = winner.precision
    details = [*([f"{chosen} was chosen"] if chosen else []), *([detail] if detail else [])]
    return Cell(winner.executed_precision or "–", "; ".join(details), winner.executed_precision or "")


def _carbon_cell(grams_per_kwh: float, winner: Winner) -> Cell:
    grams = winner.gco2e(grams_per_kwh)
    return NOTHING if grams is None else Cell(readable(grams * 1e6, "g"), "from measured energy", grams)


def _limits_cell(limits: Iterable[Limit], winner: Winner) -> Cell:
    broken = winner.broken(limits)
    if not broken:
        return Cell("met", sort="0 met", kind="met")
    text = "not met: " + "; ".join(broken_text(winner, limit) for limit in broken)
    return Cell(text, sort=f"1 {text}", kind="broken")


FIT_COLUMNS: tuple[Column[Fit], ...] = (
    Column("Round", lambda fit: Cell(str(fit.round), sort=fit.round), is_numeric=True),
    Column(
        "Metric", lambda fit: Cell(METRICS[fit.metric].title if fit.metric in METRICS else fit.metric, sort=fit.metric)
    ),
    Column("Samples", lambda fit: Cell(str(fit.samples), sort=fit.samples), is_numeric=True),
    Column("Mean error (MAPE)", lambda fit: _share_cell(fit.held_out.mape), is_numeric=True),
    Column("Spearman", lambda fit: _correlation_cell(fit.held_out.spearman), is_numeric=True),
    Column("Kendall", lambda fit: _correlation_cell(fit.held_out.kendall), is_numeric=True),
    Column("Within 5 %", lambda fit: _share_cell(fit.held_out.within_5_percent), is_numeric=True),
    Column("Within 10 %", lambda fit: _share_cell(fit.held_out.within_10_percent), is_numeric=True),
    Column("Width of 90 % bounds", lambda fit: _width_cell(fit.held_out), is_numeric=True),
    Column("Doubts", lambda fit: _doubts_cell(fit.verdict)),
)
"""The columns of the table of the fits of predictors."""


def _doubts_cell(verdict: Sequence[str]) -> Cell:
    return Cell("not good enough", " ".join(verdict), "1", "broken") if verdict else NOTHING


def _share_cell(share: float) -> Cell:
    return Cell(per_cent(share), sort=share)


def _correlation_cell(value: float) -> Cell:
    return Cell(correlation_text(value), sort=value)


def _width_cell(held_out: HeldOutError) -> Cell:
    return Cell(width_text(held_out.width, held_out.samples), sort=held_out.width)
