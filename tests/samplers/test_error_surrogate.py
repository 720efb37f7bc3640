"""Surrogates of an error, fitted to few evaluations."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_search import CELLS, CLASSES, SHAPE, error

from nas.prediction.predictor import batch_of
from nas.space.search_space import sample
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from predictors.features import feature_map
from predictors.processes.kernel import Inputs
from predictors.quality import spearman
from predictors.samplers.error_surrogate import Surrogate

DESCRIBER = describer_of(CELLS, image_signature(SHAPE, CLASSES))


def inputs_and_errors(count: int, seed: int) -> tuple[Inputs, np.ndarray]:
    """Return inputs and errors of random cells."""
    rng = np.random.default_rng(seed)
    architectures = list(dict.fromkeys(sample(CELLS, rng) for _ in range(count)))
    blocks = feature_map(DESCRIBER)(batch_of(DESCRIBER, architectures).descriptions)
    return Inputs.of_networks(blocks), np.array([error(architecture) for architecture in architectures])


def test_ranks_what_it_has_not_seen() -> None:
    """New cells are ranked better with forty evaluations than with ten."""
    others, truths = inputs_and_errors(300, 1)
    found = []
    for count in (10, 40):
        inputs, errors = inputs_and_errors(count, 0)
        surrogate = Surrogate.fit(inputs, errors, np.ones(len(errors)))
        found.append(spearman(truths, surrogate.predict(others).optimistic(0.0)))
    assert found[1] > 0.85
    assert found[1] > found[0]


def test_optimism_lowers_and_errors_stay_positive() -> None:
    """Positive values are learned as logarithms, other values directly."""
    inputs, errors = inputs_and_errors(30, 0)
    others, _ = inputs_and_errors(50, 1)
    belief = Surrogate.fit(inputs, errors, np.ones(len(errors))).predict(others)
    assert (belief.optimistic(1.5) < belief.optimistic(0.0)).all()
    assert (belief.optimistic(9.0) > 0).all()
    signed = Surrogate.fit(inputs, errors - 30, np.ones(len(errors)))
    assert not signed.is_log
    assert (signed.predict(others).optimistic(0.0) < 0).any()


def test_noisy_evaluations_count_less() -> None:
    """A wrong value changes the prediction at its own place little if it is marked as noisy."""
    inputs, errors = inputs_and_errors(40, 0)
    wrong = errors.copy()
    wrong[7] *= 1.5
    noise = np.ones(len(errors))
    noise[7] = 1000.0
    at = inputs.take(np.array([7]))
    right, trusting, doubting = (
        Surrogate.fit(inputs, values, relative).predict(at).means[0]
        for values, relative in ((errors, np.ones(len(errors))), (wrong, np.ones(len(errors))), (wrong, noise))
    )
    assert abs(doubting - right) < 0.5 * abs(trusting - right)


def test_hyperparameters_are_settled_anew_only_when_there_is_much_more() -> None:
    """One more sample is learned without optimising them again."""
    inputs, errors = inputs_and_errors(44, 0)

    def first(count: int) -> tuple[Inputs, np.ndarray, np.ndarray]:
        return inputs.take(np.arange(count)), errors[:count], np.ones(count)

    few = Surrogate.fit(*first(30))
    more = Surrogate.fit(*first(31), few)
    most = Surrogate.fit(*first(40), more)
    assert more.settled_at == 30
    assert (more.process.beliefs[0].logs == few.process.beliefs[0].logs).all()
    assert most.settled_at == 40
    assert (most.process.beliefs[0].logs != few.process.beliefs[0].logs).any()


def test_equal_values_are_believed_of_all() -> None:
    """Equal values are predicted everywhere."""
    inputs, errors = inputs_and_errors(10, 0)
    belief = Surrogate.fit(inputs, np.full(len(errors), 7.0), np.ones(len(errors))).predict(inputs)
    assert belief.optimistic(0.0) == pytest.approx(np.full(len(errors), 7.0))
