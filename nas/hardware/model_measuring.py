"""Measuring and comparing model files from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.errors import CandidateError, RecipeError
from nas.formats.input_sizes import InputSizes
from nas.hardware.bench import Bench, Outcome
from nas.hardware.bench_request import BenchRequest, measured_metric
from nas.hardware.file_measuring import MeasuredFile, measure_files
from nas.progress import NullProgress, Progress
from nas.values.measurement import Measurement
from nas.values.paired_comparison import Comparison, compared
from nas.values.target import Target

Shapes = Sequence[int] | Mapping[str, int | Sequence[int]]


def measure(
    models: Sequence[Path | str],
    *,
    target: str = "onnxruntime-cpu",
    metrics: Sequence[str] = ("latency_ms",),
    input_shape: Shapes | None = None,
    within: float = 0.01,
    max_rounds: int = 15,
    sustained_s: float = 180.0,
    seed: int = 0,
    progress: Progress | None = None,
    bench: Bench | None = None,
) -> list[MeasuredFile]:
    """Measure ONNX files together on a target of this machine, and return a result for each.

    Args:
        models: ONNX files, or folders of bundles, whose exported model is measured.
        target: what to measure on, such as ``onnxruntime-cpu:int8``.
        metrics: the measured metrics, such as ``latency_ms`` and ``peak_memory_mib``.
        input_shape: sizes that files leave open, without the batch: ``(3, 224, 224)``, or by the name of an input or
            of a size, ``{"tokens": 128}``.
        within: measuring ends when half of the 95 % interval is within this share of the median.
        max_rounds: the most sessions of a model.
        sustained_s: how long a model runs at most, in seconds, for its ``sustained_latency_ms``.
        seed: the seed of the order in which models take turns.
        progress: shows progress; by default nothing does.
        bench: a bench, for tests.

    Raises:
        RecipeError: an unknown target or metric, or a target that takes no ONNX files.
        TargetError: the target cannot be measured here.

    Example::

        (found,) = nas.measure(["model.onnx"], input_shape=(3, 224, 224))
        print(found.outcome["latency_ms"])
    """
    request = BenchRequest(Target.parse(target), within, max_rounds, sustained_s=sustained_s)
    return _measured(models, request, metrics, input_shape, seed, progress, bench)


def compare(
    first: Path | str,
    second: Path | str,
    *,
    target: str = "onnxruntime-cpu",
    metric: str = "latency_ms",
    input_shape: Shapes | None = None,
    within: float = 0.01,
    max_rounds: int = 30,
    seed: int = 0,
    progress: Progress | None = None,
    bench: Bench | None = None,
) -> Comparison:
    """Measure two models together, and return how the second compares with the first.

    Both run in turns, in the same sessions. Sessions go on until the ratio is known within ``within``. The arguments
    are those of ``nas.measure``.

    Raises:
        RecipeError: as ``nas.measure`` does.
        TargetError: as ``nas.measure`` does.
        CandidateError: one of the models cannot be measured.

    Example::

        verdict = nas.compare("a.onnx", "b.onnx")
        print(verdict)  # b.onnx is 7 to 9 % faster than a.onnx.
        print(verdict.ratio, verdict.interval)
    """
    request = BenchRequest(Target.parse(target), within, max_rounds, paired=True)
    found = _measured([first, second], request, [metric], input_shape, seed, progress, bench)
    for each in found:
        if isinstance(each.outcome, CandidateError):
            raise each.outcome
    return comparisons_of([(str(each.path), each.outcome) for each in found], [metric])[0]


def _measured(
    models: Sequence[Path | str],
    request: BenchRequest,
    metrics: Sequence[str],
    input_shape: Shapes | None,
    seed: int,
    progress: Progress | None,
    bench: Bench | None,
) -> list[MeasuredFile]:
    if isinstance(models, str | Path) or not models:
        raise RecipeError(f"models are a list of files, such as ['model.onnx'], but got {models!r}.")
    shown = progress or NullProgress()
    names = [measured_metric(name) for name in metrics]
    sizes = None if input_shape is None else InputSizes.of(input_shape)
    if bench is None:
        opened = request.open(shown.say)
        opened.check(names)
        bench = opened
    return measure_files([Path(each) for each in models], request.target, bench, names, seed, shown, sizes)


def comparisons_of(outcomes: Sequence[tuple[str, Outcome]], metrics: Sequence[str]) -> list[Comparison]:
    """Compare each further model with the first one that could be measured, by each metric.

    ``outcomes`` are names with outcomes of models that were measured together. Those that failed are left out.
    """
    sound = [(name, outcome) for name, outcome in outcomes if not isinstance(outcome, CandidateError)]
    if len(sound) < 2:
        return []
    first, *others = _named_apart(sound)
    return [
        compared(metric, (first[0], first[1][metric]), (name, outcome[metric]), together=True)
        for name, outcome in others
        for metric in metrics
        if all(metric in each and each[metric].median > 0 for each in (first[1], outcome))
    ]


def _named_apart(named: Sequence[tuple[str, dict[str, Measurement]]]) -> list[tuple[str, dict[str, Measurement]]]:
    """Return models under the names of their files; where these agree, under their whole paths."""
    short = [Path(name).name for name, _ in named]
    return [
        (part if short.count(part) == 1 else name, outcome) for part, (name, outcome) in zip(short, named, strict=True)
    ]
