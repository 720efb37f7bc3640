"""Errors found without training are compared with those of training, and the result is reported once."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_space import TinySpace

from nas.searching.evaluating.handful import record_agreement
from nas.space.search_space import enumerate_space
from nas.storage.journal_rows import Agreement

ALL = tuple(enumerate_space(TinySpace()))


TRAINED = dict(zip(ALL[:5], (0.5, 0.4, 0.3, 0.2, 0.1), strict=True))
MACS = dict(zip(ALL[:5], (1, 2, 3, 5, 4), strict=True))


def recorded(
    estimated: Sequence[float], times: int = 1, items: int = 100, kind: str = "classification"
) -> tuple[list[str], list[Agreement]]:
    """Return the messages and the rows of recording an agreement, ``times`` times, by some validation items."""
    news: list[str] = []
    kept: list[Agreement] = []
    journal = SimpleNamespace(rows=lambda row: kept, append=kept.append)
    quality = SimpleNamespace(name="error")
    beliefs = SimpleNamespace(counted=lambda architecture: {"macs": MACS[architecture]}, quality=quality)
    resolved = SimpleNamespace(task=SimpleNamespace(validation=range(items), criterion=SimpleNamespace(kind=kind)))
    progress = SimpleNamespace(say=news.append)
    state: Any = SimpleNamespace(journal=journal, progress=progress, beliefs=beliefs, resolved=resolved)
    guesses = dict(zip(ALL, estimated, strict=False))
    for _ in range(times):
        record_agreement(state, "by guessing", guesses, TRAINED, 0.5, "Do not guess.")
    return news, kept


def test_the_agreement_is_reported_and_recorded_once() -> None:
    """A resumed run does not report it again."""
    news, rows = recorded((0.9, 0.8, 0.7, 0.5, 0.6), times=2)
    assert news == [
        "errors by guessing and separate trainings rank 5 architectures with Spearman 0.90, Kendall 0.80; "
        "multiply-accumulates alone reach 0.90"
    ]
    (row,) = rows
    assert (row.evaluated, row.architectures, row.verdict) == ("by guessing", 5, "at least 0.5")
    assert row.spearman == row.spearman_of_macs == pytest.approx(0.9)
    assert row.kendall == pytest.approx(0.8)


def test_a_poor_agreement_is_reported_with_what_to_do() -> None:
    """So is one that could not be computed, which has no correlations."""
    news, rows = recorded((0.1, 0.2, 0.3, 0.4, 0.5))
    assert "That is below 0.5, so the search will miss good candidates" in news[0]
    assert news[0].endswith("Do not guess.")
    assert rows[0].verdict == "poor: below 0.5"
    news, rows = recorded((0.1, 0.2))
    assert "could not be checked" in news[0]
    assert rows[0].spearman is None


def test_few_validation_items_that_cannot_rank_are_told() -> None:
    """Nothing is judged then: chance alone would make such differences."""
    news, rows = recorded((0.9, 0.8, 0.7, 0.5, 0.6), items=2)
    assert news[0].startswith("errors by guessing could not be checked: 2 validation items cannot rank 5 architectures")
    assert "10.0 to 50.0 %" in news[0]
    assert rows[0].spearman is None
    news, _ = recorded((0.9, 0.8, 0.7, 0.5, 0.6), items=20)
    assert "Spearman 0.90" in news[0]


def test_errors_that_are_no_shares_are_ranked_whatever_the_number_of_items() -> None:
    """Nobody knows how much chance changes the mean error of a number."""
    news, _ = recorded((0.9, 0.8, 0.7, 0.5, 0.6), items=2, kind="regression")
    assert "Spearman 0.90" in news[0]
