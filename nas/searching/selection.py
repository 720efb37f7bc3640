"""Selecting from what is known: the front of the candidates, what to measure next, and the winners."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from nas.results.best_winner import best_judged
from nas.results.evidence import differing_folds
from nas.searching.beliefs import Beliefs
from nas.space.architecture import Architecture
from nas.space.parts.candidate import Candidate
from nas.values.evaluation import BY_FOLDS, PARENT, Evaluation
from nas.values.pareto import FloatArray, hypervolume, hypervolume_contributions, non_dominated

SIMPLE_WINNERS = 3
"""The simple models that are winners beside those that the search chooses, at most."""
FEWEST_REPLACED = 3
"""For so many winners that break a limit in the end others are made, or for as many as there may be."""
MOST_EXCHANGES = 50
NEGLIGIBLE = 1e-9
"""Gains below this share of the scaled hypervolume are ignored."""


def front_candidates(beliefs: Beliefs, *, surely: bool, without: Collection[Architecture] = ()) -> list[Evaluation]:
    """Return the non-dominated candidates among those that meet the limits, ordered by their first objective.

    With ``surely``, measured upper bounds must meet the limits; otherwise predicted means count where nothing was
    measured. If no short training meets the limits on trained metrics, their excess counts as one more objective.
    """
    beliefs.predict_all(row.architecture for row in beliefs.candidates)

    meets = beliefs.surely_meets if surely else partial(meets_as_known, beliefs)
    rows = [row for row in judged(beliefs) if row.architecture not in without and meets(row.architecture)]
    accurate = [row for row in rows if beliefs.accuracy_excess(row.values) == 0]
    return non_dominated_rows(beliefs, accurate or rows)


def judged(beliefs: Beliefs) -> list[Evaluation]:
    """Return the candidates, with their errors by folds where all of them, but for a parent, are simple models.

    Of hundreds that few validation items judge, the front is that of the luckiest. Those with too many features to be
    judged by folds keep their errors on validation items.
    A parent may have been tuned on the items of the folds. So errors of parts that are nearly all of it may be too low.
    """
    rows = beliefs.candidates
    return list(map(_as_judged, rows)) if are_judged_by_folds(beliefs) else rows


def are_judged_by_folds(beliefs: Beliefs) -> bool:
    """Return True if errors by folds stand for those on validation items, which bear them out."""
    rows = beliefs.candidates
    are_simple = all(row.is_fitted or row.is_as_it_came for row in rows)
    return are_simple and any(BY_FOLDS in row.details for row in rows) and folds_count(beliefs)


def folds_count(beliefs: Beliefs) -> bool:
    """Return True if folds may tell simple models apart: they say nothing of other metrics than the error."""
    return beliefs.quality.name == "error" and differing_folds(beliefs.candidates) is None


def meets_as_known(beliefs: Beliefs, architecture: Architecture) -> bool:
    """Return True if measured upper bounds meet the limits or, where nothing was measured, the predicted means."""
    if architecture in beliefs.measurements:
        return beliefs.surely_meets(architecture)
    return beliefs.probably_meets(architecture)


def non_dominated_rows(beliefs: Beliefs, rows: Sequence[Evaluation]) -> list[Evaluation]:
    """Return the rows that no other one dominates by the best known values, sorted by the objectives.

    Of rows with equal objectives those with the lower log loss come first: few validation items give many equal errors.
    """
    if not rows:
        return []
    losses = np.array([(*_losses(beliefs, row), beliefs.accuracy_excess(row.values)) for row in rows])
    mask = non_dominated(losses)
    order = sorted(np.flatnonzero(mask).tolist(), key=lambda i: (*losses[i], rows[i].values.get("log_loss", math.inf)))
    return [rows[index] for index in order]


def worth_measuring(
    beliefs: Beliefs, rows: Sequence[Evaluation], near_limits: Iterable[Architecture], count: int
) -> list[Candidate]:
    """Return up to ``count`` unmeasured candidates, those first whose measurement would most change the front.

    ``rows`` are the candidates of which the front is. After them come those near a limit, the likeliest to meet it
    first, for only measuring can tell. Last come candidates that are unlike everything measured.
    """
    trained = [row.architecture for row in rows]
    beliefs.predict_all(trained)
    unmeasured = [
        architecture
        for architecture in dict.fromkeys([*trained, *near_limits])
        if not beliefs.is_measured(architecture) and architecture not in beliefs.unfit
    ]
    in_doubt = [a for a in unmeasured if beliefs.doubtful_limits(a) and beliefs.probably_meets(a)]
    unknown = [a for a in unmeasured if not all(guess.known for guess in beliefs.predicted(a).values())]
    likeliest_first = sorted(in_doubt, key=beliefs.excess_of_bounds)
    wanted = [*changing_the_front(beliefs, rows), *likeliest_first, *unknown]
    return beliefs.parts.one_each(wanted)[:count]


def changing_the_front(beliefs: Beliefs, rows: Sequence[Evaluation]) -> list[Architecture]:
    """Return unmeasured ones of these candidates that could be on the front if the predictor's lower bounds were true.

    Those that would add most hypervolume by their predicted means come first.
    """
    hopeful: dict[Architecture, dict[str, float]] = {}
    for row in rows:
        values, measured = _known(beliefs, row), beliefs.measurements.get(row.architecture, {})
        lower = {name: guess.lower for name, guess in beliefs.predicted(row.architecture).items()}
        values |= {name: value for name, value in lower.items() if name not in measured}
        if all(limit.holds(values[limit.metric.name]) for limit in beliefs.cost_limits):
            hopeful[row.architecture] = values
    if not hopeful:
        return []
    architectures = list(hopeful)
    by_architecture = {row.architecture: row for row in rows}
    means = np.array([_losses(beliefs, by_architecture[architecture]) for architecture in architectures])
    # Those that break a limit by their means add nothing to the front, and dominate nothing, until they are measured.
    probable = np.array([beliefs.probably_meets(architecture) for architecture in architectures])
    gains = np.zeros(len(architectures))
    gains[probable] = hypervolume_contributions(means[probable], means.max(axis=0) * 1.1 + 1e-9)
    lowest = np.array([beliefs.losses(values) for values in hopeful.values()])
    # A lower bound is at most its own mean, so the front of all means decides; others on it are few.
    front = means[probable][non_dominated(means[probable])]
    chosen = [
        (-float(gains[index]), index)
        for index, architecture in enumerate(architectures)
        if not beliefs.is_measured(architecture) and not _is_dominated(lowest[index], front)
    ]
    return [architectures[index] for _, index in sorted(chosen)]


def _is_dominated(point: FloatArray, others_NM: FloatArray) -> bool:
    """Return True if one of ``others_NM`` is nowhere higher than ``point``, shape (M,), and somewhere lower."""
    return bool(((others_NM <= point).all(axis=1) & (others_NM < point).any(axis=1)).any())


def choose_winners(beliefs: Beliefs, count: int, without: Collection[Architecture] = ()) -> list[Architecture]:
    """Return up to ``count`` architectures of the front that meet the limits as measured, or else the nearest misses.

    Architectures that were chosen before stay, unless they failed: then others take their place. So do those that meet
    the limits for winners whose own measurement breaks one. Those in ``without`` are none of them.
    """
    if not beliefs.candidates:
        return []
    chosen_before = (*beliefs.retrainings.values(), *beliefs.winners.values())
    excluded = {*_failed_winners(beliefs), *without}
    missed = _missing_winners(beliefs) - excluded
    # A parent is a winner whether it meets limits or not, and takes no place of those that others replace.
    counted = [each for each in missed if not beliefs.winners[each].details.get(PARENT)]
    replaces = bool(missed) and len(counted) <= max(count, FEWEST_REPLACED)
    rows = front_candidates(beliefs, surely=True, without=excluded | missed) if replaces else []
    rows = rows or _eligible(beliefs, excluded, count)
    if not rows:
        return []
    losses = np.array([_losses(beliefs, row) for row in rows])
    kept = {row.architecture for row in chosen_before} - beliefs.settled
    spread = spread_over_front(losses, count)
    # Simple models may be winners beside those that are chosen here, whose places they must not take.
    picks = [
        index for index, row in enumerate(rows) if row.architecture in kept and (not row.is_fitted or index in spread)
    ]
    for index in spread:
        if len(picks) < count and index not in picks:
            picks.append(index)
    return [rows[index].architecture for index in sorted(picks)]


def simple_winners(beliefs: Beliefs) -> list[Architecture]:
    """Return simple models that no other simple one dominates, as far as they meet the limits as measured.

    They were fitted in one pass over the items, so they cost little. Of few validation items, a candidate may seem
    better by chance; simple models are compared by folds over all items where they have been judged so, and the best of
    them by ``best_judged`` comes first.
    """
    excluded = _failed_winners(beliefs) | _missing_winners(beliefs)
    counts = folds_count(beliefs)
    meeting = [
        _as_judged(row) if counts else row
        for row in beliefs.candidates
        if row.is_fitted and row.architecture not in excluded and beliefs.surely_meets(row.architecture)
    ]
    accurate = [row for row in meeting if beliefs.accuracy_excess(row.values) == 0] or meeting
    rows = non_dominated_rows(beliefs, accurate)
    losses = np.array([_losses(beliefs, row) for row in rows])
    found = [rows[index].architecture for index in sorted(spread_over_front(losses, SIMPLE_WINNERS))]
    by_folds = [row for row in accurate if BY_FOLDS in row.details] if counts else []
    if not by_folds:
        return found
    best = by_folds[best_judged([row.details[BY_FOLDS] for row in by_folds])].architecture
    return [best, *(each for each in found if each != best)][:SIMPLE_WINNERS]


def _losses(beliefs: Beliefs, row: Evaluation) -> tuple[float, ...]:
    """Return the objectives by the best known values, and by those of the row's training."""
    return beliefs.losses(_known(beliefs, row))


def _known(beliefs: Beliefs, row: Evaluation) -> dict[str, float]:
    return {**beliefs.values(row.architecture), **row.values}


def _as_judged(row: Evaluation) -> Evaluation:
    """Return the row of a simple model with its error by folds, if it has one."""
    found = row.details.get(BY_FOLDS)
    return row if found is None else replace(row, values={**row.values, "error": found["error"]})


def only_misses(beliefs: Beliefs) -> bool:
    """Return True if no candidate surely meets the limits, so that winners are the nearest misses."""
    failed = _failed_winners(beliefs)
    others = [row for row in beliefs.candidates if row.architecture not in failed]
    return bool(others and beliefs.cost_limits) and not front_candidates(beliefs, surely=True, without=failed)


def _failed_winners(beliefs: Beliefs) -> set[Architecture]:
    rows = (*beliefs.retrainings.values(), *beliefs.winners.values())
    return {row.architecture for row in rows if row.failed}


def _missing_winners(beliefs: Beliefs) -> set[Architecture]:
    """Return the winners that break a limit as they were measured in the end, though they met it in the search."""
    return {
        architecture
        for architecture, row in beliefs.winners.items()
        for limit in beliefs.cost_limits
        if (found := row.measurements.get(limit.metric.name)) and not limit.holds(found.interval.upper)
    }


def _eligible(beliefs: Beliefs, excluded: Collection[Architecture], count: int) -> list[Evaluation]:
    """Return the front as measured; if nothing meets the limits, the candidates that exceed them least."""
    front = front_candidates(beliefs, surely=True, without=excluded)
    if front:
        return front
    candidates = [row for row in judged(beliefs) if row.architecture not in excluded]
    if not beliefs.cost_limits:
        return non_dominated_rows(beliefs, candidates)

    def miss(row: Evaluation) -> tuple[float, ...]:
        return beliefs.excess_of_bounds(row.architecture), *_losses(beliefs, row)

    return sorted(candidates, key=miss)[:count]


def spread_over_front(losses: FloatArray, count: int) -> list[int]:
    """Return up to ``count`` rows of a front: the best in its first objective, and others with most hypervolume.

    They are chosen one after the other, and then exchanged one by one for others as long as that is better.
    The reference point is 1 + 1/H in each scaled objective, where H steps from one end to the other make about
    ``count`` points. With it, evenly spaced points that include both ends have the largest hypervolume (Ishibuchi and
    others, "How to specify a reference point in hypervolume calculation for fair performance comparison", 2018).
    """
    if len(losses) == 0:
        return []
    lowest, highest = losses.min(axis=0), losses.max(axis=0)
    scaled = (losses - lowest) / np.maximum(highest - lowest, 1e-12)
    reference = np.full(losses.shape[1], 1 + 1 / _steps(count, losses.shape[1]))
    first, others = int(np.argmin(scaled[:, 0])), list[int]()

    def volume(rows: Sequence[int]) -> float:
        return hypervolume(scaled[[first, *rows]], reference)

    def with_best(rows: Sequence[int]) -> list[int]:
        rest = [index for index in range(len(losses)) if index != first and index not in rows]
        return [*rows, max(rest, key=lambda index: volume([*rows, index]))]

    while len(others) + 1 < min(count, len(losses)):
        others = with_best(others)
    for _ in range(MOST_EXCHANGES):
        exchanged = max(
            (with_best([*others[:n], *others[n + 1 :]]) for n in range(len(others))), key=volume, default=[]
        )
        if volume(exchanged) <= volume(others) + NEGLIGIBLE:
            break
        others = exchanged
    return [first, *others]


def _steps(count: int, objectives: int) -> int:
    """Return the largest H such that an evenly spaced front with H steps a side has at most ``count`` points."""
    steps = 1
    while objectives > 1 and math.comb(steps + objectives, objectives - 1) <= count:
        steps += 1
    return steps
