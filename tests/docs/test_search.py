"""The search of the site puts the page first that a word is about."""

from __future__ import annotations

import sys

import pytest
from pages import DOCS

sys.path.insert(0, str(DOCS / "extensions"))

pytest.importorskip("sphinx")

import nas_search


def test_a_page_that_has_a_word_more_often_scores_higher() -> None:
    """Its length counts too, and a word that a page has once counts nothing."""
    long = "energy energy latency " + "word " * 400
    found = nas_search.counts_of({"energy": "Energy is energy. " * 9, "benchmarks": long, "other": "energy once"})
    assert found["energy"]["energy"] == nas_search.MOST_SCORE
    assert 0 < found["energy"]["benchmarks"] < 1
    assert set(found["energy"]) == {"energy", "benchmarks"}
    assert "latency" not in found


def test_names_of_the_api_are_words() -> None:
    assert nas_search.counts_of({"page": "See front.best, front.best."}) == {
        "front.best": {"page": nas_search.MOST_SCORE}
    }
