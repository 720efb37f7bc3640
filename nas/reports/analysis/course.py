"""How a search went: hypervolume over evaluations and over time, rounds, what was turned away, and what it cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.progress import duration_text
from nas.reports.analysis.architecture_values import Known, Training, meets, trainings_of
from nas.reports.analysis.growth import (
    LEAST_EFFECTIVE,
    RESAMPLES,
    Points,
    balanced_weights,
    counts_looked_at,
    effective_count,
    growth,
    random_growth,
    reference_point,
)
from nas.reports.analysis.spending import savings_of, spending_of
from nas.results.failures import failure_counts
from nas.results.run import Run
from nas.space.architecture import Architecture
from nas.values.metric import METRICS, Metric
from nas.values.objective import Limit, quality_of, reason_text
from nas.values.pareto import FloatArray

MOST_REASONS = 12
SEED = 0


def course_of(run: Run, known: Mapping[Architecture, Known], reference: FloatArray | None = None) -> dict[str, Any]:
    """Return how the search of a run went, as plain data. ``known`` is what ``known_of`` tells of its rows.

    ``reference`` is the point up to which hypervolume counts, by default one from the run's own values. Runs that are
    compared share one.
    """
    trainings = trainings_of(run.rows)
    metrics = objectives_of(run)
    points = points_of(trainings, known, metrics, run.limits)
    seconds, clock = seconds_of(run, trainings)
    grown = _grown(run, points, trainings, known, seconds, reference)
    return {
        "evaluations": len(trainings),
        "within_limits": len(set(points.owner.tolist())),
        "clock": clock,
        "hypervolume": grown,
        "columns": ("Trained", "Measured") if run.table is None else ("Errors looked up", "Costs looked up"),
        "rounds": rounds_of(run, trainings, known, grown),
        "stops": savings_of(trainings, run.timeline.judged),
        "turned_away": turned_away_of(run),
        "failures": [vars(each) for each in failure_counts(run.rows)],
        # The times that a table gives are of trainings elsewhere, and no cost of this run.
        "cost": spending_of(run.timeline.costs, run.rows if run.table is None else (), run.gco2e_per_kwh),
    }


def objectives_of(run: Run) -> list[Metric]:
    """Return what the run minimised; the error where it names nothing."""
    return [objective.metric for objective in run.objectives] or [METRICS["error"]]


def points_of(
    trainings: Sequence[Training],
    known: Mapping[Architecture, Known],
    metrics: Sequence[Metric],
    limits: Sequence[Limit],
) -> Points:
    """Return the points of trainings that ran to their end and whose architectures meet the limits."""
    losses: list[list[float]] = []
    owner: list[int] = []
    for index, training in enumerate(trainings):
        if training.end != "whole":
            continue
        for architecture in training.architectures:
            found = known.get(architecture)
            if found and all(m.name in found.values for m in metrics) and meets(found, limits):
                losses.append([found.values[m.name] for m in metrics])
                owner.append(index)
    return Points(np.array(losses).reshape(-1, len(metrics)), np.array(owner, dtype=np.int64), len(trainings))


def limits_by_objective(run: Run, metrics: Sequence[Metric]) -> list[float]:
    """Return the limit of each objective, infinite where there is none."""
    return [min((e.value for e in run.limits if e.metric == metric), default=math.inf) for metric in metrics]


def seconds_of(run: Run, trainings: Sequence[Training]) -> tuple[list[float], str]:
    """Return the seconds after which each training ended, and what clock they are of; none where that is unknown.

    In a table nothing is trained, so that its trainings count with the time that the table gives.
    """
    if run.table is not None:
        simulated = np.cumsum([float(each.row.details.get("seconds", 0.0)) for each in trainings])
        return (simulated.tolist(), "simulated training") if len(simulated) and simulated[-1] > 0 else ([], "")
    if len(run.timeline.seconds) != len(run.rows):
        return [], ""
    found = [run.timeline.seconds[each.place] for each in trainings]
    return (found, "search") if found and found[-1] > found[0] else ([], "")


def _grown(
    run: Run,
    points: Points,
    trainings: Sequence[Training],
    known: Mapping[Architecture, Known],
    seconds: Sequence[float],
    reference: FloatArray | None,
) -> dict[str, Any]:
    """Return the hypervolume of the search and of random search, as shares of what the search has at its end."""
    if not len(points.losses):
        return {"known": False, "sentences": [_nothing_text(trainings, run.limits)]}
    metrics = objectives_of(run)
    if reference is None:
        reference = reference_point(points.losses, limits_by_objective(run, metrics))
    volumes = growth(points, reference)
    whole = float(volumes[-1])
    if whole <= 0:
        return {"known": False, "sentences": ["No evaluation lies within the point up to which hypervolume counts."]}
    shares = volumes / whole
    steps = np.flatnonzero(np.diff(shares, prepend=0.0) > 0)
    shown = np.unique(np.append(steps, len(shares) - 1))
    drawn = _random(points, reference, trainings, whole, seconds)
    predicted = _predicted(trainings, known, metrics)
    return {
        "known": True,
        "volume": whole,
        "reference": {metric.name: float(value) for metric, value in zip(metrics, reference, strict=True)},
        "reference_text": ", ".join(
            f"{metric.title.lower()} {metric.format(float(value))}"
            for metric, value in zip(metrics, reference, strict=True)
        ),
        "n": (shown + 1).tolist(),
        "share": [round(float(share), 6) for share in shares[shown]],
        "seconds": [round(seconds[index], 3) for index in shown.tolist()] if seconds else [],
        "random": drawn,
        "sentences": [*_ahead(shares, drawn, len(trainings)), *_predicted_text(predicted, len(trainings))],
    }


def _random(
    points: Points,
    reference: FloatArray,
    trainings: Sequence[Training],
    whole: float,
    seconds: Sequence[float],
) -> dict[str, Any]:
    """Return the estimate of what random search would have had: mean and the middle 90 % of its draws."""
    counts = counts_looked_at(len(trainings))
    weights = balanced_weights([each.row.architecture for each in trainings])
    effective = effective_count(weights)
    is_weighted = effective >= LEAST_EFFECTIVE
    drawn = random_growth(
        points, reference, counts, weights if is_weighted else np.ones(len(weights)), np.random.default_rng(SEED)
    )
    shares = drawn / whole
    low, high = np.percentile(shares, (5, 95), axis=0)
    return {
        "n": counts.tolist(),
        "mean": [round(float(share), 6) for share in shares.mean(axis=0)],
        "lower": [round(float(share), 6) for share in low],
        "upper": [round(float(share), 6) for share in high],
        "seconds": [round(seconds[count - 1], 3) for count in counts.tolist()] if seconds else [],
        "weighted": is_weighted,
        "effective": round(effective, 1),
        "sentences": _bias_sentences(is_weighted, effective, len(trainings)),
    }


def _bias_sentences(is_weighted: bool, effective: float, count: int) -> list[str]:
    """Return what the estimate of random search is, and what biases it."""
    how = (
        f"Random search is an estimate: {RESAMPLES} random searches draw from this run's own evaluations, with "
        "replacement. Lines show their mean, and the band the middle 90 %."
    )
    weights = (
        "Evaluations are weighted so that each option of a choice comes equally often, as in a random draw; "
        f"{count} evaluations then tell as much as {effective:.0f}."
        if is_weighted
        else "The evaluations are too few or too alike to weight them like a random draw, so they count equally."
    )
    bias = (
        "The search chose these evaluations and turned others away, so they are better than random ones: real random "
        "search would probably have had less."
    )
    return [how, weights, bias]


def _ahead(shares: FloatArray, drawn: Mapping[str, Any], count: int) -> list[str]:
    """Return after how many evaluations the search had what random search has on average at the end."""
    if count < 2:
        return []
    end = drawn["mean"][-1]
    reached = int(np.argmax(shares >= end)) + 1 if (shares >= end).any() else count
    half = int(np.argmax(shares >= 0.95)) + 1
    return [
        f"The search reached 95 % of its final hypervolume after {half} of {count} evaluations.",
        f"By the estimate, random search has {100 * end:.1f} % after all {count}; the search had that after {reached}.",
    ]


def _predicted(trainings: Sequence[Training], known: Mapping[Architecture, Known], metrics: Sequence[Metric]) -> int:
    """Return of how many whole trainings an objective is only predicted."""
    names = frozenset(metric.name for metric in metrics)
    whole = [known.get(each.row.architecture) for each in trainings if each.end == "whole"]
    return sum(bool(each.predicted & names) for each in whole if each is not None)


def _predicted_text(predicted: int, count: int) -> list[str]:
    if not predicted:
        return []
    return [
        f"A cost of {predicted} of {count} evaluations is only predicted. Every point is judged by what is known of it "
        "now, which the search may have learned later."
    ]


def _nothing_text(trainings: Sequence[Training], limits: Sequence[Limit]) -> str:
    if not trainings:
        return "Nothing has been evaluated yet, so there is no hypervolume."
    whole = sum(each.end == "whole" for each in trainings)
    if not whole:
        return f"None of {len(trainings)} evaluations ran to its end, so there is no hypervolume."
    meeting = f" meets {' and '.join(map(str, limits))}" if limits else " has a value of each objective"
    return f"None of {whole} whole evaluations{meeting}, so there is no hypervolume."


def rounds_of(
    run: Run,
    trainings: Sequence[Training],
    known: Mapping[Architecture, Known],
    grown: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return one entry a round: its trainings by how they ended, what was measured and turned away, and the best."""
    by_round: dict[int, list[Training]] = {}
    for training in trainings:
        by_round.setdefault(training.row.round, []).append(training)
    measured = Counter(row.round for row in run.rows if row.stage == "measure" and not row.failed)
    turned_away = Counter[int]()
    for row in run.timeline.turned_away:
        turned_away[row.round] += sum(row.counts.values())
    ended = dict(run.timeline.rounds)
    found, done, best = [], 0, math.inf
    quality = quality_of(run.objectives)
    for number in sorted({*by_round, *measured, *turned_away, *ended}):
        ends = Counter(training.end for training in by_round.get(number, ()))
        done += len(by_round.get(number, ()))
        for training in by_round.get(number, ()):
            for architecture in training.architectures:
                value = known[architecture].values.get(quality.name) if architecture in known else None
                if value is not None and training.end == "whole" and meets(known[architecture], run.limits):
                    best = min(best, value)
        share = _share_after(grown, done)
        found.append(
            {
                "round": number,
                "name": _round_name(number, max(by_round, default=0)),
                "trained": ends.total(),
                "whole": ends["whole"],
                "stopped": ends["stopped"],
                "failed": ends["failed"],
                "measured": measured[number],
                "turned_away": turned_away[number],
                "seconds": round(ended[number], 3) if number in ended and run.timeline.seconds else None,
                "time_text": duration_text(ended[number]) if number in ended and run.timeline.seconds else "",
                "best": best if math.isfinite(best) else None,
                "best_text": _quality_text(run, quality, best),
                "share": share,
            }
        )
    return found


def _round_name(number: int, last: int) -> str:
    """Return what a round is for people; no candidate is trained in the first and in the last one."""
    return "first measurements" if number == 0 else "winners" if number > last else str(number)


def _quality_text(run: Run, quality: Metric, value: float) -> str:
    if not math.isfinite(value):
        return ""
    return run.words.error_text(value) if quality.name == "error" else quality.format(value)


def _share_after(grown: Mapping[str, Any], count: int) -> float | None:
    """Return the share of the final hypervolume after ``count`` evaluations; None where there is no hypervolume."""
    if not grown["known"]:
        return None
    before = [share for n, share in zip(grown["n"], grown["share"], strict=True) if n <= count]
    return before[-1] if before else 0.0


def turned_away_of(run: Run) -> dict[str, Any]:
    """Return how many proposals were turned away before training, by reason, the most frequent first."""
    counts = sum((Counter(row.counts) for row in run.timeline.turned_away), Counter[str]())
    total = counts.total()
    listed = [
        {"reason": reason_text(reason, run.limits), "count": count, "share": count / total}
        for reason, count in counts.most_common(MOST_REASONS)
    ]
    left = total - sum(count for _, count in counts.most_common(MOST_REASONS))
    more = [{"reason": "other reasons", "count": left, "share": left / total}] if left else []
    trained = sum(row.stage == "train" and not row.is_shared for row in run.rows)
    before, done = ("training", "trained") if run.table is None else ("a look-up", "looked up")
    text = (
        f"{total:,} distinct proposals of a round were turned away before {before}, {trained:,} were {done}."
        if total
        else f"No proposal was turned away before {before}."
    )
    return {"total": total, "reasons": [*listed, *more], "sentence": text}
