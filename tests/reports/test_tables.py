"""The report's tables: winners, predictors and all rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_page import Page, counts, example_page, example_text, ids
from run_record_example import NOT_GOOD_ENOUGH, architecture_at, energy_record, example_record

from nas.reports.page.trust import trust_answers
from nas.reports.report import render_report
from nas.reports.tables import winner_table
from nas.results.records import records_of
from nas.values.evaluation import Evaluation, Failure


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


def test_kept_measurements_say_so() -> None:
    """The page's document names the evaluations whose measurements an earlier run made."""
    record = energy_record()
    kept = counts(Page(render_report(record)).document["rows"]["kept"])
    assert kept == [place for place, row in enumerate(record.rows) if row.details.get("kept")]
    assert kept


def test_winners_stand_in_a_sortable_table() -> None:
    """Headings are buttons with aria-sort, cells carry sort keys, and limits are explained in words."""
    page = example_page()
    first, second, *_ = [place for place, (tag, _) in enumerate(page.tags) if tag == "table"]
    table = page.tags[first:second]
    headings = [attributes for tag, attributes in table if tag == "th"]
    assert headings
    assert all(attributes["aria-sort"] == "none" for attributes in headings)
    assert all("data-sort" in attributes for tag, attributes in table if tag == "td")
    assert [tag for tag, _ in table].count("button") >= len(headings)
    assert 'setAttribute("aria-sort"' in example_text()
    for words in ("Latency, predicted", "Latency, measured", "not met: latency 0.4965 ms", "on the front"):
        assert words in page.text
    assert "stage1.op" in page.words


def test_the_predictors_of_each_round_are_judged() -> None:
    """A row has every figure and the doubts; the last predictor's doubts are also among the answers about trust."""
    record = example_record()
    text = example_page().text
    for words in ("Kendall", "0.840", "Within 5 %", "50.0 %", "Width of 90 % bounds", "30.0 %", "not good enough"):
        assert words in text
    assert text.count(NOT_GOOD_ENOUGH) == 1
    for fits, is_told in ((record.fits, False), (record.fits[:1], True)):
        told = " ".join(answer.sentence for answer in trust_answers(record.front, fits, record.rows))
        assert (NOT_GOOD_ENOUGH in told) == is_told


def test_a_prediction_for_an_unknown_kind_of_architecture_is_marked() -> None:
    """The page's document names the metrics; other predictions are not marked."""
    record = example_record()
    document = example_page().document
    last = {row.architecture.id: row.predicted for row in record.rows if row.predicted}
    unknown = {id_ for id_, found in last.items() if not all(guess.known for guess in found.values())}
    assert {ids(document)[int(place)] for place in document["unlike"]} == unknown
    assert 0 < len(unknown) < len(last) / 2


def test_each_architecture_has_one_outcome() -> None:
    """That of its furthest stage: a winner, a whole or stopped training, no error, or a failure."""
    record = example_record()
    document = example_page().document
    outcomes = [document["run"]["outcomes"][place] for place in counts(document["outcomes"])]
    by_id = dict(zip(ids(document), outcomes, strict=True))
    last = {row.architecture.id: row for row in record.rows}
    assert {id_ for id_, outcome in by_id.items() if outcome == "winner"} == {w.architecture.id for w in record.front}
    assert {id_ for id_, outcome in by_id.items() if outcome == "failed"} == {
        i for i, row in last.items() if row.failed
    }
    stopped = {row.architecture.id for row in record.rows if row.details.get("stopped_early")}
    assert {id_ for id_, outcome in by_id.items() if outcome == "stopped early"} == stopped


def test_the_last_training_of_an_architecture_gives_its_error() -> None:
    """As it does for the search."""
    rows = [Evaluation("train", architecture_at(3), values={"error": error}) for error in (0.5, 0.2)]
    (record,) = records_of(rows)
    assert record.training is rows[1]
    (record,) = records_of([*rows, replace(rows[1], failure=Failure("nan", "it broke"), values={})])
    assert record.training is None
    assert record.outcome == "failed"


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
