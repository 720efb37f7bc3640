"""Runs of the command ``nas`` in ``fault_spaces.Faulty``, whose architectures fail in known ways."""

from __future__ import annotations

from pathlib import Path

from commands import evaluations_of, rows_of

INLINE = ("--executor", "inline")
RAY = ("--executor", "ray", "--set", "execution.workers=2")
ONE_WORKER = ("--executor", "ray", "--set", "execution.workers=1")


def faults(*names: str, always: bool = False) -> tuple[str, ...]:
    """Return the arguments that choose the space with these faults."""
    text = " ".join(names)
    space = ("--space", "fault_spaces:Faulty")
    return (*space, "--set", f'space.faults="{text}"', "--set", f"space.always={str(always).lower()}")


def kinds_by_part(run: Path, *stages: str) -> dict[str, set[str]]:
    """Return, by part of the space, the kinds of failure of its evaluations; ``fine`` for those that worked."""
    kinds: dict[str, set[str]] = {}
    for stage in stages:
        for row in evaluations_of(run, stage):
            kind = row.failure.kind if row.failure else "fine"
            kinds.setdefault(str(row.architecture["part"]), set()).add(kind)
    return kinds


def trainings_if_any(run: Path) -> list[str]:
    """Return the rows of trainings as text; none before there is a journal."""
    return [body for _, _, kind, body in rows_of(run) if kind == "evaluation" and '"stage": "train"' in body]
