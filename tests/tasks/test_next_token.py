"""The loss of the next token, and its scores with their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchmetrics.text import Perplexity

from nas.tasks.criteria import NextToken
from nas.tasks.deployed.texts import IGNORED


class TestNextToken:
    """The loss of the next token, and its scores."""

    def test_scores_equal_torchmetrics(self) -> None:
        """Perplexity does, the error is its share of the bits, and ignored places count nowhere."""
        generator = torch.Generator().manual_seed(0)
        outputs = torch.randn(20, 7, 32, generator=generator)
        targets = torch.randint(0, 32, (20, 7), generator=generator)
        targets[3, 2:] = IGNORED
        criterion = NextToken(32, (1,) * 16 + (3,) * 16)
        tally = criterion.tally()
        for start in (0, 6, 13):
            tally.add(outputs[start : (start + 7 if start else 6)], targets[start : (start + 7 if start else 6)])
        scores = tally.scores()
        expected = Perplexity(ignore_index=IGNORED)(outputs, targets).item()
        assert scores["perplexity"].value == pytest.approx(expected, rel=1e-5)
        assert scores["error"].value == tally.error == pytest.approx(math.log2(expected) / 5, rel=1e-5)
        assert criterion.loss(outputs, targets).item() == pytest.approx(math.log(expected), rel=1e-5)
        known = targets[targets != IGNORED]
        size = int(((known < 16) + 3 * (known >= 16)).sum())
        assert scores["bits_per_byte"].value == pytest.approx(math.log2(expected) * len(known) / size, rel=1e-5)
        for score in scores.values():
            assert score.low < score.value < score.high

    def test_intervals_hold_the_truth(self) -> None:
        """In 19 of 20 draws of sequences, as they promise."""
        rng = np.random.default_rng(0)
        held = 0
        for _ in range(200):
            logits = torch.from_numpy(rng.normal(size=(40, 1, 4)) * rng.gamma(2, size=(40, 1, 1))).float()
            tally = NextToken(4, (1,) * 4).tally()
            tally.add(logits, torch.from_numpy(rng.integers(0, 4, (40, 1))))
            score = tally.scores()["error"]
            held += score.low <= EXPECTED <= score.high
        assert held >= 180

    def test_chance_is_the_entropy_of_tokens(self) -> None:
        """A model that knows only how frequent tokens are has that error."""
        targets = torch.tensor([[0, 0, 1, 2], [0, 0, 1, IGNORED]])
        tally = NextToken(4, (1,) * 4).tally()
        shares = torch.tensor([4, 2, 1, 1e-9]) / 7
        tally.add(shares.log().expand(2, 4, 4), targets)
        assert tally.chance_error == pytest.approx(tally.error, rel=1e-5)

    def test_a_perfect_teacher_is_a_target(self) -> None:
        """The soft loss of certain outputs is the loss of their tokens."""
        targets = torch.tensor([[1, 0, 3]])
        outputs = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
        certain = 50.0 * torch.nn.functional.one_hot(targets, 4)
        criterion = NextToken(4, (1,) * 4)
        torch.testing.assert_close(criterion.soft_loss(outputs, certain), criterion.loss(outputs, targets))


def _expected() -> float:
    rng = np.random.default_rng(1)
    logits = torch.from_numpy(rng.normal(size=(400_000, 4)) * rng.gamma(2, size=(400_000, 1)))
    targets = torch.from_numpy(rng.integers(0, 4, 400_000))
    return float(torch.nn.functional.cross_entropy(logits, targets)) / math.log(4)


EXPECTED = _expected()
