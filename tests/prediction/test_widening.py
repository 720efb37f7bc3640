"""Bounds are widened where what was measured later shows them to be too narrow, and only there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from fake_predictor import fit_fake
from tiny_space import TinySpace

from nas.prediction.predictor import batch_of
from nas.prediction.widening import MOST, Later, WidenedPredictor, widening_after
from nas.space.search_space import enumerate_space
from nas.space.signature import image_signature
from nas.space.tracing import describer_of

SPACE = describer_of(TinySpace(), image_signature((1, 8, 8), 10))
ALL = list(enumerate_space(TinySpace()))


def later(reaches: Sequence[float], widened: float = 1.0) -> list[Later]:
    """Values at these multiples of a bound that lies 10 % above the mean, and was widened by a factor."""
    bound = math.log(1.1)
    return [Later(math.exp(reach * bound), 1.0, math.exp(widened * bound), widened) for reach in reaches]


class TestWidening:
    @pytest.mark.parametrize("reaches", [[], [0.5] * 20, [0.5] * 19 + [3.0], [0.5] * 39 + [2.0] * 4, [-9.0] * 8])
    def test_what_chance_explains_changes_nothing(self, reaches: list[float]) -> None:
        """One of 20 above a 95 % bound is as it should be; so are values far below it."""
        found = widening_after(later(reaches))
        assert found.factor == 1
        assert found.told is None

    def test_more_than_chance_widens_until_95_percent_hold(self) -> None:
        """Of 39, the 38th is held, as of 39 and a further one 95 % should be."""
        reaches = [0.5] * 33 + [1.5, 2.0, 2.5, 3.0, 3.5, 9.0]
        found = widening_after(later(reaches))
        assert found.factor == pytest.approx(3.5)
        assert found.told == (
            "Of 39 architectures that were measured after their prediction, 6 lay above the predictor's 95 % bound, so "
            "that its bounds are made 3.5 times as wide."
        )

    def test_few_are_all_held(self) -> None:
        assert widening_after(later([0.1] * 5 + [1.2, 2.0, 2.2])).factor == pytest.approx(2.2)
        assert widening_after(later([0.1, 1.5])).factor == 1  # chance gives this in one of ten
        assert widening_after(later([50.0] * 4)).factor == MOST

    def test_values_that_wider_bounds_hold_keep_them_wide(self) -> None:
        """Otherwise bounds would be narrow again after each round."""
        narrow = [0.1] * 5 + [1.2, 2.0, 2.2]
        after = widening_after([*later(narrow), *later([0.5] * 5 + [1.5, 1.8, 0.2], widened=2.2)])
        assert after.factor == pytest.approx(2.2)
        assert (after.above, after.count) == (5, 16)

    def test_bounds_without_end_hold_everything(self) -> None:
        assert widening_after([Later(5.0, 1.0, math.inf, 1.0)] * 9).factor == 1


class TestWidenedPredictor:
    def test_bounds_move_away_from_the_mean(self) -> None:
        """By the factor, in logarithms; the mean and the held-out errors stay."""
        sound = fit_fake(SPACE, ALL, np.linspace(1.0, 2.0, len(ALL)), target="t", seed=0)
        wide = WidenedPredictor(sound, 2.0)
        own = sound.predict(ALL)
        for found in (wide.predict(ALL), wide.predict_described(batch_of(SPACE, ALL))):
            np.testing.assert_array_equal(found.mean, own.mean)
            for name in ("lower", "upper", "limit"):
                moved = np.log(getattr(found, name) / own.mean)
                np.testing.assert_allclose(moved, 2 * np.log(getattr(own, name) / own.mean))
            np.testing.assert_array_equal(found.known, own.known)
        assert wide.held_out is sound.held_out
