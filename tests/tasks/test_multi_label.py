"""Several labels for each item: the loss, the share of wrong labels and its interval."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nas.tasks.criteria import MultiLabel, Tally

OUTPUTS = torch.tensor([[3.0, -1.0, 2.0], [-1.0, -1.0, 0.5], [1.0, 1.0, -4.0], [-2.0, 1.0, -1.0]])
TARGETS = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])


def tallied(outputs: torch.Tensor, targets: torch.Tensor) -> Tally:
    tally = MultiLabel(outputs.shape[1]).tally()
    for start in range(0, len(outputs), 3):
        tally.add(outputs[start : start + 3], targets[start : start + 3])
    return tally


def test_the_error_is_the_share_of_wrong_labels() -> None:
    """The best constant answer gives each label if most items have it."""
    tally = tallied(OUTPUTS, TARGETS)
    assert tally.error == pytest.approx(3 / 12)
    assert tally.chance_error == pytest.approx((0 + 2 + 1) / 12)
    assert tally.scores()["error"].value == tally.error


def test_the_loss_is_binary_cross_entropy() -> None:
    """Smoothing moves targets towards a half; a teacher's outputs are targets too."""
    criterion = MultiLabel(3)
    expected = F.binary_cross_entropy_with_logits(OUTPUTS, 0.9 * TARGETS + 0.05)
    torch.testing.assert_close(criterion.loss(OUTPUTS, TARGETS, 0.1), expected)
    least = criterion.soft_loss(OUTPUTS, OUTPUTS)
    assert least < criterion.soft_loss(OUTPUTS + 1, OUTPUTS)


@pytest.mark.parametrize("together", [True, False])
def test_the_interval_covers_other_items_of_the_kind(rng: np.random.Generator, together: bool) -> None:
    """Also where the labels of an item are all right or all wrong, which makes the error uncertain."""
    covered = 0
    for _ in range(200):
        wrong = rng.random((150, 1 if together else 20)) < 0.2
        outputs = torch.from_numpy(np.where(wrong, -1.0, 1.0) * np.ones((150, 20)))
        score = tallied(outputs, torch.ones(150, 20)).scores()["error"]
        covered += score.low <= 0.2 <= score.high
    assert 180 <= covered <= 199


def test_no_mistake_is_no_certainty() -> None:
    """The interval is that of as many items, however many labels each has."""
    low, high = tallied(torch.ones(30, 8), torch.ones(30, 8)).scores()["error"][1:]
    assert (low, high) == (0.0, pytest.approx(0.113, abs=0.001))
