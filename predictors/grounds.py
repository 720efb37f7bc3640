"""What the default predictor tells of its methods: how well each ranks the samples, and how far it relies on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nas.prediction.predictor import Batch, FloatArray
from nas.values.rank_correlation import rank_correlation
from predictors.source_models import SourceModels

NAMED: Mapping[str, str] = {
    "process": "the measurements",
    "additive": "layers, summed",
    "profiled": "the times of operators, summed",
    "informed": "other targets and the measurements",
    "informed_additive": "layers and other targets, summed",
    "corrected": "layers and the measurements",
    "trees": "trees",
}
"""The methods, as people read of them."""
MOST_LISTED = 8


def ignored_sources(ignored: Sequence[str]) -> str:
    """Return in a sentence which sources are ignored before any measurement, because their values look random."""
    more = [f"{len(ignored) - MOST_LISTED} more"] if len(ignored) > MOST_LISTED else []
    listed = ", ".join([*ignored[:MOST_LISTED], *more])
    return f"Other targets whose values do not follow from their networks, as if shuffled, are ignored: {listed}."


def ranks_of_sources(models: SourceModels, batch: Batch, logs: FloatArray) -> str:
    """Return in a sentence how each source's own order agrees with that of N samples, the best source first."""
    ranks = sorted(((_spearman(values, logs), name) for name, values in models.each(batch)), reverse=True)
    listed = [f"{name} {rank:.2f}" for rank, name in ranks]
    if len(listed) > MOST_LISTED:
        half = MOST_LISTED // 2
        listed = [*listed[:half], f"{len(listed) - MOST_LISTED} others between", *listed[-half:]]
    return f"Other targets rank the {len(logs)} measured architectures with Spearman: {', '.join(listed)}."


def shares_of_methods(
    held_out: Mapping[str, FloatArray], weights: Mapping[str, float], logs: FloatArray, elsewhere: float | None
) -> str:
    """Return in sentences how well each method ranks samples that it had not seen, and how much it counts.

    ``elsewhere`` is the share of the summed costs that follows other targets, or None where costs are no sums.
    """
    is_told = elsewhere is not None and weights.get("informed_additive", 0.0) > 0
    told = [
        f"{NAMED[name]} {_spearman(predicted, logs):.2f} (counts {weights[name]:.0%})".replace("%", " %")
        for name, predicted in held_out.items()
    ]
    sums = f" In the sums, other targets make up {elsewhere:.0%} of the costs.".replace("%", " %") if is_told else ""
    is_ignored = weights.get("informed") == 0 and (not weights["informed_additive"] or elsewhere == 0)
    ignored = " So the other targets are ignored." if is_ignored else ""
    return f"Spearman of predictions on held-out samples: from {', from '.join(told)}.{sums}{ignored}"


def _spearman(first: FloatArray, second: FloatArray) -> float:
    found = rank_correlation(np.asarray(first).tolist(), second.tolist())
    assert found is not None, "a predictor has at least five samples"
    return found.spearman
