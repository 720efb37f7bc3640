"""Measure random architectures of a space into a table: gzip CSV, one architecture a row, for predictors."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas.errors import RecipeError
from nas.hardware.bench import Bench
from nas.hardware.measuring import Surroundings, measure_architectures
from nas.progress import Progress
from nas.space.architecture import Architecture
from nas.space.layer import total_macs, total_params
from nas.space.search_space import SearchSpace, count as count_assignments, sample
from nas.space.tracing import layers_of
from nas.storage.journal import write_aside
from nas.storage.measurement_store import MeasurementStore
from nas.values.evaluation import Evaluation
from nas.values.target import Target

TOGETHER = 40
"""The number of architectures that are measured together. An interruption loses no more than these."""
DRAWS_PER_ROW = 50


def measure_table(
    space: SearchSpace,
    count: int,
    target: Target,
    bench: Bench,
    path: Path,
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    metrics: Sequence[str],
    store: MeasurementStore | None,
    seed: int,
    progress: Progress,
) -> list[Evaluation]:
    """Measure ``count`` different random architectures, and write them to ``path`` in the layout of ``table_text``.

    The file is written after every ``TOGETHER`` architectures. The same seed draws the same architectures, so an
    interrupted run continues where the store ends.

    Raises:
        RecipeError: the space has fewer than ``count`` architectures; ``path`` does not end in .csv.gz; or it holds a
            table of another space, target or set of metrics.
        TargetError: the target cannot be measured here.
    """
    if not path.name.endswith(".csv.gz"):
        raise RecipeError(f"a table is written as gzip CSV, to a file named like table.csv.gz, but got {path.name!r}.")
    _check_free(path, _header(space, target, metrics))
    architectures = _draw(space, count, np.random.default_rng(seed))
    surroundings = Surroundings(space, bench, input_shape, classes, target.batch, store)
    rows: list[Evaluation] = []
    for start in range(0, count, TOGETHER):
        rows += measure_architectures(
            surroundings,
            architectures[start : start + TOGETHER],
            metrics,
            round_number=0,
            rng=np.random.default_rng((seed, start)),
            progress=progress,
        )
        text = table_text(space, rows, target, input_shape, classes, metrics)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, gzip.compress(text.encode(), mtime=0))
    return rows


def _check_free(path: Path, header: Sequence[str]) -> None:
    """Check that ``path`` may be written: it is new, or holds a table with the same columns."""
    if not path.exists():
        return
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            found = next(csv.reader(stream), [])
    except (OSError, EOFError, UnicodeDecodeError):
        found = []
    if found != list(header):
        raise RecipeError(
            f"a table holds one space, target and set of metrics, but {path} exists and has other columns. "
            "Choose another file."
        )


def _header(space: SearchSpace, target: Target, metrics: Sequence[str]) -> list[str]:
    device = device_name(target)
    measured = [f"{part}{metric}_{device}" for metric in metrics for part in ("", "lower_", "upper_")]
    names = [choice.name for choice in space.choices]
    return ["idx", "id", *names, "params", "mflops", *measured, f"flags_{device}", "failure"]


def table_text(
    space: SearchSpace,
    rows: Sequence[Evaluation],
    target: Target,
    input_shape: tuple[int, int, int],
    classes: int,
    metrics: Sequence[str],
) -> str:
    """Return the CSV text of a table: a header, then one architecture a row.

    Columns: ``idx``; the architecture's ``id``; for each choice the number of its option, from 0, or nothing if it is
    inactive; ``params``; ``mflops``, multiply-accumulates in millions; for each metric its median as
    ``<metric>_<device>``, and its 95 % interval as ``lower_…`` and ``upper_…``; ``flags_<device>``; and ``failure``.
    ``device_name`` gives the device. A cell without a measurement is empty.
    """
    options = {choice.name: {option: n for n, option in enumerate(choice.options)} for choice in space.choices}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_header(space, target, metrics))
    for index, row in enumerate(rows):
        writer.writerow(
            [
                index,
                row.architecture.id,
                *(options[name][row.architecture[name]] if name in row.architecture else "" for name in options),
                *_counts(space, row, input_shape, classes),
                *_values(row, metrics),
                "; ".join(sorted({flag for m in row.measurements.values() for flag in m.flags})),
                "" if row.failure is None else row.failure.reason,
            ]
        )
    return text.getvalue()


def device_name(target: Target) -> str:
    """The target as part of a column's name: its text with ``_`` for ``:`` and without ``=``."""
    return str(target).replace(":", "_").replace("=", "")


def _counts(
    space: SearchSpace, row: Evaluation, input_shape: tuple[int, int, int], classes: int
) -> tuple[int | str, float | str]:
    if row.failed:
        return "", ""
    layers = layers_of(space, row.architecture, input_shape, classes)
    return total_params(layers), total_macs(layers) / 1e6


def _values(row: Evaluation, metrics: Sequence[str]) -> list[str]:
    cells = []
    for metric in metrics:
        found = row.measurements.get(metric)
        values = () if found is None else (found.median, found.interval.lower, found.interval.upper)
        cells += [f"{value:.7g}" for value in values] or ["", "", ""]
    return cells


def _draw(space: SearchSpace, count: int, rng: np.random.Generator) -> list[Architecture]:
    """Draw ``count`` different random architectures.

    Raises:
        RecipeError: the space has fewer, or ``DRAWS_PER_ROW`` draws a row do not find them.
    """
    rule = "--count must be at most the number of different architectures in the space, but"
    most = count_assignments(space)
    if count > most:
        raise RecipeError(f"{rule} it has {most} and {count} were asked for.")
    drawn: dict[str, Architecture] = {}
    for _ in range(DRAWS_PER_ROW * count):
        architecture = sample(space, rng)
        drawn.setdefault(architecture.id, architecture)
        if len(drawn) == count:
            return list(drawn.values())
    raise RecipeError(
        f"{rule} {DRAWS_PER_ROW * count} draws gave {len(drawn)} different ones and {count} were asked for."
    )
