"""How well plans held: what logs promise, beside the times of rows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import nas
from experiments.desk.plans import main, ratios_of, seconds_of, table

LOG = """run folder: somewhere
plan: measure 6 models (10 s), evaluate candidates in 1 round (20 s), retrain, export, measure and test up to 4 winners (5.0 s)
left: evaluate candidates in 1 round (20 s), tune on, export, measure and test up to 4 winners (1 min 20 s); 1 min 53 s of
"""  # noqa: E501


@pytest.mark.parametrize(
    ("text", "seconds"), [("7.2 s", 7.2), ("1 min 20 s", 80.0), ("2 h 3 min", 7380.0), ("400 ms", 0.4)]
)
def test_times_are_read_as_plans_tell_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("has_winner", [True, False])
def test_each_stage_is_compared_with_its_last_plan(monkeypatch: pytest.MonkeyPatch, has_winner: bool) -> None:
    """Winners begin once the last model of the search was measured. A search without a winner tells nothing."""
    stages = [("measure", 0), ("measure", 0), ("train", 1), ("measure", 1), *([("winner", 0)] if has_winner else [])]
    rows = [SimpleNamespace(stage=stage, round=number) for stage, number in stages]
    seconds = (4.0, 15.0, 50.0, 60.0, 90.0)[: len(rows)]
    run = SimpleNamespace(
        rows=rows, timeline=SimpleNamespace(seconds=seconds), recipe_text="search_time_s = 100.0", run_folder=Path()
    )
    monkeypatch.setattr(nas, "load_run", lambda folder: run)
    expected = {"first measurements": 1.5, "winners": 30 / 80, "the whole search": 0.9} if has_winner else {}
    assert dict(ratios_of(LOG, Path())) == pytest.approx(expected)


def test_the_table_tells_how_many_are_near(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table({"winners": [0.5, 1.0, 1.4, 1.5]})[2] == "| winners | 4 | 1.20 | 0.57 to 1.48 | 75 % |"
    assert main(["--folder", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
