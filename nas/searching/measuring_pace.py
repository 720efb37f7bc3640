"""How long models take to be measured, and winners to be finished: by guesses at first, and then by what was seen."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import final

from nas.recipe.recipe import Recipe
from nas.searching.beliefs import Beliefs
from nas.values.metric import SUSTAINED, bare_name, target_in

MEASURING, FINISHING = "measuring", "finishing"
USUAL_S: Mapping[str, tuple[float, float]] = {MEASURING: (4.0, 0.7), FINISHING: (4.0, 2.4)}
"""Seconds that measuring models, and finishing winners, takes on an idle machine with two cores: at all, and for each.

They are guesses for the first plan, and of small networks. What was seen corrects them. On an idle AMD EPYC, 16 small
networks took 17 s, one of 100 layers 6 s, and six of these 24 s. On a slower one, four of 100 layers took 28 s.
"""
LAYER_S = 0.012
"""Seconds by which each of a network's layers lengthens both, most of it for exporting."""
STARTUP_S = 2.5
"""Seconds that the first export of a process takes longer than others."""
REPORT_S = 3.0
LAST = 3
"""So many measurings tell how long a stage may take that was not seen."""


@final
class MeasuringPace:
    """Estimates how long measuring models and finishing winners take.

    Attributes:
        layers: the number of layers of a usual network of the space; 0 until it is known.
    """

    def __init__(self, recipe: Recipe, beliefs: Beliefs) -> None:
        self._recipe = recipe
        self._beliefs = beliefs
        self._seen: dict[str, list[float]] = {MEASURING: [], FINISHING: []}
        searched = len(set(map(target_in, beliefs.measured_metrics)))
        self._targets = {MEASURING: max(1, searched), FINISHING: 1 + len(recipe.further_targets)}
        self.layers = 0

    def measuring_s(self, count: int) -> float:
        """Return the seconds in which ``count`` models are exported and measured."""
        return self._pace(MEASURING) * self._usual_s(MEASURING, count) if count else 0.0

    def finishing_s(self, count: int) -> float:
        """Return the seconds in which ``count`` winners are exported, measured and tested, and the report written."""
        return self._pace(FINISHING) * (self._usual_s(FINISHING, count) + REPORT_S)

    def learn(self, stage: str, count: int, seconds: float) -> None:
        """Learn how long a stage with ``count`` models took. Nothing is learnt from none."""
        if count:
            self._seen[stage].append(seconds / self._usual_s(stage, count))

    def has_seen(self, stage: str) -> bool:
        """Return True if the pace of a stage was seen."""
        return bool(self._seen[stage])

    def _usual_s(self, stage: str, count: int) -> float:
        once, small = USUAL_S[stage]
        each = small + LAYER_S * self.layers
        startup_s = 0.0 if stage != MEASURING or any(self._seen.values()) else STARTUP_S
        return startup_s + self._targets[stage] * (once + each * count) + self._sustaining_s(stage) * count

    def _sustaining_s(self, stage: str) -> float:
        """Return the seconds for which a model runs for its sustained latencies, on all targets that measure one."""
        recipe = self._recipe
        targets = sum(bare_name(name) == SUSTAINED for name in self._beliefs.measured_metrics)
        if stage == FINISHING and recipe.measuring.sustain_winners:
            targets = self._targets[FINISHING]
        return targets * recipe.measuring.sustained_s if recipe.evaluate != "table" else 0.0

    def _pace(self, stage: str) -> float:
        """Return how many times longer than usual a stage takes here; one that was not seen is like the slowest other.

        Models that are measured between rounds may be small, and then tell nothing of how long winners are tested. Only
        the last few count, because one may have waited for another run.
        The newest time counts as much as all earlier ones together, because the load of a machine comes and goes.
        """
        own = self._seen[stage]
        if not own:
            return max([pace for paces in self._seen.values() for pace in paces][-LAST:], default=1.0)
        return functools.reduce(lambda earlier, newest: (earlier + newest) / 2, own)
