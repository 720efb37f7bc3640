"""Architectures that a user names, as ``nas measure --architectures`` takes them, and the command that does it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from nas.errors import RecipeError, did_you_mean
from nas.hardware.bench import Bench
from nas.hardware.measuring import Surroundings
from nas.paths import why_no_file
from nas.prediction.samples import MeasuredDevice
from nas.prediction.trust_report import TrustReport
from nas.progress import Progress, command_text
from nas.recipe.toml_text import toml_literal
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace, architecture_from, count, enumerate_space
from nas.storage.home import home
from nas.storage.measurement_store import MeasurementStore
from nas.storage.output_files import write_whole
from nas.tables.interruption import noting_how_to_continue
from nas.tables.measured_table import check_compared, check_table, columns_of, device_name, measure_in_parts
from nas.tables.named_space import DEFAULT_CLASSES, DEFAULT_SHAPE, NamedSpace, parse_options
from nas.tables.table import read_table
from nas.tables.table_file import read_cells
from nas.values.evaluation import Evaluation
from nas.values.metric import MEASURED_METRICS
from nas.values.target import Target

MOST_SEARCHED = 20_000
"""An id is a hash, so it is looked for among all architectures of a space, if they are no more than these."""
FILE = "measure_next.json"
OF_A_RUN = "measured-"
"""The beginning of the name of a table of further measurements in a run's folder."""


@final
@dataclass(frozen=True)
class NamedArchitectures:
    """Architectures of a space to measure, named by files, ids or JSON texts, and into a table at ``path`` if given.

    ``fresh`` ignores measurements that earlier commands kept. With ``compared`` all share their sessions.
    """

    space: NamedSpace
    names: Sequence[str]
    path: Path | None
    metrics: Sequence[str]
    seed: int
    fresh: bool
    compared: bool = False

    def measure(self, target: Target, bench: Bench, progress: Progress) -> list[Evaluation]:
        """Measure the architectures, add them to the table, and return their rows, failures included.

        Raises:
            RecipeError: an unknown space, option or architecture, or an unfit table.
            TargetError: the target cannot be measured here.
        """
        space, look = self.space.load_apart(progress.say)
        with closing(look), noting_how_to_continue(self.fresh):
            architectures = named_in(space, self.names)
            if self.compared:
                check_compared(len(architectures))
            if self.path is not None:
                check_table(self.path, space, target, self.metrics)
            store = MeasurementStore(home(), fresh=self.fresh)
            surroundings = Surroundings(space, bench, self.space.signature, target.batch, store, look)
            return measure_in_parts(
                surroundings, architectures, target, self.metrics, self.path, seed=self.seed, progress=progress
            )


def named_in(space: SearchSpace, names: Sequence[str]) -> list[Architecture]:
    """Return the architectures of ``space`` that the names stand for, each once.

    A name is a JSON file, such as the one that ``nas predictor report`` writes or a bundle's ``architecture.json``; the
    id of an architecture; or a JSON text such as ``{"depth": 2}``.

    Raises:
        RecipeError: no such file or id, or choices that the space does not have.
    """
    found: dict[Architecture, None] = {}
    wanted: dict[str, str] = {}
    for name in names:
        if re.fullmatch(r"[0-9a-f]{12}", name):
            wanted[name] = name
            continue
        for mapping in _mappings_in(_read(name), name):
            found[_settled(space, mapping, name)] = None
    if not found and not wanted:
        raise RecipeError(f"--architectures must name at least one architecture, but {names[0]} has none.")
    return [*found, *(each for each in _with_ids(space, list(wanted)) if each not in found)]


def _read(name: str) -> Any:
    """Return the JSON data that ``name`` is, or that lies in the file of that name."""
    if name.lstrip()[:1] in ("{", "["):
        text, where = name, "the text of --architectures"
    else:
        why = why_no_file(Path(name))
        if why is not None:
            raise RecipeError(
                f"--architectures takes a JSON file, ids or a JSON text such as '{{\"depth\": 2}}', but {name} {why}."
            )
        where = name
        try:
            text = Path(name).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise RecipeError(f"--architectures takes a JSON file, but {name} is not: {error}.") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"--architectures takes JSON, but {where} is not: {error}.") from error


def _mappings_in(value: Any, name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the architectures in JSON data: in a list, in a report's ``measure_next``, or in a bundle's file."""
    if isinstance(value, list):
        for each in value:
            yield from _mappings_in(each, name)
    elif isinstance(value, dict) and isinstance(value.get("architecture"), dict):
        yield value["architecture"]
    elif isinstance(value, dict) and any(isinstance(inner, list | dict) for inner in value.values()):
        for key in ("architectures", "metrics", "measure_next"):
            yield from _mappings_in(value.get(key, []), name)
    elif isinstance(value, dict):
        yield value
    else:
        raise RecipeError(f'an architecture is a table of choices such as {{"depth": 2}}, but {name} has {value!r}.')


def _settled(space: SearchSpace, values: Mapping[str, Any], name: str) -> Architecture:
    known = [choice.name for choice in space.choices]
    unknown = next((key for key in values if key not in known), None)
    if unknown is not None:
        raise RecipeError(f"{name} names the choice {unknown!r}, which the space does not have. "
                          f"{did_you_mean(unknown, known)}")  # fmt: skip
    try:
        return architecture_from(space, values)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{name}: {error}") from error


def _with_ids(space: SearchSpace, ids: Sequence[str]) -> list[Architecture]:
    if not ids:
        return []
    if count(space) > MOST_SEARCHED:
        raise RecipeError(
            f"an id can be looked up in spaces of at most {MOST_SEARCHED} architectures, but this one has "
            f"{count(space)}: name a JSON file with the choices of {ids[0]} instead."
        )
    known = {each.id: each for each in enumerate_space(space) if each.id in ids}
    missing = next((each for each in ids if each not in known), None)
    if missing is not None:
        raise RecipeError(f"an id must be that of an architecture of the space, but {missing} is of none.")
    return [known[each] for each in ids]


def write_next(
    reports: Sequence[TrustReport], file: Path, named: NamedSpace, space: SearchSpace, target: str, measured: Path
) -> str | None:
    """Write the architectures that reports ask for to ``file``, and return the command line that measures them.

    ``space`` is the ``named`` one. ``target`` is that of the run in the folder ``measured``, or the device of the table
    ``measured``. The command adds rows to that table, or to one in the run's folder, where ``with_named`` finds them.
    For a run, the space, the shapes and the target are those of the run itself.
    None if there is nothing to measure, or if ``nas measure`` did not write the table: it then has other columns, often
    of another machine.
    """
    architectures = [each for report in reports for each in report.to_measure]
    choices = {choice.name for choice in space.choices}
    if any(name not in choices for each in architectures for name in each):  # nas measure chooses no precision
        return None
    metrics = [report.metric.name for report in reports]
    if not measured.is_dir():
        known = _target_and_metrics(measured, space, target)
        if known is None:
            return None
        target, metrics = known
    if not architectures or target.partition(":")[0] == "table":
        return None
    rows = [{"id": each.id, "architecture": dict(each)} for each in dict.fromkeys(architectures)]
    write_whole(file, (json.dumps(rows, indent=1) + "\n").encode())
    if measured.is_dir():
        return _command_of_run(named, metrics, file, measured)
    return _command(named, target, metrics, file, measured)


def with_named(data: MeasuredDevice, folder: Path) -> MeasuredDevice:
    """Return the measurements of a run with those that the command of ``write_next`` has added in the run's folder.

    Raises:
        RecipeError: a table there cannot be read.
    """
    values = {metric: dict(each) for metric, each in data.values.items()}
    for path in sorted(folder.glob(f"{OF_A_RUN}*.csv.gz")):
        table = read_table(path, data.space.space)
        for metric, known in values.items():
            column = f"{metric}_{device_name(Target.parse(data.target))}"
            found = table.column(column, positive=True).tolist() if column in table.columns else []
            for architecture, value in zip(table.architectures, found, strict=False):
                if math.isfinite(value):
                    known.setdefault(architecture, value)
    pool = {metric: [each for each in pool if each not in values[metric]] for metric, pool in data.pool.items()}
    latencies = {**values.get("latency_ms", {}), **data.latencies}
    return replace(data, values=values, pool=pool, latencies=latencies)


def _target_and_metrics(table: Path, space: SearchSpace, device: str) -> tuple[str, list[str]] | None:
    """Return the target and the metrics with which ``nas measure`` wrote a table, or None for any other table."""
    match = re.fullmatch(r"(.+)_([a-z0-9-]+)_batch([0-9]+)_threads([0-9]+)", device)
    if match is None:
        return None
    try:
        target = Target.parse(f"{match[1]}:{match[2]}:batch={match[3]}:threads={match[4]}")
    except RecipeError:  # a device of that form whose name is no target
        return None
    header = read_cells(table)[0]
    metrics = [column.removesuffix(f"_{device}") for column in header if column.endswith(f"_{device}")]
    metrics = [metric for metric in metrics if metric in MEASURED_METRICS]
    return (str(target), metrics) if header == columns_of(space, target, metrics) else None


def _command_of_run(space: NamedSpace, metrics: Sequence[str], file: Path, run: Path) -> str:
    words = ["nas", "measure", "--run", str(run), "--architectures", str(file)]
    if ":" in space.name:  # code that a user named; naming it again says that it may run
        words += ["--space", space.name]
    for metric in metrics:
        words += ["--metric", metric]
    return command_text(words)


def _command(space: NamedSpace, target: str, metrics: Sequence[str], file: Path, table: Path) -> str:
    words = ["nas", "measure", "--space", space.name]
    for key, value in space.options.items():
        is_text = isinstance(value, str) and parse_options([f"{key}={value}"]) == {key: value}
        words += ["--option", f"{key}={value if is_text else toml_literal(value)}"]
    if space.signature.input_shape != DEFAULT_SHAPE:
        words += ["--input-shape", "x".join(map(str, space.signature.input_shape))]
    if space.signature.classes != DEFAULT_CLASSES:
        words += ["--classes", str(space.signature.classes)]
    words += ["--target", target]
    if list(metrics) != ["latency_ms"]:
        for metric in metrics:
            words += ["--metric", metric]
    words += ["--architectures", str(file), "--out", str(table)]
    return command_text(words)
