"""``python -m experiments.pair_verdicts`` checks verdicts about pairs of models on sessions that were measured before.

    python -m experiments.pair_verdicts [--raw experiments/results/repeatability]

The raw data are those of ``experiments.repeatability``: the same models in several sessions, each a process of its own,
every other one beside a load. For each pair of models and each session there is a ratio with its 95 % interval, as
``nas measure`` gives it. The script tells how often the ratio of another session lies within the joint interval, also
of those pairs alone whose rounds fix the ratio well, and how often two sessions give opposite verdicts. It also
compares the first half of a model's rounds with the second one, as if they were two models: those are the same, so a
verdict is wrong. Nothing is measured.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

import nas.values.paired_comparison as pairs
from experiments.command_line import parser_of
from experiments.repeatability import Session, read_sessions
from nas.values.measurement import Measurement

LEAST_ROUNDS = 4
"""Rounds of a half that can be compared."""
NARROW = (0.01, 0.006)
"""Half widths of an interval by rounds alone, below which ``PAIR_DOUBT`` makes a difference."""


def main() -> None:
    """Print a table of the figures for each folder of raw data."""
    parser = parser_of("pair_verdicts", __doc__)
    parser.add_argument("--raw", type=Path, nargs="+", default=[Path("experiments/results/repeatability")],
                        help="folders of the raw data of experiments.repeatability")  # fmt: skip
    arguments: argparse.Namespace = parser.parse_args()
    for folder in arguments.raw:
        print(f"{folder}\n\n{table(read_sessions(folder))}\n")


def table(sessions: Sequence[Session]) -> str:
    """Return the figures of the sessions as a Markdown table."""
    names = sorted(set.intersection(*(set(session.interleaved) for session in sessions)))
    verdicts = [verdicts_of(session, names) for session in sessions]
    held, opposite, repeated = agreements(verdicts)
    scatters = [scatters_of(session, names) for session in sessions]
    widths = [math.log(each.interval.upper / each.interval.lower) / 2 for found in verdicts for each in found]
    wrong = list(verdicts_on_halves(sessions, names))
    sure = [each.verdict != "same" for found in verdicts for each in found]
    return "\n".join(
        [
            f"{len(names)} models, {len(verdicts[0])} pairs, {len(sessions)} sessions",
            "",
            "| what | figure |",
            "|---|---|",
            f"| ratios of two sessions within their joint interval | {100 * np.mean(held):.1f} % of {len(held)} |",
            *(held_where(held, scatters, most) for most in NARROW),
            f"| pairs that are told apart | {100 * np.mean(sure):.1f} % of {len(sure)} |",
            f"| sure verdicts that another session contradicts | {100 * np.mean(opposite):.2f} % of {len(opposite)} |",
            f"| sure verdicts that another session repeats | {100 * np.mean(repeated):.1f} % |",
            f"| half width of a ratio's interval, median | {100 * np.median(widths):.2f} % |",
            f"| two halves of one model told apart | {100 * np.mean(wrong):.1f} % of {len(wrong)} |",
        ]
    )


def verdicts_of(session: Session, names: Sequence[str]) -> list[pairs.Comparison]:
    """Return a comparison for each pair of models, by the rounds that both have."""
    found = []
    for first, second in combinations(names, 2):
        one, other = session.interleaved[first], session.interleaved[second]
        count = min(len(one.rounds), len(other.rounds))
        pair = (first, _rounds(one, slice(count))), (second, _rounds(other, slice(count)))
        found.append(pairs.compared("latency_ms", *pair, together=True))
    return found


def scatters_of(session: Session, names: Sequence[str]) -> list[float]:
    """Return for each pair of models half the width of the ratio's interval by rounds alone."""
    found = []
    for first, second in combinations(names, 2):
        one, other = session.interleaved[first], session.interleaved[second]
        count = min(len(one.rounds), len(other.rounds))
        found.append(pairs.paired(_rounds(one, slice(count)), _rounds(other, slice(count))).scatter)
    return found


def held_where(held: Sequence[bool], scatters: Sequence[Sequence[float]], most: float) -> str:
    """Return a row about the ratios that rounds alone fix to within ``most`` in both sessions."""
    narrow = [max(pair) < most for one, other in combinations(scatters, 2) for pair in zip(one, other, strict=True)]
    kept = [each for each, is_narrow in zip(held, narrow, strict=True) if is_narrow]
    share = f"{100 * np.mean(kept):.1f} %" if kept else "–"
    return f"| of these, whose rounds fix the ratio to {100 * most:g} % in both | {share} of {len(kept)} |"


def agreements(verdicts: Sequence[Sequence[pairs.Comparison]]) -> tuple[list[bool], list[bool], list[bool]]:
    """Return of all pairs of sessions if ratios agree, and of sure verdicts if the other one contradicts or repeats."""
    held: list[bool] = []
    opposite: list[bool] = []
    repeated: list[bool] = []
    for one, other in combinations(verdicts, 2):
        for a, b in zip(one, other, strict=True):
            high, low = (a, b) if a.ratio > b.ratio else (b, a)
            down = math.log(high.ratio / high.interval.lower)
            up = math.log(low.interval.upper / low.ratio)
            held.append(math.log(high.ratio / low.ratio) <= math.hypot(down, up))
            for mine, theirs in ((a, b), (b, a)):
                if mine.verdict != "same":
                    opposite.append(theirs.verdict not in ("same", mine.verdict))
                    repeated.append(theirs.verdict == mine.verdict)
    return held, opposite, repeated


def verdicts_on_halves(sessions: Sequence[Session], names: Sequence[str]) -> Iterator[bool]:
    """Yield for each model of each session if every other round of it is told apart from the rounds between."""
    for session in sessions:
        for name in names:
            found = session.interleaved[name]
            count = len(found.rounds) // 2
            if count >= LEAST_ROUNDS:
                halves = [_rounds(found, slice(start, 2 * count, 2)) for start in (0, 1)]
                pair = pairs.compared("latency_ms", ("even", halves[0]), ("odd", halves[1]), together=True)
                yield pair.verdict != "same"


def _rounds(found: Measurement, which: slice) -> Measurement:
    """Return a measurement of some of the rounds."""
    return Measurement(
        found.metric, found.target, found.rounds[which], found.conditions, found.flags, found.drifts[which]
    )


if __name__ == "__main__":
    main()
