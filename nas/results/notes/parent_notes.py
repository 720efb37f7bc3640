"""Sentences about winners that were made from a trained model, the parent: what they keep of it, and what they save."""

from __future__ import annotations

from collections.abc import Sequence

from nas.results.winner import Winner
from nas.values.metric import Metric


def parent_notes(winner: Winner, parent: Winner | None, costs: Sequence[Metric]) -> list[str]:
    """Return the sentence that sets a winner beside the parent, or says that it is the parent; none without one."""
    if parent is None:
        return []
    own, words = winner.architecture.id, winner.words
    if winner is parent:
        return [f"{own} is the parent, from which the others are made."]
    if words.accuracy and parent.test_error < 1:
        kept = f"keeps {_share(words.shown(winner.test_error) / words.shown(parent.test_error), 1)} of the parent's"
    elif not words.accuracy and parent.test_error > 0:
        kept = f"has {winner.test_error / parent.test_error:.2f} times the parent's"
    else:
        return []
    shares = [
        f"{_share(winner.value(metric.name) / parent.value(metric.name))} of its {metric.title.lower()}"
        for metric in costs
        if winner.has(metric.name) and parent.has(metric.name) and parent.value(metric.name) > 0
    ]
    at = f" at {' and '.join(shares)}" if shares else ""
    return [f"{own} {kept} test {words.title}{at}."]


def _share(value: float, places: int = 0) -> str:
    return f"{100 * value:.{places}f} %"
