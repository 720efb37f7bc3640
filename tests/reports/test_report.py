"""The report: one inert, self-contained page for every outcome of a run, and the sentences on it."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from report_page import HOSTILE, OUTCOMES, Page, column, counts, example_page, example_text, hostile_record, ids
from run_record_example import energy_record, example_record

from nas.reports.comparison import render_comparison
from nas.reports.report import headline, render_report, write_report
from nas.storage.journal_rows import Fit
from nas.values.evaluation import PredictedValue
from nas.values.held_out import HeldOutError
from nas.values.objective import Limit


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_renders_with_a_whole_document(outcome: str) -> None:
    """Each architecture has its id and its choices, and each plot has its place."""
    record = OUTCOMES[outcome]()
    page = Page(render_report(record))
    document = page.document
    architectures = {row.architecture.id: row.architecture for row in record.rows}
    assert ids(document) == list(architectures)
    for choice in document["choices"]:
        for architecture, place in zip(architectures.values(), counts(choice["of"]), strict=True):
            shown = choice["options"][place - 1] if place else None
            assert shown == (str(architecture[choice["name"]]) if choice["name"] in architecture else None)
    places = {attributes.get("id") for tag, attributes in page.tags if tag == "div"}
    assert ("front-plot" in places) == bool(architectures)
    assert {check["id"] for check in document["checks"]} <= places


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (
            "example",
            "4 winners on onnxruntime-cpu:fp32:batch=1:threads=1: the best has 97.55 % test accuracy at 0.4054 ms, "
            "within latency ≤ 0.5 ms.",
        ),
        ("no rows", "Nothing has been recorded yet"),
        (
            "no winners",
            "No winners yet on onnxruntime-cpu:fp32:batch=1:threads=1: 32 trained (3 failed) and 23 measured so far.",
        ),
        ("over without winners", ": 32 trained (3 failed), 23 measured and 4 chosen as winners failed."),
        ("all failed", "all 68 evaluations failed; the most frequent failure is 'nan' (68)"),
        (
            "limits met by none",
            "4 models were tested on onnxruntime-cpu:fp32:batch=1:threads=1, but none meets latency ≤ 0.01 ms. "
            "The closest is d2b5ceeea440: latency 0.1571 ms > 0.01 ms.",
        ),
        ("no measurements", "latency unknown"),
        ("only error", "the best has 98.05 % test accuracy."),
    ],
)
def test_the_headline_says_the_result(outcome: str, words: str) -> None:
    """A run without winners has a headline too."""
    assert words in headline(OUTCOMES[outcome]())


@pytest.mark.parametrize("outcome", ["example", "four objectives", "hostile"])
def test_the_page_loads_nothing(outcome: str) -> None:
    """The page names no address but that of SVG, its policy allows none, and links lead to bundles alone."""
    text = render_report(OUTCOMES[outcome]())
    assert set(re.findall(r"https?://[^\s\"'`<]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(", text)
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("img", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes
        assert "style" not in attributes
        href = attributes.get("href") or "data:,"
        assert href in ("data:,", "#the-front") or href.startswith("./")
        assert not any(name.startswith("on") for name in attributes)
    for winner in page.document["winners"]:
        assert winner["link"] is None or winner["link"].startswith("./")
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_recorded_text_is_inert() -> None:
    """Hostile names, options, reasons, folders and notes appear as text and never become elements."""
    text = render_report(hostile_record())
    page = Page(text)
    assert page.count("script") == example_page().count("script") > 3
    assert page.count("img") == 0
    assert "<script>window" not in text
    assert HOSTILE in " ".join(page.words)
    raw = text[text.index('id="document">') + len('id="document">') :]
    assert not set("<>&") & set(raw[: raw.index("</script>")])
    document = page.document
    assert any(choice["name"] == HOSTILE for choice in document["choices"])
    assert [HOSTILE, HOSTILE] in document["rows"]["failures"]
    assert HOSTILE in document["doubts"]


def test_every_number_in_the_page_is_the_journals() -> None:
    """The page's columns hold the very floats: values with intervals, and predictions with bounds."""
    record = example_record()
    document = Page(render_report(record)).document
    columns = {
        name: {key: column(document, packed) for key, packed in found.items()}
        for name, found in document["columns"].items()
    }
    winners = {winner.architecture.id: winner for winner in record.front}
    checked = 0
    for place, id_ in enumerate(ids(document)):
        rows = [row for row in record.rows if row.architecture.id == id_]
        measured = [row.measurements["latency_ms"] for row in rows if "latency_ms" in row.measurements]
        predicted = [row.predicted["latency_ms"] for row in rows if "latency_ms" in row.predicted]
        trained = [row.values["error"] for row in rows if row.stage == "train" and not row.failed]
        latency, error = columns["latency_ms"], columns["error"]
        if measured:
            found = measured[-1]
            assert latency["found"][place] == found.median
            assert (latency["low"][place], latency["high"][place]) == (found.interval.lower, found.interval.upper)
        else:
            assert math.isnan(latency["found"][place])
        if predicted:
            guess = predicted[-1]
            keys = ("mean", "lower", "upper")
            assert [latency[key][place] for key in keys] == [guess.mean, guess.lower, guess.upper]
        if id_ in winners:
            assert error["found"][place] == winners[id_].test_error
            interval = winners[id_].test_interval
            assert (error["low"][place], error["high"][place]) == (interval.lower, interval.upper)
        elif trained:
            assert error["found"][place] == trained[-1]
        checked += bool(measured) + bool(predicted) + bool(trained)
    assert checked > 50


def test_every_evaluation_is_in_the_page() -> None:
    """Its architecture, stage, round, error, epochs and failure can be read there."""
    record = example_record()
    document = Page(render_report(record)).document
    rows, names = document["rows"], ids(document)
    errors = column({"count": len(record.rows)}, rows["error"])
    for number, row in enumerate(record.rows):
        assert names[counts(rows["of"])[number]] == row.architecture.id
        assert document["run"]["stages"][counts(rows["stage"])[number]] == row.stage
        assert counts(rows["round"])[number] == row.round
        ended = counts(rows["ended"])[number]
        if row.failure is not None:
            assert rows["failures"][ended - 2] == [row.failure.kind, row.failure.reason]
        else:
            assert ended == (0 if row.reached_full_fidelity else 1)
            error = row.details.get("test_error", row.values.get("error", math.nan))
            assert errors[number] == error or math.isnan(error)


def test_the_cost_of_the_search_stands_in_the_report() -> None:
    """Times are readable, and the reason for a missing energy is given."""
    text = Page(render_report(energy_record())).text
    assert "Cost of the search time 15 min 24 s time of the device 1 min 01 s energy not measured" in text
    assert "only root may read it" in text
    for words in ("RAPL package-0", "idle 5.1 W", "window 2.02 s", "peak 800 GMAC/s", "bandwidth 6 GB/s"):
        assert words in text


def test_doubts_conditions_and_failures_are_shown() -> None:
    """The page has flags, conditions with ranges, held-out errors, the funnel and each failure's reason."""
    text = example_page().text
    for words in (
        "the machine stayed busy: pressure 0.31",
        "Example CPU @ 2.60 GHz",
        "onnxruntime 1.32.0",
        "0.01 to 0.195",
        "executed operators Conv, Gemm",
        "On 24 held-out measured architectures, the last latency predictor was off by 5.0 % on average. "
        "Its 90 % bounds reach 10 % to each side.",
        "For 4 of 4 winners, the measured latency lies within the predicted 90 % bounds.",
        "23 finished, 9 stopped early, 3 failed (nan: 3)",
        "10 min 11 s",
        'name = "digits"',
    ):
        assert words in text


def test_values_that_are_not_finite_do_not_break_the_page() -> None:
    """Unbounded predictions and an undefined rank correlation do not break the page."""
    record = example_record(limits=())
    rows = tuple(
        replace(row, predicted={"latency_ms": PredictedValue(0.3, -math.inf, math.inf, math.inf)})
        if row.predicted
        else row
        for row in record.rows
    )
    fits = (Fit(0, "latency_ms", HeldOutError(5, 0.1, math.nan, math.nan, 0.2, 0.5, 1.0, math.inf)),)
    page = Page(render_report(replace(record, rows=rows, fits=fits)))
    assert "inf ms" in page.text
    assert math.inf in column(page.document, page.document["columns"]["latency_ms"]["upper"])


def test_a_report_is_a_function_of_its_record() -> None:
    """The same run gives the same bytes."""
    assert render_report(example_record()) == example_text()


def test_writing_replaces_the_report_at_once(tmp_path: Path) -> None:
    """Folders are created, the old report is replaced, and no temporary file remains, even after a failure."""
    path = tmp_path / "run" / "report.html"
    record = replace(example_record(with_winners=False), name="lone surrogate \udc80")
    write_report(path, record)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    before = path.read_bytes()
    broken = replace(record, limits=(Limit.parse("latency_ms <= 1ms"),), rows=(None,))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        write_report(path, broken)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("starts", "words"),
    [
        ((None,), "was retrained from scratch, exported"),
        (("space",), "was fine-tuned from the weights that its space gives, exported"),
        (("supernet",), "was fine-tuned from the shared weights, exported"),
        ((None, "winner"), "was retrained from scratch or trained further from the winner before it, exported"),
    ],
)
def test_the_page_says_with_which_weights_winners_began(starts: tuple[str | None, ...], words: str) -> None:
    """As each one's own retraining tells; that of a candidate that failed tells nothing."""
    record, number = example_record(), 0
    rows = []
    for row in record.rows:
        if row.stage == "retrain":
            start = "supernet" if row.failed else starts[min(number, len(starts) - 1)]
            number += not row.failed
            row = replace(row, details={**row.details, **({} if start is None else {"start": start})})
        rows.append(row)
    assert f"Each winner {words}" in Page(render_report(replace(record, rows=tuple(rows)))).text


def test_the_page_says_that_winners_have_fitted_heads() -> None:
    """On weights that were given: nothing of them was tuned."""
    record, fitted = example_record(), {"start": "space", "fitted": True}
    rows = tuple(
        replace(row, details={**row.details, **fitted}) if row.stage == "retrain" and not row.failed else row
        for row in record.rows
    )
    words = "Each winner was given a fitted head on the weights that its space gives, exported"
    assert words in Page(render_report(replace(record, rows=rows))).text


@pytest.mark.slow
def test_errors_that_do_not_come_from_training_are_never_called_trained() -> None:
    """Tile, funnel, table and caption name their origin, and a paragraph says how reliable they are."""
    record = example_record()
    rows = tuple(
        replace(row, details={**row.details, "by": "supernet"}) if row.stage == "train" and not row.failed else row
        for row in record.rows
    )
    found = {"Spearman": 0.3, "Kendall": 0.2, "Spearman of multiply-accumulates alone": 0.6}
    note = {"evaluated": "by shared weights", "architectures": 6, "verdict": "poor: below 0.5", **found}
    page = Page(render_report(replace(record, rows=rows, notes={**record.notes, "agreement with training": note})))
    text = " ".join(page.words)
    assert "candidates evaluated" in text
    assert "candidates trained" not in text
    assert "Candidates were not trained, but evaluated by shared weights." in text
    assert "Spearman correlation of 0.30" in text
    assert "This agreement is poor: below 0.5, so the search has probably missed good candidates." in text
    document = page.document
    told = document["run"]
    estimated = {row.architecture.id for row in rows if row.stage == "train" and not row.failed}
    ways = [document["ways"][place] for place in counts(document["by"])]
    found = {id_ for id_, way in zip(ids(document), ways, strict=True) if way == "by shared weights"}
    assert found == estimated
    assert set(ways) == {"", "by shared weights"}
    assert "Candidates were not trained: their errors were estimated by shared weights." in told["words"]["caption"]
    assert "trained" not in {told["outcomes"][place] for place in counts(page.document["outcomes"])}
    assert "Evaluated" in text
    estimated_by = "were not trained: their errors were estimated by shared weights."
    assert text.count(f"Candidates {estimated_by}") >= 2
    several = replace(record, rows=rows, name="shared")
    assert f"Candidates of shared {estimated_by}" in Page(render_comparison([record, several])).text
    unfinished = replace(record, rows=tuple(row for row in rows if row.stage in ("measure", "train")))
    assert "evaluated (3 failed) and" in headline(unfinished)
    unchecked = {"evaluated": "by zero-cost scores", "architectures": 0, "verdict": "nobody knows."}
    assert "but evaluated by zero-cost scores. Nobody knows." in " ".join(
        Page(render_report(replace(record, notes={"agreement with training": unchecked}))).words
    )
