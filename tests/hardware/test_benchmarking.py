"""The bench on this machine with ONNX Runtime: metrics, targets, batches and sizes."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from acting_models import EVERYTHING, QUICK, as_they_are, failure_of, latency_of, measure, models_of
from own_runtime import OPENED
from torch import nn

from nas.errors import RecipeError, TargetError
from nas.formats.export import export_onnx
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.machine import fastest_cores
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes.neighbours import BUSY_SHARE
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.hardware.target_profile import TargetProfile
from nas.space.signature import image_inputs
from nas.values.measurement import THREAD
from nas.values.target import Target

ONNX = Target("onnxruntime-cpu")


class Widened(nn.Module):
    """Two convolutions of a given width, and a number of weights that are read once."""

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
        export_onnx(module, image_inputs((3, 32, 32)), batch, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in made}


class TestOnnxRuntime:
    @pytest.mark.slow
    def test_a_bigger_model_is_slower_larger_and_takes_more_memory(
        self, exported: dict[str, Path], tmp_path: Path
    ) -> None:
        """The bigger model is worse in every metric, and the intervals of the latencies do not overlap."""
        bench = DeviceBench(ONNX, replace(QUICK, rounds=5, max_rounds=5))
        deployed = bench.deploy(
            [ExportedModel(exported[name]) for name in ("small", "big")], [tmp_path / "small", tmp_path / "big"]
        )
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

    @pytest.mark.slow
    def test_a_batch_is_measured_as_a_whole_and_by_the_item(self, exported: dict[str, Path]) -> None:
        """``item_ms`` is the batch's latency over its size, although the reference model has a batch of one."""
        (outcome,) = measure(Target("onnxruntime-cpu", batch=8), [exported["batch"]], "latency_ms", "item_ms")
        assert isinstance(outcome, dict)
        assert outcome["item_ms"].median == pytest.approx(outcome["latency_ms"].median / 8)
        assert outcome["latency_ms"].conditions["input_shape"] == [8, 3, 32, 32]

    @pytest.mark.slow
    def test_the_circumstances_are_noted(self, exported: dict[str, Path]) -> None:
        """The conditions hold all that a reader needs to trust a latency, as plain JSON data."""
        bench = DeviceBench(ONNX, QUICK)  # with its own profile, since one is measured again if it turns out slow
        (outcome,) = bench.measure(as_they_are([exported["small"]]), ("latency_ms",), np.random.default_rng(0))
        conditions = latency_of(outcome).conditions
        assert json.loads(json.dumps(dict(conditions), allow_nan=False)) == conditions
        assert conditions["runtime"].startswith("onnxruntime 1.")
        assert conditions["executed_precision"] == "fp32"
        assert conditions["input_shape"] == [1, 3, 32, 32]
        assert (conditions["threads"], conditions["batch"]) == (1, 1)
        assert conditions["processor"]
        assert conditions["inferences_per_sample"] >= 1
        assert conditions["warm_up_inferences"] >= 5
        assert conditions["reference_ms"] == bench.profile.reference_ms
        assert conditions["peak_macs_per_s"] > 1e6
        assert conditions["bandwidth_bytes_per_s"] > 1e6

    @pytest.mark.slow
    def test_bad_files_have_failed_and_the_others_are_measured(self, exported: dict[str, Path], tmp_path: Path) -> None:
        """Garbage, half a model, a missing file and another batch size each fail with their own reason."""
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
        """Each model gets a new folder, and a folder that exists already raises an error."""
        garbage = tmp_path / "garbage.onnx"
        garbage.write_bytes(b"garbage")
        steps: list[None] = []
        folders = [tmp_path / "a" / "1", tmp_path / "a" / "2"]
        bench = DeviceBench(Target("onnxruntime-cpu", "int8-dynamic"), QUICK)
        bad, good = bench.deploy(
            [ExportedModel(garbage), ExportedModel(exported["small"])], folders, lambda: steps.append(None)
        )
        kind, reason = failure_of(bad)
        assert kind == "measure"
        assert "a model must be an ONNX file, but garbage.onnx is not" in reason
        assert isinstance(good, Deployed)
        assert good.path.is_relative_to(folders[1])
        assert good.file_bytes == good.path.stat().st_size
        assert len(steps) == 2
        with pytest.raises(FileExistsError):
            bench.deploy([ExportedModel(exported["small"])], folders[1:])

    def test_calibration_reaches_the_runtime_where_it_is_needed(
        self, exported: dict[str, Path], tmp_path: Path
    ) -> None:
        """Only int8 loads the calibration images, once for models that share them, and details record their number."""
        asked: list[str] = []

        def images() -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
            asked.append("images")
            return [np.random.default_rng(0).standard_normal((12, 3, 32, 32)).astype(np.float32)]

        for precision, expected in (("fp32", []), ("int8", ["images"])):
            bench = DeviceBench(Target("onnxruntime-cpu", precision), QUICK)
            folders = [tmp_path / f"{precision}-{number}" for number in range(2)]
            found = bench.deploy([ExportedModel(exported["small"], images)] * 2, folders)
            assert asked == expected
        assert all(isinstance(deployed, Deployed) for deployed in found)
        assert [deployed.details for deployed in found] == [{"calibrated_on": "12 training items"}] * 2  # type: ignore[union-attr]

    @pytest.mark.slow
    @pytest.mark.parametrize("together", [3, 1000])
    def test_outputs_are_those_of_the_deployed_model(
        self, together: int, exported: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Outputs are right for any number of images, any batch size and any number of images per request."""
        monkeypatch.setattr("nas.hardware.measuring_process.OUTPUTS_TOGETHER", together)
        images = np.random.default_rng(0).standard_normal((11, 3, 32, 32)).astype(np.float32)
        found = []
        for name, batch in (("small", 1), ("batch", 8)):
            bench = DeviceBench(Target("onnxruntime-cpu", batch=batch), QUICK)
            (deployed,) = bench.deploy([ExportedModel(exported[name])], [tmp_path / name])
            assert isinstance(deployed, Deployed)
            found.append(bench.outputs(deployed, [images]))
        from nas.formats.onnx_session import outputs_of

        assert [outputs.shape for outputs in found] == [(11, 10), (11, 10)]
        np.testing.assert_allclose(found[0], outputs_of(exported["small"], [images]), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[1], outputs_of(exported["batch"], [images]), rtol=1e-4, atol=1e-5)


class TestTargets:
    def test_an_unavailable_one_is_refused_at_once(self) -> None:
        """The error is the runtime's own reason."""
        with pytest.raises(
            TargetError,
            match=r"onnxruntime-cpu runs fp32, int8, int8-dynamic, but .* asks for bf16; write onnxruntime-",
        ):
            DeviceBench(Target.parse("onnxruntime-cpu:bf16"), QUICK)
        with pytest.raises(TargetError, match="own_runtime:Elsewhere:fp32:batch=1:threads=1 needs a board; attach one"):
            DeviceBench(Target("own_runtime:Elsewhere"), QUICK)

    def test_an_unknown_one_is_answered_with_the_nearest(self) -> None:
        """The error suggests the nearest known name."""
        with pytest.raises(RecipeError, match=r"unknown runtime 'onnxruntime'\. Did you mean 'onnxruntime-cpu'"):
            DeviceBench(Target("onnxruntime"), QUICK)

    @pytest.mark.usefixtures("acting")
    @pytest.mark.parametrize(
        ("runtime", "reason"),
        [("Broken", "OSError: libboard.so is missing"), ("Deadly", "the measuring process ended with exit code 7")],
    )
    def test_one_that_fails_where_it_measures_is_no_models_fault(
        self, tmp_path: Path, runtime: str, reason: str
    ) -> None:
        """A runtime that cannot start raises TargetError, both when deploying and when measuring."""
        bench = DeviceBench(Target(f"own_runtime:{runtime}"), QUICK)
        models = models_of(tmp_path, {"a": "take 1"})
        message = f"own_runtime:{runtime}:.* cannot be measured here: {reason}"
        with pytest.raises(TargetError, match=message):
            bench.measure(as_they_are(models), ["latency_ms"], np.random.default_rng(0))
        with pytest.raises(TargetError, match=message):
            bench.deploy(models, [tmp_path / "deployed"])

    @pytest.mark.slow
    def test_batches_share_a_reference_but_no_fingerprint(self, acting: Target) -> None:
        """Two batch sizes share the reference model, but their measurements have different fingerprints."""
        one, eight = (DeviceBench(replace(acting, batch=batch), QUICK) for batch in (1, 8))
        assert one.fingerprint != eight.fingerprint
        assert one.profile.reference == eight.profile.reference
        assert DeviceBench(acting, QUICK).fingerprint == one.fingerprint

    def test_measurements_by_another_reference_are_others(self, acting: Target) -> None:
        """A reference speed that is recorded again changes the fingerprint, because latencies depend on it."""
        bench = DeviceBench(acting, QUICK)
        before = bench.fingerprint
        bench._profile = replace(bench.profile, recorded="2026-01-01T00:00:00+00:00")
        assert bench.fingerprint != before

    def test_a_doubtful_profile_that_becomes_old_in_the_wait_is_not_measured_under_the_lock(
        self, acting: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Measuring it takes the lock again, and would wait for itself for ever."""
        bench = DeviceBench(acting, QUICK)
        bench._profile = replace(bench.profile, doubtful="the machine was busy")

        @contextlib.contextmanager
        def leased(device: LocalDevice, say: object) -> Iterator[None]:
            assert bench._profile_read_s > 0, "the device is held already"
            bench._profile_read_s = -math.inf
            yield

        monkeypatch.setattr(LocalDevice, "leased", leased)
        models = as_they_are(models_of(tmp_path, {"a": "clock 2"}))
        (outcome,) = bench.measure(models, ["latency_ms"], np.random.default_rng(0))
        assert isinstance(outcome, dict)


@pytest.mark.slow
def test_by_the_item_is_by_the_batch(acting: Target, tmp_path: Path) -> None:
    """``item_ms`` is a batch's latency over its size, sample by sample, with the same drift."""
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
    """Sizes are the bytes of all files of a folder, and the runtime's count of weight bytes."""
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
    """Neither no models nor no metrics is an error."""
    bench = DeviceBench(acting, QUICK)
    assert bench.measure([], EVERYTHING, np.random.default_rng(0)) == []
    models = as_they_are(models_of(tmp_path, {"a": "hang"}))
    assert bench.measure(models, [], np.random.default_rng(0)) == [{}]
    assert not (tmp_path / OPENED).exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux alone tells how long a process waited")
def test_work_on_the_measured_core_is_noticed(exported: dict[str, Path]) -> None:
    """Another busy process on the same core raises the measured pressure, and the thread's clock counts."""
    core = fastest_cores(1)[0]
    code = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    busy = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert busy.stdout is not None
        busy.stdout.readline()
        with MeasuringProcess(ONNX, 60.0) as process:
            asked = {"model": str(exported["big"]), "reference": None, "seconds": 0.3, "min_samples": 5}
            reply = process.ask("time", **asked)
    finally:
        busy.kill()
        busy.communicate()
    assert reply["pressure"] > BUSY_SHARE
    assert reply["waited"] > BUSY_SHARE
    assert reply["clock"] == THREAD
    assert len(reply["walls"]) >= len(reply["samples"]) > 0


def test_a_gpus_memory_is_not_taken_for_the_main_one() -> None:
    """Peak memory is refused on a GPU if requested, and left out of the metrics of winners."""
    bench = DeviceBench(ONNX, BenchSettings(), meter={"kind": "none"})
    bench._meter["gpu"] = 0
    assert not bench.can_measure("peak_memory_mib")
    with pytest.raises(TargetError, match="peak_memory_mib measures main memory, not a GPU's memory"):
        bench.check(["latency_ms", "peak_memory_mib"])
    bench.check(["latency_ms"])
