"""The report's tables: winners, predictors and all rows."""

from __future__ import annotations

import pytest
from report_page import example_page, example_text
from run_record_example import NOT_GOOD_ENOUGH, energy_record, example_record

from nas.reports.candidates import OUTSIDE
from nas.reports.summary import trust_sentences
from nas.reports.tables import row_table, winner_table


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
    """The outcome of a row that an earlier run measured names that run."""
    record = energy_record()
    table = row_table(record.rows, record.front.costs)
    outcome = table.headers.index("Outcome")
    kept = [row[outcome] for row in table.rows if "measured in an earlier run" in row[outcome].detail]
    assert len(kept) == sum(bool(row.details.get("kept")) for row in record.rows) > 0
    assert {cell.text for cell in kept} == {"done"}
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
    cells = [cell for row in row_table(record.rows, record.front.costs).rows for cell in row]
    assert sum(OUTSIDE in cell.detail for cell in cells) == unknown
    hovers = [
        line for trace in example_page().figures["front-latency_ms"]["data"] for line in trace.get("hovertext", ())
    ]
    assert 0 < sum(OUTSIDE in line for line in hovers) < len(hovers)
