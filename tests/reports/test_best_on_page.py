"""What a page says of the best winner where the test of another one looks better."""

from __future__ import annotations

from dataclasses import replace

import pytest
from judged_winners import front, rows_of
from report_page import Page
from run_record_example import architecture_at, example_record

from nas.reports.page import next_steps
from nas.reports.page.trust import best_sentences
from nas.reports.report import render_report
from nas.values.evaluation import Evaluation
from nas.values.measurement import Measurement


def test_a_surely_better_test_of_another_winner_is_told() -> None:
    """The search chose the first, by validation. Their test intervals are far apart."""
    found = front(rows_of(0, 0.4, {"error": 0.1}), rows_of(1, 0.1, {"error": 0.2}))
    first, second = (architecture_at(number) for number in range(2))
    assert found.best.architecture == first
    assert best_sentences(found) == [f"On the test {second.id} is surely better."]


def test_what_is_shipped_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = next_steps.shipped_of(example_record())
    assert shipped is not None
    assert shipped.why == ""
    monkeypatch.setattr(next_steps, "choice_notes", lambda front: ["The search <chose> it."])
    text = Page(render_report(example_record())).text
    assert "needs none of this software. The search <chose> it." in text


def test_a_cheaper_model_is_advised_that_is_not_surely_worse() -> None:
    """Of these the one of the lowest cost, if its cost is surely lower; errors of 0.06 are told apart, and 0.03 not."""
    best = rows_of(3, 0.3, {"error": 0.1})
    others = [rows_of(0, 0.6, {"error": 0.5}), rows_of(1, 0.33, {"error": 0.2}), rows_of(2, 0.31, {"error": 0.2})]

    def advised(*winners: list[Evaluation]) -> list[str]:
        rows = tuple(row for each in winners for row in each)
        steps = next_steps.next_steps(replace(example_record(), rows=rows, limits=()))
        return [step.sentence for step in steps if step.sentence.startswith("Take ")]

    (told,) = advised(best, *others)
    first, second = (architecture_at(number).id for number in (1, 3))
    assert told == f"Take {first}: the test cannot tell it from the best, {second}, and it costs less."
    assert not advised(best, others[0])
    barely = Measurement("latency_ms", "cpu", ((3.0,), (4.9,), (3.2,), (4.6,)))
    rows = [replace(row, measurements={"latency_ms": barely} if row.measurements else {}) for row in others[1]]
    assert not advised(best, rows), "its cost is not surely lower"
