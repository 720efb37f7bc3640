"""The comparison of solving with a fresh search: its scores and its summary."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.solving_again import Found, Scores, Settings, main, summary
from nas.tables.table import Table


def settings_of(path: Path) -> Settings:
    return Settings(path, "chain_table:SmallSpace", path.parent, "val_acc", "test_acc", ("x", "y"), 8, 5, 1)


def test_scores_are_shares_of_the_whole_hypervolume(path: Path, table: Table) -> None:
    """All rows reach all of it, more architectures never less, and unknown ones add nothing."""
    scores = Scores(settings_of(path), "y")
    assert scores.score(table.architectures) == pytest.approx(100)
    assert scores.score([]) == 0
    some = [scores.score(table.architectures[:count]) for count in (1, 10, 30, 60)]
    assert some == sorted(some)


def found(source: str, target: str, seed: int, solved: float) -> Found:
    return Found(source, target, seed, 80.0, 79.0, solved, solved - 1, 12, 7, 9.0, 3.0)


def test_a_summary_has_a_line_a_pair_with_the_least_share() -> None:
    lines = summary([found("x", "y", 0, 76.0), found("x", "y", 1, 80.0), found("y", "x", 0, 72.0)]).splitlines()
    assert len(lines) == 5
    assert lines[2].startswith("| x | y | 2 | 80.00 | 79.00 | 78.00 | 97.5 (95.0) | 77.00 | 12.0, 7.0 | 3")
    assert "90.0 (90.0)" in lines[3]
    assert lines[4].startswith("| all |")


def test_a_device_alone_is_refused(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--table", str(path), "--space", "nasbench201", "--folder", str(path.parent)]
    with pytest.raises(SystemExit):
        main([*arguments, "--accuracy", "val_acc", "--devices", "x"])
    assert "--devices must be two or more, but got x." in capsys.readouterr().err
