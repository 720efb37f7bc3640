"""What a search gives that takes as long as others, from images to measured models: ours against three alternatives.

    python -m experiments.compare_end_to_end --time 15min --seeds 3 --out FOLDER --json OUT --plot OUT.html

For each seed, each in its turn: ``ours``, the recipe as it is but for its limits; ``nsga2``, Ray Tune with Optuna's
NSGA-II on trained error and timed latency, without a predictor or early stopping; ``random``; and ``scaled``, a family
of the same space by a width and a depth multiplier. Ours begins no training after the time, but measures its front
then, so the others may begin trainings for as long as all that took. Of what each found, the winners are chosen,
retrained, exported, measured and tested in the same way, and those of all methods of a seed are measured together. It
prints each front, and hypervolumes of test error and measured latency with the reference point at 1.1 times the worst
winner of the seed, per cent of that of all winners together; ``--plot`` draws them.

What is in FOLDER is not done again, so it may be interrupted, and with ``--search-only`` retraining and measuring left
for later. All searches of a seed belong on one machine, which should do nothing else.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import load

from experiments.command_line import heading, line, names, positive
from experiments.end_to_end_rivals import RIVALS, Found
from nas.errors import CandidateError, RecipeError
from nas.formats.export import export_onnx
from nas.formats.onnx_session import outputs_of
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.machine import default_workers, processor_name
from nas.hardware.runtimes.runtime import Deployed
from nas.jobs.execution import Job, Report
from nas.jobs.ray_executor import RayExecutor
from nas.jobs.resources import Resources
from nas.progress import PlainProgress
from nas.recipe.recipe import Recipe, read_recipe
from nas.results.record import read_record
from nas.results.search_cost import SEARCH
from nas.searching.evaluators import training_seed, training_settings
from nas.searching.run import resume, search
from nas.searching.winner_choice import spread_over_front
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace, architecture_from, load_space
from nas.space.tracing import build_checked
from nas.storage.journal import RECIPE, read_rows, write_aside
from nas.tasks.data_source import DataSource
from nas.tasks.dataset import DataSet
from nas.training.training import CandidateTraining, normalised_images
from nas.values.pareto import hypervolume, non_dominated

OURS = "ours"
METHODS = (OURS, *RIVALS)
MARGIN = 1.1
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """What one method has to show: so many candidates that were trained to the end, and of them the winners.

    ``searched_s`` is the wall-clock until the winners were known, on this ``processor``. ``found`` are all candidates
    that were trained, with error and latency as the search saw them; those of ours are in the journal of its run.
    """

    method: str
    trained: int
    searched_s: float
    processor: str
    winners: tuple[dict[str, Any], ...]
    found: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Measured:
    """A winner as it is: test error, and the median latency with its interval."""

    method: str
    architecture: dict[str, Any]
    test_error: float
    latency_ms: float
    lower_ms: float
    upper_ms: float


class Setting:
    """One seed's: the recipe, what its names stand for, and a folder for what is made.

    Raises:
        RecipeError: the folder holds what was made by another recipe.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        assert recipe.search_time_s is not None
        self.recipe = recipe
        self.time_s = recipe.search_time_s
        self.folder = folder
        self._claim_folder()
        self.source = DataSource(
            name=recipe.data.name,
            root=recipe.data.root,
            image_size=recipe.data.image_size,
            validation_share=recipe.data.validation_share,
        )
        self.data: DataSet = self.source.load()
        self.space: SearchSpace = load_space(
            recipe.space.name,
            recipe.space.options,
            input_shape=self.data.input_shape,
            classes=self.data.class_count,
        )
        self.workers = recipe.execution.workers or default_workers(recipe.execution.threads_per_worker)

    def _claim_folder(self) -> None:
        kept = self.folder / RECIPE
        if not kept.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_aside(kept, self.recipe.to_toml().encode())
        elif changed := self.recipe.differences(read_recipe(kept)):
            listed = ", ".join(f"{key} was {before} and is {now} now" for key, (now, before) in changed.items())
            raise RecipeError(f"{self.folder} holds what another recipe made: {listed}. Choose another --out.")

    def model(self, architecture: Architecture) -> Path:
        return self.folder / "models" / f"{architecture.id}.onnx"

    def failure(self, architecture: Architecture) -> Path:
        """Where it is said why there is no model."""
        return self.model(architecture).with_suffix(".failed")


def choices_of(setting: Setting, methods: Sequence[str]) -> list[Choice]:
    """What the methods choose, in their order. Ours is the first to search, since the others get the time it takes."""
    in_order = sorted(methods, key=lambda method: method != OURS)
    chosen = {method: choose(setting, method) for method in in_order}
    return [chosen[method] for method in methods]


def choose(setting: Setting, method: str) -> Choice:
    """Let a method search for its time, once; what it chose is kept in a file. Ours searches for the recipe's time."""
    path = setting.folder / f"{method}.json"
    if path.exists():
        return Choice(**json.loads(path.read_text()))
    ours = setting.folder / f"{OURS}.json"
    time_s = max(setting.time_s, json.loads(ours.read_text())["searched_s"] if ours.exists() else 0.0)
    found: list[Found] = []
    if method == OURS:
        run = setting.folder / OURS
        front = resume(run, progress=_progress()) if run.exists() else _search(setting)
        winners = [winner.architecture for winner in front]
        trained = sum(r.stage == "train" and r.reached_full_fidelity for r in read_record(run).rows)
        searched_s = sum(part["wall_s"] for part in read_rows(run, "cost") if part["of"] == SEARCH)
    else:
        began_s = time.monotonic()
        found = RIVALS[method](setting.recipe, setting.space, setting.source, setting.workers, time_s)
        searched_s = time.monotonic() - began_s
        losses = np.array([(each.error, each.latency_ms) for each in found])
        front_rows = np.flatnonzero(non_dominated(losses))
        picks = spread_over_front(losses[front_rows], setting.recipe.retraining.winners)
        winners, trained = [found[front_rows[pick]].architecture for pick in picks], len(found)
    choice = Choice(
        method,
        trained,
        searched_s,
        processor_name(),
        tuple(dict(architecture) for architecture in winners),
        tuple({**vars(each), "architecture": dict(each.architecture)} for each in found),
    )
    write_aside(path, json.dumps(asdict(choice), indent=1).encode())
    return choice


def _search(setting: Setting) -> Any:
    """A run whose own retraining is short, since winners of all methods are retrained alike, by ``retrain``."""
    values = setting.recipe.model_dump(exclude_none=True)
    changes = {"name": OURS, "limits": (), "trials": 10_000}
    retraining = {**values["retraining"], "epochs": 1}
    recipe = Recipe.from_mapping({**values, **changes, "retraining": retraining})
    return search(recipe, runs=setting.folder, progress=_progress())


def retrain(setting: Setting, architectures: Sequence[Architecture]) -> None:
    """Retrain and export what has no model yet, as winners are; of what fails, keep why."""
    missing = [a for a in architectures if not setting.model(a).exists() and not setting.failure(a).exists()]
    if not missing:
        return
    retraining = setting.recipe.retraining
    settings = training_settings(
        setting.recipe, retraining.epochs, 1.0, retraining.time_limit_s, keep_weights=True, use_validation=True
    )
    task = CandidateTraining(setting.space, setting.source, settings)
    with RayExecutor(setting.workers, Resources(setting.recipe.execution.threads_per_worker)) as executor:
        executor.run(task, _Exporting(setting, missing), time_limit_s=retraining.time_limit_s)


class _Exporting:
    """The source of the retrainings, which exports each as it ends."""

    def __init__(self, setting: Setting, waiting: list[Architecture]) -> None:
        self._setting = setting
        self._waiting = waiting

    def next_job(self) -> Job | None:
        if not self._waiting:
            return None
        architecture = self._waiting.pop(0)
        seed = training_seed(self._setting.recipe, architecture)
        return {"id": architecture.id, "architecture": dict(architecture), "seed": seed}

    def on_report(self, job: Job, report: Report) -> bool:
        return True

    def on_restart(self, job: Job) -> None:
        """Nothing is kept of a retraining before its end."""

    def on_end(self, job: Job, report: Report) -> None:
        setting, architecture = self._setting, Architecture(job["architecture"])
        module = build_checked(setting.space, architecture, setting.data.input_shape, setting.data.class_count)
        module.load_state_dict(load(report["weights"]))
        path = _made(setting.model(architecture))
        export_onnx(module, setting.data.input_shape, setting.recipe.parsed_target.batch, path)

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        if failure.kind == "worker":
            raise failure
        path = self._setting.failure(Architecture(job["architecture"]))
        write_aside(_made(path), failure.reason.encode())
        print(f"{job['id']} could not be retrained: {failure.reason}", file=sys.stderr)


def measure(setting: Setting, choices: Sequence[Choice]) -> list[Measured]:
    """Retrain, measure together, and test the winners of these methods, once; what was found is kept in a file.

    A winner that cannot be retrained is none.
    """
    path = setting.folder / f"measured-{'-'.join(choice.method for choice in choices)}.json"
    if path.exists():
        return [Measured(**each) for each in json.loads(path.read_text())]
    of_method = {
        choice.method: [architecture_from(setting.space, values) for values in choice.winners] for choice in choices
    }
    architectures = list(dict.fromkeys(a for winners in of_method.values() for a in winners))
    retrain(setting, architectures)
    architectures = [a for a in architectures if setting.model(a).exists()]
    bench = DeviceBench(
        setting.recipe.parsed_target,
        BenchSettings(**setting.recipe.measuring.bench_settings),
        calibration=lambda: normalised_images(setting.data.train.sample(256).images, setting.data),
    )
    rng = np.random.default_rng(setting.recipe.seed)
    models = [setting.model(architecture) for architecture in architectures]
    shutil.rmtree(setting.folder / "deployed", ignore_errors=True)  # of a start that ended before all was measured
    deployed = bench.deploy(models, [setting.folder / "deployed" / a.id for a in architectures])
    fit: list[Deployed] = []
    for each in deployed:
        if isinstance(each, CandidateError):
            raise each
        fit.append(each)
    outcomes = bench.measure(fit, ["latency_ms"], rng)
    images = normalised_images(setting.data.test.images, setting.data)
    found: dict[Architecture, dict[str, float]] = {}
    for architecture, outcome in zip(architectures, outcomes, strict=True):
        if isinstance(outcome, CandidateError):
            raise outcome
        latency = outcome["latency_ms"]
        wrong = outputs_of(setting.model(architecture), images).argmax(axis=1) != setting.data.test.labels
        found[architecture] = {
            "test_error": float(wrong.mean()),
            "latency_ms": latency.median,
            "lower_ms": latency.interval.lower,
            "upper_ms": latency.interval.upper,
        }
    measured = [
        Measured(method, dict(a), **found[a]) for method, chosen in of_method.items() for a in chosen if a in found
    ]
    write_aside(path, json.dumps([asdict(each) for each in measured], indent=1).encode())
    return measured


def shares(measured: Sequence[Measured]) -> dict[str, float]:
    """Per cent of the hypervolume of all winners together that each method's have."""
    points = np.array([(each.test_error, each.latency_ms) for each in measured])
    reference = MARGIN * points.max(axis=0)
    whole = hypervolume(points, reference)
    methods = np.array([each.method for each in measured])
    return {
        method: 100 * hypervolume(points[methods == method], reference) / whole for method in dict.fromkeys(methods)
    }


def report(by_seed: Mapping[int, tuple[Sequence[Choice], Sequence[Measured]]]) -> list[str]:
    """Markdown: each seed's fronts, then the hypervolumes."""
    lines: list[str] = []
    for seed, (choices, measured) in by_seed.items():
        searched_on = ", ".join(dict.fromkeys(choice.processor for choice in choices))
        lines += [
            f"Seed {seed}, searched on {searched_on}: test error and latency of each winner, its interval in brackets",
            "",
        ]
        lines += heading(("method", "searched", "trained to the end", "winners"))
        for choice in choices:
            winners = sorted((w for w in measured if w.method == choice.method), key=lambda w: w.latency_ms)
            shown = "; ".join(
                f"{100 * w.test_error:.2f} % {w.latency_ms:.4f} ms [{w.lower_ms:.4f}, {w.upper_ms:.4f}]"
                for w in winners
            )
            lines.append(line((choice.method, f"{choice.searched_s:.0f} s", choice.trained, shown)))
        lines.append("")
    found = {seed: shares(measured) for seed, (_, measured) in by_seed.items()}
    methods = list(dict.fromkeys(method for each in found.values() for method in each))
    lines += ["Per cent of the hypervolume of all winners together", ""]
    lines += heading(("method", *(f"seed {seed}" for seed in found), "seeds in which ours is above"))
    for method in methods:
        values = [each.get(method, 0.0) for each in found.values()]
        above = sum(each.get(OURS, 0.0) > value for each, value in zip(found.values(), values, strict=True))
        lines.append(line((method, *(f"{value:.1f}" for value in values), "–" if method == OURS else above)))
    return lines


def plot(by_seed: Mapping[int, tuple[Sequence[Choice], Sequence[Measured]]], path: Path) -> None:
    """One panel for each seed: test error over measured latency, with its interval; each method's front is a line."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(1, len(by_seed), subplot_titles=[f"seed {seed}" for seed in by_seed])
    colours = dict(zip(METHODS, ("#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=True))
    for column, (_, measured) in enumerate(by_seed.values(), start=1):
        for method in dict.fromkeys(each.method for each in measured):
            winners = sorted((w for w in measured if w.method == method), key=lambda w: w.latency_ms)
            points = np.array([(w.test_error, w.latency_ms) for w in winners])
            front = [w for w, kept in zip(winners, non_dominated(points), strict=True) if kept]
            figure.add_trace(
                go.Scatter(
                    x=[w.latency_ms for w in front],
                    y=[100 * w.test_error for w in front],
                    error_x={
                        "type": "data",
                        "symmetric": False,
                        "array": [w.upper_ms - w.latency_ms for w in front],
                        "arrayminus": [w.latency_ms - w.lower_ms for w in front],
                    },
                    name=method,
                    legendgroup=method,
                    showlegend=column == 1,
                    mode="lines+markers",
                    line={"shape": "hv", "color": colours[method]},
                ),
                row=1,
                col=column,
            )
        figure.update_xaxes(title_text="latency, ms, measured", row=1, col=column)
    figure.update_yaxes(title_text="test error, %", row=1, col=1)
    write_aside(path, figure.to_html(include_plotlyjs=True).encode())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.compare_end_to_end", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--recipe", type=Path, default=Path("experiments/end_to_end.toml"))
    parser.add_argument("--time", default="15min", help="of each method's search, such as 15min")
    parser.add_argument("--seeds", type=positive, default=3, help="so many, from 0 on")
    parser.add_argument("--methods", type=names, default=METHODS, help="with commas between them")
    parser.add_argument("--search-only", action="store_true", help="leave retraining and measuring for a later start")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="OUT", help="all that was found, in one file")
    parser.add_argument("--plot", type=Path, metavar="OUT.html")
    options = parser.parse_args(arguments)
    unknown = set(options.methods) - set(METHODS)
    if unknown:
        parser.error(f"methods are {', '.join(METHODS)}, but got {unknown.pop()!r}.")
    try:
        recipe = read_recipe(options.recipe, [f"search_time_s={json.dumps(options.time)}"])
    except RecipeError as error:
        parser.error(str(error))
    assert recipe.search_time_s is not None
    by_seed: dict[int, tuple[list[Choice], list[Measured]]] = {}
    for seed in range(options.seeds):
        seeded = Recipe.from_mapping({**recipe.model_dump(exclude_none=True), "seed": seed})
        try:
            setting = Setting(seeded, options.out / f"seed{seed}")
        except RecipeError as error:
            parser.error(str(error))
        choices = choices_of(setting, options.methods)
        if options.search_only:
            continue
        by_seed[seed] = (choices, measure(setting, choices))
    if options.search_only:
        return 0
    print("\n".join(report(by_seed)))
    if options.json is not None:
        found = {
            "time_s": recipe.search_time_s,
            "recipe": recipe.to_toml(),
            "processor": processor_name(),
            "python": platform.python_version(),
            "seeds": {
                seed: {"choices": [asdict(c) for c in choices], "measured": [asdict(m) for m in measured]}
                for seed, (choices, measured) in by_seed.items()
            },
        }
        write_aside(options.json, json.dumps(found, indent=1).encode())
    if options.plot is not None:
        plot(by_seed, options.plot)
    return 0


def _progress() -> PlainProgress:
    return PlainProgress(sys.stderr)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    sys.exit(main())
