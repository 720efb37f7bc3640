"""Measuring named architectures of a run, on its own target or on another one."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from nas.errors import JournalError, RecipeError, did_you_mean
from nas.hardware.bench import Bench
from nas.hardware.bench_request import measured_metric
from nas.hardware.devices.device import Device
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.measuring import Surroundings
from nas.progress import Progress
from nas.reports.progress_display import ProgressChoice, chosen_progress
from nas.results.data_of_run import source_of
from nas.results.run import Run
from nas.results.run_folder import read_run, run_folder_of
from nas.searching.instruments import Instruments
from nas.searching.resolving import measurer_of
from nas.searching.solving.request import Asked, asked_of
from nas.searching.solving.space_and_bench import SpaceAgain, benches_again, fingerprint_of, is_same_device, space_again
from nas.searching.user_inputs.objects import GivenData, GivenSpace, task_of
from nas.signals import stopping
from nas.space.architecture import Architecture
from nas.space.parts.candidate import SpaceParts
from nas.space.parts.device_parts import device_space
from nas.space.search_space import architecture_from
from nas.storage.home import home
from nas.storage.measurement_store import MeasurementStore
from nas.tables.interruption import noting_how_to_continue
from nas.tables.measured_table import TOGETHER, check_compared, check_table, measure_in_parts
from nas.tables.named_architectures import OF_A_RUN, named_in
from nas.tasks.task import Task
from nas.values.evaluation import Evaluation

ID = re.compile("[0-9a-f]{4,12}")
"""An id, or its beginning."""


@final
@dataclass(frozen=True)
class NamedRequest:
    """Which architectures of a run to measure, by which metrics, where, and how precisely.

    Attributes:
        names: ids, or beginnings of ids, of architectures of the run; JSON files or texts for others of its space.
        metrics: measured metrics; by default those of the run's objectives and limits, or latency.
        target: another target than the run's own.
        table: a table to write them to; by default one in the run's folder, for measurements of its own device.
        settings: how precisely to measure; by default as the run did.
        fresh: ignore measurements that were kept.
        trust: let code run that the run names.
        seed: the seed of the order in which models take turns.
    """

    names: Sequence[str]
    metrics: Sequence[str] = ()
    target: str | None = None
    table: Path | None = None
    settings: BenchSettings | None = None
    fresh: bool = False
    trust: bool = False
    seed: int = 0

    @property
    def is_compared(self) -> bool:
        """True if all models have to share their sessions."""
        return self.settings is not None and self.settings.paired


@final
@dataclass(frozen=True)
class NamedRows:
    """The rows of measured architectures, the target, and the table that they were written to; None for none."""

    rows: tuple[Evaluation, ...]
    target: str
    table: Path | None = None


@stopping()
def measure_run(
    folder: Path | str,
    names: Sequence[str],
    *,
    metrics: Sequence[str] = (),
    target: str | None = None,
    space: GivenSpace | str | None = None,
    data: GivenData | None = None,
    trust: bool = False,
    fresh: bool = False,
    progress: ProgressChoice = "auto",
    instruments: Instruments | None = None,
) -> list[Evaluation]:
    """Measure architectures of a run, and return a row for each, with its measurements or the reason of its failure.

    Args:
        folder: the folder of a run, finished or not.
        names: ids, or beginnings of ids, of architectures of the run; JSON files or texts for others of its space.
        metrics: the measured metrics; by default those of the run's objectives and limits, or latency.
        target: another target than the run's own. Measurements of the run's own are added to a table in its folder.
        space: the space, or its name, if ``search`` was given one.
        data: the data, if ``search`` was given some. They are needed only for int8.
        trust: let code run that the run names as ``module:Name``.
        fresh: ignore measurements that were kept.
        progress: as in ``search``.
        instruments: a bench and clocks, for tests.

    Raises:
        NasError: a failure of the tree in ``nas.errors``.

    Example::

        best = nas.load_run("runs/digits-mobilenet").front.best
        (row,) = nas.measure_run("runs/digits-mobilenet", [best.architecture.id])
        print(row.measurements["latency_ms"])
    """
    folder = run_folder_of(folder)
    if isinstance(names, str):
        raise RecipeError(f"names are a list of ids, such as [{names!r}], but got the text alone.")
    request = NamedRequest(names, metrics, target, fresh=fresh, trust=trust)
    with contextlib.closing(chosen_progress(progress)) as shown:
        found = measure_named(read_run(folder), request, shown, space=space, data=data, instruments=instruments)
    return list(found.rows)


def measure_named(
    run: Run,
    request: NamedRequest,
    progress: Progress,
    *,
    space: GivenSpace | str | None = None,
    data: GivenData | None = None,
    instruments: Instruments | None = None,
) -> NamedRows:
    """Measure architectures of a run, with untrained weights, which latencies do not depend on.

    Measurements of the run's own device are added to a table in its folder, from which predictors learn.

    Raises:
        RecipeError: no such architecture; a run in a table; or code of the run's that nobody trusts.
        TargetError: the target cannot be measured here.
        JournalError: the run recorded nothing.
    """
    asked = asked_of(run, None, None, request.target, None)
    if request.target is not None and asked.recipe.parsed_target == run.recipe.parsed_target:
        asked = asked_of(run, None, None, None, None)  # the run's own target in other words
    asked.place.check_measures(run)
    if not run.notes.get("space"):
        raise JournalError(f"{run.run_folder} must hold the journal of a run, but nothing was recorded yet.")
    metrics = [measured_metric(name) for name in request.metrics] or list(asked.metrics) or ["latency_ms"]
    known, others = known_architectures(run, request.names)
    instruments, task = instruments or Instruments(), task_of(data, run.recipe.data)
    with space_again(asked, space, request.trust, progress) as again:
        own = device_space(again.space)
        architectures = list(dict.fromkeys([*known, *(named_in(own, others) if others else ())]))
        if request.is_compared:
            check_compared(len(architectures))
        wholes = [_of_space(again, each) for each in architectures]
        benches = benches_again(asked, task, instruments, progress, metrics=metrics, settings=request.settings)
        table = _table(asked, request, again, benches, metrics, instruments.device_of(asked.recipe.parsed_target))
        with noting_how_to_continue(request.fresh):
            rows = _rows(asked, request, again, benches, wholes, metrics, table, task, progress)
    return NamedRows(tuple(rows), asked.recipe.measured_on, table)


def known_architectures(run: Run, names: Sequence[str]) -> tuple[list[Architecture], list[str]]:
    """Return the architectures of a run's rows that names stand for, and the names that are no ids.

    Raises:
        RecipeError: an id that no row has, or that several begin with.
    """
    by_id = {row.architecture.id: row.architecture for row in run.rows}
    found: list[Architecture] = []
    others: list[str] = []
    for name in names:
        if not ID.fullmatch(name):
            others.append(name)
            continue
        matches = [architecture for each, architecture in by_id.items() if each.startswith(name)]
        if len(matches) == 1:
            found.append(matches[0])
        elif matches:
            raise RecipeError(
                f"an id must name one architecture, but {len(matches)} of {run.run_folder} begin with {name}."
            )
        elif len(name) == 12 and not by_id:
            others.append(name)
        else:
            raise RecipeError(
                f"an id must be that of an architecture of {run.run_folder}, but {name} is of none. "
                f"{did_you_mean(name, by_id)} nas export {run.run_folder} --format csv lists all."
            )
    return found, others


def _of_space(again: SpaceAgain, architecture: Architecture) -> Architecture:
    """Return an architecture with all choices of the space. Raises RecipeError if the space has others."""
    try:
        return architecture_from(again.space, SpaceParts(again.space).candidate(architecture))
    except (ValueError, TypeError) as error:
        raise RecipeError(f"the space must have the choices of {architecture.id}, but: {error}") from error


def _table(
    asked: Asked,
    request: NamedRequest,
    again: SpaceAgain,
    benches: Mapping[str, Bench],
    metrics: Sequence[str],
    device: Device,
) -> Path | None:
    """Return the table to write to; None where measurements are of another device, or of several precisions."""
    target = asked.recipe.parsed_target
    space = device_space(again.plain)
    if request.table is not None:
        if len(benches) > 1:
            several = ", ".join(map(str, asked.recipe.measured_targets.values()))
            raise RecipeError(f"a table holds one target, but the run has several: {several}. Leave --out out.")
        check_table(request.table, space, target, metrics)
        return request.table
    if len(benches) > 1 or not is_same_device(asked.run, asked.recipe, fingerprint_of(benches), device):
        return None
    table = asked.run.run_folder / f"{OF_A_RUN}{'-'.join(metrics)}.csv.gz"
    with contextlib.suppress(RecipeError):  # a table of other columns is left alone
        check_table(table, space, target, metrics)
        return table
    return None


def _rows(
    asked: Asked,
    request: NamedRequest,
    again: SpaceAgain,
    benches: dict[str, Bench],
    architectures: Sequence[Architecture],
    metrics: Sequence[str],
    table: Path | None,
    task: Task | None,
    progress: Progress,
) -> list[Evaluation]:
    recipe, source = asked.recipe, source_of(asked.recipe, task)
    store = MeasurementStore(home(), fresh=request.fresh or request.is_compared or not recipe.measuring.reuse)
    if table is not None:
        (bench,) = benches.values()
        space, batch, on_device = (
            device_space(again.plain),
            recipe.parsed_target.batch,
            SpaceParts(again.plain).on_device,
        )
        surroundings = Surroundings(space, bench, again.signature, batch, store, again.plain_look, source)
        rows = measure_in_parts(
            surroundings, list(dict.fromkeys(map(on_device, architectures))), recipe.parsed_target, metrics, table,
            seed=request.seed, progress=progress,
        )  # fmt: skip
        by_part = {row.architecture: row for row in rows}
        return [replace(by_part[on_device(each)], architecture=each) for each in architectures]
    measurer = measurer_of(recipe, again.plain, again.plain_look, again.signature, benches, store, source)
    rows = []
    for start in range(0, len(architectures), TOGETHER):
        rows += measurer.rows(
            architectures[start : start + TOGETHER],
            metrics,
            round_number=0,
            rng=np.random.default_rng((request.seed, start)),
            progress=progress,
        )
    return rows
