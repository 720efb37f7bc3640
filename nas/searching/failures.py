"""Architectures that failed, and ending a run in which nothing works: ten in a row, and what they have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from typing import final

from nas.errors import RepeatedFailureError
from nas.space.architecture import Architecture
from nas.space.parts.candidate import SpaceParts
from nas.values.evaluation import Evaluation

FAILURES_IN_A_ROW = 10
NOT_DESCRIBED = {"described": False}
"""Details of the row of an architecture that could not even be built."""


@final
class Unfit(Set[Architecture]):
    """The architectures that failed. One that could not be measured failed however it is trained."""

    def __init__(self, parts: SpaceParts) -> None:
        self._part = parts.on_device
        self._failed: dict[Architecture, None] = {}
        self._failed_parts: set[Architecture] = set()

    def add(self, architecture: Architecture, *, however_trained: bool) -> None:
        """Add one that failed, or all that differ from it only in choices of training."""
        self._failed[architecture] = None
        if however_trained:
            self._failed_parts.add(self._part(architecture))

    def __contains__(self, architecture: object) -> bool:
        known = architecture in self._failed
        return known or (isinstance(architecture, Architecture) and self._part(architecture) in self._failed_parts)

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._failed)

    def __len__(self) -> int:
        return len(self._failed)


@final
class RepeatedFailures:
    """The evaluations that failed since the last one that worked; winners are counted apart.

    Winners are apart because each of them was retrained first, which mostly works.
    """

    def __init__(self) -> None:
        self._evaluations: list[Evaluation] = []
        self._winners: list[Evaluation] = []
        self._newest_is_winner = False

    def add(self, row: Evaluation) -> None:
        """Take in the next row."""
        self._newest_is_winner = row.stage == "winner"
        if self._newest_is_winner:
            self._winners = [*self._winners, row] if row.failed else []
        else:
            self._evaluations = [*self._evaluations, row] if row.failed else []

    def forget_unbuildable(self) -> None:
        """Forget the architectures that could not be built, because another one could."""
        self._evaluations = [row for row in self._evaluations if not NOT_DESCRIBED.items() <= row.details.items()]

    def check(self) -> None:
        """Stop the run if nothing works. The newest row decides whether evaluations or winners are looked at.

        Raises:
            RepeatedFailureError: ten evaluations, or ten winners, failed one after the other.
        """
        name, failed = "evaluations", self._evaluations
        if self._newest_is_winner:
            name, failed = "retrained winners", self._winners
        last = failed[-FAILURES_IN_A_ROW:]
        if len(last) == FAILURES_IN_A_ROW:
            raise RepeatedFailureError(
                f"{FAILURES_IN_A_ROW} {name} in a row failed, so the run stops. {_in_common(last)} "
                f"Mend that, then start a new run.{_advice(last)}"
            )


def _advice(rows: Sequence[Evaluation]) -> str:
    """Return how a space of one's own refuses combinations, if ``build`` refused all of these."""
    if any(row.failure is None or row.failure.kind != "build" for row in rows):
        return ""
    return (
        " If build refuses such combinations on purpose, give the space a method canonical that maps them to ones that "
        "it takes: then nothing fails, and none is tried twice. See docs/own-space.md."
    )


def _in_common(rows: Sequence[Evaluation]) -> str:
    """Return the reason that failed evaluations share, or their kinds, and the choices on which all agree."""
    failures = [row.failure for row in rows if row.failure is not None]
    reason, times = Counter(failure.reason for failure in failures).most_common(1)[0]
    kinds = Counter(failure.kind for failure in failures)
    sentence = f"{times} of them say: {reason}" if times > 1 else f"The last says: {failures[-1].reason}"
    sentences = [sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."]
    if len(kinds) > 1:
        listed = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        sentences.append(f"Kinds of failure: {listed}.")
    first = rows[0].architecture
    shared = {n: v for n, v in first.items() if all(row.architecture.get(n) == v for row in rows)}
    if shared:
        sentences.append("All of them have " + ", ".join(f"{name}={value}" for name, value in shared.items()) + ".")
    else:
        sentences.append("They have no choice in common.")
    return " ".join(sentences)
