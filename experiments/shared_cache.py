"""``python -m experiments.shared_cache`` shows from raw data what a second reference model would have corrected.

    python -m experiments.shared_cache --raw experiments/results/repeatability-epyc --reference regnetx_002

It reads sessions of ``experiments.repeatability`` that had the small reference model alone. One of the measured models
takes the part of a larger reference: the others are corrected by its further slowness, as far as they respond to it.
The script prints how much the others vary between sessions with and without it, and how alike the models that vary
most move from round to round.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from experiments.command_line import heading, line, parser_of, positive
from experiments.repeatability import Session, pair, read_sessions
from nas.hardware.drift import response, smoothed

USUAL_RESPONSE = 0.5, 1.0
"""Mean and deviation of responses to the model that takes the part of the larger reference."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = parser_of("shared_cache", __doc__)
    parser.add_argument("--raw", type=Path, required=True, help="folder with the raw data of sessions")
    parser.add_argument("--reference", required=True, help="model that takes the part of a larger reference")
    parser.add_argument("--shown", type=positive, default=4, help="number of models that vary most; default: 4")
    options = parser.parse_args(arguments)
    sessions = read_sessions(options.raw)
    names = sorted(set.intersection(*(set(session.interleaved) for session in sessions)))
    if options.reference not in names:
        parser.error(f"--reference must be one of {', '.join(names)}, but got {options.reference!r}.")
    print("\n".join(summary(sessions, names, options.reference, options.shown)))
    return 0


def summary(sessions: Sequence[Session], names: Sequence[str], reference: str, shown: int) -> list[str]:
    """Return the lines of both Markdown tables."""
    others = [name for name in names if name != reference]
    alone = np.array([[np.median(logs_of(session, name)) for name in others] for session in sessions])
    usual = float(np.median(logs_of(sessions[0], reference)))
    both = np.array([[corrected(session, name, reference, usual) for name in others] for session in sessions])
    before_N, after_N = (np.exp(logs).std(axis=0, ddof=1) / np.exp(logs).mean(axis=0) for logs in (alone, both))
    order = np.argsort(-before_N)[:shown].tolist()
    lines = [
        *heading(["models", "with the small reference", f"with {reference} too"]),
        line(["all: median, 95th percentile", pair(before_N), pair(after_N)]),
        *(line([others[n], f"{100 * before_N[n]:.1f} %", f"{100 * after_N[n]:.1f} %"]) for n in order),
        "",
        *heading(["session", "correlation between pairs of these, and with it"]),
    ]
    most = [*(others[n] for n in order), reference]
    for number, session in enumerate(sessions):
        found = [correlation(session, one, other) for one, other in combinations(most, 2)]
        lines.append(line([number, f"{np.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"]))
    return lines


def logs_of(session: Session, name: str) -> np.ndarray:
    """Return logarithms of a model's rounds, corrected by the small reference."""
    found = session.interleaved[name]
    return np.log([np.median(samples) for samples in found.rounds]) - np.log(found.drifts or 1.0)


def corrected(session: Session, name: str, reference: str, usual: float) -> float:
    """Return the logarithm of a model's median, corrected by ``reference``, whose usual logarithm is given."""
    readings, further = logs_of(session, name), smoothed(logs_of(session, reference)) - usual
    count = min(len(readings), len(further))  # rounds of one number were taken within seconds
    readings, further = readings[:count], further[:count]
    return float(np.median(readings - response(readings, further, *USUAL_RESPONSE)[0] * further))


def correlation(session: Session, one: str, other: str) -> float:
    """Return the correlation of two models' rounds in a session."""
    first, second = logs_of(session, one), logs_of(session, other)
    count = min(len(first), len(second))
    return float(np.corrcoef(first[:count], second[:count])[0, 1])


if __name__ == "__main__":
    sys.exit(main())
