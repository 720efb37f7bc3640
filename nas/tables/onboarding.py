"""A new target in a table: measure a few architectures on it, and predict the others from other targets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from nas.errors import RecipeError, TargetError
from nas.hardware.measuring import Surroundings, measure_architectures
from nas.prediction.informative import POOL, most_informative, own_features, prior_covariance
from nas.prediction.next_measurements import buildable
from nas.prediction.predictor import MIN_SAMPLES, Prediction, Predictor
from nas.progress import Progress
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.tables.measured_table import measured_cells, measured_columns
from nas.tables.table import Table
from nas.tables.table_file import write_cells
from nas.values.evaluation import Evaluation
from nas.values.other_target import Source
from nas.values.pareto import FloatArray, IntArray

ATTEMPTS = 3
"""The number of batches that are chosen and measured, the later ones to replace failures."""
TOGETHER = 1000
"""The number of architectures that are predicted at once."""
_PREDICTED = ("predicted_", "predicted_lower_", "predicted_upper_", "predicted_limit_", "predicted_known_")


@final
@dataclass(frozen=True, eq=False)
class Onboarded:
    """The measurements of a new target. ``values`` maps rows of the table to medians.

    ``known`` counts the values that the table itself held. ``rows`` maps rows of the table to the new measurements,
    including failures.
    """

    values: Mapping[int, float]
    known: int
    rows: Mapping[int, Evaluation]


def sources_from(table: Table, metric: str, device: str, named: Sequence[str]) -> tuple[Source, ...]:
    """Return the ``named`` devices of the table as sources, or all devices but ``device`` if none is named.

    Raises:
        RecipeError: a named device has too few values of this metric, or is ``device`` itself; a value is not positive;
            or there is no source.
    """
    others = [each for each in table.targets(metric) if each != device]
    if device in named:
        raise RecipeError(f"sources must be other devices than the target, but got the target itself, {device!r}.")
    if not (named or others):
        raise RecipeError(
            f"a new target needs the {metric} of another device, but {table.path} has no other column of it. "
            "Measure one with nas measure --space."
        )
    sources = []
    for each in named or others:
        values = table.column(f"{metric}_{each}", positive=True)
        seen = np.flatnonzero(np.isfinite(values))
        if len(seen) < MIN_SAMPLES and not named:
            continue
        if len(seen) < MIN_SAMPLES:
            raise RecipeError(
                f"a source must have at least {MIN_SAMPLES} values, but column '{metric}_{each}' of {table.path} has "
                f"{len(seen)}."
            )
        sources.append(Source(each, [table.architectures[row] for row in seen.tolist()], values[seen]))
    if not sources:
        raise RecipeError(
            f"a source must have at least {MIN_SAMPLES} values of {metric}, but no other device in {table.path} has "
            "as many."
        )
    return tuple(sources)


def costs_elsewhere(table: Table, metric: str, devices: Sequence[str]) -> tuple[IntArray, FloatArray]:
    """Return the rows of the table with a value of any of the devices, shape (N,), and log-values, shape (N, devices).

    Values are relative to their column's mean, and missing ones are replaced by it.
    """
    logs = np.log(np.column_stack([table.column(f"{metric}_{device}", positive=True) for device in devices]))
    rows = np.flatnonzero(np.isfinite(logs).any(axis=1))
    centred = logs[rows] - np.nanmean(logs[rows], axis=0)
    return rows, np.where(np.isfinite(centred), centred, 0.0)


def measure_few(
    table: Table,
    metric: str,
    device: str,
    devices: Sequence[str],
    count: int,
    surroundings: Surroundings,
    describer: Describer,
    *,
    seed: int,
    progress: Progress,
) -> Onboarded:
    """Measure architectures of the table until ``count`` have a value, including those in ``device``'s own column.

    They are those that tell most of all rows, as ``nas.prediction.informative`` describes; others replace failed ones.
    The same seed chooses the same architectures, so an interrupted command continues where the store ends.

    Raises:
        RecipeError: ``count`` is below ``MIN_SAMPLES``, or above the number of rows with a value of a source.
        TargetError: too few could be measured.
    """
    values = _own_values(table, metric, device)
    known = len(values)
    rows, elsewhere = costs_elsewhere(table, metric, devices)
    _check_count(count, rows, values)
    rng = np.random.default_rng((seed, 3))
    failed: set[int] = set()
    found: dict[int, Evaluation] = {}
    for attempt in range(ATTEMPTS):
        if len(values) >= count:
            break
        pool = _pool(rows, list(values), failed, rng)
        if not len(pool):
            break
        chosen = _choose(table, describer, rows[pool], elsewhere[pool], list(values), count, progress)
        if not chosen:
            break
        measured = measure_architectures(
            surroundings,
            [table.architectures[row] for row in chosen],
            [metric],
            round_number=0,
            rng=np.random.default_rng((seed, 4, attempt)),
            progress=progress,
        )
        found |= dict(zip(chosen, measured, strict=True))
        for row, evaluation in zip(chosen, measured, strict=True):
            if evaluation.failed:
                failed.add(row)
            else:
                values[row] = evaluation.measurements[metric].median
    _check_enough(values, found)
    if len(values) < count:
        progress.say(
            f"{len(values)} architectures have a value instead of {count}: the others cannot be built, or failed"
        )
    return Onboarded(values, known, found)


def _own_values(table: Table, metric: str, device: str) -> dict[int, float]:
    """The values that the table already holds for the device, by row."""
    if device not in table.targets(metric):
        return {}
    own = table.column(f"{metric}_{device}", positive=True)
    return {row: float(own[row]) for row in np.flatnonzero(np.isfinite(own)).tolist()}


def _check_count(count: int, rows: IntArray, values: Mapping[int, float]) -> None:
    if count < MIN_SAMPLES:
        raise RecipeError(f"--samples must be at least {MIN_SAMPLES} for a predictor, but got {count}.")
    if len(set(rows.tolist()) | set(values)) < count:
        raise RecipeError(
            f"--samples must be at most the number of rows with a value of a source, {len(rows)}, but got {count}."
        )


def _check_enough(values: Mapping[int, float], found: Mapping[int, Evaluation]) -> None:
    if len(values) < MIN_SAMPLES:
        reasons = [evaluation.failure.reason for evaluation in found.values() if evaluation.failure is not None]
        last = (
            f" and {len(reasons)} failed. The last one: {reasons[-1]}" if reasons else ". The others cannot be built."
        )
        raise TargetError(
            f"a predictor needs {MIN_SAMPLES} measured architectures, but {len(values)} could be measured{last}"
        )


def doubts_of(onboarded: Onboarded, column: str) -> list[str]:
    """List the caveats of the measurements, a sentence each: values of before, failures and flags."""
    caveats = []
    if onboarded.known:
        caveats.append(f"{onboarded.known} rows have a value of {column} already, and count as measured")
    flags: Counter[str] = Counter()
    for evaluation in onboarded.rows.values():
        if evaluation.failure is not None:
            caveats.append(f"{evaluation.architecture.id} failed: {evaluation.failure.reason}")
        flags.update({flag for taken in evaluation.measurements.values() for flag in taken.flags})
    caveats += [
        f"{count} of {len(onboarded.rows)} measurements are doubtful: {flag}"
        for flag, count in sorted(flags.items(), key=lambda each: (-each[1], each[0]))
    ]
    return caveats


def _pool(rows: IntArray, taken: Sequence[int], failed: set[int], rng: np.random.Generator) -> IntArray:
    """Return the places in ``rows`` to choose from: of those ``taken``, and of others that did not fail."""
    is_taken = np.isin(rows, list(taken))
    free = np.flatnonzero(~is_taken & ~np.isin(rows, list(failed)))
    if len(free) > POOL:
        free = np.sort(rng.choice(free, POOL, replace=False))
    return np.concatenate([np.flatnonzero(is_taken)[: POOL // 4], free])


def _choose(
    table: Table,
    describer: Describer,
    rows: IntArray,
    elsewhere: FloatArray,
    taken: Sequence[int],
    count: int,
    progress: Progress,
) -> list[int]:
    """Choose among ``rows`` of the table those to measure beside those ``taken``, so that ``count`` have a value."""
    architectures = [table.architectures[row] for row in rows.tolist()]
    progress.stage("choosing what to measure", len(architectures))
    fit = set(buildable(describer, architectures, progress.advance))
    kept = np.array([index for index, each in enumerate(architectures) if each in fit], dtype=np.int64)
    if not len(kept):
        return []
    rows = rows[kept]
    first = np.flatnonzero(np.isin(rows, list(taken))).tolist()
    own = own_features(describer, [architectures[index] for index in kept.tolist()])
    chosen = most_informative(prior_covariance(own, elsewhere[kept]), len(first) + count - len(taken), first)
    return [int(rows[index]) for index in chosen[len(first) :]]


def predict_rows(
    predictor: Predictor, table: Table, space: Describer, advance: Callable[[], None] = lambda: None
) -> dict[Architecture, tuple[float, float, float, float, bool]]:
    """Predict mean, lower, upper, limit and known for each architecture of the table that can be built."""
    fit = buildable(space, table.architectures, advance)
    found: dict[Architecture, tuple[float, float, float, float, bool]] = {}
    for start in range(0, len(fit), TOGETHER):
        part = fit[start : start + TOGETHER]
        found |= dict(zip(part, _rows(predictor.predict(part)), strict=True))
    return found


def _rows(predicted: Prediction) -> list[tuple[float, float, float, float, bool]]:
    columns = (predicted.mean, predicted.lower, predicted.upper, predicted.limit, predicted.known)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def write_onboarded(
    path: Path,
    cells_of_rows: tuple[list[str], list[list[str]]],
    table: Table,
    metric: str,
    device: str,
    onboarded: Onboarded,
    predicted: Mapping[Architecture, tuple[float, float, float, float, bool]],
) -> None:
    """Write the table to ``path``, gzip CSV: the cells of its file, its other columns, and those of the new target.

    Measured rows alone have ``<metric>_<device>``, its 95 % interval as ``lower_…`` and ``upper_…``, and
    ``flags_<device>``. All rows have ``predicted_<metric>_<device>``, ``predicted_lower_…`` and ``predicted_upper_…``
    (90 %), ``predicted_limit_…`` (one-sided 95 %) and ``predicted_known_…`` (1 or 0).
    """
    header, rows = cells_of_rows
    measured = measured_columns(metric, device)
    cells: dict[str, list[str]] = {name: [row[index] for row in rows] for index, name in enumerate(header)}
    for name, values in table.columns.items():
        column = cells.setdefault(name, [""] * len(rows))
        cells[name] = [cell or _cell(value) for cell, value in zip(column, values.tolist(), strict=True)]
    for name in (*measured, f"flags_{device}", *(f"{part}{metric}_{device}" for part in _PREDICTED)):
        cells.setdefault(name, [""] * len(rows))
    for number, evaluation in onboarded.rows.items():
        if not evaluation.failed:
            taken = evaluation.measurements[metric]
            for name, cell in zip(measured, measured_cells(taken), strict=True):
                cells[name][number] = cell
            cells[f"flags_{device}"][number] = "; ".join(taken.flags)
    for part, place in zip(_PREDICTED, range(len(_PREDICTED)), strict=True):
        name = f"{part}{metric}_{device}"
        cells[name] = [_cell(predicted[a][place]) if a in predicted else "" for a in table.architectures]
    write_cells(path, cells, zip(*cells.values(), strict=True))


def _cell(value: float | bool) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.7g}" if math.isfinite(value) else ""
