"""The words for a task's error, which reports take from the task instead of asking what kind of task it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nas.values.measurement import Interval
from nas.values.metric import Metric


@dataclass(frozen=True)
class ErrorWords:
    """The words for an error, for people.

    Attributes:
        noun: the name of the items that a model is tested on, in the plural.
        error: the name of the error.
        accuracy: the name of 1 − error, which is shown in its place; empty where that has no name.
        constant: the best constant answer, as what a model does that gives it.
        is_share: True if errors are shares, which are shown as per cent.
    """

    noun: str = "images"
    error: str = "error"
    accuracy: str = "accuracy"
    constant: str = "always answering the most frequent class"
    is_share: bool = True

    @property
    def title(self) -> str:
        """The name of what is shown."""
        return self.accuracy or self.error

    def text(self, error: float) -> str:
        """Return what is shown for an error: ``98.30 %``."""
        return f"{100 * self.shown(error):.2f} %" if self.is_share else f"{error:.4g}"

    @property
    def error_title(self) -> str:
        """The name of the error as a title."""
        return f"{self.error[:1].upper()}{self.error[1:]}"

    def error_text(self, error: float) -> str:
        """Return an error itself, also where 1 − error is shown elsewhere: ``1.70 %``."""
        return f"{100 * error:.2f} %" if self.is_share else f"{error:.4g}"

    def shown(self, error: float) -> float:
        """Return the number that is shown for an error: 1 − error where that has a name."""
        return 1 - error if self.accuracy else error

    def range_text(self, interval: Interval) -> str:
        """Return what is shown for an interval of errors: ``97.91–98.68 %``."""
        if interval.is_point:
            return "no interval"
        low, high = sorted((self.shown(interval.lower), self.shown(interval.upper)))
        return f"{100 * low:.2f}–{100 * high:.2f} %" if self.is_share else f"{low:.4g}–{high:.4g}"

    def title_of(self, metric: Metric) -> str:
        """Return the title of any metric, that of the error in the task's words."""
        return f"{self.error_title}{_on(metric)}" if metric.bare == "error" else metric.title

    def is_share_of(self, metric: Metric) -> bool:
        """Return True if values of a metric are shares, which are shown as per cent."""
        return self.is_share if metric.bare == "error" else metric.is_share

    def loss_of(self, metric: Metric) -> str:
        """Return the name of any metric within a sentence, that of the error itself: ``error`` or ``latency``."""
        return f"{self.error}{_on(metric)}" if metric.bare == "error" else metric.title.lower()

    def name_of(self, metric: Metric) -> str:
        """Return what is shown for any metric, within a sentence: ``accuracy`` or ``latency``."""
        return f"{self.title}{_on(metric)}" if metric.bare == "error" else metric.title.lower()

    def value_text(self, metric: Metric, value: float) -> str:
        """Return what is shown for a value of any metric: ``98.30 %`` or ``0.21 ms``."""
        return self.text(value) if metric.bare == "error" else metric.format(value)

    def bounds_text(self, metric: Metric, interval: Interval) -> str:
        """Return what is shown for an interval of any metric; empty for a point."""
        if interval.is_point:
            return ""
        is_error = metric.bare == "error"
        return self.range_text(interval) if is_error else metric.format_range(interval.lower, interval.upper)

    def metric_json(self, metric: Metric) -> dict[str, Any]:
        """Return what pages tell their scripts of any metric."""
        return {**metric.to_json(), "title": self.title_of(metric), "share": self.is_share_of(metric)}

    def broken_text(self, error: float, most: float) -> str:
        """Return how an error breaks the limit ``most``: ``accuracy 91.20 % < 95 %``."""
        sign = "<" if self.accuracy else ">"
        limit = f"{100 * self.shown(most):.6g} %" if self.is_share else f"{most:.6g}"
        return f"{self.title} {self.text(error)} {sign} {limit}"

    def to_json(self) -> dict[str, str | bool]:
        """Return plain data that ``from_json`` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> ErrorWords:
        """Return the words in recorded data; those of images for runs that recorded none."""
        if not isinstance(data, Mapping):
            return cls()
        return cls(**{each.name: data[each.name] for each in fields(cls) if each.name in data})


def _on(metric: Metric) -> str:
    """Return what follows the error's name for a further target: `` on pi``."""
    return f" on {metric.on}" if metric.on else ""


OF_IMAGES = ErrorWords()
"""The words of runs that recorded none."""
