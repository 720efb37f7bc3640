"""How well values that were known beforehand ranked the candidates that were then evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nas.values.evaluation import Evaluation
from nas.values.rank_correlation import RankCorrelation, rank_correlation

PRIOR = "prior"
"""The detail of an evaluation that holds what was known of it beforehand, by name; higher is better."""


def prior_ranks(rows: Iterable[Evaluation]) -> dict[str, RankCorrelation]:
    """Return, by the name of a prior, its rank correlation with the accuracy of candidates that ran to their end.

    A prior is left out while fewer than three of these have a value of it, or if it is the same of all.
    """
    whole = [row for row in rows if row.stage == "train" and row.reached_full_fidelity]
    known = [(row.details.get(PRIOR), row.values.get("error")) for row in whole]
    pairs: dict[str, list[tuple[float, float]]] = {}
    for prior, error in known:
        if isinstance(prior, Mapping) and error is not None:
            for name, value in prior.items():
                pairs.setdefault(name, []).append((value, -error))
    telling = {name: each for name, each in pairs.items() if len({value for value, _ in each}) > 1}
    found = {name: rank_correlation(*zip(*each, strict=True)) for name, each in telling.items()}
    return {name: each for name, each in found.items() if each is not None}


def prior_sentences(rows: Iterable[Evaluation]) -> list[str]:
    """Return a sentence on each prior."""
    return [
        f"The prior {name} ranks the {found.count} candidates evaluated so far with a Spearman correlation of "
        f"{found.spearman:.2f} (Kendall {found.kendall:.2f})."
        for name, found in prior_ranks(rows).items()
    ]


def prior_note(rows: Iterable[Evaluation]) -> dict[str, Any]:
    """Return the same as facts of a report."""
    return {
        name: {"Spearman": found.spearman, "Kendall": found.kendall, "candidates": found.count}
        for name, found in prior_ranks(rows).items()
    }
