"""The report in a real browser: every control by click and by key, and what it shows for every outcome of a run."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from awkward_fronts import AWKWARD_FRONTS
from judged_winners import rows_of
from opened_report import IN_BROWSER, Opened, first_column
from report_page import HOSTILE, OUTCOMES, hostile_record
from run_record_example import architecture_at, example_record

from nas.results.run import Run
from nas.values.metric import METRICS

pytestmark = IN_BROWSER


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_opens_without_an_error(outcome: str, browser: Any, tmp_path: Path) -> None:
    """Nothing is fetched, no hostile script runs, and the page never scrolls sideways, also on a phone."""
    opened = Opened(browser, tmp_path, OUTCOMES[outcome]())
    for width in (1280, 390):
        opened.tab.set_viewport_size({"width": width, "height": 800})
        opened.tab.wait_for_timeout(60)
        assert opened.tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert opened.tab.evaluate("window.hit") is None
    opened.is_sound()
    opened.context.close()


def test_a_click_and_a_key_open_a_card(opened: Opened) -> None:
    """Arrows go along the winners, Enter opens one, Escape closes it; a click on a point does the same."""
    record, tab = example_record(), opened.tab
    leftmost = min(record.front, key=lambda winner: winner.value("latency_ms"))
    tab.focus("#front-plot .stage")
    tab.keyboard.press("ArrowRight")
    assert leftmost.architecture.id in opened.text("#front-plot [role=status]")
    tab.keyboard.press("Enter")
    assert opened.text("#card-title") == f"Architecture {leftmost.architecture.id}"
    assert METRICS["latency_ms"].format(leftmost.value("latency_ms")) in opened.text("#card")
    assert f"card={leftmost.architecture.id}" in opened.address
    tab.keyboard.press("Escape")
    assert not tab.is_visible("#card")
    assert "card=" not in opened.address
    box = tab.locator("#front-plot .stage").bounding_box()
    place = tab.evaluate(
        "(i) => { const { value } = Page.run.columns('latency_ms'); const error = Page.run.columns('error').value;"
        " const { toX, toY } = Page.frontPlot.frame; return [toX(value[i]), toY(error[i])]; }",
        tab.evaluate("Page.run.best"),
    )
    tab.mouse.click(box["x"] + place[0], box["y"] + place[1])
    assert opened.text("#card-title") == f"Architecture {record.front.best.architecture.id}"
    tab.click("#card .close")
    assert not tab.is_visible("#card")


def test_the_axes_can_be_any_two_metrics(opened: Opened) -> None:
    """Selects and boxes change them, the address keeps them, and failed ones are shown on request."""
    tab = opened.tab
    assert "failed" not in opened.text("#front-plot .legend")
    tab.check("#show-failed")
    assert "failed" in opened.text("#front-plot .legend")
    tab.uncheck("#show-failed")
    tab.select_option("#axis-x", "params")
    tab.focus("#show-logx")
    tab.keyboard.press("Space")
    assert "Parameters (counted)" in opened.tab.locator("#front-plot .stage svg >> nth=1").text_content()
    assert opened.address == "x=params&logx=1"
    opened.open("#x=macs&y=params&logy=1")
    labels = opened.tab.locator("#front-plot .stage svg >> nth=1").text_content()
    assert "Multiply-accumulates" in labels
    assert "Parameters" in labels
    assert tab.is_checked("#show-logy")


def expected(record: Run, most: float) -> str | None:
    """Return the id of the winner with the lowest test error whose measured interval ends within a latency."""
    within = [winner for winner in record.front if winner.upper("latency_ms") <= most]
    return min(within, key=lambda winner: winner.test_error).architecture.id if within else None


def test_a_budget_names_what_is_shipped_before_what_the_test_likes(browser: Any, tmp_path: Path) -> None:
    """The search chose it among winners that the run's limits leave; a budget without it has the other one."""
    rows = (*rows_of(3, 0.3, {"error": 0.1}), *rows_of(1, 0.1, {"error": 0.2}))
    run = replace(example_record(), rows=rows, limits=())
    best, other = (architecture_at(number).id for number in (3, 1))
    opened = Opened(browser, tmp_path, run)
    assert opened.text("#budget .answer").startswith(best)
    assert f"The search chose it. On the test {other} has 90.00 %, 20.00 points" in opened.text("#budget .result")
    assert "No other winner is better by its test" in opened.text("#budget .result")
    opened.tab.fill("#most-latency_ms", "3 ms")
    opened.tab.keyboard.press("Enter")
    assert opened.text("#budget .answer").startswith(other)
    assert "The search chose it" not in opened.text("#budget .result")
    opened.context.close()


def test_a_budget_names_the_best_model_at_once(opened: Opened) -> None:
    """By field and by slider; the next step up has its price, and the address brings the budget back."""
    record, tab = example_record(), opened.tab
    for most in (0.5, 0.45, 0.3, 0.2):
        tab.fill("#most-latency_ms", f"{most} ms")
        tab.keyboard.press("Enter")
        best = expected(record, most)
        assert best is not None
        assert opened.text("#budget .answer").startswith(best)
        assert tab.input_value("#most-latency_ms") == f"{most} ms"
    better = [
        w for w in record.front if w.test_error < next(x.test_error for x in record.front if x.architecture.id == best)
    ]
    step = min(better, key=lambda winner: winner.upper("latency_ms"))
    assert f"Next step up: {step.architecture.id}" in opened.text("#budget .result")
    assert METRICS["latency_ms"].format(step.upper("latency_ms")) in opened.text("#budget .result")
    assert opened.address == "b.latency_ms=0.2"
    opened.open("#b.latency_ms=0.3")
    assert opened.text("#budget .answer").startswith(expected(record, 0.3) or "?")
    tab.focus("#budget-latency_ms")
    for _ in range(400):
        tab.keyboard.press("ArrowLeft")
    assert opened.text("#budget .answer") == "No winner is within this budget."
    tab.keyboard.press("End")
    whole = min(record.front, key=lambda winner: winner.test_error)
    assert opened.text("#budget .answer").startswith(whole.architecture.id)
    tab.fill("#most-latency_ms", "300 us")
    tab.keyboard.press("Enter")
    assert opened.text("#budget .answer").startswith(expected(record, 0.3) or "?")
    tab.fill("#most-latency_ms", "fast")
    tab.keyboard.press("Enter")
    assert "Write a number, with one of" in opened.text("#budget .limits")


def test_two_can_be_compared(opened: Opened) -> None:
    """Boxes in the table and a button on the card choose them; what differs comes first, with a verdict."""
    record, tab = example_record(), opened.tab
    first, second = sorted(record.front.winners, key=lambda winner: winner.value("latency_ms"))[:2]
    tab.check(f'#architectures input[aria-label="Compare {first.architecture.id}"]')
    assert "Choose one more" in opened.text("#compare")
    tab.click(f"#architectures button:text('{second.architecture.id}')")
    tab.click("#card-pick")
    tab.keyboard.press("Escape")
    text = opened.text("#compare")
    assert f"{second.architecture.id} against {first.architecture.id}" in text
    ratio = second.value("latency_ms") / first.value("latency_ms") - 1
    low, high = (float(part) for part in text.partition("latency: ")[2].partition(" %")[0].split(" to "))
    assert low / 100 < ratio < high / 100
    assert "% slower" in text
    assert text.index("Choices that differ") < text.index("The same in all")
    assert opened.address == f"compare={first.architecture.id}%2C{second.architecture.id}"
    tab.click(f'#compare button[aria-label="Remove {first.architecture.id}"]')
    assert not tab.is_checked(f'#architectures input[aria-label="Compare {first.architecture.id}"]')


def test_options_filter_everything(opened: Opened) -> None:
    """A press on an option, by click or by key, keeps the architectures that have it; another press undoes it."""
    record, tab = example_record(), opened.tab
    if not tab.evaluate("document.querySelector('#filters details').open"):
        tab.click("#filters summary")
    button = '#filters button[data-choice="stage1.op"] >> nth=0'
    option = tab.inner_text(button).split()[0]
    having = {row.architecture.id for row in record.rows if row.architecture["stage1.op"] == option}
    total = len({row.architecture.id for row in record.rows})
    tab.click(button)
    assert f"{len(having)} of {total} architectures" in opened.text("#architectures")
    assert f"{len(having)} of {total} architectures pass the filter" in opened.text("#filters")
    assert "c.stage1.op=" in opened.address
    tab.focus(button)
    tab.keyboard.press("Enter")
    assert f"{total} of {total} architectures" in opened.text("#architectures")
    labels = tab.locator("#parallel button.mark")
    assert labels.count() > 4
    labels.nth(0).click()
    assert tab.evaluate("Page.state.filter.size") == 1
    tab.click("text=Clear the filter")
    assert tab.evaluate("Page.state.filter.size") == 0


def test_the_table_sorts_hides_searches_and_saves(opened: Opened, tmp_path: Path) -> None:
    """One row is one architecture; a downloaded file has the journal's own numbers."""
    record, tab = example_record(), opened.tab
    tab.select_option("#only", "winners")
    heading = '#all-architectures button[data-column="m.latency_ms"]'
    tab.click(heading)
    by_latency = [w.architecture.id for w in sorted(record.front, key=lambda winner: winner.value("latency_ms"))]
    assert first_column(opened) == by_latency
    assert (
        tab.get_attribute("#all-architectures th:has(button[data-column='m.latency_ms'])", "aria-sort") == "ascending"
    )
    tab.focus(heading)
    tab.keyboard.press("Enter")
    assert first_column(opened) == by_latency[::-1]
    tab.click(".hiding summary")
    assert tab.locator("#all-architectures button[data-column='m.params']").count() == 1
    tab.uncheck(".hiding label:has-text('Parameters') input")
    assert tab.locator("#all-architectures button[data-column='m.params']").count() == 0
    tab.fill("#find", "latency_ms<0.3")
    assert len(first_column(opened)) == sum(winner.value("latency_ms") < 0.3 for winner in record.front)
    tab.fill("#find", "")
    tab.select_option("#only", "")
    with tab.expect_download() as waiting:
        tab.click("#csv")
    waiting.value.save_as(tmp_path / "saved.csv")
    text = (tmp_path / "saved.csv").read_text(encoding="utf-8")
    rows = {row["id"]: row for row in csv.DictReader(text.splitlines())}
    assert set(rows) == {row.architecture.id for row in record.rows}
    for winner in record.front:
        row, latency = rows[winner.architecture.id], winner.measurements["latency_ms"]
        assert float(row["test_error"]) == winner.test_error
        assert float(row["latency_ms"]) == latency.median
        assert float(row["latency_ms_upper_95"]) == latency.interval.upper
        assert row["choice.stage1.op"] == winner.architecture["stage1.op"]
        assert row["latency_ms_source"] == "measured"
    ids = {winner.architecture.id for winner in record.front}
    others = [row for name, row in rows.items() if name not in ids]
    assert not any(row["test_error"] or row["test_error_upper_95"] for row in others)
    assert any(row["validation_error"] for row in others)


@pytest.mark.parametrize(
    "text",
    ["latency_ms<0.3", "latency_ms < 0.3", "latency_ms<0.3ms", "latency<0.3", "Latency < 300 us", "latency ≤ 0.3 ms"],
)
def test_a_search_may_be_written_as_people_write(text: str, opened: Opened) -> None:
    """With spaces, with a unit, and by the metric's title."""
    opened.tab.select_option("#only", "winners")
    opened.tab.fill("#find", text)
    expected = {winner.architecture.id for winner in example_record().front if winner.value("latency_ms") < 0.3}
    assert set(first_column(opened)) == expected
    assert not opened.tab.is_visible("#not-found")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("speed < 3", "Nothing that has numbers is called speed: there are error, latency_ms"),
        ("latency_ms<3kB", "has no number in a known unit: ns, us"),
        ("latency_ms<", "latency_ms< is no comparison"),
        ("kernels=3", "No choice is called kernels: there are"),
    ],
)
def test_a_search_that_is_not_understood_says_so(text: str, says: str, opened: Opened) -> None:
    """The table is not emptied without a word."""
    count = len(first_column(opened))
    opened.tab.fill("#find", text)
    assert says in opened.text("#not-found")
    assert len(first_column(opened)) == count


def test_errors_of_two_splits_share_no_axis(opened: Opened) -> None:
    """Winners stand alone with their errors on the test, or all stand with those of the search."""
    tab = opened.tab
    assert "candidates" not in opened.text("#front-plot .legend")
    assert "which do not compare" in opened.text("#front-caption")
    assert tab.evaluate("Page.frontPlot.spec.y.title") == "Error (test)"
    tab.select_option("#errors", "search")
    assert "candidates, measured" in opened.text("#front-plot .legend")
    assert tab.evaluate("Page.frontPlot.spec.y.title") == "Error (validation)"
    drawn = "Page.frontPlot.spec.marks.filter((mark) => mark.kind === 'points').flatMap((mark) => mark.y).length"
    assert tab.evaluate(drawn) > len(example_record().front)
    assert "errors=search" in opened.address
    tab.select_option("#axis-y", "params")
    assert not tab.is_visible("#errors")
    assert "candidates, measured" in opened.text("#front-plot .legend")


def test_a_thousand_architectures_are_paged(browser: Any, tmp_path: Path) -> None:
    """A page of the table has fifty rows, and buttons lead to the others."""
    record = example_record()
    rows = [
        replace(row, architecture=type(row.architecture)({**row.architecture, "copy": copy}))
        for copy in range(30)
        for row in record.rows
    ]
    opened = Opened(browser, tmp_path, replace(record, rows=tuple(rows)))
    total = len({row.architecture.id for row in rows})
    assert f"{total} of {total} architectures, 1 to 50 shown." in opened.text("#architectures")
    opened.tab.click(".pager >> text=Next")
    assert "51 to 100 shown" in opened.text("#architectures")
    opened.tab.click(".pager >> text=Last")
    assert len(first_column(opened)) == (total - 1) % 50 + 1
    opened.is_sound()
    opened.context.close()


@pytest.mark.parametrize("opened", [OUTCOMES["hostile"]], indirect=True)
def test_hostile_names_are_text_everywhere(opened: Opened) -> None:
    """In the card, the comparison, the filters, the table's file and the tips."""
    tab = opened.tab
    tab.evaluate("Page.change({ picked: [0, 1], card: 0, only: '' })")
    assert HOSTILE in tab.inner_text("#card")
    for number, winner in enumerate(hostile_record().front):
        tab.evaluate(f"Page.change({{ card: Page.run.winners[{number}].at }})")
        times = winner.layer_times
        assert times is not None
        assert HOSTILE in tab.inner_text("#card .times" if times.layers else "#card p.soft >> nth=-1")
    tab.keyboard.press("Escape")
    assert HOSTILE in tab.text_content("#compare")
    assert HOSTILE in tab.inner_html("#compare").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert tab.evaluate("Page.csv().includes('<script>')")
    assert tab.locator("img").count() == 0
    assert tab.evaluate("window.hit") is None


def test_numbers_are_written_as_in_python(opened: Opened) -> None:
    """Page and terminal agree in every digit, also where a number lies between two."""
    rng = np.random.default_rng(0)
    values = [0.0, 1.0, 0.5, 1125.0, 1125000.0, 999.5, 999.4999, 9999.5, 12345.0, 0.00012345, 1e-7, 0.125, 62.5, 2.5e9]
    values += [float(value) for value in 10 ** rng.uniform(-6, 11, 300)]
    values += [float(value) for value in rng.integers(0, 40_000, 200) / 8]
    metrics = [
        {"name": metric.name, "unit": metric.unit, "share": metric.is_share, "source": metric.source}
        for metric in METRICS.values()
    ]
    found = opened.tab.evaluate(
        "([metrics, values]) => metrics.map((metric) => values.map((value) => Charts.form(metric)(value)))",
        [metrics, values],
    )
    for metric, texts in zip(METRICS.values(), found, strict=True):
        assert texts == [metric.format(value) for value in values]


def test_a_plot_can_be_saved(opened: Opened, tmp_path: Path) -> None:
    """As SVG, with its axes and its limits."""
    with opened.tab.expect_download() as waiting:
        opened.tab.click("text=Save as SVG")
    waiting.value.save_as(tmp_path / "front.svg")
    text = (tmp_path / "front.svg").read_text(encoding="utf-8")
    assert text.startswith("<svg")
    for words in ("latency ≤ 0.5 ms", "Latency, ms", "<polygon"):
        assert words in text


def test_five_questions_are_answered_from_the_page(browser: Any, tmp_path: Path) -> None:
    """Which model for 0.3 ms? What for half the size? Is A faster than B? Are predictions right? What next?"""
    record = example_record(("error", "latency_ms", "model_bytes"), ("latency_ms <= 0.5ms",))
    opened = Opened(browser, tmp_path, record)
    tab = opened.tab
    tab.fill("#most-latency_ms", "0.3 ms")
    tab.keyboard.press("Enter")
    assert opened.text("#budget .answer").startswith(f"{expected(record, 0.3)} has ")
    tab.click("#budget >> text=The run's limits")
    half = record.front.best.value("model_bytes") / 2
    tab.fill("#most-model_bytes", f"{half:.0f} B")
    tab.keyboard.press("Enter")
    within = [w for w in record.front if w.value("model_bytes") <= half and w.upper("latency_ms") <= 0.5]
    smaller = min(within, key=lambda winner: winner.test_error)
    assert opened.text("#budget .answer").startswith(smaller.architecture.id)
    assert " points better, and needs " in opened.text("#budget .result")
    one, other = record.front.winners[:2]
    opened.open(f"#compare={one.architecture.id},{other.architecture.id}")
    assert "faster" in opened.text("#compare .answer") or "slower" in opened.text("#compare .answer")
    assert "Can I trust predictions of latency? Yes. " in opened.text(".answers")
    assert "nas search --resume" in opened.text(".steps")
    opened.is_sound()
    opened.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("case", ["example", "equal winners"])
def test_axe_finds_no_serious_violation(case: str, scheme: str, browser: Any, tmp_path: Path) -> None:
    """Of the page, of an open card, and of a comparison."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    record = AWKWARD_FRONTS[case].record if case in AWKWARD_FRONTS else OUTCOMES[case]()
    opened = Opened(browser, tmp_path, record, color_scheme=scheme)
    for address in (
        "",
        f"#compare={','.join(w.architecture.id for w in record.front[:2])}",
        f"#card={record.front[0].architecture.id}",
    ):
        opened.open(address)
        found = axe.run(opened.tab).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == [], json.dumps(serious, indent=1)[:3000]
    opened.context.close()
