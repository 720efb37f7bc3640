"""What the sampler expects errors from before any is known."""

from __future__ import annotations

from nas.searching.proposer import Prior
from nas.searching.state import RunState
from nas.space.parts.known_values import known_prior
from nas.training.settings import training_seed
from nas.training.zero_cost import ScorePrior, ZeroCostEvaluation


def prior_of(state: RunState) -> Prior | None:
    """Return what the sampler expects errors from: zero-cost scores, or what the space knows."""
    recipe = state.recipe
    if recipe.prior == "none":
        return known_prior(state.resolved.space)
    scoring = ZeroCostEvaluation(
        state.resolved.space,
        state.resolved.source,
        recipe.prior,
        recipe.zero_cost.batch,
        recipe.training.device,
        recipe.execution.threads_per_worker,
        clock=state.stopwatch,
    )
    return ScorePrior(scoring, lambda architecture: training_seed(recipe, architecture))
