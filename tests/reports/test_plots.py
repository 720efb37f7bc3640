"""The report's plots: error bars, limits, and one axis for one kind of value."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_page import OUTCOMES, Page, example_page, without_plotly
from run_record_example import energy_record, example_record

from nas.reports import plots
from nas.reports.candidates import candidates_of
from nas.reports.report import render_report
from nas.reports.tables import evaluation_table, winner_table
from nas.values.evaluation import PredictedValue
from nas.values.metric import METRICS


def test_error_bars_are_on_both_axes() -> None:
    """Winners show measured and test intervals; candidates that were only predicted show bounds and are hollow."""
    traces = {trace["name"]: trace for trace in example_page().figures["front-latency_ms"]["data"]}
    winners = traces["winners, measured (4)"]
    assert all(length > 0 for axis in ("error_x", "error_y") for length in winners[axis]["array"])
    assert all(length > 0 for axis in ("error_x", "error_y") for length in winners[axis]["arrayminus"])
    assert any(length > 0 for length in traces["candidates, measured (15)"]["error_x"]["array"])
    predicted = traces["candidates, predicted (8)"]
    assert predicted["marker"]["symbol"] == "circle-open"
    assert all(length > 0 for length in predicted["error_x"]["array"])
    assert "stopped early (9)" in traces
    assert traces["front"]["line"]["shape"] == "hv"


def test_predictions_are_shown_against_measurements() -> None:
    """Each candidate and winner appears once, correct predictions are counted, and known winners stand apart."""
    record = example_record()
    rows = [row for row in record.rows if row.stage != "measure"]
    winners = [row for row in rows if row.stage == "winner"]
    measured = [row for row in record.rows if row.stage == "measure" and not row.failed]
    guess = {"latency_ms": PredictedValue(0.3, 0.1, 1.0, 0.9)}
    rows = [*(replace(row, predicted=guess if row.round else {}) for row in measured), *rows]
    rows[:0] = [replace(row, stage="measure", predicted={}) for row in winners[:1]]
    rows[:0] = [replace(row, stage="measure") for row in winners[1:]]
    page = Page(without_plotly(render_report(replace(record, rows=tuple(rows)))))
    names = [trace["name"] for trace in page.figures["check-latency_ms"]["data"]]
    later = sum(row.round > 0 for row in measured)
    assert names[1:] == [f"candidates ({later})", "winners the predictor was fitted to (1)", "winners (3)"]
    in_bounds = 3 + sum(row.round > 0 and row.measurements["latency_ms"].median >= 0.1 for row in measured)
    near = sum(row.round > 0 and abs(0.3 / row.measurements["latency_ms"].median - 1) <= 0.1 for row in measured)
    assert (
        f"Of {later + 3} points predicted before measuring, {in_bounds} lie within the 90 % bounds and {near + 3} "
        "within ±10 % of the measured value. Not counted: 1 hollow point, a winner that the predictor had been fitted "
        "to."
    ) in page.text
    assert "Of 4 points predicted before measuring, 4 lie" in example_page().text


def test_limits_are_labelled_lines() -> None:
    """Each limit has a line and a label; a limit outside the plot becomes a sentence."""
    page = Page(without_plotly(render_report(OUTCOMES["four objectives"]())))
    layout = page.figures["front-latency_ms"]["layout"]
    assert [label["text"].strip() for label in layout["annotations"]] == ["latency ≤ 0.5 ms", "accuracy ≥ 95 %"]
    assert len(layout["shapes"]) == 2
    far = Page(without_plotly(render_report(OUTCOMES["limit far off"]())))
    assert far.figures["front-latency_ms"]["layout"]["annotations"] == []
    assert "lies to the right of the plotted range" in far.text


def test_measured_and_modelled_never_share_an_axis() -> None:
    """Modelled energy has its own plot, which says so and has no measured intervals."""
    figures = Page(without_plotly(render_report(OUTCOMES["four objectives"]()))).figures
    assert {"front-latency_ms", "front-params", "front-modelled_energy_mj"} <= set(figures)
    energy = figures["front-modelled_energy_mj"]
    assert energy["layout"]["xaxis"]["title"]["text"] == "Energy (modelled), mJ"
    names = [trace["name"] for trace in energy["data"]]
    assert not any("measured" in name or "predicted" in name for name in names)
    assert not any("error_x" in trace for trace in energy["data"])


def test_many_candidates_have_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bars of hundreds would hide the winners, whose bars stay; the caption says so."""
    monkeypatch.setattr(plots, "MOST_WITH_BARS", 10)
    record = example_record()
    plot = plots.front_plot(record.front, candidates_of(record.rows), METRICS["latency_ms"])
    with_bars = [trace["name"] for trace in plot.figure["data"] if "error_x" in trace]
    assert with_bars == ["winners, measured (4)"]
    assert "Candidates have none here, because they are many." in plot.caption


COSTS_OF_ENERGY = ("energy_mj", "modelled_energy_mj")


def test_measured_and_modelled_energy_share_neither_a_plot_nor_a_column() -> None:
    """If both are minimised, each has an axis and a column that name its source."""
    record = energy_record()
    figures = Page(without_plotly(render_report(record))).figures
    titles = {name: figures[f"front-{name}"]["layout"]["xaxis"]["title"]["text"] for name in COSTS_OF_ENERGY}
    assert titles == {"energy_mj": "Energy, mJ", "modelled_energy_mj": "Energy (modelled), mJ"}
    names = {name: [trace["name"] for trace in figures[f"front-{name}"]["data"]] for name in COSTS_OF_ENERGY}
    assert any("measured" in name for name in names["energy_mj"])
    assert not any("measured" in name for name in names["modelled_energy_mj"])
    for table in (
        winner_table(record.front, record.front.costs),
        evaluation_table(record.rows, record.front.costs).table,
    ):
        measured, modelled = (table.headers.index(h) for h in ("Energy, measured", "Energy (modelled)"))
        for row in table.rows:
            assert row[measured].sort is None or row[measured].sort != row[modelled].sort
        assert any(row[measured].sort for row in table.rows)
        assert not any(row[modelled].detail for row in table.rows)
