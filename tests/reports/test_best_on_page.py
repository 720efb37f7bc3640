"""What a page says of the best winner where the test of another one looks better."""

from __future__ import annotations

import pytest
from judged_winners import front, rows_of
from report_page import Page
from run_record_example import architecture_at, example_record

from nas.reports.page import next_steps
from nas.reports.page.trust import best_sentences
from nas.reports.report import render_report


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
