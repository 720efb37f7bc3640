"""The same architectures in two runs, such as on two devices: ratios, ranks, and which models of a front stay on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.reports.analysis.architecture_values import Known, drawn_places
from nas.reports.analysis.growth import reference_point
from nas.space.architecture import Architecture
from nas.values.metric import Metric
from nas.values.pareto import FloatArray, IntArray, hypervolume, non_dominated
from nas.values.rank_correlation import rank_correlation

FEWEST = 3
"""Fewer architectures in common are only counted."""
MOST_MOVERS, MOST_POINTS, MOST_LISTED = 8, 500, 30
BOOTSTRAPS = 300


@dataclass(frozen=True)
class Side:
    """One of two runs that are compared: its label for people, and what is known of its architectures."""

    label: str
    known: Mapping[Architecture, Known]

    def value(self, architecture: Architecture, name: str) -> float | None:
        """Return a value that is not only predicted; None where there is none."""
        found = self.known.get(architecture)
        return None if found is None or name in found.predicted else found.values.get(name)

    def values(self, architectures: Sequence[Architecture], name: str) -> FloatArray:
        """Return the values of N architectures that have one, shape (N,)."""
        return np.array([self.known[each].values[name] for each in architectures])


def comparison_of(first: Side, second: Side, metric: Metric, quality: Metric) -> dict[str, Any]:
    """Return how ``metric`` of the same architectures compares between two runs, as plain data.

    Ratios are those of the second to the first. Fronts are of ``quality`` in the first run, where an architecture was
    trained, against ``metric`` on either side, among the architectures that both know.
    """
    common = [
        architecture
        for architecture in first.known
        if first.value(architecture, metric.name) is not None and second.value(architecture, metric.name) is not None
    ]
    found: dict[str, Any] = {
        "metric": metric.to_json(),
        "first": first.label,
        "second": second.label,
        "common": len(common),
    }
    if len(common) < FEWEST:
        return {**found, "known": False, "sentences": [_too_few_text(first, second, metric, len(common))]}
    ours, theirs = first.values(common, metric.name), second.values(common, metric.name)
    ratios = _ratios(ours, theirs)
    agreement = _agreement(ours, theirs)
    moved = front_moved(first, second, metric, quality, common)
    return {
        **found,
        "known": True,
        "ratio": ratios,
        "spearman": agreement,
        "movers": _movers(common, ours, theirs, metric),
        "points": _points(common, ours, theirs),
        "front": moved,
        "sentences": [
            *_ratio_text(found, ratios, metric),
            *_rank_text(agreement),
            *([] if moved is None else [moved["sentence"]]),
        ],
    }


def _ratios(ours: FloatArray, theirs: FloatArray) -> dict[str, float] | None:
    both = (ours > 0) & (theirs > 0)
    if not both.any():
        return None
    low, middle, high = np.percentile(theirs[both] / ours[both], (5, 50, 95))
    return {"median": float(middle), "low": float(low), "high": float(high)}


def _agreement(ours: FloatArray, theirs: FloatArray) -> dict[str, float]:
    """Return Spearman's correlation of the ranks with its 95 % interval by the bootstrap, and Kendall's."""
    found = rank_correlation(ours.tolist(), theirs.tolist())
    assert found is not None
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(BOOTSTRAPS):
        chosen = rng.integers(len(ours), size=min(len(ours), 2000))
        a, b = _ranks(ours[chosen]), _ranks(theirs[chosen])
        spread = float(np.sqrt((a**2).sum() * (b**2).sum()))
        drawn.append(float((a * b).sum()) / spread if spread > 0 else 0.0)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return {
        "value": found.spearman,
        "lower": min(float(low), found.spearman),
        "upper": max(float(high), found.spearman),
        "kendall": found.kendall,
    }


def _ranks(values: FloatArray) -> FloatArray:
    """Return the ranks around zero; equal values share theirs, as a bootstrap draws many twice."""
    from scipy.stats import rankdata  # here, because scipy is slow to import

    ranks: FloatArray = rankdata(values)
    centred: FloatArray = ranks - ranks.mean()
    return centred


def _movers(
    common: Sequence[Architecture], ours: FloatArray, theirs: FloatArray, metric: Metric
) -> list[dict[str, Any]]:
    """Return the architectures whose rank differs most between both sides; rank 1 is the lowest value.

    Equal values share their ranks, and have not moved as long as one of these fits. The first one is given.
    """
    before, before_last = _shared_ranks(ours)
    after, after_last = _shared_ranks(theirs)
    moved = np.maximum(0, np.maximum(after - before_last, before - after_last))
    order = np.argsort(-moved, kind="stable")[:MOST_MOVERS].tolist()
    return [
        {
            "id": common[place].id,
            "choices": common[place].short,
            "first_rank": int(before[place]),
            "second_rank": int(after[place]),
            "first_text": metric.format(float(ours[place])),
            "second_text": metric.format(float(theirs[place])),
        }
        for place in order
        if moved[place]
    ]


def _shared_ranks(values: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the first and the last rank that each value shares with those equal to it."""
    ordered = np.sort(values)
    return np.searchsorted(ordered, values, "left") + 1, np.searchsorted(ordered, values, "right")


def _points(common: Sequence[Architecture], ours: FloatArray, theirs: FloatArray) -> dict[str, Any]:
    shown = drawn_places(len(common), MOST_POINTS)
    return {
        "id": [common[place].id for place in shown.tolist()],
        "x": [float(f"{value:.6g}") for value in ours[shown]],
        "y": [float(f"{value:.6g}") for value in theirs[shown]],
    }


def front_moved(
    first: Side, second: Side, metric: Metric, quality: Metric, common: Sequence[Architecture]
) -> dict[str, Any] | None:
    """Return which models of the first side's front are on the second side's front too; None where none was trained.

    ``kept`` is the hypervolume that the first front's models have on the second side, as a share of what the best
    among the common architectures have there.
    """
    if quality.name == metric.name:
        return None
    trained = [each for each in common if first.value(each, quality.name) is not None]
    if not trained:
        return None
    errors = first.values(trained, quality.name)
    here, there = first.values(trained, metric.name), second.values(trained, metric.name)
    before, after = np.column_stack([errors, here]), np.column_stack([errors, there])
    on_first, on_second = non_dominated(before), non_dominated(after)
    reference = reference_point(after, [np.inf, np.inf])
    whole = hypervolume(after, reference)
    kept = hypervolume(after[on_first], reference) / whole if whole > 0 else 1.0
    models = []
    for place in sorted(np.flatnonzero(on_first | on_second).tolist(), key=lambda index: float(errors[index])):
        fate = "stays" if on_first[place] and on_second[place] else "leaves" if on_first[place] else "joins"
        beaten = _beaten_by(place, after) if fate == "leaves" else None
        models.append(
            {
                "id": trained[place].id,
                "choices": trained[place].short,
                "fate": fate,
                "beaten_by": None if beaten is None else trained[beaten].id,
                "error": float(errors[place]),
                "first": float(here[place]),
                "second": float(there[place]),
                "first_text": metric.format(float(here[place])),
                "second_text": metric.format(float(there[place])),
            }
        )
    stays = sum(each["fate"] == "stays" for each in models)
    count = int(on_first.sum())
    sentence = (
        f"Of {count} front {'model' if count == 1 else 'models'} of {first.label}, {stays} "
        f"{'is' if stays == 1 else 'are'} still on the front with the values of {second.label}; together "
        f"{'it has' if count == 1 else 'they have'} {100 * kept:.0f} % of the hypervolume that is possible there with "
        f"the {len(trained)} architectures that both know."
    )
    return {
        "models": models[:MOST_LISTED],
        "left_out": max(0, len(models) - MOST_LISTED),
        "on_first": count,
        "stay": stays,
        "kept": round(float(kept), 4),
        "trained": len(trained),
        "sentence": sentence,
    }


def _beaten_by(place: int, losses: FloatArray) -> int | None:
    """Return the index of the row that beats one in both losses, the best in the second loss; None without one."""
    better = (losses <= losses[place]).all(axis=1) & (losses < losses[place]).any(axis=1)
    found = np.flatnonzero(better)
    return None if not len(found) else int(found[np.argmin(losses[found, 1])])


def _ratio_text(found: Mapping[str, Any], ratio: Mapping[str, float] | None, metric: Metric) -> list[str]:
    if ratio is None:
        return []
    return [
        f"{metric.title} of {found['common']} architectures that both know: {found['second']} has "
        f"{ratio['median']:.3g} times that of {found['first']} in the median, {ratio['low']:.3g} to "
        f"{ratio['high']:.3g} times for the middle 90 %."
    ]


def _rank_text(agreement: Mapping[str, float]) -> list[str]:
    told = (
        f"They rank them with a Spearman correlation of {agreement['value']:.2f} (95 % interval "
        f"{agreement['lower']:.2f} to {agreement['upper']:.2f})."
    )
    if agreement["value"] < 0.9:
        return [f"{told} Models that were chosen for one need not suit the other."]
    return [told]


def _too_few_text(first: Side, second: Side, metric: Metric, count: int) -> str:
    return (
        f"{first.label} and {second.label} have a value of {metric.title.lower()} for {count or 'no'} architecture"
        f"{'s' * (count != 1)} in common, and {FEWEST} are needed to compare them. nas solve RUN --target TARGET "
        "--as-run FOLDER measures a run's candidates on another target."
    )
