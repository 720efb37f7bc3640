"""The experiment on what networks lose in int8: its table, and a small run of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from coloured_photos import write_photos

from experiments import int8_accuracy
from experiments.int8_accuracy import Row, main, summary
from nas.hardware.latency_rounds import BenchSettings


def test_the_table_tells_what_int8_adds() -> None:
    """Errors are means over seeds, and times are geometric means of shares."""
    first = Row("photos", "net", 0, 100, (0.1, 0.12, 0.2), (1.0, 0.5, 1.0))
    second = Row("photos", "net", 1, 100, (0.2, 0.22, 0.4), (2.0, 4.0, 2.0))
    *_, row = summary([first, second])
    assert row == "| photos | net | 2 | 15.0% | +2.0 points | 1.00 | +15.0 points | 1.00 |"


def test_a_small_run_keeps_a_row_for_each_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vision transformer and a language model are trained, quantised in both ways, tested and measured."""
    monkeypatch.setattr(int8_accuracy, "NETWORKS", ("test_vit",))
    monkeypatch.setattr(int8_accuracy, "MEASURING", BenchSettings(rounds=2, max_rounds=2))
    (tmp_path / "book.txt").write_text("the quick brown fox jumps over the lazy dog. " * 400)
    arguments = ["--photos", f"coloured={write_photos(tmp_path / 'photos')}", "--side", "32", "--epochs", "1"]
    arguments += ["--text", str(tmp_path / "book.txt"), "--models", "1", "--seeds", "1"]
    assert main([*arguments, "--out", str(tmp_path / "found.jsonl")]) == 0
    rows = [json.loads(row) for row in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [(row["data"], row["network"].split()[0]) for row in rows] == [("coloured", "test_vit"), ("book", "gpt")]
    for row in rows:
        assert min(row["latencies_ms"]) > 0
        assert all(0 <= error <= 1 for error in row["errors"])
