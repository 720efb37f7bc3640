"""How far errors found without training agree with those of training, and how that is told."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_space import TinySpace

from nas.searching.handful import AGREEMENT, Agreement, agreement_of, tell_agreement
from nas.space.search_space import enumerate_space

ALL = tuple(enumerate_space(TinySpace()))


class Notes:
    """A journal of notes."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        assert kind == "note"
        return self.kept

    def append(self, kind: str, body: dict[str, Any]) -> None:
        assert kind == "note"
        self.kept.append(body)


TRAINED = dict(zip(ALL[:5], (0.5, 0.4, 0.3, 0.2, 0.1), strict=True))
MACS = dict(zip(ALL[:5], (1, 2, 3, 5, 4), strict=True))


def told(estimated: Sequence[float], times: int = 1) -> tuple[list[str], list[dict[str, Any]]]:
    news: list[str] = []
    journal = Notes()
    screen = SimpleNamespace(counted=lambda architecture: {"macs": MACS[architecture]})
    state: Any = SimpleNamespace(journal=journal, progress=SimpleNamespace(say=news.append), screen=screen)
    guesses = dict(zip(ALL, estimated, strict=False))
    for _ in range(times):
        tell_agreement(state, "by guessing", guesses, TRAINED, 0.5, "Do not guess.")
    return news, journal.kept


def test_agreement_is_of_those_that_both_know() -> None:
    """By rank, so that an error may be far off; one that does not vary agrees with nothing."""
    trained = {ALL[0]: 0.1, ALL[1]: 0.2, ALL[2]: 0.3, ALL[3]: 0.4}
    estimated = {ALL[0]: 0.6, ALL[1]: 0.7, ALL[2]: 0.9, ALL[3]: 0.8, ALL[4]: 0.1}
    assert agreement_of(estimated, trained) == Agreement(pytest.approx(0.8), pytest.approx(2 / 3), 4)
    assert agreement_of(dict.fromkeys(trained, 0.9), trained) == Agreement(0.0, 0.0, 4)
    assert agreement_of({ALL[0]: 0.6, ALL[1]: 0.7}, trained) is None


def test_agreement_is_told_and_noted_once() -> None:
    """A resumed run does not tell it again."""
    news, notes = told((0.9, 0.8, 0.7, 0.5, 0.6), times=2)
    assert news == [
        "errors by guessing rank 5 architectures as training each alone does, Spearman 0.90, Kendall 0.80; "
        "multiply-accumulates alone do with 0.90"
    ]
    (note,) = (body[AGREEMENT] for body in notes)
    assert (note["evaluated"], note["architectures"], note["verdict"]) == ("by guessing", 5, "at least 0.5")
    assert note["Spearman"] == note["Spearman of multiply-accumulates alone"] == pytest.approx(0.9)
    assert note["Kendall"] == pytest.approx(0.8)


def test_a_poor_agreement_says_what_it_means_and_what_to_do() -> None:
    """So does one that could not be found."""
    news, notes = told((0.1, 0.2, 0.3, 0.4, 0.5))
    assert "That is below 0.5, so the search will miss good candidates" in news[0]
    assert news[0].endswith("Do not guess.")
    assert notes[0][AGREEMENT]["verdict"] == "poor: below 0.5"
    news, notes = told((0.1, 0.2))
    assert "could not be checked" in news[0]
    assert "Spearman" not in notes[0][AGREEMENT]
