"""Whole runs minimise any metrics, and their winners meet limits on any metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from commands import assert_nothing_twice, evaluations_of
from fake_bench import VALUES, latency_ms
from fault_spaces import Faulty
from quick_runs import BASE, OneChoice, search, trained
from torch import nn

import nas
from nas.errors import LimitError
from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space
from nas.values.comparison import is_surely_less
from nas.values.metric import METRICS
from nas.values.objective import Limit
from nas.values.pareto import non_dominated

pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.mark.parametrize(
    "objectives",
    [
        ["error"],
        ["macs"],
        ["error", "params"],
        ["error", "peak_memory_mib", "sustained_latency_ms"],
        ["error", "latency_ms", "model_bytes"],
        ["latency_ms", "error", "modelled_energy_mj", "macs"],
    ],
    ids="+".join,
)
def test_any_one_to_four_metrics_are_minimised(tmp_path: Path, objectives: list[str]) -> None:
    """The budget is exact, and a winner off the front is surely beaten by another one."""
    front = search(tmp_path, objectives=objectives)
    run = tmp_path / "run"
    assert len(trained(run)) == BASE["trials"]
    assert_nothing_twice(run)
    assert len(front) >= 1
    losses_NM = np.array([[winner.value(name) for name in objectives] for winner in front])
    on_front = np.array(front.on_front)
    assert on_front[non_dominated(losses_NM)].all()
    for place in np.flatnonzero(~on_front):
        assert any(surely_beats(other, front[place], objectives) for other in front)
    measured = {name for name in objectives if METRICS[name].source == "measured"}
    first = [row for row in evaluations_of(run, "measure") if row.round == 0]
    assert len(first) == (6 if measured else 0)
    assert all(set(row.measurements) == measured for row in first)


def surely_beats(one: nas.Winner, other: nas.Winner, names: Sequence[str]) -> bool:
    pairs = [(one.estimate(name), other.estimate(name)) for name in names]
    return all(a.value <= b.value for a, b in pairs) and any(is_surely_less(a, b) for a, b in pairs)


def middle_of_the_space(metric: str) -> float:
    values = [VALUES[metric](architecture) for architecture in enumerate_space(Faulty())]
    return float(np.median(values))


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit",
    [
        f"latency_ms <= {middle_of_the_space('latency_ms')}ms",
        f"peak_memory_mib <= {middle_of_the_space('peak_memory_mib')}MiB",
        f"sustained_latency_ms <= {middle_of_the_space('sustained_latency_ms')}ms",
        f"model_bytes <= {middle_of_the_space('model_bytes')}B",
        "params <= 1k",
        "macs <= 3kMACs",
        "modelled_energy_mj <= 0.002mJ",
        "error <= 99%",
    ],
)
def test_winners_hold_a_limit_on_any_metric(tmp_path: Path, limit: str) -> None:
    """Half of the space exceeds the limit; every winner meets it, or is shown as one that does not."""
    front = search(tmp_path, limits=[limit], objectives=["error", "params"], trials=6)
    parsed = Limit.parse(limit)
    assert len(trained(tmp_path / "run")) == 6
    assert len(front) >= 1
    for winner in front:
        assert winner.has(parsed.metric.name)
        assert winner.broken([parsed]) == ([] if parsed.holds(winner.upper(parsed.metric.name)) else [parsed])
    assert any(winner.meets([parsed]) for winner in front)
    shown = front.to_json()["winners"]
    assert [entry["meets_limits"] for entry in shown] == [winner.meets([parsed]) for winner in front]
    if parsed.metric.name in VALUES:
        assert all(VALUES[parsed.metric.name](winner.architecture) <= parsed.value * 1.001 for winner in front)


@pytest.mark.slow
def test_a_limit_on_the_error_that_nothing_meets_is_shown_as_broken(tmp_path: Path) -> None:
    """An error is known only after training, so winners are retrained all the same, and marked."""
    front = search(tmp_path, objectives=["latency_ms"], limits=["error <= 1%"])
    assert len(trained(tmp_path / "run")) == BASE["trials"]
    assert len(front) >= 1
    assert not any(winner.meets(front.limits) for winner in front)
    assert front.best_or_none is None


def test_an_unreachable_limit_ends_a_run_before_any_training(tmp_path: Path) -> None:
    """The message names the lowest measured value and its architecture."""
    with pytest.raises(LimitError) as refused:
        search(tmp_path, limits=["latency_ms <= 0.1ms"])
    run = tmp_path / "run"
    rows = [row for row in evaluations_of(run, "measure") if not row.failed]
    lowest = min(rows, key=lambda row: row.measurements["latency_ms"].median)
    assert trained(run) == []
    text = str(refused.value)
    assert f"the lowest measured value is {lowest.measurements['latency_ms'].median:.4g} ms" in text
    assert lowest.architecture.id in text
    assert latency_ms(lowest.architecture) == min(map(latency_ms, enumerate_space(Faulty())))


@pytest.mark.parametrize(
    ("limit", "found"),
    [("params <= 100", "counted"), ("modelled_energy_mj <= 1nJ", "modelled"), ("model_bytes <= 10B", "measured")],
)
def test_an_unreachable_limit_says_where_the_lowest_value_comes_from(tmp_path: Path, limit: str, found: str) -> None:
    """The message says whether the value is counted, modelled or measured."""
    with pytest.raises(LimitError, match=f"nothing that was found in the space meets .*: the lowest {found} value is"):
        search(tmp_path, limits=[limit])
    assert trained(tmp_path / "run") == []


def test_limits_that_no_architecture_meets_together_end_a_run_before_any_training(tmp_path: Path) -> None:
    """Some architecture meets each of the two limits, but none meets both, and the message says so."""

    class Contrary(OneChoice):
        """Wide networks are slow, and narrow ones have many parameters."""

        def build(self, architecture: Architecture) -> nn.Module:
            hidden = 2 ** (10 - int(architecture["width"]))
            return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.Linear(hidden, 10))

    with pytest.raises(LimitError, match=r"meets all of params <= 2k, latency_ms <= 0\.85ms together"):
        search(tmp_path, Contrary(), limits=["params <= 2k", "latency_ms <= 0.85ms"])
    assert trained(tmp_path / "run") == []
