"""What is shown of fronts that are hard to show, in the terminal, by ``repr``, on the page and as plain data."""

from __future__ import annotations

import io
import itertools
import json
import re

import pytest
from awkward_fronts import AWKWARD_FRONTS, AwkwardFront
from report_page import Page
from rich.cells import cell_len
from rich.console import Console

from nas.reports.console import print_front
from nas.reports.report import render_report

SCREEN_LINES, SCREEN_WIDTH = 24, 130
cases = pytest.mark.parametrize("case", AWKWARD_FRONTS.values(), ids=AWKWARD_FRONTS.keys())


def printed(case: AwkwardFront, width: int) -> str:
    stream = io.StringIO()
    print_front(case.front, Console(file=stream, width=width))
    return stream.getvalue()


def joined(text: str) -> str:
    return " ".join(text.split())


@cases
@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_tells_what_a_reader_must_know(case: AwkwardFront, width: int) -> None:
    text = printed(case, width)
    for words in (*case.says, *case.terminal):
        assert words in joined(text)
    for words in case.never:
        assert words not in text
    paths = ("Report: ", "Model of ", "Best model: ")
    assert max(cell_len(line) for line in text.splitlines() if not line.startswith(paths)) <= width


@cases
def test_a_winner_takes_at_most_three_lines_of_a_wide_terminal(case: AwkwardFront) -> None:
    """Its choices never push the numbers of another one out of sight."""
    lines = printed(case, 120).splitlines()
    marked = [number for number, line in enumerate(lines) if re.match("[●○] [0-9a-f]{12}", line)]
    assert all(later - earlier <= 3 for earlier, later in itertools.pairwise(marked))


@cases
def test_a_front_prints_at_most_a_screen(case: AwkwardFront) -> None:
    text = repr(case.front)
    assert len(text.splitlines()) <= SCREEN_LINES
    assert max(map(cell_len, text.splitlines())) <= SCREEN_WIDTH
    for words in case.says:
        assert words in joined(text)
    for words in case.never:
        assert words not in text


@cases
def test_the_page_and_the_plain_data_tell_it_too(case: AwkwardFront) -> None:
    page = Page(render_report(case.record))
    for words in case.page:
        assert words in page.text
    front = case.front
    data = json.loads(json.dumps(front.to_json(), allow_nan=False))
    assert data["nothing_learned"] == front.nothing_learned
    frame = front.to_dataframe()
    for number, shown in enumerate(data["winners"]):
        assert frame["same_as"][number].split() == shown["same_as"] == list(front.standings[number].same_as)
        assert shown["near_chance"] == (None if front[number].chance_error is None else front[number].is_near_chance)
        assert front[number].doubts == tuple(shown["measured"].get("latency_ms", {}).get("flags", ()))
    assert "<table" in front._repr_html_()
