"""Faults of boards: how they are recognised, and what to do about each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.hardware.devices.requirements import LEAST_PYTHON

TOLD_THERE = (
    ("No space left", "Make room there, or name another folder with --folder when you add it"),
    ("Read-only file system", "Its disk takes nothing any more: check it, or name another folder with --folder"),
)
"""What systems say when a request fails, and what to do about it."""


def with_advice(reason: str) -> str:
    """Return why a request failed on a board, and what to do about it where that is known."""
    advice = next((f" {advice}." for sign, advice in TOLD_THERE if sign in reason), "")
    return f"{reason.rstrip('.')}.{advice}"


def why_another_machine(added: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Return how a machine that answers differs from the one that was added; empty if it may be the same."""
    words = {"machine_id": "its identifier", "serial": "its serial number", "machine": "its kind of processor"}
    return "; ".join(
        f"{what} is {found[key]}, not {added[key]}"
        for key, what in words.items()
        if added.get(key) and found.get(key) and added[key] != found[key]
    )


def python_advice(said: str) -> str:
    """Return what to do about a Python that is too old to say so; empty for anything else."""
    if "SyntaxError" not in said and "AttributeError" not in said:
        return ""
    return f"its Python is older than {'.'.join(map(str, LEAST_PYTHON))}: install a newer one, or name it with --python"
