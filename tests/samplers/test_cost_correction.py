"""Corrections of predicted costs, learned from evaluations."""

from __future__ import annotations

import numpy as np
from made_up_search import CELLS, CLASSES, SHAPE, cost

from nas.prediction.predictor import batch_of
from nas.space.architecture import Architecture
from nas.space.search_space import sample
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from predictors.features import feature_map
from predictors.processes.kernel import Inputs
from predictors.samplers.cost_correction import Correction

DESCRIBER = describer_of(CELLS, image_signature(SHAPE, CLASSES))


def drawn(count: int, seed: int) -> tuple[list[Architecture], Inputs, np.ndarray]:
    """Return random cells with their inputs and true costs."""
    rng = np.random.default_rng(seed)
    architectures = list(dict.fromkeys(sample(CELLS, rng) for _ in range(count)))
    blocks = feature_map(DESCRIBER)(batch_of(DESCRIBER, architectures).descriptions)
    return architectures, Inputs.of_networks(blocks), np.array([cost(each) for each in architectures])


def too_high(architectures: list[Architecture], truths: np.ndarray) -> np.ndarray:
    """Return predictions that are biased towards the middle and ignore the cost of pooling."""
    pools = np.array([sum(option == "avg_pool_3x3" for option in each.values()) for each in architectures])
    return np.exp(0.7 * np.log(truths) + 0.3 * np.log(5) + 0.1 * pools)


def test_what_was_not_seen_is_corrected() -> None:
    """Thirty evaluations remove most of the error."""
    seen, inputs, truths = drawn(30, 0)
    others, other_inputs, other_truths = drawn(200, 1)
    known = too_high(others, other_truths)
    correction = Correction.fit(inputs, too_high(seen, truths), truths)
    assert correction is not None
    corrected = correction.belief(other_inputs, known).optimistic(0.0)
    before, after = (np.abs(np.log(values / other_truths)).mean() for values in (known, corrected))
    assert after < 0.4 * before


def test_what_is_true_stays() -> None:
    """Exact costs need no correction."""
    _, inputs, truths = drawn(10, 0)
    assert Correction.fit(inputs, truths, truths.copy()) is None
    assert Correction.fit(inputs, -truths, -truths) is None


def test_values_of_either_sign_are_corrected_by_differences() -> None:
    """An objective to be maximised is negated, so its values are negative."""
    seen, inputs, truths = drawn(30, 0)
    others, other_inputs, other_truths = drawn(200, 1)
    correction = Correction.fit(inputs, -too_high(seen, truths), -truths)
    assert correction is not None
    known = -too_high(others, other_truths)
    corrected = correction.belief(other_inputs, known).optimistic(0.0)
    assert np.abs(corrected + other_truths).mean() < 0.5 * np.abs(known + other_truths).mean()


def test_positive_ones_tell_nothing_of_others() -> None:
    """A learned ratio is not applied to values that are not positive."""
    seen, inputs, truths = drawn(30, 0)
    correction = Correction.fit(inputs, too_high(seen, truths), truths)
    assert correction is not None
    known = np.concatenate([[0.0], truths[1:]])
    assert (correction.belief(inputs, known).optimistic(1.0) == known).all()


def test_hyperparameters_stay_until_there_is_much_more() -> None:
    """They are optimised again only with many more samples, as in the surrogate."""
    seen, inputs, truths = drawn(40, 0)
    known = too_high(seen, truths)
    count = len(seen)

    def first(number: int, before: Correction | None = None) -> Correction:
        some = inputs.take(np.arange(number))
        found = Correction.fit(some, known[:number], truths[:number], before)
        assert found is not None
        return found

    few = first(count - 10)
    more = first(count - 9, few)
    most = first(count, more)
    assert more.settled_at == count - 10
    assert (more.process.beliefs[0].logs == few.process.beliefs[0].logs).all()
    assert most.settled_at == count
