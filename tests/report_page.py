"""Rendered reports for tests: one record for each outcome of a run, and a parser of pages."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from run_record_example import architecture_at, energy_record, example_record

from nas.reports.report import render_report
from nas.results.run import Run
from nas.values.evaluation import Failure
from nas.values.layer_times import LayerTime, LayerTimes

HOSTILE = "</script><script>window.hit=1</script><img src=x onerror=window.hit=1>\"'&{{7*7}}%{x}<a href='javascript:1'>"


FOUR = ("error", "latency_ms", "params", "modelled_energy_mj")


class Page(HTMLParser):
    """The tags of a page with their attributes, its visible words and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        """The visible text with single spaces."""
        return " ".join(" ".join(self.words).split())

    @property
    def document(self) -> dict[str, Any]:
        """The data that the page's scripts draw from."""
        index = [tag for tag in self.tags if tag[0] in ("script", "style")].index(
            ("script", {"type": "application/json", "id": "document"})
        )
        document: dict[str, Any] = json.loads(self.scripts[index])
        return document

    def count(self, tag: str) -> int:
        """Return the number of tags of that name."""
        return sum(name == tag for name, _ in self.tags)


@cache
def example_text() -> str:
    """Return the report of the example run."""
    return render_report(example_record())


@cache
def example_page() -> Page:
    """Return the parsed report of the example run."""
    return Page(example_text())


def column(document: dict[str, Any], packed: dict[str, Any] | None) -> list[float]:
    """Return the numbers of a packed column; NaN where a value is absent."""
    if packed is None:
        return [math.nan] * document["count"]
    found: list[float] = _unpacked(packed, "f8")
    if "at" not in packed:
        return found
    whole = [math.nan] * document["count"]
    for place, value in zip(counts(packed["at"]), found, strict=True):
        whole[place] = value
    return whole


def counts(packed: dict[str, str]) -> list[int]:
    """Return the whole numbers of a packed column."""
    ((kind, _),) = packed.items()
    found: list[int] = _unpacked(packed, kind)
    return found


def ids(document: dict[str, Any]) -> list[str]:
    """Return the architectures' ids in their order."""
    digits = bytes(counts(document["ids"])).hex()
    return [digits[start : start + 12] for start in range(0, len(digits), 12)]


def _unpacked(packed: dict[str, str], kind: str) -> list[Any]:
    found: list[Any] = np.frombuffer(base64.b64decode(packed[kind]), dtype=f"<{kind}").tolist()
    return found


def hostile_record() -> Run:
    """Return a run all of whose recorded texts are hostile."""
    record = example_record(name=HOSTILE)
    rows = []
    for number, row in enumerate(record.rows):
        changed = replace(row, architecture=architecture_at(number % 16, **{HOSTILE: HOSTILE, "n": number}))
        if row.failure is not None:
            changed = replace(changed, failure=Failure(HOSTILE, HOSTILE))
        measurements = {
            name: replace(m, conditions={HOSTILE: HOSTILE}, flags=(HOSTILE,), target=HOSTILE)
            for name, m in row.measurements.items()
        }
        layers = LayerTimes.of([LayerTime(HOSTILE, HOSTILE, 1.0)]) if number % 2 else LayerTimes(reason=HOSTILE)
        named = {"folder": HOSTILE, **({"layer_times": layers.to_json()} if row.stage == "winner" else {})}
        details = {**row.details, **named} if "folder" in row.details else row.details
        rows.append(replace(changed, measurements=measurements, details=details))
    return replace(
        record,
        rows=tuple(rows),
        target=HOSTILE,
        recipe_text=HOSTILE,
        run_folder=Path(HOSTILE),
        notes={"data set": HOSTILE, HOSTILE: {HOSTILE: HOSTILE}},
    )


def failed_record() -> Run:
    """Return a run all of whose evaluations failed."""
    record = example_record()
    bare = {"values": {}, "predicted": {}, "measurements": {}, "details": {}}
    rows = tuple(replace(row, **bare, failure=Failure("nan", "loss is NaN")) for row in record.rows)
    return replace(record, rows=rows, fits=())


def with_failed_winners() -> Run:
    """Return a run whose winners all failed."""
    record = example_record()
    failure = Failure("parity", "outputs differ")
    rows = tuple(
        replace(row, values={}, measurements={}, details={}, failure=failure) if row.stage == "winner" else row
        for row in record.rows
    )
    return replace(record, rows=rows)


def unmeasured_record() -> Run:
    """Return a run without measurements."""
    record = example_record()
    return replace(record, rows=tuple(replace(row, measurements={}) for row in record.rows if row.stage != "measure"))


OUTCOMES = {
    "example": example_record,
    "no rows": lambda: replace(example_record(), rows=(), fits=(), notes={}),
    "no winners": lambda: example_record(with_winners=False),
    "over without winners": lambda: replace(with_failed_winners(), is_over=True),
    "all failed": failed_record,
    "no measurements": unmeasured_record,
    "only error": lambda: example_record(("error",), ()),
    "only error, limited": lambda: example_record(("error",), ("accuracy >= 96%",)),
    "no limits": lambda: example_record(limits=()),
    "limits met by none": lambda: example_record(limits=("latency_ms <= 0.01ms",)),
    "limit far off": lambda: example_record(limits=("latency_ms <= 9s",)),
    "four objectives": lambda: example_record(FOUR, ("latency_ms <= 0.5ms", "accuracy >= 95%")),
    "no objectives": lambda: example_record((), ()),
    "energy": energy_record,
    "hostile": hostile_record,
}
