"""The latency by layer: how the time of an inference divides among the operators that ran."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_LAYERS = 40
"""Of more operators, a winner's row lists those that take longest, and sums up the others."""
LONGEST_NAME = 200
"""Longer names of operators are cut."""


@dataclass(frozen=True)
class LayerTime:
    """The time of one operator in an inference, as the profiler of a runtime counted it.

    Attributes:
        name: the operator's name in the model that ran.
        kind: its type, such as ``Conv``.
        ms: milliseconds in one inference.
        elements: the number of elements that it writes for one item; 0 where the profiler does not tell.

    Raises:
        ValueError: a name is no text, the time is negative, infinite or no number, or the elements are no count.
    """

    name: str
    kind: str
    ms: float
    elements: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.kind, str):
            raise ValueError(f"an operator's name and type must be texts, but got {self.name!r} and {self.kind!r}.")
        if not isinstance(self.ms, int | float) or not math.isfinite(self.ms) or self.ms < 0:
            raise ValueError(f"the time of an operator must be finite and at least 0 ms, but got {self.ms!r}.")
        if not isinstance(self.elements, int) or self.elements < 0:
            raise ValueError(f"an operator must write a whole number of elements, but got {self.elements!r}.")

    def to_json(self) -> dict[str, Any]:
        """Return plain data that ``from_json`` takes back."""
        elements = {"elements": self.elements} if self.elements else {}
        return {"name": self.name, "kind": self.kind, "ms": self.ms, **elements}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LayerTime:
        """Return what ``to_json`` wrote."""
        return cls(data["name"], data["kind"], data["ms"], data.get("elements", 0))


@dataclass(frozen=True)
class LayerTimes:
    """How the time of an inference divides among the operators that ran, or the reason why this is not known.

    Profiling costs time, and the work between operators belongs to none of them. So the sum is not the latency: the
    shares are what counts, and ``scaled`` divides a latency by them.

    Attributes:
        layers: the operators in the order in which they ran; after ``shortened``, those that take longest.
        others: the number of operators that are not listed.
        others_ms: the milliseconds of these together.
        reason: why there are none; empty where there are.

    Example::

        times = nas.load_run("runs/digits").front[0].layer_times
        for layer in times.longest(5):
            print(layer.name, layer.kind, layer.ms, times.share(layer.ms))
    """

    layers: tuple[LayerTime, ...] = ()
    others: int = 0
    others_ms: float = 0.0
    reason: str = ""

    @classmethod
    def of(cls, found: Sequence[LayerTime]) -> LayerTimes:
        """Return the times of operators in the order in which they ran."""
        if not sum(each.ms for each in found):
            return cls(reason="the profiler reported no operator that took time.")
        return cls(tuple(LayerTime(_cut(o.name), _cut(o.kind), _rounded(o.ms), o.elements) for o in found))

    def shortened(self) -> LayerTimes:
        """Return the same with the longest operators one by one, in their order, and the others as a sum."""
        by_time = sorted(range(len(self.layers)), key=lambda place: (-self.layers[place].ms, place))
        kept = sorted(by_time[:MOST_LAYERS])
        others = [self.layers[place].ms for place in by_time[MOST_LAYERS:]]
        added = self.others + len(others), _rounded(self.others_ms + sum(others))
        return LayerTimes(tuple(self.layers[place] for place in kept), *added, self.reason)

    @property
    def total_ms(self) -> float:
        """The milliseconds of all operators together, as the profiler counted them."""
        return sum(layer.ms for layer in self.layers) + self.others_ms

    def share(self, ms: float) -> float:
        """Return the share of milliseconds in those of all operators."""
        return ms / self.total_ms

    def scaled(self, ms: float, latency_ms: float) -> float:
        """Return the part of a latency in milliseconds that an operator's share of the time would be."""
        return self.share(ms) * latency_ms

    def longest(self, most: int) -> tuple[LayerTime, ...]:
        """Return so many operators, the longest first."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.ms)[:most])

    def to_json(self) -> dict[str, Any]:
        """Return plain data that ``from_json`` takes back."""
        if self.reason:
            return {"reason": self.reason}
        layers = [layer.to_json() for layer in self.layers]
        return {"layers": layers, "others": self.others, "others_ms": self.others_ms}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LayerTimes:
        """Return what ``to_json`` wrote."""
        layers = tuple(map(LayerTime.from_json, data.get("layers", ())))
        return cls(layers, data.get("others", 0), data.get("others_ms", 0.0), data.get("reason", ""))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _rounded(ms: float) -> float:
    return float(f"{ms:.6g}")
