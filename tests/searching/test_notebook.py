"""A search in a notebook: each stage has its line there, and the front shows itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_notebook import enter_notebook
from quick_runs import search

pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.mark.slow
def test_each_stage_of_a_search_has_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line begins with what is to be done, ends with what was done, and the front is a small table."""
    display = enter_notebook(monkeypatch)
    front = search(tmp_path, progress="auto")
    first = [versions[0]["text/plain"] for versions in display.lines]
    last = [versions[-1]["text/plain"] for versions in display.lines]
    for stage in ("exporting models", "deploying models", "sessions of measuring 6 models", "round 1/2: training",
                  "round 2/2: training", "retraining winners", "testing winners"):  # fmt: skip
        assert any(text.startswith(stage) for text in first)
    assert all(re.match("✓ .* done in ", text) for text in last)
    assert front._repr_html_().count("<tr>") == len(front) + 1
    assert len(repr(front).splitlines()) <= 24
