"""Why evaluations of a run failed: how many of each kind, with the reason of the first one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nas.values.evaluation import Evaluation, Failure


@dataclass(frozen=True)
class FailureCount:
    """How many evaluations failed by one kind of failure, and the reason of the first one.

    The reason of an exception names the file and the line that raised it.
    """

    kind: str
    count: int
    first: str


def failure_counts(rows: Iterable[Evaluation]) -> tuple[FailureCount, ...]:
    """Return the failures among ``rows`` by kind, the most frequent kind first."""
    by_kind: dict[str, list[Failure]] = {}
    for row in rows:
        if row.failure is not None:
            by_kind.setdefault(row.failure.kind, []).append(row.failure)
    counts = [FailureCount(kind, len(found), found[0].reason) for kind, found in by_kind.items()]
    return tuple(sorted(counts, key=lambda each: -each.count))


def failures_text(failures: Sequence[FailureCount]) -> str:
    """Return the failures in one or two sentences; an empty text where there are none."""
    if not failures:
        return ""
    total = sum(each.count for each in failures)
    listed = ", ".join(f"{each.kind} {each.count}" for each in failures)
    reason = failures[0].first
    ending = "" if reason.endswith((".", "!", "?")) else "."
    says = "It says" if total == 1 else f"The first of the kind '{failures[0].kind}' says"
    return f"{total} {'evaluation' if total == 1 else 'evaluations'} failed ({listed}). {says}: {reason}{ending}"
