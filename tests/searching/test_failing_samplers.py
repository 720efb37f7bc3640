"""A sampler of somebody else's that fails is named in a sentence."""

from __future__ import annotations

import optuna
import pytest
from tiny_space import TinySpace

from nas.errors import RecipeError
from nas.searching.proposer import Beforehand, Proposer
from nas.searching.screening import Verdict
from nas.space.signature import image_signature
from nas.space.tracing import describer_of


def proposer_of(sampler: str) -> Proposer:
    """Return a proposer with a sampler of this module."""
    space = TinySpace()
    beforehand = Beforehand(describer_of(space, image_signature((1, 8, 8), 10)))
    return Proposer(space, 2, f"test_failing_samplers:{sampler}", seed=0, history=(), beforehand=beforehand)


def broken(describer: object, **named: object) -> optuna.samplers.BaseSampler:
    """Return a sampler that fails at its second proposal."""

    class Broken(optuna.samplers.RandomSampler):
        asked = 0

        def infer_relative_search_space(self, study: object, trial: object) -> dict[str, object]:
            self.asked += 1
            return {} if self.asked < 2 else {"nothing": 1 / 0}

    return Broken(seed=0)


def anything(architecture: object) -> Verdict:
    """Accept every architecture."""
    return Verdict()


def nothing(describer: object, **named: object) -> None:
    """Return no sampler."""


def test_a_sampler_that_fails_is_named_with_the_place() -> None:
    """It is the user's own code, so the message has its file and line."""
    proposer = proposer_of("broken")
    assert proposer.propose(anything).architecture is not None
    with pytest.raises(
        RecipeError, match=r"the sampler 'test_failing_samplers:broken' failed to propose: ZeroDivisionError.*py"
    ):
        proposer.propose(anything)


def test_what_is_no_sampler_is_refused() -> None:
    """A maker may return anything."""
    with pytest.raises(RecipeError, match=r"must be one of Optuna's, but .* returned a NoneType"):
        proposer_of("nothing")
