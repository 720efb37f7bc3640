"""The timeline of a run: when each evaluation ended, what each round turned away, and what everything cost."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from nas.storage.journal import JournalReader
from nas.storage.journal_rows import Cost, RoundEnded, RungsJudged, TurnedAway
from nas.values.evaluation import Evaluation


@dataclass(frozen=True)
class Timeline:
    """When things happened in a run, and what they cost.

    Attributes:
        seconds: for each row of ``Run.rows``, the seconds from the beginning until it was written, without pauses in
            which no process worked on the run. Empty where the journal's times are unknown.
        written_at: for each row, when it was written, in seconds since 1970. Empty where ``seconds`` is.
        rounds: for each round that ended, its number and the seconds until then.
        turned_away: what limits turned away before training, oldest first.
        costs: time and energy, part by part.
        judged: how well early errors ranked trainings.
        began_at: the time of the first row, in seconds since 1970; None where it is unknown.
        last_at: the time of the last row.
    """

    seconds: tuple[float, ...] = ()
    written_at: tuple[float, ...] = ()
    rounds: tuple[tuple[int, float], ...] = ()
    turned_away: tuple[TurnedAway, ...] = ()
    costs: tuple[Cost, ...] = ()
    judged: tuple[RungsJudged, ...] = ()
    began_at: float | None = None
    last_at: float | None = None


def read_timeline(journal: JournalReader) -> Timeline:
    """Return the timeline of the run in an open journal."""
    evaluations = journal.timed_rows(Evaluation)
    costs = journal.timed_rows(Cost)
    ended = journal.timed_rows(RoundEnded)
    timeline = Timeline(
        turned_away=_turned_away(journal),
        costs=tuple(cost for _, cost in costs),
        judged=tuple(journal.rows(RungsJudged)),
    )
    times = [at for rows in (evaluations, costs, ended) for at, _ in rows]
    if not times or not all(map(math.isfinite, times)):
        return timeline
    worked = [(at - cost.wall_s, at) for at, cost in costs]
    worked += [(at - float(row.details.get("seconds", 0.0)), at) for at, row in evaluations]
    last_noted = max((at for at, _ in costs), default=-math.inf)
    worked += [(max(last_noted, min(times)), max(times))]  # a process that still works has noted no cost of it yet
    intervals = merged(worked)
    return replace(
        timeline,
        seconds=tuple(seconds_until([at for at, _ in evaluations], intervals)),
        written_at=tuple(at for at, _ in evaluations),
        rounds=tuple(
            zip((row.round for _, row in ended), seconds_until([at for at, _ in ended], intervals), strict=True)
        ),
        began_at=intervals[0][0],
        last_at=max(times),
    )


def merged(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return intervals as few that do not overlap, in order."""
    found: list[tuple[float, float]] = []
    for low, high in sorted(intervals):
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return found


def seconds_until(times: Sequence[float], intervals: Sequence[tuple[float, float]]) -> list[float]:
    """Return for each time how much of ``intervals``, which ``merged`` returned, lies before it."""
    starts = [low for low, _ in intervals]
    before = [0.0]
    for low, high in intervals:
        before.append(before[-1] + high - low)
    found = []
    for time in times:
        place = bisect.bisect_right(starts, time)
        if place == 0:
            found.append(0.0)
            continue
        low, high = intervals[place - 1]
        found.append(before[place - 1] + min(time, high) - low)
    return found


def _turned_away(journal: JournalReader) -> tuple[TurnedAway, ...]:
    """Return what limits turned away. The first runs of version 0.5.0 counted it by round alone."""
    rows = journal.rows(TurnedAway)
    counted = {row.round for row in rows}
    old = [
        TurnedAway(row.round, row.turned_away)
        for row in journal.rows(RoundEnded)
        if row.turned_away and row.round not in counted
    ]
    return (*rows, *old)
