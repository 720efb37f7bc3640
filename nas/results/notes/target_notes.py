"""What further targets change about winners, in sentences: another one is the fastest there, or accuracy is lost."""

from __future__ import annotations

from collections.abc import Sequence

from nas.results.winner import Winner
from nas.values.comparison import is_surely_less
from nas.values.metric import METRICS, on_target, target_in

LATENCY = "latency_ms"


def target_notes(winner: Winner, winners: Sequence[Winner]) -> list[str]:
    """Return sentences about a winner on each further target; none where the first target alone measured."""
    targets = dict.fromkeys(target_in(name) for name in (*winner.measurements, *winner.scores) if target_in(name))
    told = ((*_about_rank(winner, winners, target), *_about_error(winner, target)) for target in targets)
    return [sentence for sentences in told for sentence in sentences]


def _about_rank(winner: Winner, winners: Sequence[Winner], target: str) -> list[str]:
    """Return a sentence if the winner is the fastest on a target, but surely slower than another one on the first."""
    there = on_target(target, LATENCY)
    known = [each for each in winners if each.has(LATENCY) and each.has(there)]
    if len(known) < 2 or min(known, key=lambda each: each.value(there)) is not winner:
        return []
    own = winner.estimate(LATENCY)
    place = 1 + sum(is_surely_less(each.estimate(LATENCY), own) for each in known)
    if place == 1:
        return []
    value = METRICS[LATENCY].format(winner.value(there))
    return [
        f"{winner.architecture.id} is the fastest on {target}, with {value}, but number {place} of {len(known)} on the "
        "first target."
    ]


def _about_error(winner: Winner, target: str) -> list[str]:
    """Return a sentence if the file for a target is surely less accurate than that for the first one."""
    there = on_target(target, "error")
    if not winner.has(there) or not is_surely_less(winner.estimate("error"), winner.estimate(there)):
        return []
    words = winner.words
    return [
        f"The file of {winner.architecture.id} for {target} is less accurate: its test {words.title} is "
        f"{words.text(winner.value(there))} there, and {words.text(winner.test_error)} on the first target."
    ]
