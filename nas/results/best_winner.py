"""The best winner, chosen by what the search knew of it, so that the test says how good it is and has no part in it.

A few validation items make one of many candidates look best by luck. So a simple model, which folds over all items have
judged, gives way only to one that is better by more than the standard error (the rule of one standard error of Breiman
and others, "Classification and regression trees", 1984).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from nas.results.winner import Winner
from nas.values.metric import Metric

NORMAL_95 = 1.96
"""The half-width of a 95 % interval in standard errors."""


def best_of(winners: Iterable[Winner], quality: Metric) -> Winner | None:
    """Return the best of some winners by their ``quality`` in the search; None of none.

    Of simple models that folds have judged, the one with the lowest error is best. Another model takes its place if its
    quality is lower by more than the standard error. Winners of tables, and those of whose search nothing is known, are
    compared by the values that they are shown with.
    """
    every = list(winners)
    if any(quality.name not in each.searched or not each.folder for each in every):
        return min(every, key=lambda each: each.score(quality), default=None)

    def in_search(winner: Winner) -> tuple[float, ...]:
        loss = winner.searched.get("log_loss", math.inf)
        return winner.searched[quality.name], loss, winner.value("latency_ms") if winner.has("latency_ms") else 0.0

    best = min(every, key=in_search, default=None)
    judged = [each for each in every if each.folds_error is not None] if quality.name == "error" else []
    if best is None or not judged:
        return best
    simple = min(judged, key=lambda each: (each.folds_error or 0.0, *in_search(each)))
    gain = simple.searched[quality.name] - best.searched[quality.name]
    return best if best.folds_error is None and gain > standard_error(simple) else simple


def standard_error(winner: Winner) -> float:
    """Return about the standard error of an error on the validation items.

    It follows from the interval of the test error, whose items are other ones of the same kind, and from their numbers.
    Two models of one task err on the same items, with a correlation of a half or more, so that the difference of their
    errors has about this standard error too.
    """
    of_test = (winner.test_interval.upper - winner.test_interval.lower) / (2 * NORMAL_95)
    return of_test * math.sqrt(winner.tested_per_validated)
