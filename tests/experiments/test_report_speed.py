"""The figures about long runs: what a command takes, and what a row adds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.report_speed import command_table, main


def test_a_row_is_what_it_adds_to_the_shortest_run() -> None:
    """9,000 rows that add 0.9 s cost 100 µs each; the start of a process is no cost of rows."""
    short = {"evaluations": 1000, "show_s": 0.6, "show_mib": 90.0, "report_s": 2.0, "report_mib": 200.0}
    long = {"evaluations": 10_000, "show_s": 1.5, "show_mib": 140.0, "report_s": 2.9, "report_mib": 250.0}
    lines = command_table([short, long])
    assert lines[2:] == [
        "| 1000 | 0.60 s |  | 90 MiB | 2.00 s |  | 200 MiB |",
        "| 10000 | 1.50 s | 100 µs | 140 MiB | 2.90 s | 100 µs | 250 MiB |",
    ]


def test_commands_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both commands run on runs that the script writes."""
    out = tmp_path / "found.json"
    assert main(["--evaluations", "120", "200", "--repeats", "1", "--json", str(out)]) == 0
    short, long = json.loads(out.read_text())
    assert (short["evaluations"], long["evaluations"]) == (120, 200)
    assert all(
        each[f"{name}_s"] > 0.1 and each[f"{name}_mib"] > 10 for each in (short, long) for name in ("show", "report")
    )
    assert "| 200 | " in capsys.readouterr().out
