"""How the bounds of predictors are told."""

from __future__ import annotations

import math

import pytest

from nas.values.held_out import reach_text, width_text


@pytest.mark.parametrize(
    ("half_width", "reach", "width"),
    [
        (0.12, "reach 12 % to each side", "24.0 %"),
        (3.0, "reach 300 % to each side", "600.0 %"),
        (19.57, "are unknown (too few measurements: 7)", "unknown (too few measurements: 7)"),
        (math.inf, "are open", "–"),
        (math.nan, "are open", "–"),
    ],
)
def test_bounds_that_are_too_wide_are_unknown(half_width: float, reach: str, width: str) -> None:
    """Thousands of per cent say only that there are too few measurements."""
    assert reach_text(half_width, 7) == reach
    assert width_text(2 * half_width, 7) == width


def test_sides_may_be_told_by_a_sign() -> None:
    assert reach_text(0.12, 7, "±{}") == "reach ±12 %"
