"""The cost of a search in a table: its ratios, and a small run of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from table_space import write_table

from experiments.table_speed import Spent, main, summary


def test_ratios_are_medians_of_searches_that_took_turns() -> None:
    """A turn in which everything was slow changes no ratio."""
    turns = [
        {name: Spent(300, slow * seconds, seconds, 400.0) for name, seconds in found.items()}
        for slow, found in (
            (1, {"alone": 10.0, "one thread": 10.0, "one core": 11.0, "side by side": 12.0}),
            (5, {"alone": 10.0, "one thread": 10.0, "one core": 11.0, "side by side": 12.0}),
            (1, {"alone": 20.0, "one thread": 10.0, "one core": 11.0, "side by side": 12.0}),
        )
    ]
    text = "\n".join(summary({1000: Spent(1000, 12.0, 9.0, 512.0)}, turns))
    assert "| 1000 | 9.0 | 12.0 | 12.0 | 512 MiB |" in text
    assert "| no variable set, over one thread | 1.00 (1.00 to 2.00) | 1.00 (1.00 to 2.00) |" in text
    assert "| two side by side, over one | 1.20 (0.60 to 1.20) | 1.20 (0.60 to 1.20) |" in text


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it reads what processes used as POSIX tells it")
def test_a_small_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every search is a command of its own, and finds as many rows as it was asked for."""
    monkeypatch.chdir(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[2]}:{Path.cwd()}")
    table = write_table(tmp_path / "t.csv.gz")
    options = f"--table {table} --space table_space:Chain --accuracy val_acc --device toy --trials 6 --compared 4"
    main([*options.split(), "--repeats", "1", "--json", str(tmp_path / "out.json")])
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["grown"]["6"]["evaluations"] == 6
    (turn,) = found["compared"]
    assert {spent["evaluations"] for spent in turn.values()} == {4}
    assert all(spent["busy_s"] > 0 and spent["peak_mib"] > 50 for spent in turn.values())
    assert "| two side by side, over one |" in capsys.readouterr().out
