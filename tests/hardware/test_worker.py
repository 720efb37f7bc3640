"""The measuring process warms a model up before it times it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from nas.hardware.runtimes.worker import WARM_UP_BLOCK, _warm_up


def test_warm_up_ends_when_inferences_have_settled() -> None:
    """Warm-up needs two similar blocks, lasts longer while times fall, and has a time limit."""
    now_s = [0.0]

    def warmed_up(times_s: Iterable[float]) -> tuple[int, float]:
        times = iter(times_s)

        class Session:
            def run(self) -> None:
                now_s[0] += next(times)

            def conditions(self) -> dict[str, object]:
                return {}

        return _warm_up(Session(), lambda: now_s[0])

    assert warmed_up(itertools.repeat(2e-3)) == (2 * WARM_UP_BLOCK, pytest.approx(2e-3))
    falling = [0.02 * 0.8**block for block in range(6) for _ in range(WARM_UP_BLOCK)]
    assert warmed_up([*falling, *[5e-3] * 100]) == (8 * WARM_UP_BLOCK, pytest.approx(5e-3))
    assert warmed_up(itertools.repeat(3.0)) == (WARM_UP_BLOCK, pytest.approx(3.0)), "the time limit ends it"
