"""The study of shrinking: the sentences of its table."""

from __future__ import annotations

from experiments.shrink_study import Point, summary


def test_the_table_says_what_was_reached() -> None:
    points = [Point("parent", 0.10, 10.0), Point("winner a", 0.105, 5.0), Point("winner b", 0.3, 1.0)]
    others = [Point("parent at 48 px", 0.2, 5.5), Point("parent in int8", 0.101, 8.0)]
    *_, first, second, third = summary([*points, *others])
    assert first == "1 of 2 winners keep 99% of the accuracy at 60% of the latency."
    assert second == "parent at 48 px is dominated by a winner."
    assert third == "parent in int8 is not dominated by a winner."
    assert "| winner a | 89.50% | 99.4% | 5.00 ms | 50% |" in summary(points)
