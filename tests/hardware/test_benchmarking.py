"""Models are measured together, in processes of their own, and a bad one among them spoils nothing."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from own_runtime import OPENED, REFERENCE_MS, opened, slow_down
from torch import nn

from nas.errors import CandidateError, RecipeError, TargetError
from nas.formats.export import export_onnx
from nas.hardware.bench import Outcome
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.machine import fastest_cores
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes.runtime import Deployed
from nas.hardware.runtimes.worker import WARM_UP_BLOCK, _warm_up
from nas.hardware.target_profile import BUSY_SHARE, ROUND_REPEATS, TargetProfile
from nas.storage.file_lock import take
from nas.storage.home import home
from nas.values.measurement import Measurement
from nas.values.target import Target

ONNX = Target("onnxruntime-cpu")
QUICK = BenchSettings(rounds=2, max_rounds=3, precision=math.inf, seconds_per_round=0.02, min_samples=3, timeout_s=30.0)
"""Two rounds are enough, whatever they say."""
SURE = BenchSettings(rounds=5, max_rounds=15, precision=0.01, seconds_per_round=0.001, min_samples=4, timeout_s=30.0)
EVERYTHING = ("latency_ms", "item_ms", "peak_memory_mib", "model_bytes", "weight_bytes")


@pytest.fixture(autouse=True)
def _as_fast_as_it_was() -> Iterator[None]:
    slow_down(1.0)
    yield
    slow_down(1.0)


def models_of(folder: Path, deeds: Mapping[str, str]) -> list[Path]:
    paths = []
    for name, deed in deeds.items():
        path = folder / f"{name}.txt"
        path.write_text(deed)
        paths.append(path)
    return paths


def as_they_are(models: Sequence[Path]) -> list[Deployed]:
    return [Deployed(model, weight_bytes=10) for model in models]


def measure(
    target: Target,
    models: Sequence[Path],
    *metrics: str,
    settings: BenchSettings = QUICK,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    bench = DeviceBench(target, settings)
    return bench.measure(as_they_are(models), metrics or ("latency_ms",), np.random.default_rng(seed), advance)


def latency_of(outcome: Outcome) -> Measurement:
    assert isinstance(outcome, dict), outcome
    return outcome["latency_ms"]


def failure_of(outcome: Outcome | Deployed) -> tuple[str, str]:
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
def exported_models(tmp_path_factory: pytest.TempPathFactory, onnx_profile: TargetProfile) -> dict[str, Path]:
    """A small and a big model, and the small one for another batch size."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    made = {"small": (Widened(4, 10), 1), "big": (Widened(32, 5_000_000), 1), "batch": (Widened(4, 10), 8)}
    for name, (module, batch) in made.items():
        export_onnx(module, (3, 32, 32), batch, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in made}


class TestOnnxRuntime:
    def test_a_bigger_model_is_slower_larger_and_takes_more_memory(
        self, exported: dict[str, Path], tmp_path: Path
    ) -> None:
        """By every metric, and by latency beyond the intervals."""
        bench = DeviceBench(ONNX, replace(QUICK, rounds=5, max_rounds=5))
        deployed = bench.deploy([exported["small"], exported["big"]], [tmp_path / "small", tmp_path / "big"])
        assert all(isinstance(model, Deployed) for model in deployed)
        small, big = bench.measure(deployed, EVERYTHING, np.random.default_rng(0))
        assert isinstance(small, dict)
        assert isinstance(big, dict)
        for name in EVERYTHING:
            assert (small[name].metric, small[name].target) == (name, str(ONNX))
            assert small[name].median < big[name].median
        assert small["latency_ms"].interval.upper < big["latency_ms"].interval.lower
        assert big["peak_memory_mib"].median > 5_000_000 * 4 / 2**20
        assert big["model_bytes"].median == exported["big"].stat().st_size
        assert 5_000_000 * 4 < big["weight_bytes"].median < big["model_bytes"].median
        assert [len(small[name].rounds) for name in EVERYTHING] == [5, 5, 3, 1, 1]

    def test_a_batch_is_measured_as_a_whole_and_by_the_item(self, exported: dict[str, Path]) -> None:
        """The reference model has a batch of one, whatever the target's is."""
        (outcome,) = measure(Target("onnxruntime-cpu", batch=8), [exported["batch"]], "latency_ms", "item_ms")
        assert isinstance(outcome, dict)
        assert outcome["item_ms"].median == pytest.approx(outcome["latency_ms"].median / 8)
        assert outcome["latency_ms"].conditions["input_shape"] == [8, 3, 32, 32]

    def test_the_circumstances_are_noted(self, exported: dict[str, Path], onnx_profile: TargetProfile) -> None:
        """What a reader has to know to believe a latency, as plain JSON data."""
        (outcome,) = measure(ONNX, [exported["small"]])
        conditions = latency_of(outcome).conditions
        assert json.loads(json.dumps(dict(conditions), allow_nan=False)) == conditions
        assert conditions["runtime"].startswith("onnxruntime 1.")
        assert conditions["executed_precision"] == "fp32"
        assert conditions["input_shape"] == [1, 3, 32, 32]
        assert (conditions["threads"], conditions["batch"]) == (1, 1)
        assert conditions["processor"]
        assert conditions["inferences_per_sample"] >= 1
        assert conditions["warm_up_inferences"] >= 5
        assert conditions["reference_ms"] == onnx_profile.reference_ms
        assert conditions["peak_macs_per_s"] > 1e6
        assert conditions["bandwidth_bytes_per_s"] > 1e6

    def test_bad_files_have_failed_and_the_others_are_measured(self, exported: dict[str, Path], tmp_path: Path) -> None:
        """Garbage, half a model, no file, and a model for another batch size all have a reason of their own."""
        garbage, half = tmp_path / "garbage.onnx", tmp_path / "half.onnx"
        garbage.write_bytes(b"\xff garbage" * 100)
        half.write_bytes(exported["small"].read_bytes()[:-500])
        models = [garbage, exported["small"], half, tmp_path / "none.onnx", exported["batch"]]
        bad, good, *others = measure(ONNX, models, *EVERYTHING)
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
        assert "(8, 3, 32, 32)" in reasons[-1]

    def test_deploying_refuses_the_bad_ones_alone(self, exported: dict[str, Path], tmp_path: Path) -> None:
        """Each model has a new folder of its own, which is made, and one that exists already is an error."""
        garbage = tmp_path / "garbage.onnx"
        garbage.write_bytes(b"garbage")
        steps: list[None] = []
        folders = [tmp_path / "a" / "1", tmp_path / "a" / "2"]
        bench = DeviceBench(Target("onnxruntime-cpu", "int8-dynamic"), QUICK)
        bad, good = bench.deploy([garbage, exported["small"]], folders, lambda: steps.append(None))
        kind, reason = failure_of(bad)
        assert kind == "measure"
        assert "a model must be an ONNX file, but garbage.onnx is not" in reason
        assert isinstance(good, Deployed)
        assert good.path.is_relative_to(folders[1])
        assert good.file_bytes == good.path.stat().st_size
        assert len(steps) == 2
        with pytest.raises(FileExistsError):
            bench.deploy([exported["small"]], folders[1:])

    def test_calibration_reaches_the_runtime_where_it_is_needed(
        self, exported: dict[str, Path], tmp_path: Path
    ) -> None:
        """It is asked for by int8 alone, and noted with what is measured."""
        asked: list[str] = []

        def images() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            asked.append("images")
            return np.random.default_rng(0).standard_normal((12, 3, 32, 32)).astype(np.float32)

        for precision, expected in (("fp32", []), ("int8", ["images"])):
            bench = DeviceBench(Target("onnxruntime-cpu", precision), QUICK, calibration=images)
            (deployed,) = bench.deploy([exported["small"]], [tmp_path / precision])
            assert isinstance(deployed, Deployed)
            assert asked == expected
        assert deployed.details == {"calibrated_on": "12 training images"}

    @pytest.mark.parametrize("together", [3, 1000])
    def test_outputs_are_those_of_the_deployed_model(
        self, together: int, exported: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """For any number of images, whatever the target's batch, and however many are answered at a time."""
        monkeypatch.setattr("nas.hardware.benchmarking.OUTPUTS_TOGETHER", together)
        images = np.random.default_rng(0).standard_normal((11, 3, 32, 32)).astype(np.float32)
        found = []
        for name, batch in (("small", 1), ("batch", 8)):
            bench = DeviceBench(Target("onnxruntime-cpu", batch=batch), QUICK)
            (deployed,) = bench.deploy([exported[name]], [tmp_path / name])
            assert isinstance(deployed, Deployed)
            found.append(bench.outputs(deployed, images))
        from nas.formats.onnx_session import outputs_of

        assert [outputs.shape for outputs in found] == [(11, 10), (11, 10)]
        np.testing.assert_allclose(found[0], outputs_of(exported["small"], images), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[1], outputs_of(exported["batch"], images), rtol=1e-4, atol=1e-5)


class TestTargets:
    def test_an_unavailable_one_is_refused_at_once(self) -> None:
        """With what the runtime says about it."""
        with pytest.raises(
            TargetError,
            match=r"onnxruntime-cpu runs fp32, int8, int8-dynamic, but .* asks for bf16; write onnxruntime-",
        ):
            DeviceBench(Target.parse("onnxruntime-cpu:bf16"), QUICK)
        with pytest.raises(TargetError, match="own_runtime:Elsewhere:fp32:batch=1:threads=1 needs a board; attach one"):
            DeviceBench(Target("own_runtime:Elsewhere"), QUICK)

    def test_an_unknown_one_is_answered_with_the_nearest(self) -> None:
        """As all names are."""
        with pytest.raises(
            RecipeError, match=r"unknown target's runtime 'onnxruntime'\. Did you mean 'onnxruntime-cpu'"
        ):
            DeviceBench(Target("onnxruntime"), QUICK)

    @pytest.mark.usefixtures("acting")
    @pytest.mark.parametrize(
        ("runtime", "reason"),
        [("Broken", "OSError: libboard.so is missing"), ("Deadly", "the measuring process ended with exit code 7")],
    )
    def test_one_that_fails_where_it_measures_is_no_models_fault(
        self, tmp_path: Path, runtime: str, reason: str
    ) -> None:
        """It ends the run, because no model could be measured, and neither deployed."""
        bench = DeviceBench(Target(f"own_runtime:{runtime}"), QUICK)
        models = models_of(tmp_path, {"a": "take 1"})
        message = f"own_runtime:{runtime}:.* cannot be measured here: {reason}"
        with pytest.raises(TargetError, match=message):
            bench.measure(as_they_are(models), ["latency_ms"], np.random.default_rng(0))
        with pytest.raises(TargetError, match=message):
            bench.deploy(models, [tmp_path / "deployed"])

    def test_batches_share_a_reference_but_no_fingerprint(self, acting: Target) -> None:
        """Measurements at two batch sizes never compare; how fast the machine is depends on none."""
        one, eight = (DeviceBench(replace(acting, batch=batch), QUICK) for batch in (1, 8))
        assert one.fingerprint != eight.fingerprint
        assert one.profile.reference == eight.profile.reference
        assert DeviceBench(acting, QUICK).fingerprint == one.fingerprint

    def test_measurements_by_another_reference_are_others(self, acting: Target) -> None:
        """Latencies are corrected to what the reference took; one that is found anew may take more."""
        bench = DeviceBench(acting, QUICK)
        before = bench.fingerprint
        bench._profile = replace(bench.profile, recorded="2026-01-01T00:00:00+00:00")
        assert bench.fingerprint != before


class TestFailures:
    def test_spoil_nothing(self, acting: Target, tmp_path: Path) -> None:
        """A model that hangs, kills its process, raises, is refused or takes too much memory fails alone, and once."""
        deeds = {
            "h": "hang",
            "a": "clock 1",
            "d": "die",
            "r": "raise",
            "n": "refuse",
            "b": "clock 1",
            "p": "print",
            "g": "grow",
        }
        hung, first, dead, raised, refused, second, printed, grown = measure(
            acting, models_of(tmp_path, deeds), *EVERYTHING, settings=replace(QUICK, timeout_s=1.5)
        )
        assert failure_of(hung) == (
            "timeout",
            "the measuring process must answer within 1.5 s, but did not; it was ended.",
        )
        kind, reason = failure_of(dead)
        assert kind == "measure"
        assert reason.startswith("the measuring process ended with exit code -9 (killed, ")
        assert failure_of(raised) == (
            "measure",
            "own_runtime:Acting refused the model: RuntimeError: out of registers",
        )
        assert failure_of(refused) == (
            "measure",
            "own_runtime:Acting refused the model: ValueError: not a model of mine",
        )
        kind, reason = failure_of(grown)
        assert kind == "measure"
        assert "refused the model: " in reason
        assert "MemoryError" in reason
        for outcome in (first, second, printed):
            assert isinstance(outcome, dict)
            assert set(outcome) == set(EVERYTHING)
        names = [name for name, _ in opened(tmp_path)]
        assert [names.count(name) for name in "hdrng"] == [1, 1, 1, 1, 1]

    def test_a_worker_that_is_killed_takes_its_model_alone_with_it(self, acting: Target, tmp_path: Path) -> None:
        """The system may end a process at any time; the next model has a new one."""
        models = models_of(tmp_path, {"a": "clock 1", "w": "wait", "b": "clock 2"})
        os.mkfifo(tmp_path / "waiting")
        killed = threading.Thread(
            target=lambda: os.kill(int((tmp_path / "waiting").read_text()), signal.SIGKILL), daemon=True
        )
        killed.start()
        first, waited, second = measure(acting, models)
        killed.join()
        assert failure_of(waited)[1].startswith("the measuring process ended with exit code -9 ")
        assert latency_of(first).median == pytest.approx(1)
        assert latency_of(second).median == pytest.approx(2)

    def test_of_memory_alone_are_failures_too(self, acting: Target, tmp_path: Path) -> None:
        """Each memory reading has a process of its own, which may die as well."""
        dead, fine = measure(acting, models_of(tmp_path, {"d": "die", "a": "clock 1"}), "peak_memory_mib")
        assert failure_of(dead)[0] == "measure"
        assert isinstance(fine, dict)
        assert fine["peak_memory_mib"].median > 0
        processes = [process for name, process in opened(tmp_path) if name == "a"]
        assert len(set(processes)) == len(processes) == 3

    def test_waiting_for_the_device_is_no_failure(self, acting: Target, tmp_path: Path) -> None:
        """Another measurement holds it for longer than a model may take; the time is not the device's either."""
        bench = DeviceBench(acting, replace(QUICK, timeout_s=1.0))
        assert bench.profile.reference_ms == pytest.approx(REFERENCE_MS)
        held = take(home() / "device.lock")
        given_back = threading.Timer(1.5, held.close)
        before_s, began = bench.device_s, time.monotonic()
        given_back.start()
        (outcome,) = bench.measure(
            as_they_are(models_of(tmp_path, {"a": "clock 1"})), ["latency_ms"], np.random.default_rng(0)
        )
        elapsed_s = time.monotonic() - began
        given_back.join()
        assert latency_of(outcome).median == pytest.approx(1)
        assert elapsed_s > 1.5
        assert 0 < bench.device_s - before_s < elapsed_s - 1.4

    def test_the_device_is_given_back_after_an_error(self, acting: Target, tmp_path: Path) -> None:
        """Whatever a measurement raises, the next one need not wait for ever."""
        bench = DeviceBench(acting, QUICK)

        def stop() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            bench.measure(
                as_they_are(models_of(tmp_path, {"a": "clock 1"})), ["latency_ms"], np.random.default_rng(0), stop
            )
        take(home() / "device.lock").close()


class TestRounds:
    def test_are_interleaved_in_an_order_that_the_generator_decides(self, acting: Target, tmp_path: Path) -> None:
        """Each round has every model once, in a process of its own, and the same generator gives the same order."""
        orders = []
        for number, seed in enumerate((0, 0, 1)):
            folder = tmp_path / str(number)
            folder.mkdir()
            settings = replace(QUICK, rounds=3)
            measure(acting, models_of(folder, dict.fromkeys("abcdef", "clock 1")), settings=settings, seed=seed)
            orders.append([name for name, _ in opened(folder)])
            processes = [process for _, process in opened(folder)]
            rounds = [processes[start : start + 6] for start in (0, 6, 12)]
            assert all(len(set(of_round)) == 1 for of_round in rounds)
            assert len(set(processes)) == 3
        first, same, other = orders
        assert first == same != other
        rounds_of_names = [first[start : start + 6] for start in (0, 6, 12)]
        assert all(sorted(order) == list("abcdef") for order in rounds_of_names)
        assert len({tuple(order) for order in rounds_of_names}) > 1

    def test_advance_with_each_model(self, acting: Target, tmp_path: Path) -> None:
        """Failed ones and those that settle early count too, so that progress comes to its end."""
        steps: list[None] = []
        models = models_of(tmp_path, {"a": "clock 1", "r": "refuse"})
        measure(acting, models, advance=lambda: steps.append(None))
        assert len(steps) == len(models) * DeviceBench(acting, QUICK).rounds

    def test_have_enough_samples(self, acting: Target, tmp_path: Path) -> None:
        """Samples of 15 ms come at least ``min_samples`` times; short inferences are gathered into longer samples."""
        slow, quick = measure(acting, models_of(tmp_path, {"s": "take 15", "q": "do nothing"}))
        # each of the four blocks has as many as are left of three, which is one
        assert [len(samples) for samples in latency_of(slow).rounds] == [4] * QUICK.rounds
        assert 15 <= latency_of(slow).raw_median < 100
        assert latency_of(slow).conditions["inferences_per_sample"] == 1
        assert latency_of(quick).conditions["inferences_per_sample"] > 1

    def test_under_pressure_are_repeated_and_then_flagged(self, acting: Target, tmp_path: Path) -> None:
        """A machine that is busy once is given time; one that stays busy leaves a doubt that a reader sees."""
        deeds = {"b": "busy", "o": "busy at first", "q": "clock 1"}
        busy, once, quiet = (latency_of(outcome) for outcome in measure(acting, models_of(tmp_path, deeds)))
        assert busy.flags == ("the machine was busy with other work while this was measured",)
        assert once.flags == quiet.flags == ()
        names = [name for name, _ in opened(tmp_path)]
        assert names.count("b") == QUICK.rounds * (1 + ROUND_REPEATS)
        assert names.count("o") == QUICK.rounds + 1
        assert names.count("q") == QUICK.rounds
        assert len(busy.rounds) == len(quiet.rounds) == QUICK.rounds

    def test_end_when_the_interval_is_narrow_enough(self, acting: Target, tmp_path: Path) -> None:
        """Each model has as many as it needs; one that is never sure is measured to the end, and flagged."""
        deeds = {"exact": "clock 2", "scattered": "clock 2 0.012", "wild": "clock 2 0.2"}
        exact, scattered, wild = (
            latency_of(outcome) for outcome in measure(acting, models_of(tmp_path, deeds), settings=SURE)
        )
        assert len(exact.rounds) == SURE.rounds
        assert SURE.rounds < len(scattered.rounds) < SURE.max_rounds
        assert len(wild.rounds) == SURE.max_rounds
        assert exact.scatter <= scattered.scatter <= SURE.precision < wild.scatter
        assert exact.flags == scattered.flags == ()
        assert wild.flags == ("the interval is wider than the ±1 % that were asked for, after 15 rounds",)
        assert scattered.interval.lower <= 2 <= scattered.interval.upper


class TestDrift:
    def test_is_taken_out(self, acting: Target, tmp_path: Path) -> None:
        """A machine as a whole 4 % slower than it was when the target's reference was recorded, in the end."""
        models = models_of(tmp_path, {"a": "clock 1", "b": "clock 3"})
        visits = 0

        def advance() -> None:
            nonlocal visits
            visits += 1
            slow_down(1.0 if visits < 6 else 1.04)

        settings = replace(SURE, rounds=6, max_rounds=6, precision=1.0)
        found = [latency_of(outcome) for outcome in measure(acting, models, settings=settings, advance=advance)]
        for measurement, truth in zip(found, (1.0, 3.0), strict=True):
            assert measurement.drifts == pytest.approx((1, 1, 1, 1.04, 1.04, 1.04), abs=2e-3)
            assert measurement.median == pytest.approx(truth, rel=2e-3)
            assert measurement.raw_median == pytest.approx(1.02 * truth, rel=1e-3)
            assert measurement.interval.lower < truth < measurement.interval.upper
            assert measurement.flags == ()

    def test_a_much_slower_machine_gives_nearly_the_same_and_a_doubt(self, acting: Target, tmp_path: Path) -> None:
        """At 1.2 times the time, a latency comes out within 3 % of what it was, and is flagged."""
        models = models_of(tmp_path, {"a": "clock 1 0.005", "b": "clock 3 0.005"})
        settings = replace(SURE, max_rounds=6)
        before = [latency_of(outcome) for outcome in measure(acting, models, settings=settings)]
        slow_down(1.2)
        after = [latency_of(outcome) for outcome in measure(acting, models, settings=settings)]
        for then, now in zip(before, after, strict=True):
            assert not any("slower" in flag for flag in then.flags)
            assert now.median == pytest.approx(then.median, rel=0.03)
            assert now.raw_median == pytest.approx(1.2 * then.median, rel=0.03)
            assert "the machine was slower by 20 % than when the target's reference speed was recorded" in now.flags
            assert now.half_width > 0.05 > then.half_width

    def test_of_one_round_is_not_taken_for_that_of_all(self, acting: Target, tmp_path: Path) -> None:
        """A short disturbance of one visit is that visit's, and moves the median by little."""
        visits = 0

        def advance() -> None:
            nonlocal visits
            visits += 1
            slow_down(1.5 if visits == 4 else 1.0)

        settings = replace(SURE, rounds=8, max_rounds=8, precision=10.0)
        (outcome,) = measure(acting, models_of(tmp_path, {"a": "clock 1"}), settings=settings, advance=advance)
        assert latency_of(outcome).median == pytest.approx(1.0, rel=0.03)
        assert statistics.median(latency_of(outcome).rounds[4]) == pytest.approx(1.5)


def test_by_the_item_is_by_the_batch(acting: Target, tmp_path: Path) -> None:
    """``item_ms`` is a batch's latency over its size, sample by sample; the drift is the same."""
    target = replace(acting, batch=4)
    (outcome,) = measure(target, models_of(tmp_path, {"a": "clock 2 0.01"}), "latency_ms", "item_ms")
    assert isinstance(outcome, dict)
    latency, item = outcome["latency_ms"], outcome["item_ms"]
    assert item.rounds == tuple(tuple(sample / 4 for sample in samples) for samples in latency.rounds)
    assert (item.metric, item.drifts, item.flags) == ("item_ms", latency.drifts, latency.flags)
    (alone,) = measure(target, models_of(tmp_path, {"a": "clock 2"}), "item_ms")
    assert isinstance(alone, dict)
    assert list(alone) == ["item_ms"]


def test_sizes_need_no_process(acting: Target, tmp_path: Path) -> None:
    """The files' bytes, all of a folder's, and the weights' as the runtime counted them."""
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.bin").write_bytes(bytes(70))
    (folder / "inner" / "b.bin").write_bytes(bytes(30))
    bench = DeviceBench(acting, QUICK)
    (outcome,) = bench.measure([Deployed(folder, 64)], ["model_bytes", "weight_bytes"], np.random.default_rng(0))
    assert isinstance(outcome, dict)
    assert {name: found.rounds for name, found in outcome.items()} == {
        "model_bytes": ((100.0,),),
        "weight_bytes": ((64.0,),),
    }


def test_no_models_and_no_metrics_give_nothing(acting: Target, tmp_path: Path) -> None:
    """Neither is an error."""
    bench = DeviceBench(acting, QUICK)
    assert bench.measure([], EVERYTHING, np.random.default_rng(0)) == []
    models = as_they_are(models_of(tmp_path, {"a": "hang"}))
    assert bench.measure(models, [], np.random.default_rng(0)) == [{}]
    assert not (tmp_path / OPENED).exists()


@pytest.mark.parametrize(("rounds", "max_rounds"), [(1, 5), (5, 4)])
def test_settings_without_an_interval_are_refused(rounds: int, max_rounds: int) -> None:
    """One round has no spread, and the most cannot be less than the least."""
    with pytest.raises(ValueError, match=f"rounds must be at least 2 and at most max_rounds, got {rounds} of"):
        BenchSettings(rounds=rounds, max_rounds=max_rounds)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux alone tells how long a process waited")
def test_work_on_the_measured_core_is_noticed(exported: dict[str, Path]) -> None:
    """Two busy processes on one core take turns, and the one that measures says so."""
    core = fastest_cores(1)[0]
    code = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    busy = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert busy.stdout is not None
        busy.stdout.readline()
        with MeasuringProcess(ONNX, 60.0) as process:
            asked = {"model": str(exported["big"]), "reference": None, "seconds": 0.3, "min_samples": 5}
            shared = process.ask("time", **asked)["pressure"]
    finally:
        busy.kill()
        busy.communicate()
    assert shared > BUSY_SHARE


def test_warm_up_ends_when_inferences_have_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks one after the other are alike, at the earliest; one that gets quicker for long takes longer."""
    now_s = [0.0]
    monkeypatch.setattr("nas.hardware.runtimes.worker.time.perf_counter", lambda: now_s[0])

    def warmed_up(times_s: Iterable[float]) -> tuple[int, float]:
        times = iter(times_s)

        class Session:
            def run(self) -> None:
                now_s[0] += next(times)

            def conditions(self) -> dict[str, object]:
                return {}

        return _warm_up(Session())

    assert warmed_up(itertools.repeat(2e-3)) == (2 * WARM_UP_BLOCK, pytest.approx(2e-3))
    falling = [0.02 * 0.8**block for block in range(6) for _ in range(WARM_UP_BLOCK)]
    assert warmed_up([*falling, *[5e-3] * 100]) == (8 * WARM_UP_BLOCK, pytest.approx(5e-3))
    assert warmed_up(itertools.repeat(3.0)) == (WARM_UP_BLOCK, pytest.approx(3.0)), "but it has its time"


def test_a_gpus_memory_is_not_taken_for_the_main_one() -> None:
    """It is refused where it is asked for, and left out of what winners are measured by."""
    bench = DeviceBench(ONNX, BenchSettings(), meter={"kind": "none"})
    bench._meter["gpu"] = 0
    assert not bench.can_measure("peak_memory_mib")
    with pytest.raises(TargetError, match="peak_memory_mib is of the main memory, which says nothing of a GPU's"):
        bench.check(["latency_ms", "peak_memory_mib"])
    bench.check(["latency_ms"])
