"""The settings of a comparison of predictors, and everything that its targets share."""

from __future__ import annotations

import functools
import hashlib
import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.row_sampling import Known, draw_rows, known_of
from experiments.table_options import describer_for, notes_of, rows_of_sources, source_of, space_of
from nas.errors import RecipeError, did_you_mean
from nas.prediction.predictor import Given, load_predictor
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.search_space import SearchSpace
from nas.tables.row_space import check_uses
from nas.tables.table import Table, read_table
from nas.values.other_target import Source

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
NOISE_SEED, OUTLIER_SEED = 18, 19


@dataclass(frozen=True)
class PredictorSettings:
    """The settings from the command line."""

    table: Path
    space: str
    metric: str
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    given: str | None
    samples: tuple[int, ...]
    source_rows: int | None
    seeds: int
    query: tuple[int, int] | None
    trim: float
    methods: tuple[str, ...]
    choose: str
    input_shape: tuple[int, int, int]
    classes: int
    option: tuple[str, ...]
    choices: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    prior: tuple[str, ...] = ()
    shuffled: tuple[str, ...] = ()
    noise: int = 0
    outlier: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data; the table appears as its file name and its digest, without its folder."""
        digest = hashlib.sha256(self.table.read_bytes()).hexdigest()
        return {**asdict(self), "table": self.table.name, "table_sha256": digest}


@dataclass(frozen=True, eq=False)
class TargetTask:
    """One target: its values, NaN where missing, the rows that may be sampled, and the rows to predict.

    If ``queried`` is None, all rows that were not sampled are predicted. ``given`` is known for all these rows and for
    the rows of the sources.
    """

    target: str
    values: FloatArray
    eligible: IntArray
    queried: IntArray | None
    sources: tuple[Source, ...]
    given: tuple[Given, ...]

    def rows_to_predict(self, sampled: IntArray) -> IntArray:
        """Return the rows to predict, in the order of the table."""
        return np.setdiff1d(self.eligible, sampled) if self.queried is None else self.queried


class PredictorStudy:
    """The table, read once, and everything else that the targets share.

    Raises:
        RecipeError: settings that contradict each other or the table.
        SpaceError: settings that do not fit the space.
    """

    def __init__(self, settings: PredictorSettings) -> None:
        self.settings = settings
        self._space: SearchSpace = space_of(settings)
        self.table: Table = read_table(settings.table, self._space)
        self.methods = {name: load_predictor(name) for name in settings.methods}
        self._check_uses()
        # Of rows that are the same architecture the first one counts, so that no sample is predicted.
        self._counting = np.zeros(len(self.table), dtype=np.bool_)
        self._counting[list(self.table.first_rows.values())] = True
        for name in settings.prior:
            self._counting &= np.isfinite(self.table.column(name))
        self.sources = self._sources(self._counting)
        for target in settings.targets:
            self._check(self.task(target))

    def task(self, target: str) -> TargetTask:
        """Return the rows to sample and to predict on ``target``."""
        settings = self.settings
        values = self._column("--targets", settings.metric, target)
        usable = np.isfinite(values) & self._counting
        sources = self.sources  # the same objects for each target: methods may cache by them
        given: tuple[Given, ...] = ()
        if settings.given is not None:
            known = self._column(f"--given {settings.given}: --targets", settings.given, target)
            usable &= np.isfinite(known)
            sources = self._sources(np.isfinite(known) & self._counting)
            given = (self._given(settings.given, np.log(known)),)
        given += tuple(self._given(name, self.table.column(name)) for name in settings.prior)
        rows = np.flatnonzero(usable)
        if settings.query is None:
            return TargetTask(target, values, rows, None, sources, given)
        start, stop = settings.query
        queried = (rows >= start) & (rows < stop)
        return TargetTask(target, values, rows[~queried], rows[queried], sources, given)

    def _given(self, name: str, values: FloatArray) -> Given:
        by_architecture = {each: float(values[row]) for each, row in self.table.first_rows.items()}
        return Given(name, functools.partial(_looked_up, by_architecture))

    @cached_property
    def describer(self) -> Describer:
        """The describer of the space, with all used rows described, so that the order of targets does not matter."""
        describer = describer_for(self.settings, self._space)
        describer.describe([self.table.architectures[row] for row in self._used])
        describer.population()
        return describer

    @cached_property
    def known(self) -> Known:
        """What is known of the table's rows, by which samples are chosen; NaN for unused rows."""
        found = known_of(self.describer, [self.table.architectures[row] for row in self._used], self.sources)
        own, elsewhere = (np.full((len(self.table), each.shape[1]), np.nan) for each in found)
        own[self._used], elsewhere[self._used] = found
        return own, elsewhere

    @property
    def _used(self) -> IntArray:
        """The rows with a value of a target; other rows may have failed, so they may have no layers to describe."""
        metric, targets = self.settings.metric, self.settings.targets
        values = [self.table.column(f"{metric}_{target}") for target in targets]
        return np.flatnonzero(np.isfinite(values).any(axis=0))

    def draw(self, task: TargetTask, count: int, seed: int) -> IntArray:
        """Return the sampled rows, shape (count,), in increasing order."""
        return draw_rows(task.eligible, count, seed, None if self.settings.choose == "random" else lambda: self.known)

    def measured(self, task: TargetTask, sampled: IntArray, seed: int) -> FloatArray:
        """Return the sampled rows' values, with one of them far off if the settings ask for an outlier."""
        values = task.values[sampled]
        if self.settings.outlier is not None:
            values[np.random.default_rng((OUTLIER_SEED, seed)).integers(len(values))] *= self.settings.outlier
        return values

    def _column(self, option: str, metric: str, device: str) -> FloatArray:
        devices = self.table.targets(metric)
        if device not in devices:
            raise RecipeError(
                f"{option} must be devices with a column {metric}_DEVICE in {self.table.path.name}, "
                f"but got {device!r}. {did_you_mean(device, devices)}"
            )
        return self.table.column(f"{metric}_{device}", positive=True)

    def _sources(self, usable: npt.NDArray[np.bool_]) -> tuple[Source, ...]:
        """Return the sources in the usable rows, with those that mislead on purpose."""
        settings = self.settings
        found = [self._source(name, usable) for name in settings.sources]
        shuffled = [_shuffled(source) if source.target in settings.shuffled else source for source in found]
        rows = np.flatnonzero(usable)[: rows_of_sources(settings)]
        architectures = [self.table.architectures[row] for row in rows]
        return (*shuffled, *(_noise(number, architectures) for number in range(settings.noise)))

    def _source(self, name: str, usable: npt.NDArray[np.bool_]) -> Source:
        metric = self.settings.metric
        column = f"{metric}_{name}"
        if name.startswith(f"{metric}_") and self.table.has_column(name):
            raise RecipeError(
                f"--sources names devices, and not columns: write {name.removeprefix(f'{metric}_')} instead of {name}."
            )
        self._column("--sources", metric, name)
        return source_of(self.table, column, name, rows_of_sources(self.settings), usable)

    @property
    def notes(self) -> list[str]:
        """Sentences about what was left out."""
        return notes_of(self._space)

    def _check_uses(self) -> None:
        """Check that no column is predicted and known beforehand. Missing targets are told later."""
        settings = self.settings
        predicted = [f"{settings.metric}_{target}" for target in settings.targets]
        uses = {"--choices": settings.choices, "--features": settings.features, "--prior": settings.prior}
        names = [*(choice.name for choice in self._space.choices), *self.table.names]
        there = [name for name in predicted if name in names]
        check_uses(self.table.path, names, {**uses, "the columns of --targets": there})

    def _check(self, task: TargetTask) -> None:
        """Raise RecipeError if a target has too few rows for the settings."""
        most = max(self.settings.samples)
        if len(task.eligible) < most:
            raise RecipeError(
                f"--samples must be at most the number of rows with a value outside --query, "
                f"{len(task.eligible)} for {task.target!r}, but got {most}."
            )
        queried = len(task.eligible) - most if task.queried is None else len(task.queried)
        scored = queried - 2 * math.floor(self.settings.trim * queried)
        if scored < 2:
            raise RecipeError(
                f"at least two rows must be left to score, but with {most} samples {task.target!r} has {scored}. "
                f"Lower --samples or --trim, or change --query."
            )


def _shuffled(source: Source) -> Source:
    """Return a source whose values belong to other architectures; the same ones each time."""
    rng = np.random.default_rng(zlib.crc32(source.target.encode()))
    return Source(source.target, source.architectures, rng.permutation(source.values))


def _noise(number: int, architectures: Sequence[Architecture]) -> Source:
    """Return a source of random numbers, as spread as the latencies of a space are."""
    rng = np.random.default_rng((NOISE_SEED, number))
    return Source(f"noise{number}", architectures, rng.lognormal(sigma=0.5, size=len(architectures)))


def _looked_up(by_architecture: dict[Architecture, float], architectures: Sequence[Architecture]) -> FloatArray:
    return np.array([by_architecture[architecture] for architecture in architectures], dtype=np.float64)


@functools.lru_cache(maxsize=1)
def study_of(settings: PredictorSettings) -> PredictorStudy:
    """Return the study of these settings, made once in each process."""
    return PredictorStudy(settings)
