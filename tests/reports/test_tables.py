"""The report's tables: winners, predictors and all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from report_page import Page, example_page, example_text, without_plotly
from run_record_example import NOT_GOOD_ENOUGH, architecture_at, energy_record, example_record

from nas.reports import tables
from nas.reports.candidates import OUTSIDE
from nas.reports.report import render_report
from nas.reports.summary import trust_sentences
from nas.reports.tables import evaluation_table, winner_table
from nas.values.evaluation import Evaluation, Failure
from nas.values.metric import Metric


def test_an_int8_winner_shows_what_ran_and_its_accuracy_before_deploying() -> None:
    """Its row also has the throughput with the share of the peak, and the carbon from measured energy."""
    record = energy_record()
    table = winner_table(record.front, record.front.costs)
    winner, cells = record.front.winners[0], dict(zip(table.headers, table.rows[0], strict=True))
    assert winner.exported_test_error is not None
    before = f"{100 * (1 - winner.exported_test_error):.2f} %"
    assert cells["Executed precision"].text == "int8"
    assert cells["Executed precision"].detail == f"{before} in fp32, before deployment"
    assert cells["Test accuracy"].text != before
    latency, energy = winner.measurements["latency_ms"], winner.measurements["energy_mj"]
    assert cells["Throughput"].sort == pytest.approx(1000 / latency.median)
    assert cells["Throughput"].detail.endswith(" % of the measured peak")
    assert cells["CO2e per million inferences"].sort == pytest.approx(energy.median / 1000 / 3.6e6 * 390)
    assert "CO2e per million inferences" not in winner_table(example_record().front, record.front.costs).headers


def stages_of(rows: Sequence[Evaluation], costs: Sequence[Metric]) -> list[str]:
    table = evaluation_table(rows, costs).table
    return [stage for row in table.rows for cell in row for stage in cell.stages]


def test_kept_measurements_say_so() -> None:
    """The stage of an architecture that an earlier run measured names that run."""
    record = energy_record()
    kept = [text for text in stages_of(record.rows, record.front.costs) if "measured in an earlier run" in text]
    assert len(kept) == sum(bool(row.details.get("kept")) for row in record.rows) > 0
    assert all(text.startswith("measure, round ") for text in kept)
    assert "measured in an earlier run" not in example_page().text


def test_winners_stand_in_a_sortable_table() -> None:
    """Headings are buttons with aria-sort, cells carry sort keys, and limits are explained in words."""
    page = example_page()
    headings = [attributes for tag, attributes in page.tags if tag == "th"]
    assert headings
    assert all(attributes["aria-sort"] == "none" for attributes in headings)
    assert page.count("button") == len(headings)
    assert all("data-sort" in attributes for tag, attributes in page.tags if tag == "td")
    assert 'setAttribute("aria-sort"' in example_text()
    for words in ("Latency, predicted", "Latency, measured", "not met: latency 0.4965 ms", "on the front"):
        assert words in page.text
    assert "stage1.op" in page.words


def test_the_predictors_of_each_round_are_judged() -> None:
    """A row has every figure and the doubts; the last predictor's doubts are also among the trust sentences."""
    record = example_record()
    text = example_page().text
    for words in ("Kendall", "0.840", "Within 5 %", "50.0 %", "Width of 90 % bounds", "30.0 %", "not good enough"):
        assert words in text
    assert text.count(NOT_GOOD_ENOUGH) == 1
    assert NOT_GOOD_ENOUGH not in trust_sentences(record.front, record.fits)
    assert NOT_GOOD_ENOUGH in trust_sentences(record.front, record.fits[:1])


def test_a_prediction_for_an_unknown_kind_of_architecture_is_marked() -> None:
    """The table and the tooltip mark it; other predictions are not marked."""
    record = example_record()
    unknown = sum(not p.known for row in record.rows for p in row.predicted.values())
    assert 0 < unknown < len(record.rows) / 2
    stages = stages_of(record.rows, record.front.costs)
    assert sum(OUTSIDE in text for text in stages) == unknown
    hovers = [
        line for trace in example_page().figures["front-latency_ms"]["data"] for line in trace.get("hovertext", ())
    ]
    assert 0 < sum(OUTSIDE in line for line in hovers) < len(hovers)


def test_an_architecture_has_one_row_of_one_line_with_its_stages_inside() -> None:
    """The row has the values known last; a click shows each evaluation with its interval, split and reason."""
    record = example_record()
    found = evaluation_table(record.rows, record.front.costs)
    architectures = {row.architecture.id for row in record.rows}
    assert [row[0].text for row in found.table.rows] != []
    assert {row[0].text for row in found.table.rows} == architectures
    assert len(found.table.rows) == len(architectures)
    assert found.left_out == 0
    assert not any(cell.detail for row in found.table.rows for cell in row)
    best = min(record.front, key=lambda winner: winner.test_error)
    first = dict(zip(found.table.headers, found.table.rows[0], strict=True))
    assert first["Architecture"].text == best.architecture.id
    assert first["Outcome"].text == "winner"
    assert first["Latency, measured"].sort == best.measurements["latency_ms"].median
    stages = first["Choices and stages"].stages
    assert any(text.startswith("winner, round 3: done; error ") and "(test)" in text for text in stages)
    failed = [row for row in found.table.rows if row[2].kind == "broken"]
    assert {"train: failed: nan", "retrain: failed: timeout"} <= {row[2].text for row in failed}
    assert found.table.rows[-len(failed) :] == tuple(failed)
    assert any("the loss became NaN in epoch 2" in text for row in failed for text in row[1].stages)


def test_a_long_run_lists_winners_failures_and_the_lowest_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out is counted, and the page says so."""
    monkeypatch.setattr(tables, "MOST_LISTED", 12)
    monkeypatch.setattr(tables, "MOST_FAILED", 2)
    record = example_record()
    found = evaluation_table(record.rows, record.front.costs)
    assert len(found.table.rows) == 12
    assert found.left_out == len({row.architecture for row in record.rows}) - 12
    outcomes = [row[2].text for row in found.table.rows]
    assert outcomes[: len(record.front)] == ["winner"] * len(record.front)
    assert sum("failed" in text for text in outcomes) == 2
    text = Page(without_plotly(render_report(record))).text
    assert f"{found.left_out} architectures with higher errors or failures are left out here" in text


def test_failures_fill_the_places_that_others_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left out of a table that has room for it."""
    monkeypatch.setattr(tables, "MOST_FAILED", 2)
    why = Failure("nan", "it broke")
    failed = [Evaluation("train", architecture_at(3, head=head), failure=why) for head in range(9)]
    found = evaluation_table(failed, ())
    assert (len(found.table.rows), found.left_out) == (9, 0)
    monkeypatch.setattr(tables, "MOST_LISTED", 6)
    found = evaluation_table(failed, ())
    assert (len(found.table.rows), found.left_out) == (6, 3)


def test_the_last_training_of_an_architecture_gives_its_error() -> None:
    """As it does for the search."""
    rows = [Evaluation("train", architecture_at(3), values={"error": error}) for error in (0.5, 0.2)]
    table = evaluation_table(rows, ()).table
    assert table.rows[0][table.headers.index("Error")].sort == 0.2


def test_winners_that_cannot_be_told_apart_are_said_to_be_the_same() -> None:
    """The column is there only where it says something."""
    record = example_record()
    assert "Same as" not in winner_table(record.front, record.front.costs).headers
    twin = replace(record.rows[-1], architecture=architecture_at(12, head=99))
    front = replace(record, rows=(*record.rows, twin)).front
    table = winner_table(front, front.costs)
    cells = {row[0].text: row[table.headers.index("Same as")].text for row in table.rows}
    assert cells[twin.architecture.id] == record.rows[-1].architecture.id
    assert cells[record.rows[-1].architecture.id] == twin.architecture.id
