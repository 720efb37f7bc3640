"""Metrics: the quantities that can be minimised or limited, with their units and the source of their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nas.errors import RecipeError, did_you_mean

Source = Literal["trained", "measured", "counted", "modelled"]


@dataclass(frozen=True)
class Metric:
    """A quantity of an architecture, lower is better.

    ``units`` maps each spelling of a unit to its factor to the unit at the end of ``name``. ``source`` tells where
    values come from: *trained* needs training, *measured* needs the target, *counted* needs only the layers.
    *modelled* values are computed from a published table, and are never mixed with measured ones.
    """

    name: str
    title: str
    unit: str
    source: Source
    units: Mapping[str, float]
    meaning: str = ""
    """A sentence for lists of metrics, where the title does not say enough."""

    @property
    def is_share(self) -> bool:
        """True for shares, which are written as per cent."""
        return self.unit == "" and "%" in self.units

    def parse(self, text: str) -> float:
        """Return the value of ``"2ms"`` or ``"30 MMACs"`` in this metric's own unit.

        A bare number is refused where units differ: ``60`` may be meant as microseconds. Counts and shares have none.

        Raises:
            RecipeError: not a finite, non-negative number, a share above 1, no unit, or a unit of another quantity.
        """
        match = re.fullmatch(r"\s*([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([^\s0-9]*)\s*", text)
        if match is None:
            raise RecipeError(
                f"a limit on {self.name} is a number with a unit, such as {self.example}, but got {text!r}."
            )
        number, unit = float(match[1]), match[2]
        if unit and unit not in self.units:
            if not self.units:
                raise RecipeError(f"a limit on {self.name} is a number without a unit, but got {text.strip()!r}.")
            hint = " One multiply-accumulate is two FLOPs." if "FLOP" in unit.upper() else ""
            raise RecipeError(
                f"the unit of {self.name} is one of {', '.join(self.units)}, "
                f"but got {unit!r} in {text.strip()!r}.{hint}"
            )
        value = number * (self.units[unit] if unit else 1.0)
        if not 0 <= value < float("inf"):
            raise RecipeError(f"a limit on {self.name} must be finite and not negative, but got {text.strip()!r}.")
        if not unit and self.unit:
            raise RecipeError(
                f"a limit on {self.name} needs a unit, such as {self.example}, but got {text.strip()!r}. "
                f"Write {match[1]}{self.unit} if you mean that."
            )
        if self.is_share and value > 1:
            what = "an error" if self.name == "error" else f"a limit on {self.name}"
            raise RecipeError(f"{what} lies in [0, 1], or is written like 5%, but got {text.strip()!r}.")
        return value

    @property
    def example(self) -> str:
        """A value with a unit, as a person would write it."""
        return _EXAMPLES[self.name]

    def format(self, value: float, more: int = 0) -> str:
        """Return the value for people, its unit scaled to a readable size, with ``more`` digits than usual."""
        if self.is_share and value < MOST_SHARE:
            return f"{100 * value:.{2 + more}f} %"
        if self.source == "trained":
            return f"{value:.{4 + more}g} {self.unit}".strip()
        if self.unit in ("", "B"):
            return readable(value, self.unit, smallest="", digits=3 + more)
        if self.unit == "mJ":
            return readable(value / 1000, "J", digits=3 + more)
        return f"{value:.{4 + more}g} {self.unit}"

    def format_apart(self, value: float, other: float) -> tuple[str, str]:
        """Return both values for people, with enough digits to tell them apart if they differ."""
        pairs = ((self.format(value, more), self.format(other, more)) for more in range(MOST_DIGITS))
        return next((pair for pair in pairs if pair[0] != pair[1]), (self.format(value), self.format(other)))


LARGEST_VALUE = 1e30
"""Larger values are no results: sums of them overflow, and a journal refuses them."""
MOST_SHARE = 10.0
"""Larger errors are no shares, but of values that were not standardised; they are not written as per cent."""
_PREFIXES = ("n", "µ", "m", "", "k", "M", "G", "T")


MOST_DIGITS = 12


def readable(value: float, unit: str, smallest: str = "n", digits: int = 3) -> str:
    """Return a value with a prefix of its unit that leaves at most three digits before the point.

    ``readable(0.0021, "g")`` is "2.1 mg". The prefix is ``smallest`` or larger. If ``smallest`` is the unit itself, as
    for bytes, values below a thousand have no fraction: half a byte does not exist.
    """
    if value == 0:
        return f"0 {unit}".strip()
    prefixes = _PREFIXES[_PREFIXES.index(smallest) :]
    scaled = value * 1000.0 ** (_PREFIXES.index("") - _PREFIXES.index(smallest))
    for prefix in prefixes:
        number = f"{scaled:.0f}" if prefix == smallest == "" else f"{scaled:.{digits}g}"
        if abs(float(number)) < 1000 or prefix == prefixes[-1]:
            break
        scaled /= 1000
    return f"{number} {prefix}{unit}".strip()


_SHARE = {"%": 0.01}
_TIME_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3}
_ENERGY_MJ = {"nJ": 1e-6, "uJ": 1e-3, "µJ": 1e-3, "μJ": 1e-3, "mJ": 1.0, "J": 1e3, "kJ": 1e6}
_BYTES = {
    "B": 1.0,
    "kB": 1e3,
    "KB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
}
_COUNT = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}


def _counts(noun: str) -> dict[str, float]:
    prefixes = {"": 1.0, **_COUNT}
    return {f"{prefix}{word}": factor for word in ("", noun) for prefix, factor in prefixes.items() if prefix + word}


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("error", "Error", "", "trained", _SHARE, "the error by which a task compares models"),
        Metric("top5_error", "Top-5 error", "", "trained", _SHARE, "the class is not among the five most probable"),
        Metric("balanced_error", "Balanced error", "", "trained", _SHARE, "1 − the mean recall of all classes"),
        Metric("macro_f1_loss", "Macro F1 loss", "", "trained", _SHARE, "1 − the mean F1 score of all classes"),
        Metric("calibration_error", "Calibration error", "", "trained", _SHARE, "expected, in 15 bins of confidence"),
        Metric("log_loss", "Log loss", "", "trained", {}, "the mean cross-entropy of the right class, in nats"),
        Metric("unexplained_variance", "Unexplained variance", "", "trained", _SHARE, "1 − R²"),
        Metric("mae", "Mean absolute error", "", "trained", {}, "in the units of the data"),
        Metric("rmse", "Root mean squared error", "", "trained", {}, "in the units of the data"),
        Metric("mse", "Mean squared error", "", "trained", {}, "in squared units of the data"),
        Metric("perplexity", "Perplexity", "", "trained", {}, "2 to the bits of a token"),
        Metric("bits_per_byte", "Bits per byte", "bits", "trained", {"bits": 1.0, "bit": 1.0}, "of text"),
        Metric("noise_error", "Error under noise", "", "trained", _SHARE, "the mean error of corrupted items"),
        Metric("latency_ms", "Latency", "ms", "measured", _TIME_MS),
        Metric("item_ms", "Time per item", "ms", "measured", _TIME_MS),
        Metric("peak_memory_mib", "Peak memory", "MiB", "measured", {u: f / 2**20 for u, f in _BYTES.items()}),
        Metric("model_bytes", "Model size", "B", "measured", _BYTES),
        Metric("weight_bytes", "Weights", "B", "measured", _BYTES),
        Metric("energy_mj", "Energy", "mJ", "measured", _ENERGY_MJ),
        Metric("params", "Parameters", "", "counted", _counts("params")),
        Metric("macs", "Multiply-accumulates", "", "counted", _counts("MACs")),
        Metric("modelled_energy_mj", "Energy (modelled)", "mJ", "modelled", _ENERGY_MJ),
        Metric("dram_traffic_bytes", "DRAM traffic (modelled)", "B", "modelled", _BYTES),
    )
}
_EXAMPLES = {
    "error": "5%",
    "top5_error": "5%",
    "balanced_error": "5%",
    "macro_f1_loss": "5%",
    "calibration_error": "5%",
    "log_loss": "0.5",
    "unexplained_variance": "40%",
    "mae": "2.5",
    "rmse": "2.5",
    "mse": "6.25",
    "perplexity": "20",
    "bits_per_byte": "2.2bits",
    "noise_error": "20%",
    "latency_ms": "2ms",
    "item_ms": "2ms",
    "peak_memory_mib": "64MiB",
    "model_bytes": "1.5MB",
    "weight_bytes": "1.5MB",
    "energy_mj": "0.5mJ",
    "params": "1.2M",
    "macs": "30MMACs",
    "modelled_energy_mj": "0.5mJ",
    "dram_traffic_bytes": "1.5MB",
}


HIGHER_IS_BETTER = {
    "accuracy": "error",
    "top5_accuracy": "top5_error",
    "balanced_accuracy": "balanced_error",
    "macro_f1": "macro_f1_loss",
    "r2": "unexplained_variance",
    "noise_accuracy": "noise_error",
    "throughput_per_s": "item_ms",
}
"""Names of which higher is better, and the metric that is minimised in their place. All but the last are 1 − it."""
TRAINED = tuple(name for name, metric in METRICS.items() if metric.source == "trained")
"""The names of all trained metrics."""


def metric_named(name: str) -> Metric:
    """Return the metric called ``name``.

    Raises:
        RecipeError: no such metric; the nearest known name is given.
    """
    if name not in METRICS:
        raise RecipeError(unknown_metric(name, METRICS))
    return METRICS[name]


def unknown_metric(name: str, known: Iterable[str]) -> str:
    """Return the error for a name that is no metric. A name of which higher is better is told by its metric's."""
    if name in HIGHER_IS_BETTER:
        return f"{name} is higher for better models, but a metric is lower: name {HIGHER_IS_BETTER[name]} instead."
    return f"unknown metric {name!r}. {did_you_mean(name, known)}"


def trained_values(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the trained metrics in a report of a training, which has other things too.

    Values that are not finite, or larger than ``LARGEST_VALUE``, are left out.
    """
    found = {name: float(report[name]) for name in TRAINED if name in report}
    return {name: value for name, value in found.items() if is_result(value)}


def is_result(value: float) -> bool:
    """Return True if a value is finite and at most ``LARGEST_VALUE``, so that a journal can hold it."""
    return abs(value) <= LARGEST_VALUE
