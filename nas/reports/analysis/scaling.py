"""How each metric grows with the size of the model and of its input: fitted exponents with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.reports.analysis.architecture_values import Known, drawn_places
from nas.reports.analysis.choice_importance import counts_of
from nas.reports.analysis.power_law import FEWEST, Exponent, PowerLaw, power_law
from nas.reports.candidates import estimated_text
from nas.results.run import Run
from nas.values.metric import METRICS, Metric
from nas.values.objective import quality_of
from nas.values.pareto import FloatArray

MOST_POINTS = 400
"""Of more points so many are drawn on the page; all are fitted."""
COSTS = ("latency_ms", "item_ms", "peak_memory_mib", "energy_mj", "model_bytes")


@dataclass(frozen=True)
class Size:
    """A size that metrics may grow with: its name and title, and its value of an architecture."""

    name: str
    title: str
    unit: str
    of: Callable[[Known], float | None]


SIZES = (
    Size("params", "Parameters", "", lambda known: known.values.get("params")),
    Size("macs", "Multiply-accumulates", "", lambda known: known.values.get("macs")),
    Size("input_size", "Numbers in one input", "", lambda known: known.input_size),
)


def scaling_of(run: Run, known: Sequence[Known]) -> dict[str, Any]:
    """Return how the run's metrics grow with the size of models and of their inputs, as plain data.

    ``known`` tells of the run's architectures. Only measured, counted and trained values count. Where inputs differ in
    size, each metric is also fitted to the parameters and the input together, so that the one's exponent leaves the
    other equal.
    """
    quality = quality_of(run.objectives)
    counts = counts_of(known)
    metrics = [METRICS[name] for name in dict.fromkeys((*COSTS, quality.name)) if counts[name] >= FEWEST]
    fits = [fit for metric in metrics for size in SIZES if (fit := _fit(run, metric, size, known)) is not None]
    both = [fit for metric in metrics if (fit := _fit_together(run, metric, known)) is not None]
    return {"fits": fits, "together": both, "sentences": _about(run, metrics, fits)}


def _pairs(known: Sequence[Known], metric: Metric, sizes: Sequence[Size]) -> tuple[list[Known], FloatArray, FloatArray]:
    found = [each for each in known if metric.name in each.sure and all(size.of(each) for size in sizes)]
    of = np.array([[float(size.of(each) or 0) for size in sizes] for each in found]).reshape(-1, len(sizes))
    return found, of, np.array([each.values[metric.name] for each in found])


def _fit(run: Run, metric: Metric, size: Size, known: Sequence[Known]) -> dict[str, Any] | None:
    found, sizes, values = _pairs(known, metric, [size])
    law = power_law(sizes, values)
    if law is None or law.curve is None:
        return None
    shown = drawn_places(len(found), MOST_POINTS)
    at, middle, lower, upper = (_rounded(each) for each in law.curve)
    return {
        "metric": run.words.metric_json(metric),
        "size": {"name": size.name, "title": size.title, "unit": size.unit},
        "exponent": _exponent_json(law.exponents[0]),
        "explained": round(law.explained, 4),
        "samples": law.samples,
        "bend": None if law.bend is None else [round(each, 4) for each in law.bend],
        "points": {
            "id": [found[place].architecture.id for place in shown.tolist()],
            "x": _rounded(sizes[shown, 0]),
            "y": _rounded(values[shown]),
        },
        "curve": {"x": at, "y": middle, "low": lower, "high": upper},
        "sentence": fit_sentence(run.words.title_of(metric), size, law),
    }


def _fit_together(run: Run, metric: Metric, known: Sequence[Known]) -> dict[str, Any] | None:
    sizes = (SIZES[0], SIZES[2])
    _, of, values = _pairs(known, metric, sizes)
    law = power_law(of, values)
    if law is None:
        return None
    model, inputs = law.exponents
    return {
        "metric": run.words.metric_json(metric),
        "model": _exponent_json(model),
        "input": _exponent_json(inputs),
        "explained": round(law.explained, 4),
        "samples": law.samples,
        "sentence": f"{run.words.title_of(metric)}: parameters to the power {_exponent_text(model)} with equal "
        f"inputs, inputs to the power {_exponent_text(inputs)} with equal parameters.",
    }


def fit_sentence(title: str, size: Size, law: PowerLaw) -> str:
    """Return what a fit says, in a sentence or two."""
    exponent = law.exponents[0]
    noun = {"input_size": "inputs"}.get(size.name, size.title.lower())
    if not exponent.is_sure:
        return (
            f"{title} shows no sure trend with {noun}: the exponent is {_exponent_text(exponent)}, from {law.samples} "
            "models."
        )
    verb = "grows" if exponent.value > 0 else "falls"
    bent = ""
    if law.bend is not None:
        bent = (
            f" The exponent is not the same everywhere: {law.bend[0]:.2f} at the small end, {law.bend[1]:.2f} at the "
            "large end."
        )
    return (
        f"{title} {verb} with {noun} to the power {_exponent_text(exponent)}: twice as many make it "
        f"{exponent.of_twice:.2f} times as large.{bent}"
    )


def _about(run: Run, metrics: Sequence[Metric], fits: Sequence[Any]) -> list[str]:
    if not fits:
        if not metrics:
            return [f"Fitting growth takes at least {FEWEST} measured models; this run has fewer."]
        return ["The models with a value are too few, or too alike in size, to tell how a metric grows."]
    told = estimated_text(run.rows)
    return [
        *([told] if told else []),
        "Each line is a power law, fitted by least squares to logarithms; its band is the 95 % interval of the mean. "
        "Points are measured and trained candidates that the search chose: trends are those among its candidates, not "
        "among random architectures.",
    ]


def _exponent_json(exponent: Exponent) -> dict[str, Any]:
    return {
        "value": round(exponent.value, 4),
        "lower": round(exponent.lower, 4),
        "upper": round(exponent.upper, 4),
        "sure": exponent.is_sure,
        "twice": round(exponent.of_twice, 4),
    }


def _exponent_text(exponent: Exponent) -> str:
    return f"{exponent.value:.2f} ({exponent.lower:.2f} to {exponent.upper:.2f})"


def _rounded(values: FloatArray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
