"""The study of shrinking: weights that are put into another class, and the sentences of its table."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from experiments.shrink_study import Point, converted, summary


def test_weights_get_the_names_of_another_class() -> None:
    theirs = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ours = nn.ModuleDict({"first": nn.Linear(3, 4), "norm": nn.BatchNorm1d(4)})
    ours.load_state_dict(converted(theirs.state_dict(), ours))
    assert torch.equal(ours["first"].weight, theirs[0].weight)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"0\.weight does not have the shape of first\.weight"):
        converted(theirs.state_dict(), nn.ModuleDict({"first": nn.Linear(2, 4), "norm": nn.BatchNorm1d(4)}))


def test_the_table_says_what_was_reached() -> None:
    points = [Point("parent", 0.10, 10.0), Point("winner a", 0.105, 5.0), Point("winner b", 0.3, 1.0)]
    others = [Point("parent at 48 px", 0.2, 5.5), Point("parent in int8", 0.101, 8.0)]
    *_, first, second, third = summary([*points, *others])
    assert first == "1 of 2 winners keep 99% of the accuracy at 60% of the latency."
    assert second == "parent at 48 px is dominated by a winner."
    assert third == "parent in int8 is not dominated by a winner."
    assert "| winner a | 89.50% | 99.4% | 5.00 ms | 50% |" in summary(points)
