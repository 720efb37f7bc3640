"""Models are measured together, in a process of its own, and a bad one among them spoils nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas.benchmarking import ROUND_REPEATS, BenchSettings, DeviceBench, Outcome
from nas.errors import CandidateError, RecipeError, TargetError
from nas.export import export_onnx
from nas.measurement import Measurement
from nas.target import Target

ACTING = Target("own_runtime:Acting")
ONNX = Target("onnxruntime-cpu")
QUICK = BenchSettings(rounds=2, seconds_per_round=0.02, min_samples=3, timeout_s=30.0)
EVERYTHING = ("latency_ms", "peak_memory_mib", "model_bytes")


@pytest.fixture(autouse=True)
def _own_runtime_can_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def models_of(folder: Path, deeds: Mapping[str, str]) -> list[Path]:
    paths = []
    for name, deed in deeds.items():
        path = folder / f"{name}.txt"
        path.write_text(deed)
        paths.append(path)
    return paths


def measure(
    models: list[Path],
    *metrics: str,
    target: Target = ACTING,
    settings: BenchSettings = QUICK,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    bench = DeviceBench(target, settings)
    return bench.measure(models, metrics or ("latency_ms",), np.random.default_rng(seed), advance)


def latency_of(outcome: Outcome) -> Measurement:
    assert isinstance(outcome, dict), outcome
    return outcome["latency_ms"]


def failure_of(outcome: Outcome) -> tuple[str, str]:
    assert isinstance(outcome, CandidateError), outcome
    return outcome.kind, outcome.reason


class Widened(nn.Module):
    """Two convolutions of some width, and a number of weights that are read once."""

    def __init__(self, width: int, weights: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU())
        self.head = nn.Linear(width, 10)
        self.ballast = nn.Parameter(torch.rand(weights))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images).mean((2, 3))) + self.ballast.sum()


@pytest.fixture(name="exported", scope="module")
def exported_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small and a big model, and one for another batch size."""
    folder = tmp_path_factory.mktemp("models")
    made = {"small": (Widened(4, 10), 1), "big": (Widened(32, 5_000_000), 1), "batch": (Widened(4, 10), 2)}
    for name, (module, batch) in made.items():
        export_onnx(module, (3, 32, 32), batch, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in made}


class TestOnnxRuntime:
    def test_a_bigger_model_is_slower_larger_and_takes_more_memory(self, exported: dict[str, Path]) -> None:
        """By every metric, beyond the intervals."""
        small, big = measure([exported["small"], exported["big"]], *EVERYTHING, target=ONNX)
        assert isinstance(small, dict)
        assert isinstance(big, dict)
        for name in EVERYTHING:
            assert (small[name].metric, small[name].target) == (name, str(ONNX))
            assert small[name].median < big[name].median
        assert small["latency_ms"].interval.upper < big["latency_ms"].interval.lower
        assert big["peak_memory_mib"].median > 5_000_000 * 4 / 2**20
        assert big["model_bytes"].median == exported["big"].stat().st_size
        assert [len(small[name].rounds) for name in EVERYTHING] == [QUICK.rounds, 3, 1]

    def test_the_circumstances_are_noted(self, exported: dict[str, Path]) -> None:
        """What a reader has to know to believe a latency, as plain JSON data."""
        (outcome,) = measure([exported["small"]], target=ONNX)
        conditions = latency_of(outcome).conditions
        assert json.loads(json.dumps(dict(conditions), allow_nan=False)) == conditions
        assert conditions["runtime"].startswith("onnxruntime 1.")
        assert conditions["executed_precision"] == "fp32"
        assert conditions["input_shape"] == [1, 3, 32, 32]
        assert (conditions["threads"], conditions["batch"]) == (1, 1)
        assert conditions["processor"]
        assert conditions["inferences_per_sample"] >= 1
        assert conditions["warm_up_inferences"] >= 5

    def test_bad_files_have_failed_and_the_others_are_measured(self, exported: dict[str, Path], tmp_path: Path) -> None:
        """Garbage, half a model, no file, and a model for another batch size all have a reason of their own."""
        garbage, half = tmp_path / "garbage.onnx", tmp_path / "half.onnx"
        garbage.write_bytes(b"\xff garbage" * 100)
        half.write_bytes(exported["small"].read_bytes()[:-500])
        models = [garbage, exported["small"], half, tmp_path / "none.onnx", exported["batch"]]
        bad, good, *others = measure(models, *EVERYTHING, target=ONNX)
        assert isinstance(good, dict)
        assert set(good) == set(EVERYTHING)
        reasons = []
        for outcome in (bad, *others):
            kind, reason = failure_of(outcome)
            assert kind == "measure"
            assert reason.startswith("onnxruntime-cpu refused the model: ")
            reasons.append(reason)
        assert len(set(reasons)) == 4
        assert "input must have the batch size 1 of onnxruntime-cpu" in reasons[-1]
        assert "(2, 3, 32, 32)" in reasons[-1]


class TestTargets:
    def test_an_unavailable_one_is_refused_at_once(self) -> None:
        """With what the runtime says about it."""
        with pytest.raises(
            TargetError, match=r"onnxruntime-cpu runs fp32 here, but .* asks for int8; write onnxruntime-"
        ):
            DeviceBench(Target.parse("onnxruntime-cpu:int8"), QUICK)
        with pytest.raises(TargetError, match="own_runtime:Elsewhere:fp32:batch=1:threads=1 needs a board; attach one"):
            DeviceBench(Target("own_runtime:Elsewhere"), QUICK)

    def test_an_unknown_one_is_answered_with_the_nearest(self) -> None:
        """As all names are."""
        with pytest.raises(
            RecipeError, match=r"unknown target's runtime 'onnxruntime'\. Did you mean 'onnxruntime-cpu'"
        ):
            DeviceBench(Target("onnxruntime"), QUICK)

    @pytest.mark.parametrize(
        ("runtime", "reason"),
        [("Broken", "OSError: libboard.so is missing"), ("Deadly", "the measuring process ended with exit code 7")],
    )
    @pytest.mark.parametrize("metric", ["latency_ms", "peak_memory_mib"])
    def test_one_that_fails_where_it_measures_is_no_models_fault(
        self, tmp_path: Path, metric: str, runtime: str, reason: str
    ) -> None:
        """It ends the run, because no model could be measured."""
        bench = DeviceBench(Target(f"own_runtime:{runtime}"), QUICK)
        with pytest.raises(TargetError, match=f"own_runtime:{runtime}:.* cannot be measured here: {reason}"):
            bench.measure(models_of(tmp_path, {"a": "be quick"}), [metric], np.random.default_rng(0))


class TestFailures:
    def test_spoil_nothing(self, tmp_path: Path) -> None:
        """A model that hangs, kills its process, raises or is refused fails alone, and once."""
        deeds = {"h": "hang", "a": "take 1", "d": "die", "r": "raise", "n": "refuse", "b": "take 1", "p": "print"}
        settings = BenchSettings(rounds=2, seconds_per_round=0.02, min_samples=3, timeout_s=1.0)
        hung, first, dead, raised, refused, second, printed = measure(
            models_of(tmp_path, deeds), *EVERYTHING, settings=settings
        )
        assert failure_of(hung) == (
            "timeout",
            "the measuring process must answer within 1 s, but did not; it was ended.",
        )
        assert failure_of(dead) == ("measure", "the measuring process ended with exit code -9 before it answered.")
        assert failure_of(raised) == (
            "measure",
            "own_runtime:Acting refused the model: RuntimeError: out of registers",
        )
        assert failure_of(refused) == (
            "measure",
            "own_runtime:Acting refused the model: ValueError: not a model of mine",
        )
        for outcome in (first, second, printed):
            assert isinstance(outcome, dict)
            assert set(outcome) == set(EVERYTHING)
        opened = (tmp_path / "opened.txt").read_text().split()
        assert [opened.count(name) for name in "hdrn"] == [1, 1, 1, 1]

    def test_of_memory_alone_are_failures_too(self, tmp_path: Path) -> None:
        """Each memory reading has a process of its own, which may die as well."""
        dead, fine = measure(models_of(tmp_path, {"d": "die", "a": "take 1"}), "peak_memory_mib")
        assert failure_of(dead)[0] == "measure"
        assert isinstance(fine, dict)
        assert fine["peak_memory_mib"].median > 0


class TestRounds:
    def test_are_interleaved_in_an_order_that_the_generator_decides(self, tmp_path: Path) -> None:
        """Each round has every model once, in a session of its own, and the same generator gives the same order."""
        orders = []
        for number, seed in enumerate((0, 0, 1)):
            folder = tmp_path / str(number)
            folder.mkdir()
            settings = BenchSettings(rounds=3, seconds_per_round=0.001, min_samples=1)
            measure(models_of(folder, dict.fromkeys("abcdef", "take 0.1")), settings=settings, seed=seed)
            orders.append((folder / "opened.txt").read_text().split())
        first, same, other = orders
        assert first == same != other
        rounds = [first[start : start + 6] for start in (0, 6, 12)]
        assert all(sorted(order) == list("abcdef") for order in rounds)
        assert len({tuple(order) for order in rounds}) == 3

    def test_advance_with_each_model(self, tmp_path: Path) -> None:
        """Failed ones count too, so that progress comes to its end."""
        steps: list[None] = []
        models = models_of(tmp_path, {"a": "take 0.1", "r": "refuse"})
        measure(models, advance=lambda: steps.append(None))
        assert len(steps) == len(models) * DeviceBench(ACTING, QUICK).rounds

    def test_have_enough_samples(self, tmp_path: Path) -> None:
        """Samples of 15 ms come at least ``min_samples`` times; short inferences are gathered into longer samples."""
        slow, quick = measure(models_of(tmp_path, {"s": "take 15", "q": "take 0"}))
        assert [len(samples) for samples in latency_of(slow).rounds] == [QUICK.min_samples] * QUICK.rounds
        assert 15 <= latency_of(slow).median < 100
        assert latency_of(slow).conditions["inferences_per_sample"] == 1
        assert latency_of(quick).conditions["inferences_per_sample"] > 1

    def test_under_pressure_are_repeated_and_then_flagged(self, tmp_path: Path) -> None:
        """A machine that is busy once is given time; one that stays busy leaves a doubt that a reader sees."""
        deeds = {"b": "busy", "o": "busy at first", "q": "take 1"}
        busy, once, quiet = (latency_of(outcome) for outcome in measure(models_of(tmp_path, deeds)))
        assert busy.flags == ("the machine was busy with other work while this was measured",)
        assert once.flags == quiet.flags == ()
        opened = (tmp_path / "opened.txt").read_text().split()
        assert opened.count("b") == QUICK.rounds * (1 + ROUND_REPEATS)
        assert opened.count("o") == QUICK.rounds + 1
        assert opened.count("q") == QUICK.rounds
        assert len(busy.rounds) == len(quiet.rounds) == QUICK.rounds


def test_no_models_and_no_metrics_give_nothing(tmp_path: Path) -> None:
    """Neither is an error."""
    assert measure([], *EVERYTHING) == []
    assert DeviceBench(ACTING, QUICK).measure(models_of(tmp_path, {"a": "hang"}), [], np.random.default_rng(0)) == [{}]
