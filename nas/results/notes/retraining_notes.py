"""The retrainings of a run after it had ended, as a note in its record."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from nas.storage.journal_rows import RetrainingBegan


def retraining_note(began: Iterable[RetrainingBegan], ended: Collection[int]) -> dict[str, str]:
    """Return by number what each retraining was; ``ended`` holds the numbers of those that ended."""
    return {f"number {row.number}": _told(row, is_over=row.number in ended) for row in began}


def _told(row: RetrainingBegan, *, is_over: bool) -> str:
    count = len(row.architectures)
    asked: dict[str, Any] = {key: value for key, value in row.asked.items() if value not in (None, "", [], {})}
    training = asked.pop("training", {})
    named = {"epochs": "epochs", "seeds": "seeds", "teacher": "teacher", "start": "start"}
    parts = [f"{count} architecture{'s' * (count != 1)}"]
    parts += [f"{title} {asked[key]}" for key, title in named.items() if key in asked and asked[key] != "scratch"]
    parts += [f"{key} {value}" for key, value in training.items()]
    if row.data:
        parts.append(f"{row.data.get('added', 0)} further items of {row.data.get('name', 'other data')}")
    return f"{', '.join(parts)}{'' if is_over else '; not finished, so the same request goes on with it'}"
