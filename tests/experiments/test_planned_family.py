"""Families that are planned beforehand, the rivals of a search with few evaluations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chain_table import made_up_rows, run

from experiments.command_line import counts
from experiments.searchers.planned_family import _alike, evenly
from nas.space.architecture import Architecture, Choice

ROWS = made_up_rows()
LATENCIES = np.array([row["latency_ms_x"] for row in ROWS])


def test_each_number_of_evaluations_has_a_family_of_its_own(path: Path) -> None:
    """Scores after fewer evaluations are those of a run with fewer."""
    arguments = ("--searchers", "scaled,spread", "--cost-known", "true", "--seeds", "1")
    whole = run(path, *arguments, "--evaluations", "6", "--after", "3,4")["runs"]
    for budget in ("3", "4"):
        few = run(path, *arguments, "--evaluations", budget)["runs"]
        for one, other in zip(whole, few, strict=True):
            assert one["searcher"] == other["searcher"]
            assert len(other["evaluated"]) == int(budget)
            assert one["hypervolume_percent"][budget] == pytest.approx(other["hypervolume_percent"][budget])
    assert [list(each["hypervolume_percent"]) for each in whole] == [["3", "4", "6"]] * 2


def test_a_scaled_family_goes_from_the_first_to_the_last_options(path: Path) -> None:
    """All choices grow along it, and its costs differ by similar factors."""
    found = run(path, "--searchers", "scaled", "--cost-known", "true", "--seeds", "1", "--evaluations", "4")
    rows = [ROWS[place] for place in found["runs"][0]["evaluated"]]
    names = ("depth", "kernel", "width", "stride")
    options = np.array([[row[name] for name in names] for row in rows])
    assert options[[0, -1]].tolist() == [[0] * 4, [2] * 4]
    assert (np.diff(options, axis=0) >= 0).all()
    logs = np.log([row["latency_ms_x"] for row in rows])
    assert np.diff(logs).max() <= 0.5 * (logs[-1] - logs[0])


@pytest.mark.parametrize("name", ["scaled", "spread"])
def test_families_keep_limits(path: Path, name: str) -> None:
    """They end at the limit, and are as large as it allows."""
    arguments = ("--searchers", name, "--cost-known", "true", "--seeds", "1", "--limit", "latency_ms_x<=5")
    found = LATENCIES[run(path, *arguments, "--evaluations", "4")["runs"][0]["evaluated"]]
    assert found.max() <= 5
    assert len(found) >= 2
    assert sorted(found) == found.tolist()


def test_members_are_evenly_spread() -> None:
    """The ends are among them, none comes twice, and of few all are taken."""
    costs = np.array([3.0, 0.0, 0.1, 10.0, 6.0, 5.2])
    assert evenly(costs, 3) == [1, 5, 3]
    assert evenly(costs[:2], 5) == [1, 0]
    assert evenly(costs[:0], 5) == []


def test_numbers_ascend() -> None:
    assert counts("5,10") == (5, 10)
    with pytest.raises(Exception, match="must be ascending numbers"):
        counts("10,5")


def test_rows_of_one_kind_whose_numbers_grow_together_are_a_family() -> None:
    """Of two kinds, the one with more members on its curve counts."""
    choices = (Choice("kind", ("few", "many")), Choice("depth", (1, 2, 3)), Choice("width", (8, 16, 32)))
    many = [(1, 8), (1, 32), (2, 16), (3, 8), (3, 32)]
    listed = [("few", 1, 8), ("few", 3, 32), *(("many", *numbers) for numbers in many)]
    rows = [Architecture(dict(zip(("kind", "depth", "width"), each, strict=True))) for each in listed]
    found = [tuple(each.values()) for each in _alike(rows, choices)]
    assert found == [("many", 1, 8), ("many", 2, 16), ("many", 3, 32)]
