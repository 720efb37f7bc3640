"""Sentences about precisions: where one is slower, or less accurate, than the same weights in fp32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nas.results.winner import Winner
from nas.space.architecture import Architecture
from nas.space.parts.candidate import PLAIN, PRECISION, precision_of
from nas.values.comparison import is_surely_less
from nas.values.evaluation import Evaluation
from nas.values.measurement import Measurement
from nas.values.metric import METRICS

LATENCY = "latency_ms"
FEWEST = 3
"""Fewer architectures in both precisions say nothing about all."""


def precision_notes(winner: Winner) -> list[str]:
    """Return sentences that compare a winner with its own weights in fp32; none where its precision was no choice.

    One says that it is slower, or that the measurements cannot tell it to be faster. Another says that it is surely
    less accurate on the test.
    """
    precision = winner.precision
    if precision is None or precision == PLAIN:
        return []
    return [*_about_time(winner, precision), *_about_errors(winner, precision)]


def _about_time(winner: Winner, precision: str) -> list[str]:
    own, plain = winner.measurements.get(LATENCY), winner.fp32.get(LATENCY)
    if own is None or (plain is None and winner.exported is None):  # a choice of a table, or of the space
        return []
    name = winner.architecture.id
    if plain is None:
        return [
            f"{precision} cannot be compared: {name} takes {_time_text(own)}, and its weights could not be measured in "
            "fp32."
        ]
    here, there = own.estimate, plain.estimate
    if is_surely_less(here, there):
        return []
    times = f"{_time_text(own)}, and {_time_text(plain)} in fp32"
    if here.value > there.value:
        surely = "is slower" if is_surely_less(there, here) else "is slower, or as fast, since the intervals meet"
        return [f"{precision} gains no time: {name} {surely}. It takes {times}."]
    return [f"{precision} gains no time that the measurements can tell: {name} takes {times}."]


def _about_errors(winner: Winner, precision: str) -> list[str]:
    if winner.exported is None:
        return []
    own = winner.estimate("error")
    if not is_surely_less(winner.exported, own):
        return []
    words = winner.words
    own_text, plain_text = (
        f"{words.text(each.value)} ({words.range_text(each.interval)})" for each in (own, winner.exported)
    )
    return [
        f"{precision} costs accuracy: the test {words.title} of {winner.architecture.id} is {own_text}, and "
        f"{plain_text} in fp32."
    ]


def _time_text(found: Measurement) -> str:
    return METRICS[LATENCY].format_within(found.median, found.interval.lower, found.interval.upper)


def precision_sentences(rows: Sequence[Evaluation]) -> list[str]:
    """Return for each precision beside fp32 what it does to the latency and the error of all that have both."""
    errors = {row.architecture: row.values["error"] for row in rows if row.stage == "train" and not row.failed
              and row.reached_full_fidelity}  # fmt: skip
    times = {row.architecture: row.measurements[LATENCY].median for row in rows
             if row.stage == "measure" and LATENCY in row.measurements}  # fmt: skip
    known = dict.fromkeys(str(precision_of(a)) for a in (*errors, *times) if precision_of(a) is not None)
    sentences = []
    for precision in (each for each in known if each != PLAIN):
        ratios = _pairs(times, precision)
        if len(ratios) >= FEWEST:
            factors = np.array([own / plain for own, plain in ratios])
            slower = int((factors > 1).sum())
            sentences.append(
                f"In {precision}, {len(factors)} measured networks take {np.median(factors):.2f} times as long as in "
                f"fp32 (median; {factors.min():.2f} to {factors.max():.2f}). "
                f"{slower} {'is' if slower == 1 else 'are'} slower."
            )
        pairs = _pairs(errors, precision)
        if len(pairs) >= FEWEST:
            added = np.array([own - plain for own, plain in pairs])
            sentences.append(
                f"In {precision}, the validation error of {len(added)} trained networks differs by "
                f"{np.median(added):+.4g} from that in fp32 (median; {added.min():+.4g} to {added.max():+.4g})."
            )
    return sentences


def _pairs(values: Mapping[Architecture, float], precision: str) -> list[tuple[float, float]]:
    """Return the values of networks that have one in a precision and in fp32."""
    plain = {a.without([PRECISION]): value for a, value in values.items() if precision_of(a) == PLAIN}
    own = {a.without([PRECISION]): value for a, value in values.items() if precision_of(a) == precision}
    return [(value, plain[part]) for part, value in own.items() if part in plain]
