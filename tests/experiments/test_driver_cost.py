"""What decisions cost is measured on rows as a run has them: whole trainings, and some that were stopped."""

from __future__ import annotations

import pytest

from experiments import driver_cost


def test_rows_are_those_of_different_trainings() -> None:
    rows = driver_cost.made_up_rows(60)
    assert len({row.architecture for row in rows}) == len(rows) == 60
    stopped = [row for row in rows if not row.reached_full_fidelity]
    assert 5 < len(stopped) < 40
    assert all(len(row.details["curve"]) == row.details["epochs"] for row in rows)


def test_each_cost_is_a_line_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    driver_cost.main(["--counts", "60"])
    *_, line = capsys.readouterr().out.splitlines()
    count, *costs = [cell.strip() for cell in line.strip("| ").split("|")]
    assert count == "60"
    assert all(float(cost) >= 0 for cost in costs)
    assert len(costs) == 3
