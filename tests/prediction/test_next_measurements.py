"""Advice on measuring: the architectures to measure next, and their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tiny_space import TinySpace

from nas.errors import CandidateError
from nas.prediction.next_measurements import SUGGESTED, advice, buildable, pool_of, suggestions
from nas.prediction.predictor import Prediction
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.layer import Layer
from nas.space.search_space import enumerate_space
from nas.space.signature import image_signature
from nas.space.tracing import layers_of
from nas.values.held_out import HeldOutError
from nas.values.objective import Limit

SPACE = TinySpace()
ALL = list(enumerate_space(SPACE))


def layers(architecture: Architecture) -> Sequence[Layer]:
    """Return the traced layers of an architecture of ``TinySpace``."""
    return layers_of(SPACE, architecture, image_signature((1, 8, 8), 10))


@pytest.fixture(name="space", scope="module")
def tiny_describer() -> Describer:
    """Return a describer of ``TinySpace`` whose traces are cached."""
    return Describer(SPACE, layers)


def held_out(samples: int, width: float) -> HeldOutError:
    """Return held-out errors with these samples and this width."""
    return HeldOutError(samples, 0.1, 0.9, 0.8, 0.4, 0.6, 0.9, width)


class Foretold:
    """A predictor with given predictions: mean 1, the given widths, and the given known architectures."""

    def __init__(self, widths: Sequence[float], known: Sequence[bool]) -> None:
        self._widths, self._known = np.array(widths), np.array(known)

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        mean = np.ones(len(architectures))
        upper = mean + self._widths / 2
        return Prediction(mean, mean - self._widths / 2, upper, upper, self._known)


# Which


def test_the_unknown_come_first_then_those_at_a_limit_then_the_widest(space: Describer) -> None:
    """Bounds of 1 ± 0.2 include the limit 1.15; bounds of 1 ± 0.1 do not."""
    widths = [0.2] * 12 + [0.4] * 2 + [0.01]
    known = [True] * 14 + [False]
    limit = Limit.parse("latency_ms <= 1.15ms")
    found = suggestions(Foretold(widths, known), space, [limit], ALL)  # type: ignore[arg-type]
    assert len(found) == SUGGESTED
    assert found[0].architecture == ALL[14]
    assert {each.architecture for each in found[1:3]} == set(ALL[12:14])
    assert [each.reason for each in found[:4]] == [
        "unlike all that was measured",
        *["near latency_ms <= 1.15ms"] * 2,
        "widest bounds",
    ]
    assert len({each.architecture for each in found}) == SUGGESTED


def test_of_those_alike_the_ones_that_differ_most_are_taken(space: Describer) -> None:
    """The second suggestion differs from the first in as many choices as possible."""
    found = suggestions(Foretold([0.2] * 15, [True] * 15), space, [], ALL)  # type: ignore[arg-type]
    first, second = (each.architecture for each in found[:2])
    assert first["width"] != second["width"]
    assert first["depth"] != second["depth"]


def test_nothing_to_choose_from_is_no_suggestion(space: Describer) -> None:
    """A small space may be measured completely."""
    assert suggestions(Foretold([], []), space, [], []) == ()  # type: ignore[arg-type]
    assert pool_of(space, dict.fromkeys(ALL), 0) == []
    assert set(pool_of(space, dict.fromkeys(ALL[3:]), 0)) == set(ALL[:3])


def test_what_cannot_be_built_is_not_suggested() -> None:
    """Architectures that raise CandidateError are skipped."""

    def failing(architecture: Architecture) -> Sequence[Layer]:
        if architecture["width"] == 4:
            raise CandidateError("build", "too narrow")
        return layers(architecture)

    assert {a["width"] for a in buildable(Describer(SPACE, failing), ALL)} == {8, 16}


# How many


def test_advice_follows_the_learning_curve() -> None:
    """If widths fall with the root of the samples, ±30 % to ±15 % takes four times as many."""
    curve = [held_out(n, 0.6 * (20 / n) ** 0.5) for n in (5, 10, 20)]
    said = advice(curve, 0.3, unused=0, suggested=True)
    assert said.startswith("Measure about 60 more, those named here first; ")
    assert advice(curve, 0.3, unused=100, suggested=True).startswith("Use about 60 more of the 100 measurements")
    assert advice(curve, 0.3, unused=59, suggested=False).startswith("Measure about 60 more; ")


@pytest.mark.parametrize("curve", [[held_out(n, 0.6) for n in (5, 10, 20)], [held_out(20, 0.6)]])
def test_a_flat_curve_promises_nothing(curve: list[HeldOutError]) -> None:
    """Neither a flat curve nor a single point predicts a number of measurements."""
    assert advice(curve, 0.3, unused=0, suggested=True).startswith("More measurements alone may not narrow the bounds")


def test_where_bounds_are_narrow_enough_more_of_the_same_is_asked_for() -> None:
    """With a poor rank correlation of 20 samples, the advice is to double them."""
    said = advice([held_out(20, 0.2)], 0.1, unused=0, suggested=False)
    assert said.startswith("Measure about 20 more; then look again: the bounds are narrow enough")
