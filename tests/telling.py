"""Progress that records what it is told."""

from __future__ import annotations


class Telling:
    """Records the messages and the steps of each stage."""

    def __init__(self) -> None:
        self.news: list[str] = []
        self.stages: dict[str, tuple[int | None, int]] = {}

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        self._now = name
        self.stages[name] = (total, 0)

    def advance(self, count: int = 1, best: str | None = None) -> None:
        total, done = self.stages[self._now]
        self.stages[self._now] = (total, done + count)

    def say(self, text: str) -> None:
        self.news.append(text)

    def close(self) -> None:
        """Records nothing."""
