"""Metrics: the quantities that can be minimised or limited, with their units and the source of their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, final

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
    example: str
    """A value with a unit, as a person would write it."""
    meaning: str = ""
    """A sentence for lists of metrics, where the title does not say enough."""
    higher: tuple[str, str] | None = None
    """The name and the title of the quantity of which higher is better, where people know this metric by it."""
    differs: tuple[str, str] = ("has {} % less", "has {} % more")
    """The words for a model whose value is lower than another's by a share, and for one whose value is higher."""
    on: str = ""
    """The name of the further target that it is of, as ``pi`` in ``pi/latency_ms``; empty for the first target."""

    @property
    def bare(self) -> str:
        """The name without a target."""
        return bare_name(self.name)

    def on_target(self, target: str) -> Metric:
        """Return the same metric of a further target, by the target's name; itself for the first target."""
        if not target:
            return self
        higher = None if self.higher is None else (f"{target}/{self.higher[0]}", f"{self.higher[1]} on {target}")
        title = f"{self.title} on {target}"
        return replace(self, name=on_target(target, self.name), title=title, higher=higher, on=target)

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

    def to_json(self) -> dict[str, str | bool]:
        """Return what pages tell their scripts of the metric."""
        told: dict[str, str | bool] = {"name": self.name, "title": self.title, "unit": self.unit}
        return {**told, "share": self.is_share, "source": self.source}

    def format_range(self, lower: float, upper: float) -> str:
        """Return both bounds for people, with their unit once if they share it: ``0.2088–0.2131 ms``."""
        low, high = self.format(lower), self.format(upper)
        low_number, _, low_unit = low.partition(" ")
        return f"{low_number if low_unit == high.partition(' ')[2] else low}–{high}"

    def format_within(self, value: float, lower: float, upper: float) -> str:
        """Return a value for people with bounds that differ from each other: ``0.21 ms (0.2088–0.2131)``."""
        text = self.format(value)
        return text if lower == upper else f"{text} ({bare_range(text, self.format_range(lower, upper))})"

    def format_apart(self, value: float, other: float) -> tuple[str, str]:
        """Return both values for people, with enough digits to tell them apart if they differ."""
        pairs = ((self.format(value, more), self.format(other, more)) for more in range(MOST_DIGITS))
        return next((pair for pair in pairs if pair[0] != pair[1]), (self.format(value), self.format(other)))


SUSTAINED = "sustained_latency_ms"
"""The latency of a model that has run for minutes without a pause, which takes as long to measure."""
LARGEST_VALUE = 1e30
"""Larger values are no results: sums of them overflow, and a journal refuses them."""
MOST_SHARE = 10.0
"""Larger errors are no shares, but of values that were not standardised; they are not written as per cent."""
_PREFIXES = ("n", "µ", "m", "", "k", "M", "G", "T")


MOST_DIGITS = 12


def bare_range(value: str, bounds: str) -> str:
    """Return bounds without their unit where it is that of the ``value`` beside them: ``0.2088–0.2131``."""
    unit = value.partition(" ")[2]
    return bounds.removesuffix(f" {unit}") if unit and bounds.count(" ") == 1 else bounds


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
_MIB = {unit: factor / 2**20 for unit, factor in _BYTES.items()}
_COUNT = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}


_FASTER = ("is {} % faster", "is {} % slower")
_MEMORY = ("takes {} % less memory", "takes {} % more memory")
_SMALLER = ("is {} % smaller", "is {} % larger")
_WEIGHTS = ("has {} % fewer bytes of weights", "has {} % more bytes of weights")
_ENERGY = ("uses {} % less energy", "uses {} % more energy")


def _counts(noun: str) -> dict[str, float]:
    prefixes = {"": 1.0, **_COUNT}
    return {f"{prefix}{word}": factor for word in ("", noun) for prefix, factor in prefixes.items() if prefix + word}


def _share(name: str, title: str, meaning: str, higher: tuple[str, str] | None = None, example: str = "5%") -> Metric:
    """Return a trained metric that is a share of 1."""
    return Metric(name, title, "", "trained", _SHARE, example, meaning, higher)


def _loss(name: str, title: str, example: str, meaning: str) -> Metric:
    """Return a trained metric without a unit."""
    return Metric(name, title, "", "trained", {}, example, meaning)


def on_target(target: str, name: str) -> str:
    """Return the name of a metric of a further target: ``pi/latency_ms``. Of the first target it is the bare name."""
    return f"{target}/{name}" if target else name


def target_in(name: str) -> str:
    """Return the name of the further target before a metric's name; empty for a bare name."""
    return name.rpartition("/")[0]


def bare_name(name: str) -> str:
    """Return a metric's name without a target before it."""
    return name.rpartition("/")[2]


@final
class Metrics(Mapping[str, Metric]):
    """The metrics by name. With a further target before it, a measured one or the error is found too.

    So ``METRICS["pi/latency_ms"]`` is the latency on ``pi``. It goes over the bare names alone.
    """

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._bare = {metric.name: metric for metric in metrics}

    def __getitem__(self, name: str) -> Metric:
        target, slash, bare = name.rpartition("/")
        found = self._bare[bare]
        if bool(target) != bool(slash) or (target and found.source != "measured" and bare != "error"):
            raise KeyError(name)
        return found.on_target(target)

    def __iter__(self) -> Iterator[str]:
        return iter(self._bare)

    def __len__(self) -> int:
        return len(self._bare)

    def among(self, names: Iterable[str]) -> list[Metric]:
        """Return the metrics among ``names``, in their usual order. Those of further targets follow the bare one."""
        known, order = [name for name in dict.fromkeys(names) if name in self], list(self)
        return [self[name] for name in sorted(known, key=lambda name: (order.index(bare_name(name)), "/" in name))]


METRICS = Metrics(
    (
        _share("error", "Error", "the error by which a task compares models", ("accuracy", "accuracy")),
        _share(
            "top5_error",
            "Top-5 error",
            "the class is not among the five most probable",
            ("top5_accuracy", "top-5 accuracy"),
        ),
        _share(
            "balanced_error",
            "Balanced error",
            "1 − the mean recall of all classes",
            ("balanced_accuracy", "balanced accuracy"),
        ),
        _share("macro_f1_loss", "Macro F1 loss", "1 − the mean F1 score of all classes", ("macro_f1", "macro F1")),
        _share("calibration_error", "Calibration error", "expected, in 15 bins of confidence"),
        _loss("log_loss", "Log loss", "0.5", "the mean cross-entropy of the right class, in nats"),
        _share("unexplained_variance", "Unexplained variance", "1 − R²", ("r2", "R²"), "40%"),
        _loss("mae", "Mean absolute error", "2.5", "in the units of the data"),
        _loss("rmse", "Root mean squared error", "2.5", "in the units of the data"),
        _loss("mse", "Mean squared error", "6.25", "in squared units of the data"),
        _loss("perplexity", "Perplexity", "20", "2 to the bits of a token"),
        Metric("bits_per_byte", "Bits per byte", "bits", "trained", {"bits": 1.0, "bit": 1.0}, "2.2bits", "of text"),
        _share(
            "noise_error",
            "Error under noise",
            "the mean error of corrupted items",
            ("noise_accuracy", "accuracy under noise"),
            "20%",
        ),
        Metric("latency_ms", "Latency", "ms", "measured", _TIME_MS, "2ms", differs=_FASTER),
        Metric(
            SUSTAINED,
            "Sustained latency",
            "ms",
            "measured",
            _TIME_MS,
            "2ms",
            "once the device is as warm as it becomes",
            differs=_FASTER,
        ),
        Metric(
            "item_ms",
            "Time per item",
            "ms",
            "measured",
            _TIME_MS,
            "2ms",
            higher=("throughput_per_s", "throughput"),
            differs=_FASTER,
        ),
        Metric("peak_memory_mib", "Peak memory", "MiB", "measured", _MIB, "64MiB", differs=_MEMORY),
        Metric("model_bytes", "Model size", "B", "measured", _BYTES, "1.5MB", differs=_SMALLER),
        Metric("weight_bytes", "Weights", "B", "measured", _BYTES, "1.5MB", differs=_WEIGHTS),
        Metric("energy_mj", "Energy", "mJ", "measured", _ENERGY_MJ, "0.5mJ", differs=_ENERGY),
        Metric("params", "Parameters", "", "counted", _counts("params"), "1.2M"),
        Metric("macs", "Multiply-accumulates", "", "counted", _counts("MACs"), "30MMACs"),
        Metric("modelled_energy_mj", "Energy (modelled)", "mJ", "modelled", _ENERGY_MJ, "0.5mJ"),
        Metric("dram_traffic_bytes", "DRAM traffic (modelled)", "B", "modelled", _BYTES, "1.5MB"),
    )
)
HIGHER_IS_BETTER = {metric.higher[0]: metric.name for metric in METRICS.values() if metric.higher is not None}
"""Names of which higher is better, and the metric that is minimised in their place. All but throughput are 1 − it."""
TRAINED = tuple(name for name, metric in METRICS.items() if metric.source == "trained")
MEASURED_METRICS = tuple(name for name, metric in METRICS.items() if metric.source == "measured")
TIMED = tuple(name for name, metric in METRICS.items() if metric.unit == "ms")
"""The names of all trained and of all measured metrics, and of those that a clock measures."""


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
