"""How well predictors do on a table of measured architectures, by target, number of samples, seed and method.

    python -m experiments.compare_predictors --table T.csv.gz --space nasbench201 --json OUT.json
        --sources 1080ti_1,silver_4114 --targets gold_6240,titanx_32 --metric latency_ms --samples 10,20 --seeds 20

Prints Markdown tables of the means; ``--json`` holds every single figure, ``--predictions`` every prediction. Devices
are named as in the table's columns: with ``--metric latency_ms`` the target ``x`` is its column ``latency_ms_x``.

Samples count every measurement that is taken on the target. They are drawn from the rows that ``--query`` does not
name, by default from all, and everything that was not sampled is predicted. A seed draws up to 2,000 rows and takes
the medoids of their latent features among these; more than 200 samples, or ``--choose random``, are rows drawn at
random. All methods get the same samples. ``--source-rows N`` shows each source's values in the first N rows.

Every figure is about the rows that are scored: those predicted, without the fastest and slowest ``--trim`` of them.
For broken limits the 10, 25, 50, 75 and 90 % quantiles of their true values are taken as limits, one after another:
among the architectures whose predicted limit is at most it, and so are let through, the share that exceeds it in
truth. Seconds of a fit, and predictions a second, are for architectures that have been described before, and without
what a method learned from the sources for an earlier fit and keeps.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import math
import multiprocessing
import os
import platform
import re
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.command_line import heading, image_shape, line, names, names_or_none, positive
from nas.errors import NasError, RecipeError, did_you_mean
from nas.hardware.machine import processor_name
from nas.prediction.predictor import MIN_SAMPLES, Batch, Given, Prediction, Predictor, batch_of, load_predictor
from nas.prediction.spreading import medoids
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.plug_ins import plug_in_names
from nas.space.search_space import SearchSpace, load_space
from nas.space.tracing import describer_of
from nas.storage.journal import write_aside
from nas.tables.table import Table, read_table
from nas.values.source import Source
from predictors.quality import coverage, kendall, mape, spearman, width, within

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

POOL = 2000
MOST_MEDOIDS = 200
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
SPEED_S = 0.2
"""Predictions are repeated until they took so long."""
TIMES = ("fit_s", "predictions_per_s")
PREDICTED = ("mean", "lower", "upper", "limit")


@dataclass(frozen=True)
class Settings:
    """What was asked for on the command line."""

    table: Path
    space: str
    metric: str
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    given: str | None
    samples: tuple[int, ...]
    source_rows: int
    seeds: int
    query: tuple[int, int] | None
    trim: float
    methods: tuple[str, ...]
    choose: str
    input_shape: tuple[int, int, int]
    classes: int
    option: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data; the table by its name and what it holds, not by where it lies."""
        digest = hashlib.sha256(self.table.read_bytes()).hexdigest()
        return {**asdict(self), "table": self.table.name, "table_sha256": digest}


@dataclass(frozen=True)
class BrokenLimit:
    """Of the scored architectures, how many truly meet a limit, are let through, and exceed it nevertheless."""

    quantile: float
    limit: float
    meeting: int
    let_through: int
    broken: int


@dataclass(frozen=True)
class Quality:
    """Figures of one fitted predictor, shares as 0 to 1, over the rows that are scored.

    ``width`` is the median of upper − lower, relative to the mean. ``broken_limits`` are those of all quantiles
    together, ``most_broken_limits`` those of the worst; NaN where none was let through.
    """

    spearman: float
    kendall: float
    mape: float
    within_5_percent: float
    within_10_percent: float
    coverage: float
    width: float
    broken_limits: float
    most_broken_limits: float
    unknown: float
    fit_s: float
    predictions_per_s: float


FIGURES = tuple(each.name for each in fields(Quality))
SHARES = frozenset(FIGURES) - {"spearman", "kendall", *TIMES}


@dataclass(frozen=True, eq=False)
class Outcome:
    """One predictor: its figures, and what it predicted; ``sampled`` and ``queried`` are numbers of rows."""

    target: str
    samples: int
    seed: int
    method: str
    quality: Quality
    limits: tuple[BrokenLimit, ...]
    scored: int
    sampled: IntArray
    queried: IntArray
    prediction: Prediction

    def to_json(self) -> dict[str, Any]:
        """Plain data without the predictions; a figure that is not defined is null."""
        figures = {name: None if math.isnan(value) else value for name, value in asdict(self.quality).items()}
        return {
            "target": self.target,
            "samples": self.samples,
            "seed": self.seed,
            "method": self.method,
            "queried": len(self.queried),
            "scored": self.scored,
            **figures,
            "limits": [asdict(limit) for limit in self.limits],
        }


@dataclass(frozen=True, eq=False)
class Task:
    """One target: its values, NaN where there are none, the rows that may be sampled, and those to predict.

    ``queried`` is None where everything that was not sampled is predicted. What is given is known of all these rows
    and of those of the sources.
    """

    target: str
    values: FloatArray
    eligible: IntArray
    queried: IntArray | None
    sources: tuple[Source, ...]
    given: tuple[Given, ...]

    def rows_to_predict(self, sampled: IntArray) -> IntArray:
        """In the order of the table."""
        return np.setdiff1d(self.eligible, sampled) if self.queried is None else self.queried


class Study:
    """The table, read once, and what all targets share."""

    def __init__(self, settings: Settings) -> None:
        """Raises RecipeError or SpaceError where the settings do not fit each other or the table."""
        from nas.recipe.toml_text import apply_overrides

        self.settings = settings
        options = apply_overrides({}, settings.option)
        self._space: SearchSpace = load_space(
            settings.space, options, input_shape=settings.input_shape, classes=settings.classes
        )
        self.table: Table = read_table(settings.table, self._space)
        self.methods = {name: load_predictor(name) for name in settings.methods}
        everywhere = np.ones(len(self.table), dtype=np.bool_)
        self.sources = tuple(self._source(name, everywhere) for name in settings.sources)
        for target in settings.targets:
            self._check(self.task(target))

    def task(self, target: str) -> Task:
        """What is sampled and predicted on ``target``."""
        settings = self.settings
        values = self._column("--targets", settings.metric, target)
        usable = np.isfinite(values)
        sources = self.sources  # the same objects for each target, so that a method can keep what it learned from them
        given: tuple[Given, ...] = ()
        if settings.given is not None:
            known = self._column(f"--given {settings.given}: --targets", settings.given, target)
            usable &= np.isfinite(known)
            sources = tuple(self._source(name, np.isfinite(known)) for name in settings.sources)
            by_architecture = dict(zip(self.table.architectures, np.log(known), strict=True))
            given = (Given(settings.given, functools.partial(_looked_up, by_architecture)),)
        rows = np.flatnonzero(usable)
        if settings.query is None:
            return Task(target, values, rows, None, sources, given)
        start, stop = settings.query
        queried = (rows >= start) & (rows < stop)
        return Task(target, values, rows[~queried], rows[queried], sources, given)

    @cached_property
    def describer(self) -> Describer:
        """With all that are used described, so that nothing depends on the order of the targets."""
        settings = self.settings
        describer = describer_of(self._space, settings.input_shape, settings.classes)
        describer.describe([self.table.architectures[row] for row in self._used])
        describer.population()
        return describer

    @cached_property
    def features(self) -> FloatArray:
        """Latent features of the table's N rows, shape (N, K), for choosing samples; NaN where a row is not used."""
        from predictors.source_models import latent_features

        found = latent_features(self.describer, [self.table.architectures[row] for row in self._used], self.sources)
        features = np.full((len(self.table), found.shape[1]), np.nan)
        features[self._used] = found
        return features

    @property
    def _used(self) -> IntArray:
        """Rows with a value of a target; others may have failed, so that they have no layers to describe."""
        metric, targets = self.settings.metric, self.settings.targets
        values = [self.table.column(f"{metric}_{target}") for target in targets]
        return np.flatnonzero(np.isfinite(values).any(axis=0))

    def draw(self, task: Task, count: int, seed: int) -> IntArray:
        """The rows that are sampled, shape (count,), in increasing order."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(task.eligible)
        if self.settings.choose == "random" or count > MOST_MEDOIDS:
            return np.sort(order[:count])
        pool = order[:POOL]
        return np.sort(pool[medoids(self.features[pool], count, rng)])

    def _column(self, option: str, metric: str, device: str) -> FloatArray:
        devices = self.table.targets(metric)
        if device not in devices:
            raise RecipeError(
                f"{option} must be devices that {self.table.path.name} has a column {metric}_DEVICE for, "
                f"but got {device!r}. {did_you_mean(device, devices)}"
            )
        return self.table.column(f"{metric}_{device}", positive=True)

    def _source(self, name: str, usable: npt.NDArray[np.bool_]) -> Source:
        values = self._column("--sources", self.settings.metric, name)
        rows = np.flatnonzero((np.isfinite(values) & usable)[: self.settings.source_rows])
        if len(rows) < MIN_SAMPLES:
            raise RecipeError(
                f"a source must have at least {MIN_SAMPLES} values in the first {self.settings.source_rows} rows "
                f"(--source-rows) that can be used, but {name!r} has {len(rows)}."
            )
        return Source(name, [self.table.architectures[row] for row in rows], values[rows])

    def _check(self, task: Task) -> None:
        most = max(self.settings.samples)
        if len(task.eligible) < most:
            raise RecipeError(
                f"--samples must be at most the number of rows with a value that --query leaves, but {task.target!r} "
                f"has {len(task.eligible)} and {most} were asked for."
            )
        queried = len(task.eligible) - most if task.queried is None else len(task.queried)
        scored = queried - 2 * math.floor(self.settings.trim * queried)
        if scored < 2:
            raise RecipeError(
                f"at least two rows must be left to score, but with {most} samples {task.target!r} has {scored}."
            )


def _looked_up(by_architecture: dict[Architecture, float], architectures: Sequence[Architecture]) -> FloatArray:
    return np.array([by_architecture[architecture] for architecture in architectures], dtype=np.float64)


@functools.lru_cache(maxsize=1)
def study_of(settings: Settings) -> Study:
    """The study, made once in each process."""
    return Study(settings)


def compare(settings: Settings, target: str) -> list[Outcome]:
    """All predictors of one target."""
    study = study_of(settings)
    task = study.task(target)
    return [
        outcome
        for count in settings.samples
        for seed in range(settings.seeds)
        for outcome in _fit_all(study, task, count, seed)
    ]


def _fit_all(study: Study, task: Task, count: int, seed: int) -> list[Outcome]:
    sampled = study.draw(task, count, seed)
    queried = task.rows_to_predict(sampled)
    architectures = study.table.architectures
    batch = batch_of(study.describer, [architectures[row] for row in queried], task.given)
    outcomes = []
    for name, fit in study.methods.items():
        began = time.perf_counter()
        predictor = fit(
            study.describer,
            [architectures[row] for row in sampled],
            task.values[sampled],
            target=task.target,
            sources=task.sources,
            given=task.given,
            seed=seed,
        )
        fit_s = time.perf_counter() - began
        prediction, per_s = _predict(predictor, batch)
        scored = rows_to_score(task.values[queried], study.settings.trim)
        quality, limits = judge(task.values[queried], prediction, scored, fit_s, per_s)
        outcomes.append(
            Outcome(task.target, count, seed, name, quality, limits, len(scored), sampled, queried, prediction)
        )
    texts = ", ".join(f"{outcome.method} {outcome.quality.spearman:.3f}" for outcome in outcomes)
    print(f"{task.target}, {count} samples, seed {seed}, Spearman: {texts}", file=sys.stderr, flush=True)
    return outcomes


def _predict(predictor: Predictor, batch: Batch) -> tuple[Prediction, float]:
    """The predictions, and how many a second, repeated for ``SPEED_S`` at least."""
    began = time.perf_counter()
    prediction = predictor.predict_described(batch)
    times = 1
    while time.perf_counter() - began < SPEED_S:
        predictor.predict_described(batch)
        times += 1
    return prediction, times * len(batch) / (time.perf_counter() - began)


def rows_to_score(truths: FloatArray, trim: float) -> IntArray:
    """Indexes of ``truths``, shape (N,), without the ``trim`` fastest and slowest share; ties go by their order."""
    order = np.argsort(truths, kind="stable")
    left_out = math.floor(trim * len(truths))
    return np.sort(order[left_out : len(truths) - left_out])


def judge(
    truths: FloatArray, prediction: Prediction, scored: IntArray, fit_s: float, predictions_per_s: float
) -> tuple[Quality, tuple[BrokenLimit, ...]]:
    """The figures of predictions for N architectures of these true values, shape (N,), over those at ``scored``."""
    truths, mean = truths[scored], prediction.mean[scored]
    lower, upper, limit = prediction.lower[scored], prediction.upper[scored], prediction.limit[scored]
    limits = tuple(_broken_limit(truths, limit, quantile) for quantile in QUANTILES)
    used = [each for each in limits if each.let_through]
    let_through = sum(each.let_through for each in used)
    broken = sum(each.broken for each in used)
    return Quality(
        spearman=spearman(truths, mean),
        kendall=kendall(truths, mean),
        mape=mape(truths, mean),
        within_5_percent=within(truths, mean, 0.05),
        within_10_percent=within(truths, mean, 0.1),
        coverage=coverage(truths, lower, upper),
        width=width(lower, mean, upper),
        broken_limits=broken / let_through if used else math.nan,
        most_broken_limits=max((each.broken / each.let_through for each in used), default=math.nan),
        unknown=float((~prediction.known[scored]).mean()),
        fit_s=fit_s,
        predictions_per_s=predictions_per_s,
    ), limits


def _broken_limit(truths: FloatArray, predicted: FloatArray, quantile: float) -> BrokenLimit:
    limit = float(np.quantile(truths, quantile))
    through = predicted <= limit
    return BrokenLimit(
        quantile, limit, int((truths <= limit).sum()), int(through.sum()), int((through & (truths > limit)).sum())
    )


def compare_all(settings: Settings, jobs: int) -> Iterator[list[Outcome]]:
    """The outcomes of each target, in the order of ``settings.targets``, in ``jobs`` processes."""
    if jobs == 1:
        yield from (compare(settings, target) for target in settings.targets)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(functools.partial(compare, settings), settings.targets)


@contextmanager
def predictions_file(path: Path | None) -> Iterator[Callable[[Outcome], None]]:
    """What adds an outcome's arrays, uncompressed, to an NPZ file that takes its place when all is well.

    They are written one after another as ``numpy.savez`` would write them, because all together take much memory.
    """
    if path is None:
        yield lambda outcome: None
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            yield functools.partial(_add_arrays, archive)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _add_arrays(archive: zipfile.ZipFile, outcome: Outcome) -> None:
    key = f"{outcome.target}/{outcome.samples}/{outcome.seed}/{outcome.method}"
    arrays = {"sampled": outcome.sampled, "queried": outcome.queried}
    arrays |= {name: getattr(outcome.prediction, name) for name in PREDICTED}
    for name, array in arrays.items():
        with archive.open(f"{key}/{name}.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array(stream, array, allow_pickle=False)


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown tables of rows as ``Outcome.to_json`` gives them: means, then two figures for each target."""
    groups = list(dict.fromkeys((row["samples"], row["method"]) for row in rows))
    targets = list(dict.fromkeys(row["target"] for row in rows))

    def figures(name: str, group: tuple[int, str], target: str | None = None) -> list[float]:
        return [
            row[name]
            for row in rows
            if (row["samples"], row["method"]) == group and target in (None, row["target"]) and row[name] is not None
        ]

    titles = ["samples", "method", *FIGURES, "geometric mean of Spearman"]
    lines = [f"Means over {len(targets)} targets and their seeds; medians of {' and '.join(TIMES)}.", ""]
    lines += heading([title.replace("_", " ") if title not in TIMES else title for title in titles])
    for group in groups:
        cells = [_shown(name, figures(name, group)) for name in FIGURES]
        by_target = [_mean(figures("spearman", group, target)) for target in targets]
        lines.append(line([*group, *cells, f"{_geometric_mean(by_target):.3f}"]))
    for name in ("spearman", "within_10_percent"):
        lines += ["", f"{name.replace('_', ' ')} by target", "", *heading(["samples", "method", *targets])]
        lines += [
            line([*group, *(_shown(name, figures(name, group, target)) for target in targets)]) for group in groups
        ]
    return "\n".join(lines)


def _shown(name: str, values: Sequence[float]) -> str:
    if not values:
        return "–"
    if name in TIMES:
        return f"{np.median(values):.3g}" if name == "fit_s" else f"{np.median(values):,.0f}"
    return f"{100 * _mean(values):.1f} %" if name in SHARES else f"{_mean(values):.3f}"


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _geometric_mean(values: Sequence[float]) -> float:
    """NaN where one is not above 0."""
    return math.exp(_mean([math.log(value) for value in values])) if all(value > 0 for value in values) else math.nan


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, write the files, print the tables."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = _settings(options)
        study_of(settings)
        for path in (options.json, options.predictions):
            if path is not None and not path.parent.is_dir():
                raise RecipeError(f"a file must be written to a folder that exists, but {path.parent} does not.")
    except NasError as error:
        parser.error(str(error))
    rows: list[dict[str, Any]] = []
    with predictions_file(options.predictions) as add:
        for number, outcomes in enumerate(compare_all(settings, options.jobs), start=1):
            for outcome in outcomes:
                add(outcome)
                rows.append(outcome.to_json())
            if options.json is not None:
                write_aside(options.json, _text(settings, rows, complete=number == len(settings.targets)).encode())
    print(summary(rows))


def _text(settings: Settings, rows: Sequence[dict[str, Any]], *, complete: bool) -> str:
    """The JSON file; ``complete`` is false while targets are still missing."""
    packages = ("numpy", "scipy", "scikit-learn")
    content = {
        "complete": complete,
        "settings": settings.to_json(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "processor": processor_name(),
        "rows": rows,
    }
    return json.dumps(content, indent=1, allow_nan=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.compare_predictors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", type=Path, required=True, help="CSV, gzip or plain")
    parser.add_argument("--space", required=True, help="a registered space, or module:Name")
    parser.add_argument("--metric", default="latency_ms", help="such as latency_ms or energy_mj")
    parser.add_argument("--targets", type=names, required=True, help="devices, with commas between them")
    parser.add_argument("--sources", type=names_or_none, default=(), help="devices to transfer from")
    parser.add_argument("--given", metavar="METRIC", help="a metric of the target that is known of every row")
    parser.add_argument("--samples", type=_counts, required=True, help="such as 10,20,50")
    parser.add_argument("--source-rows", type=positive, default=900)
    parser.add_argument("--seeds", type=positive, default=20, help="so many, from 0 on")
    parser.add_argument("--query", type=_rows, metavar="A:B", help="rows to predict, from A up to but without B")
    parser.add_argument("--trim", type=_trim, default=0.0, metavar="SHARE")
    parser.add_argument("--methods", type=names, help="registered ones, or module:name; default: all that apply")
    parser.add_argument("--choose", choices=("medoids", "random"), default="medoids", help="how samples are chosen")
    parser.add_argument("--input-shape", type=image_shape, default=(3, 32, 32), metavar="CxHxW")
    parser.add_argument("--classes", type=positive, default=10)
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of the space; repeat")
    parser.add_argument("--json", type=Path, help="where every figure goes")
    parser.add_argument("--predictions", type=Path, metavar="OUT.npz", help="where every prediction goes")
    parser.add_argument("--jobs", type=positive, default=1, help="processes, each with a target at a time")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    """Raises RecipeError where options contradict each other."""
    both = [name for name in options.targets if name in options.sources]
    if both:
        raise RecipeError(f"a target must not be one of its own sources, but {both[0]!r} is in both.")
    for option in options.option:
        if "=" not in option:
            raise RecipeError(f"--option takes KEY=VALUE, such as channels=8, but got {option!r}.")
    if options.given == options.metric:
        raise RecipeError(f"--given must be another metric than --metric, but both are {options.given!r}.")
    methods = options.methods
    if methods is None:
        informed = bool(options.sources) or options.given is not None
        methods = tuple(name for name in plug_in_names("nas.predictors") if informed or name != "transfer")
    values = {name: value for name, value in vars(options).items() if name not in ("json", "predictions", "jobs")}
    return Settings(**{**values, "methods": methods, "option": tuple(options.option)})


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(int(part) for part in text.split(",")) if re.fullmatch(r"[0-9]+(,[0-9]+)*", text) else ()
    if not counts or min(counts) < MIN_SAMPLES or len(set(counts)) < len(counts):
        raise argparse.ArgumentTypeError(
            f"must be different whole numbers from {MIN_SAMPLES} on, such as 10,20, but got {text!r}."
        )
    return counts


def _rows(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+):([0-9]+)", text)
    if match is None or int(match[1]) >= int(match[2]):
        raise argparse.ArgumentTypeError(f"must be two rows in order, such as 900:1900, but got {text!r}.")
    return int(match[1]), int(match[2])


def _trim(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share < 0.5:
        raise argparse.ArgumentTypeError(f"must be a share from 0 to below 0.5, but got {text!r}.")
    return share


if __name__ == "__main__":
    main()
