"""The report in a real browser: what it compares, which values meet a limit, and names of any kind."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opened_report import IN_BROWSER, Opened, first_column
from run_record_example import example_record

from nas.results.run import Run
from nas.values.evaluation import PredictedValue
from nas.values.metric import METRICS

pytestmark = IN_BROWSER


def prototypes() -> Run:
    """Return a run with choices whose names every JavaScript object has, and one that is named like a column."""
    record = example_record()
    rows = [
        replace(row, architecture=type(row.architecture)({**row.architecture, **more}))
        for n, row in enumerate(record.rows)
        for more in [{"constructor": n % 3 - 1, "__proto__": n % 2, "epochs": 7 + n % 2}]
    ]
    return replace(record, rows=tuple(rows))


@pytest.mark.parametrize("opened", [prototypes], indirect=True)
def test_names_of_javascript_are_names_like_others(opened: Opened) -> None:
    """A choice, an axis or a word of the search that is called "constructor" breaks nothing."""
    tab = opened.tab
    opened.open("#x=constructor&y=toString&b.valueOf=1&c.constructor=1")
    assert tab.evaluate("[Page.state.x, Page.state.y, Page.state.filter.size]") == ["latency_ms", "error", 1]
    tab.fill("#find", "constructor<5")
    assert "23 of 68 architectures" in opened.text("#architectures"), "those of which that choice is below 5"
    tab.fill("#find", "constructor=-1")
    assert first_column(opened)
    tab.click("text=Clear the filter")
    button = '#filters button[data-choice="constructor"] >> nth=0'
    if not tab.evaluate("document.querySelector('#filters details').open"):
        tab.click("#filters summary")
    tab.click(button)
    assert tab.get_attribute(button, "aria-pressed") == "true"
    assert "c.constructor=" in opened.address


def test_lines_are_reached_by_keys(opened: Opened) -> None:
    """Arrows go along the parallel coordinates from the best architecture on, and Enter opens its card."""
    tab, record = opened.tab, example_record()
    trained = {
        row.architecture.id: row.values["error"] for row in record.rows if row.stage == "train" and not row.failed
    }
    errors = {**trained, **{winner.architecture.id: winner.test_error for winner in record.front}}
    ranked = sorted(errors, key=lambda id_: errors[id_])
    tab.focus("#parallel .stage")
    for id_ in ranked[:3]:
        tab.keyboard.press("ArrowDown")
        assert id_ in opened.text("#parallel [role=status]")
    tab.keyboard.press("End")
    assert ranked[-1] in opened.text("#parallel [role=status]")
    assert tab.is_visible("#parallel .tip")
    tab.keyboard.press("Enter")
    assert opened.text("#card-title") == f"Architecture {ranked[-1]}"
    tab.keyboard.press("Escape")
    assert not tab.is_visible("#card")
    tab.focus("#parallel .stage")
    tab.keyboard.press("ArrowUp")
    assert ranked[-2] in opened.text("#parallel [role=status]")
    tab.keyboard.press("Escape")
    assert not tab.is_visible("#parallel .tip")


def test_what_did_not_happen_on_one_split_is_not_compared(opened: Opened) -> None:
    """A candidate's error in the search is compared with what the winner had there, and with no test error."""
    tab, record = opened.tab, example_record()
    winner = record.front.best
    assert winner is not None
    place = tab.evaluate("(id) => Page.run.place(id)", winner.architecture.id)
    others = tab.evaluate("[...Page.run.outcome.keys()].filter((i) => Page.run.outcomeText(i) === 'trained')")
    verdict = "([name, i, first]) => Page.verdict(name, i, first)"
    assert tab.evaluate(verdict, ["error", others[0], place]) == "not on the same split"
    one, other = (tab.evaluate("(i) => Page.run.columns('error').value[i]", i) for i in others[:2])
    word = "better" if one < other else "worse"
    assert tab.evaluate(verdict, ["error", others[0], others[1]]) == (
        f"{100 * abs(one - other):.2f} points {word} in the search"
    )
    predicted = tab.evaluate("[...Page.run.columns('latency_ms').kind].indexOf(2)")
    assert tab.evaluate(verdict, ["latency_ms", predicted, place]).endswith(", as predicted")
    ids = [tab.evaluate("(i) => Page.run.id(i)", i) for i in (others[0], place)]
    opened.open(f"#compare={','.join(ids)}")
    assert "error: not on the same split" in opened.text("#compare .answer")


def only_predicted() -> Run:
    """Return a run whose best winner was never measured, and seems to be the fastest by its prediction."""
    record = example_record()
    best = min(record.front, key=lambda winner: winner.test_error).architecture
    guess = {"latency_ms": PredictedValue(0.01, 0.009, 0.011, 0.011)}
    rows = [replace(row, measurements={}, predicted=guess) if row.architecture == best else row for row in record.rows]
    return replace(record, rows=tuple(rows))


@pytest.mark.parametrize("opened", [only_predicted], indirect=True)
def test_a_budget_never_counts_a_prediction_as_a_measurement(opened: Opened) -> None:
    """A winner without a measurement meets no limit, as in the search; its prediction stays on its card."""
    record = only_predicted()
    whole = min(record.front, key=lambda winner: winner.test_error)
    assert whole is not record.front.best
    assert opened.text("#budget .answer").startswith(record.front.best.architecture.id)
    assert f"{whole.architecture.id} has " in opened.text("#budget .result")
    assert "a latency, which is unknown" in opened.text("#budget .result")
    opened.open(f"#card={whole.architecture.id}")
    assert "0.01 ms" in opened.text("#card")


def test_large_differences_have_no_powers_of_ten(opened: Opened) -> None:
    """A model that needs three times the budget needs 200 % more, and not 2e+02 %."""
    record, tab = example_record(), opened.tab
    uppers = sorted(winner.upper("latency_ms") for winner in record.front)
    assert uppers[-1] > 3 * uppers[0]
    tab.fill("#most-latency_ms", f"{uppers[0] / 3:.4g} ms")
    tab.keyboard.press("Enter")
    assert "e+0" not in opened.text("#budget .result")
    assert f"{METRICS['latency_ms'].format(uppers[0])}, 200 % more" in opened.text("#budget .result")
    first, last = (
        min(record.front, key=lambda winner: sign * winner.value("latency_ms")).architecture.id for sign in (1, -1)
    )
    opened.open(f"#compare={first},{last}")
    assert "e+0" not in opened.text("#compare")
    assert tab.evaluate("[0.123, 1.26, 12.6, 99.6, 126, 1260].map((value) => Charts.figures(value, 2))") == [
        "0.12", "1.3", "13", "100", "126", "1260"
    ]  # fmt: skip


def twice_limited() -> Run:
    """Return a run with two limits on the latency, the looser one last."""
    return example_record(limits=("latency_ms <= 0.3ms", "latency_ms <= 0.5ms"))


@pytest.mark.parametrize("opened", [twice_limited], indirect=True)
def test_of_two_limits_on_one_metric_the_stricter_one_holds(opened: Opened) -> None:
    best = twice_limited().front.best
    assert best is not None
    assert opened.text("#budget .answer").startswith(best.architecture.id)
    opened.tab.click("#budget >> text=The run's limits")
    assert opened.text("#budget .answer").startswith(best.architecture.id)
    assert opened.address == ""


@pytest.mark.parametrize("opened", [prototypes], indirect=True)
def test_negative_options_are_saved_as_numbers(opened: Opened) -> None:
    """A quote that protects from formulas stands before texts alone."""
    header, *lines = csv.reader(opened.tab.evaluate("Page.csv()").splitlines())
    assert len(set(header)) == len(header)
    assert {line[header.index("choice.constructor")] for line in lines} == {"-1", "0", "1"}
    opened.tab.evaluate(
        "Object.assign(Page.run.choices[0], { numeric: false, options: Page.run.choices[0].options.map(() => '=1+1') })"
    )
    assert "'=1+1" in opened.tab.evaluate("Page.csv()")


def test_a_winner_at_chance_stretches_no_axis(browser: Any, tmp_path: Path) -> None:
    record = example_record()
    winner = next(each for each in record.rows if each.stage == "winner" and not each.failed)
    told = {"test_error": 0.9, "test_interval": [0.88, 0.92], "chance_error": 0.9}
    rows = [replace(row, details={**row.details, **told}) if row is winner else row for row in record.rows]
    opened = Opened(browser, tmp_path, replace(record, rows=tuple(rows)))
    assert opened.tab.evaluate("Page.frontPlot.frame.rangeY[1]") < 0.5
    assert f"{winner.architecture.id} learned nothing" in opened.text("#front-caption")
    opened.context.close()
