"""Turning away proposals that break a limit, before they are trained, and counting them by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from nas.errors import CandidateError
from nas.searching.beliefs import Beliefs
from nas.space.architecture import Architecture
from nas.storage.journal_rows import TurnedAway
from nas.values.evaluation import Failure

TOO_LONG = "too little time left"
"""The reason to turn away a proposal whose training would take longer than there is time."""


@dataclass(frozen=True)
class Verdict:
    """The decision on a proposal.

    It is trained unless there is a ``reason``, such as a limit that it breaks, or a ``failure`` to build it.
    ``is_near_limit`` marks a proposal whose predicted mean meets all limits while a confidence bound does not.
    """

    reason: str | None = None
    failure: Failure | None = None
    is_near_limit: bool = False

    @property
    def is_accepted(self) -> bool:
        """True if the proposal may be trained."""
        return self.reason is None and self.failure is None


@final
class Screening:
    """Judges proposals by what is believed of them, and keeps count of those that limits turned away.

    It is cautious at first: a prediction must meet a limit by its one-sided bound. ``drop_caution`` lets the predicted
    mean decide, until predictors are fitted again.

    Attributes:
        near_limits: proposals since the last fit that meet the limits by their predicted mean only.
        fits: how often predictors were fitted.
        counts: the number of distinct proposals that were turned away in this round, by reason.
    """

    def __init__(self, beliefs: Beliefs) -> None:
        self._beliefs = beliefs
        self._is_cautious = True
        self._turned_away: set[Architecture] = set()
        self.fits = 0
        self.near_limits: dict[Architecture, None] = {}
        self.counts: Counter[str] = Counter()
        self._unrecorded: Counter[str] = Counter()
        self._unrecorded_near: list[Architecture] = []

    # Questions

    def judge(self, architecture: Architecture) -> Verdict:
        """Return whether a proposal is trained, and else why not."""
        if architecture in self._beliefs.unfit:
            return Verdict("failed before")
        try:
            broken = self._beliefs.broken_limit(architecture)
            if broken is not None:
                return Verdict(broken.key)
            doubtful = self._beliefs.doubtful_limits(architecture)
            self._beliefs.look.check_build(architecture)
        except CandidateError as error:
            return Verdict(failure=Failure(error.kind, error.reason))
        if not doubtful or not self._is_cautious:
            return Verdict()
        return Verdict(f"{doubtful[0].key}: too near to tell", is_near_limit=True)

    @property
    def may_drop_caution(self) -> bool:
        """True if a proposal was turned away that predicted means would let through."""
        return self._is_cautious and bool(self.near_limits)

    def unrecorded(self, round_number: int) -> list[TurnedAway]:
        """Return the row about what was turned away since ``mark_recorded``; none where nothing was."""
        if not self._unrecorded and not self._unrecorded_near:
            return []
        return [TurnedAway(round_number, dict(self._unrecorded), tuple(self._unrecorded_near))]

    # Commands

    def count(self, architecture: Architecture, verdict: Verdict) -> None:
        """Count a proposal that was turned away, once a round."""
        if verdict.reason is None:
            return
        if architecture not in self._turned_away:
            self._turned_away.add(architecture)
            self.counts[verdict.reason] += 1
            self._unrecorded[verdict.reason] += 1
        if verdict.is_near_limit and architecture not in self.near_limits:
            self.near_limits[architecture] = None
            self._unrecorded_near.append(architecture)

    def mark_recorded(self) -> None:
        """Take note that the journal has what ``unrecorded`` returned."""
        self._unrecorded, self._unrecorded_near = Counter(), []

    def take_up(self, recorded: Iterable[TurnedAway]) -> None:
        """Count what this round turned away before the run was interrupted, and nothing else."""
        self.counts.clear()
        self.mark_recorded()
        for row in recorded:
            self.counts += Counter(row.counts)
            self.near_limits |= dict.fromkeys(row.near_limits)

    def drop_caution(self) -> None:
        """Let predicted means decide until predictors are fitted again."""
        self._is_cautious = False

    def begin_fit(self) -> None:
        """Be cautious again: predictors were fitted, so that what was near a limit may be clear now."""
        self._is_cautious = True
        self.fits += 1
        self.near_limits.clear()

    def begin_round(self) -> None:
        """Count anew."""
        self.counts.clear()
        self._turned_away.clear()
        self.mark_recorded()
