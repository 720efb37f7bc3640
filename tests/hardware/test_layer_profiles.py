"""The latency by layer: what profilers count, and what a bench makes of it."""

from __future__ import annotations

import datetime
import itertools
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import own_runtime
import pytest
from onnx import helper
from onnx_models import model_of, tensor_info
from openvino_models import available

from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.runtimes import profiles
from nas.hardware.runtimes.onnx_runtime import OnnxRuntimeCpu
from nas.hardware.runtimes.profiles import onnxruntime_times, run_to_profile, typical
from nas.hardware.runtimes.runtime import Deployed
from nas.values.layer_times import LayerTime, LayerTimes
from nas.values.target import Target

HOSTILE = "</script><img src=x onerror=1>\"'&\\\n\x01é"


@pytest.fixture(name="chain")
def chain_of_products(tmp_path: Path) -> Path:
    """A small product whose name is hostile, a nonlinearity without a name, and a product that is much larger."""
    path, sizes = tmp_path / "model.onnx", (8, 8, 2048)
    weights = {f"w{k}": np.full(shape, 0.01, np.float32) for k, shape in enumerate(itertools.pairwise(sizes))}
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"], name=HOSTILE),
        helper.make_node("Erf", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["y"], name="large"),
    ]
    ends = [tensor_info("x", (1, 256, 8))], [tensor_info("y", (1, 256, 2048))]
    onnx.save(model_of(nodes, *ends, weights), path)
    return path


def event(
    name: str, start_us: int, length_us: int, kind: str = "Conv", index: str = "0", outputs: object = None
) -> dict[str, object]:
    """Return an event of ONNX Runtime's profiler."""
    facts = {"op_name": kind, "node_index": index, "output_type_shape": outputs}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start_us, "dur": length_us, "args": facts}


def test_profiling_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick models run as often as there are runs at most; slow ones until the time is over, and at least thrice."""
    now_s = [0.0]
    monkeypatch.setattr(profiles.time, "perf_counter", lambda: now_s[0])
    all_runs = Counter[float]()

    def counted(seconds: float) -> int:
        def run() -> None:
            now_s[0] += seconds
            all_runs[seconds] += 1

        return run_to_profile(run)

    assert [counted(seconds) for seconds in (0.001, 0.24, 9.0)] == [profiles.MOST_RUNS, 5, profiles.LEAST_RUNS]
    assert all_runs == {0.001: profiles.MOST_RUNS + profiles.WARM_UPS, 0.24: 5 + 5, 9.0: profiles.LEAST_RUNS + 1}


def test_whole_microseconds_are_averaged_without_outliers() -> None:
    """Half a microsecond shows in the mean of the middle half, and a run that was disturbed does not."""
    assert typical([2, 3, 2, 3, 2, 3, 2, 900]) == pytest.approx(2.5)
    assert typical([4.0]) == 4.0


def test_events_become_operators_in_order() -> None:
    """Warm-ups and other events do not count; what runs within an operator belongs to it; equal names stay apart."""
    run = [
        event("a", 0, 10, outputs=[{"float": [4, 3, 2, 2]}, {"float": [4, 1]}]),
        event("loop", 10, 40, "Loop", "1", outputs=[]),
        event("inside", 12, 20, "Add", "0"),
        event("a", 50, 30, "Conv", "2", outputs=[{"float": ["batch", 3]}]),
        event("", 80, 2, "Relu", "3"),
        {"cat": "Session", "name": "model_run", "ts": 0, "dur": 90, "args": {}},
    ]
    later = [{**each, "ts": each["ts"] + 1000 * k} for k in (1, 2) for each in run]  # type: ignore[operator]
    slow = [{**each, "dur": 100 * each["dur"], "ts": 100 * each["ts"]} for each in run]  # type: ignore[operator]
    first = [{**each, "ts": each["ts"] - 100_000} for each in slow]
    assert onnxruntime_times([*later, *first], 2, batch=4) == [
        LayerTime("a", "Conv", 0.01, elements=12),
        LayerTime("loop", "Loop", 0.04),
        LayerTime("a", "Conv", 0.03),
        LayerTime("Relu", "Relu", 0.002),
    ]


def test_onnxruntime_tells_the_operators_that_ran(chain: Path) -> None:
    """In their order, with their names as they are; the large product takes most of the time."""
    before = set(Path.cwd().iterdir())
    found = OnnxRuntimeCpu().layer_times(chain, Target("onnxruntime-cpu"))
    assert [layer.kind for layer in found] == ["MatMul", "Erf", "MatMul"]
    assert [found[0].name, found[-1].name] == [HOSTILE, "large"]
    assert found[-1].ms > sum(layer.ms for layer in found[:-1])
    assert [layer.elements for layer in found] == [256 * 8, 256 * 8, 256 * 2048]
    assert set(Path.cwd().iterdir()) == before, "the profile is no file that stays"


def test_openvino_tells_the_nodes_that_ran(chain: Path) -> None:
    """Nodes that were fused into others, or are constant, are left out."""
    runtime = available("fp32")
    profiles = [runtime.layer_times(chain, Target("openvino-cpu")) for _ in range(5)]
    found = profiles[0]
    assert [found[0].name, found[-1].kind] == [HOSTILE, found[0].kind]
    # Other work may lengthen a node in one profile; the shortest of several times is that of the node itself.
    shortest = [min(profile[place].ms for profile in profiles) for place in range(len(found))]
    assert shortest[-1] == max(shortest) > 0
    assert [found[0].elements, found[-1].elements] == [256 * 8, 256 * 2048]
    assert {"Parameter", "Constant", "Result"}.isdisjoint(layer.kind for layer in found)


def test_a_node_may_take_no_time_in_some_inferences(chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO tells a node of less than a microsecond as not run. It still is a node that is executed."""
    pytest.importorskip("openvino")
    from nas.hardware.runtimes.openvino_runtime import OpenVinoSession

    def node(name: str, microseconds: int) -> SimpleNamespace:
        status = SimpleNamespace(name="EXECUTED" if microseconds else "NOT_RUN")
        time = datetime.timedelta(microseconds=microseconds)
        return SimpleNamespace(node_name=name, node_type="Add", status=status, real_time=time)

    inferences = itertools.count()

    class Request:
        def infer(self, *, share_outputs: bool) -> None:
            assert share_outputs

        @property
        def profiling_info(self) -> list[SimpleNamespace]:
            return [node("fused", 0), node("small", next(inferences) % 2), node("large", 5)]

    session = OpenVinoSession(chain, Target("openvino-cpu"), counts_time=True)
    monkeypatch.setattr(session, "_request", Request())
    small, large = session.layer_times()
    assert (small.name, small.ms) == ("small", pytest.approx(0.0005))
    assert (large.name, large.ms) == ("large", pytest.approx(0.005))


class TestBench:
    def test_a_profiler_that_fails_gives_a_reason(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each model has its own answer, also after one that ended the process."""
        monkeypatch.setenv("PYTHONPATH", str(Path(own_runtime.__file__).parent), prepend=os.pathsep)
        deeds = ["take 0", "raise", "die", "strange", "take 1"]
        for number, deed in enumerate(deeds):
            (tmp_path / f"{number}.txt").write_text(deed)
        models = [Deployed(tmp_path / f"{number}.txt", 1) for number in range(len(deeds))]
        steps: list[None] = []
        bench = DeviceBench(Target("own_runtime:Profiling"), BenchSettings())
        first, raised, died, strange, last = bench.layer_times(models, lambda: steps.append(None))
        assert first == last == LayerTimes((LayerTime("first", "Conv", 2.0), LayerTime("second", "Gemm", 1.0)))
        assert "RuntimeError: out of registers" in raised.reason
        assert "the measuring process ended with exit code -9" in died.reason
        assert "ValueError: the time of an operator must be finite and at least 0 ms, but got nan." in strange.reason
        assert len(steps) == len(deeds)

    def test_a_runtime_without_a_profiler_says_so(self, tmp_path: Path) -> None:
        """No process is started for it."""
        found = DeviceBench(Target("own_runtime:Acting"), BenchSettings()).layer_times(
            [Deployed(tmp_path / "none", 1)] * 2
        )
        assert found == [LayerTimes(reason="own_runtime:Acting does not tell how long each operator takes.")] * 2
