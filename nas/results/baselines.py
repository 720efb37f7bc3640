"""Baselines beside the winners: which is better on the test split, and at which cost, in sentences and as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas.results.winner import Winner
from nas.storage.journal_rows import BaselineTested
from nas.values.comparison import is_surely_less
from nas.values.error_words import ErrorWords
from nas.values.measurement import Estimate, Interval
from nas.values.metric import METRICS
from nas.values.objective import limit_text

if TYPE_CHECKING:
    from nas.results.front import Front


def baseline_sentences(front: Front) -> list[str]:
    """Return for each baseline a sentence that says plainly if the best winner beats it, with the costs of both."""
    return [_sentence(front, each) for each in front.baselines]


def _sentence(front: Front, baseline: BaselineTested) -> str:
    name = baseline.name
    if baseline.failure:
        return f"{name} cannot be compared, because it failed: {baseline.failure}"
    error = _estimate(baseline)
    words = front.words
    theirs = f"{words.text(error.value)}{_range(words, error.interval)}"
    best = front.best_or_none or min(front.winners, key=lambda winner: winner.test_error, default=None)
    if best is None:
        return f"{name} has a test {words.title} of {theirs}, and there is no winner to compare it with."
    own = best.estimate("error")
    against = f"{words.text(own.value)} against {theirs}"
    costs = _costs(front, best, baseline)
    if is_surely_less(own, error):
        return f"The best winner, {best.architecture.id}, beats {name}: test {words.title} {against}{costs}"
    if is_surely_less(error, own):
        return (
            f"{name} beats the best winner, {best.architecture.id}, by more than the joint 95 % interval: test "
            f"{words.title} {against}{costs} {_advice(front, baseline)}"
        )
    return (
        f"The best winner, {best.architecture.id}, does not beat {name}, nor is it beaten: test {words.title} {against}"
        f", which differ by less than their joint 95 % interval{costs}"
    )


def _advice(front: Front, baseline: BaselineTested) -> str:
    """Return what to do about a better baseline, unless it breaks limits, judged as winners are."""
    known = {name: measurement.interval.upper for name, measurement in baseline.measurements.items()}
    known |= {name: value for name, (value, _, _) in baseline.scores.items()}
    broken = [each for each in front.limits if each.metric.name in known and not each.holds(known[each.metric.name])]
    if broken:
        return f"But that model does not meet {' and '.join(map(limit_text, broken))}."
    unknown = [each for each in front.limits if each.metric.name not in known]
    if unknown:
        told = " and ".join(map(limit_text, unknown))
        return f"It is not known if that model meets {told}: measure it before you use it."
    return "Consider that model, or a longer search."


def _estimate(baseline: BaselineTested) -> Estimate:
    return Estimate.within(*baseline.scores["error"])


def _range(words: ErrorWords, interval: Interval) -> str:
    return "" if interval.is_point else f" ({words.range_text(interval)})"


def _costs(front: Front, best: Winner, baseline: BaselineTested) -> str:
    """Return the end of a sentence: the costs of both, or why they are missing."""
    why = f" It was not measured: {baseline.unmeasured.rstrip('.')}." if baseline.unmeasured else ""
    if baseline.unmeasured and not baseline.measurements:
        return f".{why}"
    told = [
        f"{cost.title.lower()} {cost.format(best.value(cost.name))} against "
        f"{cost.format(baseline.measurements[cost.name].median)}"
        for cost in {metric.name: metric for metric in (*front.costs, METRICS["latency_ms"])}.values()
        if best.has(cost.name) and cost.name in baseline.measurements
    ]
    return f"; {', '.join(told)}.{why}" if told else f".{why}"


def baseline_rows(front: Front) -> list[tuple[str, str, list[tuple[str, str, str]]]]:
    """Return name, way of fitting, and for each value its title, text and 95 % interval, for tables of people."""
    found = []
    for each in front.baselines:
        if each.failure:
            continue
        error = _estimate(each)
        words = front.words
        values = [(f"test {words.title}", words.text(error.value), _range(words, error.interval).strip(" ()"))]
        for name, measurement in each.measurements.items():
            if (metric := METRICS.get(name)) is not None:
                values.append((metric.title.lower(), metric.format(measurement.median), measurement.range_text))
        found.append((each.name, each.in_words, values))
    return found


def baselines_json(front: Front) -> list[dict[str, Any]]:
    """Return the baselines as plain data, each with the sentence that compares it with the best winner."""
    return [
        {
            "name": each.name,
            "in_words": each.in_words,
            "scores": {name: Estimate.within(*found).to_json() for name, found in each.scores.items()},
            "measured": {name: m.summary() for name, m in each.measurements.items()},
            "unmeasured": each.unmeasured or None,
            "failure": each.failure or None,
            "compared": sentence,
        }
        for each, sentence in zip(front.baselines, baseline_sentences(front), strict=True)
    ]
