"""The report's lists of facts: doubts about measurements, measurement conditions, and notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nas.progress import duration_text
from nas.storage.journal_rows import WARNINGS, WORDS
from nas.values.evaluation import Evaluation
from nas.values.measurement import CLOCK, OPERATORS, WEIGHT_BYTES
from nas.values.metric import readable
from nas.values.profiled_network import PROFILE

MOST_SHOWN = 4


def doubts_of(rows: Iterable[Evaluation]) -> list[tuple[str, str]]:
    """Return each doubt about measurements with the ids of the architectures that it concerns.

    Doubts that differ only in their numbers are one: the first is returned, with the architectures of all.
    """
    ids_by_flag: dict[str, dict[str, None]] = {}
    first: dict[str, str] = {}
    for row in rows:
        for measurement in row.measurements.values():
            for flag in measurement.flags:
                kind = re.sub(r"[0-9]+(?:[.,][0-9]+)*", "0", flag)
                first.setdefault(kind, flag)
                ids_by_flag.setdefault(kind, {})[row.architecture.id] = None
    return [(first[kind], _some(list(ids))) for kind, ids in ids_by_flag.items()]


def conditions_of(rows: Iterable[Evaluation]) -> list[tuple[str, str]]:
    """Return the conditions of all measurements: a value, a range of numbers, or the first of many values."""
    values_by_name: dict[str, list[Any]] = {}
    targets: dict[str, None] = {}
    operators: set[str] = set()
    for row in rows:
        for measurement in row.measurements.values():
            targets[measurement.target] = None
            operators.update(measurement.conditions.get(OPERATORS, ()))
            if measurement.clock is not None:
                values_by_name.setdefault(CLOCK, []).append(measurement.clock)
            told = {
                name: value
                for name, value in measurement.conditions.items()
                if name not in (OPERATORS, PROFILE, CLOCK, WEIGHT_BYTES)
            }
            for name, value in _flattened(told):
                values_by_name.setdefault(name, []).append(value)
            if measurement.drifts:
                values_by_name.setdefault("drift, corrected", []).append(measurement.drift)
    conditions = [_condition(name, values) for name, values in values_by_name.items()]
    if operators:
        conditions.append((OPERATORS.replace("_", " "), ", ".join(sorted(operators))))
    return [*([("target", _some(list(targets)))] if targets else []), *conditions]


_RATES = {"_macs_per_s": "MAC/s", "_bytes_per_s": "B/s", "_bytes": "B"}
_UNITS = {**_RATES, "_mhz": "MHz", "_ms": "ms", "_s": "s", "_w": "W"}


def _condition(name: str, values: Sequence[Any]) -> tuple[str, str]:
    """Return a condition for people, with its unit moved from the end of its name to its values."""
    ending = next((ending for ending in _UNITS if name.endswith(ending)), "")
    known = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    title = name.removesuffix(ending).replace("_", " ")
    if not ending or len(known) < len(values):
        return name.replace("_", " "), _summary(values)
    unit = _UNITS[ending]
    if ending in _RATES:
        bounds = dict.fromkeys(readable(value, unit, smallest="") for value in (min(known), max(known)))
        return title, " to ".join(bounds)
    return title, f"{_summary(known)} {unit}"


def data_sentences(notes: Mapping[str, Any]) -> list[str]:
    """Return what makes results doubtful in the data themselves, such as test pictures that are also trained on."""
    data = notes.get("data set")
    found = data.get(WARNINGS) if isinstance(data, Mapping) else None
    return [f"About the data: {text}" for text in found] if isinstance(found, list | tuple) else []


def evaluation_sentences(notes: Mapping[str, Any]) -> list[str]:
    """Return how well errors that do not come from training rank candidates, in at most one paragraph."""
    note = notes.get("agreement with training")
    if not isinstance(note, Mapping):
        return []
    way = note["evaluated"]
    if "Spearman" not in note:
        return [f"Candidates were not trained, but evaluated {way}. {_sentence(str(note['verdict']))}"]
    found = (
        f"Candidates were not trained, but evaluated {way}. To check their errors, {note['architectures']} "
        f"architectures were also trained individually. Both rankings agree with a Spearman correlation of "
        f"{note['Spearman']:.2f} (Kendall {note['Kendall']:.2f}). For comparison, multiply-accumulates alone reach "
        f"{note['Spearman of multiply-accumulates alone']:.2f}."
    )
    if str(note["verdict"]).startswith("poor"):
        return [
            f"{found} This agreement is {note['verdict']}, so the search has probably missed good candidates. "
            "Winners were trained, and their results hold."
        ]
    return [f"{found} This agreement is {note['verdict']}, as required."]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def titled_notes(notes: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the notes of a run as titled lists; seconds become durations."""
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    plain = [
        (str(name), _note_text(str(name), value)) for name, value in notes.items() if not isinstance(value, Mapping)
    ]
    if plain:
        groups.append(("General", plain))
    for name, value in notes.items():
        if isinstance(value, Mapping):
            title = str(name).replace("_", " ")
            is_time = "second" in str(name)
            told = {key: each for key, each in value.items() if key not in (WARNINGS, WORDS)}
            items = [(str(k), _note_text("seconds" if is_time else str(k), v)) for k, v in _flattened(told)]
            groups.append(("Time by stage" if title == "seconds" else title[:1].upper() + title[1:], items))
    return groups


def _note_text(name: str, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return duration_text(float(value)) if is_number and "second" in name else _text(value)


def _flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}: ")
        else:
            yield f"{prefix}{name}", value


def _summary(values: Sequence[Any]) -> str:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = min(values), max(values)
        return f"{low:.6g}" if low == high else f"{low:.4g} to {high:.4g}"
    return _some(list({_text(value): None for value in values}))


def _some(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:MOST_SHOWN])
    return shown if len(texts) <= MOST_SHOWN else f"{shown} and {len(texts) - MOST_SHOWN} more"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return "–" if value is None else str(value)
