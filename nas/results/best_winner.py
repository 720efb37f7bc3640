"""The best winner, chosen by what the search knew of it, so that its test says how good it is.

A few validation items make one of many candidates look best by luck. So a simple model, which folds over all items have
judged, gives way only to one that is better by more than the luckiest of so many would be by chance, and by more than
one standard error (the rule of Breiman and others, "Classification and regression trees", 1984). Simple models whose
errors differ by less than a standard error are told apart by the log loss: each item moves it, and not only those near
a border between classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist

from nas.results.winner import Winner
from nas.values.comparison import Z95
from nas.values.metric import Metric


def best_of(winners: Iterable[Winner], quality: Metric) -> Winner | None:
    """Return the best of some winners by their ``quality`` in the search; None of none.

    Of simple models that folds have judged, ``best_judged`` is best. Another model takes its place if its quality is
    lower by more than ``luck`` times the standard error. Winners of tables are compared by the values that they are
    shown with, and so are all if the search says nothing of the model that one of them has now.
    """
    every = list(winners)
    if any(quality.name not in each.searched or not each.folder for each in every):
        return min(every, key=lambda each: each.score(quality), default=None)

    def in_search(winner: Winner) -> tuple[float, ...]:
        loss = winner.searched.get("log_loss", math.inf)
        return winner.searched[quality.name], loss, winner.value("latency_ms") if winner.has("latency_ms") else 0.0

    judged = [each for each in every if each.by_folds]
    if not judged or quality.name != "error":  # folds say nothing of other metrics
        return min(every, key=in_search, default=None)
    best = min((each for each in every if not each.by_folds), key=in_search, default=None)
    simple = judged[best_judged([each.by_folds for each in judged])]
    gain = 0.0 if best is None else simple.searched[quality.name] - best.searched[quality.name]
    return best if best is not None and gain > luck(best.tried) * standard_error(simple) else simple


def luck(tried: int) -> float:
    """Return by how many standard errors the luckiest of so many equally good candidates looks better than it is.

    That is the expected largest of as many normal deviates (Blom, "Statistical estimates and transformed
    beta-variables", 1958), and one at least.
    """
    return max(1.0, NormalDist().inv_cdf((tried - 0.375) / (tried + 0.25))) if tried > 1 else 1.0


def best_judged(found: Sequence[Mapping[str, float]]) -> int:
    """Return the place of the best of simple models, given what folds say of each.

    It has the lowest log loss of those whose error is within a standard error of the lowest, or else the lowest error.
    """
    lowest = min(found, key=lambda each: each["error"])
    most = lowest["error"] + lowest["standard_error"]
    near = [place for place, each in enumerate(found) if each["error"] <= most]
    name = "log_loss" if all("log_loss" in found[place] for place in near) else "error"
    return min(near, key=lambda place: (found[place][name], found[place]["error"]))


def standard_error(winner: Winner) -> float:
    """Return about the standard error of an error on the validation items.

    It follows from the interval of the test error, whose items are other ones of the same kind, and from their numbers.
    Two models of one task err on the same items, with a correlation of a half or more, so that the difference of their
    errors has about this standard error too.
    """
    of_test = (winner.test_interval.upper - winner.test_interval.lower) / (2 * Z95)
    return of_test * math.sqrt(winner.tested_per_validated)
