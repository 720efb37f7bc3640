"""The experiment on kept memory: one small model in both ways."""

from __future__ import annotations

import re
import sys

import pytest

from experiments import kept_memory


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems are left alone")
def test_both_ways_take_turns(capsys: pytest.CaptureFixture[str]) -> None:
    """A row tells the ratio of times, and fewer page faults where memory is kept."""
    assert kept_memory.main(["--models", "resnet10t", "--sides", "32", "--repeats", "1"]) == 0
    *_, row = capsys.readouterr().out.splitlines()
    assert re.match(r"\| resnet10t \| 32 \| \d+\.\d\d \(", row)
    left, kept = map(int, re.findall(r"(\d+) → (\d+)", row)[0])
    assert kept < left
