"""The page about several runs: every run is on it, everything recorded is text, and nothing is loaded."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_rows import made_run
from report_page import HOSTILE, OUTCOMES, hostile_record
from run_record_example import energy_record, example_record

from nas.reports.comparison import render_comparison, write_comparison
from nas.results.run import Run


def document_of(page: str) -> dict[str, object]:
    (text,) = re.findall(r'<script type="application/json" id="document">(.*?)</script>', page, re.DOTALL)
    found: dict[str, object] = json.loads(text)
    return found


def test_runs_of_one_task_are_compared() -> None:
    page = render_comparison([example_record(), replace(example_record(), name="again", target="another device")])
    assert re.search(r"Of (\d+) front models of digits, \1 are still on the front with the values of again", page)
    assert "times that of digits in the median" in page
    assert list(document_of(page)["sections"]) == ["runs", "course", "matters", "scaling"]  # type: ignore[call-overload]


def test_runs_of_different_tasks_say_so_plainly() -> None:
    other = replace(energy_record(), name="speech", notes={"data set": {"name": "speech"}})
    page = render_comparison([example_record(), other])
    assert "These runs learn different tasks, so their errors cannot be compared" in page


@pytest.mark.slow
@pytest.mark.parametrize("outcome", ["no rows", "all failed", "no measurements", "only error", "four objectives"])
def test_every_outcome_stands_beside_another_run(outcome: str) -> None:
    page = render_comparison([OUTCOMES[outcome](), example_record()])
    assert "Runs side by side" in page
    assert document_of(page)


def test_an_empty_run_hides_no_other() -> None:
    page = render_comparison([made_run([], name="empty"), example_record()])
    assert "Nothing has been recorded yet" in page
    assert "4 winners" in page


@pytest.mark.slow
def test_whatever_is_recorded_is_text() -> None:
    """Markup in names, options, reasons and targets neither ends a script nor begins an element."""
    hostile = replace(hostile_record(), name=HOSTILE)
    page = render_comparison([hostile, replace(hostile, target=HOSTILE)])
    outside = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    assert "<img" not in page
    assert "<script" not in outside
    assert page.count("<script") == page.count("</script>")


@pytest.mark.slow
def test_nothing_is_loaded() -> None:
    page = render_comparison([example_record(), example_record()])
    assert "default-src 'none'" in html.unescape(page)
    assert not re.search(
        r"""(?:src|href)\s*=\s*["'](?!#|data:)""", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    )


@pytest.mark.slow
def test_ids_are_unique() -> None:
    page = render_comparison([example_record(), energy_record(), replace(example_record(), name="third")])
    outside = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    ids = re.findall(r'\sid="([^"]+)"', outside)
    assert sorted(ids) == sorted(set(ids))
    for name in re.findall(r'aria-labelledby="([^"]+)"', outside):
        assert name in ids


@pytest.mark.slow
def test_the_page_is_written_whole(tmp_path: Path) -> None:
    write_comparison(tmp_path / "new" / "both.html", [example_record(), example_record()])
    assert (tmp_path / "new" / "both.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


@pytest.mark.parametrize("runs", [[], [example_record()] * 13], ids=["none", "thirteen"])
def test_more_runs_than_a_page_shows_are_refused(runs: list[Run]) -> None:
    with pytest.raises(ValueError, match="compares 1 to 12 runs"):
        render_comparison(runs)
