"""A run's winners are measured again: which moved, by how much, and which now break their limit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from acting_bench import ActingBench
from damaged_journals import rows_of_a_run, write_run

import nas
from nas.bundles.measuring import sustained_s_of
from nas.bundles.sources import Source
from nas.errors import CandidateError, JournalError, RecipeError
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.progress import NullProgress
from nas.results.bundle import ABOUT, Bundle
from nas.results.bundled.samples import read_samples, write_samples
from nas.values.measurement import Measurement
from nas.values.target import Target


def recorded(run: Path) -> dict[str, float]:
    return {winner.architecture.id: winner.value("latency_ms") for winner in nas.load_run(run).front}


def drift(run: Path, factor: float | dict[str, float], **more: object) -> nas.Drift:
    """Measure each winner as ``factor`` times as slow as the run did."""
    then = recorded(run)

    def latency_ms(path: Path) -> float:
        name = next(part for part in path.parts[::-1] if part in then)
        return then[name] * (factor if isinstance(factor, float) else factor.get(name, 1.0))

    return nas.drift(run, effort=nas.Effort(bench=ActingBench(latency_ms)), progress=None, **more)  # type: ignore[arg-type]


def test_winners_that_are_as_before_did_not_move(run: Path) -> None:
    found = drift(run, 1.0)
    assert [winner.has_moved for winner in found.winners] == [False, False]
    assert found.breaks == ()
    assert "0 of 2 winners moved, no further limit is broken." in repr(found)
    assert [winner.id for winner in found.winners] == list(recorded(run))


def test_a_winner_that_moved_is_told_with_its_interval(run: Path) -> None:
    """Only that one; and it now breaks the limit, which is told too."""
    then = recorded(run)
    slow = max(then, key=lambda name: then[name])
    found = drift(run, {slow: 2.0})
    moved = {winner.id: winner for winner in found.winners}
    assert [name for name, winner in moved.items() if winner.has_moved] == [slow]
    ratio = moved[slow].moved["latency_ms"].ratio
    assert ratio is not None
    assert ratio.interval.lower < 2 < ratio.interval.upper
    assert "now BREAKS latency ≤ 1.2 ms (up to " in repr(moved[slow])
    assert [winner.id for winner in found.breaks] == [slow]
    assert json.loads(json.dumps(found.to_json()))["winners"]


def test_winners_that_moved_together_have_one_cause(run: Path) -> None:
    found = drift(run, 1.3)
    assert any(text.startswith("All winners moved the same way in latency") for text in found.notes)
    assert not drift(run, 1.0).notes


@pytest.mark.parametrize("target", ["onnxruntime-cpu:int8", "pi/onnxruntime-cpu:int8"])
def test_another_target_deploys_from_bundles(run: Path, target: str) -> None:
    """The form of each is made again, also for a device; the run does not change."""
    before = {path: path.stat().st_mtime_ns for path in (run / "winners").rglob("*")}
    bench = ActingBench()
    found = nas.drift(run, target=target, effort=nas.Effort(bench=bench), progress=None)
    assert found.target == f"{target}:batch=1:threads=1"
    assert bench.target == Target.parse(target)
    assert len(bench.deployed) == 2
    assert {path: path.stat().st_mtime_ns for path in (run / "winners").rglob("*")} == before


def test_each_winner_is_calibrated_on_its_own_items(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles may hold other items, and prepare them in other ways."""
    found: list[float] = []

    class Calibrating(ActingBench):
        def __init__(self, target: Target, settings: object, **more: object) -> None:
            super().__init__()
            self.target = target

        def deploy(
            self,
            models: Sequence[ExportedModel],
            folders: Sequence[Path],
            advance: Callable[[], None] = lambda: None,
        ) -> list[Deployed | CandidateError]:
            found.extend(float(items.mean()) for model in models if model.calibration for items in model.calibration())
            return super().deploy(models, folders, advance)

    monkeypatch.setattr("nas.hardware.pool_bench.DeviceBench", Calibrating)
    bundles = [winner.bundle for winner in nas.load_run(run).front]
    means = []
    for number, bundle in enumerate(bundles):
        assert bundle is not None
        samples = read_samples(bundle)
        assert samples is not None
        write_samples(bundle, replace(samples, calibration=tuple(each // (1 + number) for each in samples.calibration)))
        means.append(float(Source(Bundle.read(bundle)).calibration()[0].mean()))
    nas.drift(run, target="onnxruntime-cpu:int8", progress=None)
    assert found == means
    assert means[0] != means[1]


def test_on_another_target_values_differ_and_nothing_moved(run: Path) -> None:
    """Nobody is sent to look for a cause; the target is it."""
    bench = ActingBench(lambda path: 100.0)
    found = nas.drift(run, target="onnxruntime-cpu:int8", effort=nas.Effort(bench=bench), progress=None)
    title = repr(found).splitlines()[0]
    assert "2 of 2 winners differ from what they are on onnxruntime-cpu:fp32:batch=1:threads=1, " in title
    assert "moved" not in title
    assert "  unlike there, runtime: a → b" in repr(replace(found, circumstances=("runtime: a → b",)))
    assert not any("moved the same way" in note for note in found.notes)
    assert found.to_json()["recorded_on"] == ["onnxruntime-cpu:fp32:batch=1:threads=1"]
    assert drift(run, 1.3).to_json()["recorded_on"] == []


def test_a_winner_that_cannot_be_measured_hides_no_other(run: Path, bundle: Path) -> None:
    """Its file has changed, or its bundle is gone."""
    (bundle / "model.onnx").write_bytes(b"changed")
    found = drift(run, 1.0)
    (failed,) = found.failed
    assert failed.id == bundle.name
    assert f"nas bundle verify {bundle}" in failed.failure
    assert len([winner for winner in found.winners if winner.moved]) == 1
    shutil.rmtree(bundle)
    (failed,) = drift(run, 1.0).failed
    assert ABOUT in failed.failure


def test_a_runtime_of_a_bundle_s_own_runs_only_if_it_is_trusted(run: Path, bundle: Path) -> None:
    """Somebody else may have written the bundle."""
    about = json.loads((bundle / ABOUT).read_text())
    (bundle / ABOUT).write_text(json.dumps({**about, "target": "harmful:Runtime:fp32:batch=1:threads=1"}))
    (failed,) = drift(run, 1.0).failed
    assert "names code of its own, harmful:Runtime, which" in failed.failure
    assert drift(run, 1.0, trust=True).failed == ()


def test_a_runtime_that_refuses_is_told(run: Path) -> None:
    bench = ActingBench(refusal=CandidateError("measure", "it refuses"))
    found = nas.drift(run, effort=nas.Effort(bench=bench), progress=None)
    assert [winner.failure for winner in found.winners] == ["it refuses", "it refuses"]


def test_a_run_without_models_has_no_drift(tmp_path: Path, run: Path) -> None:
    with pytest.raises(JournalError, match="must be the folder of a run"):
        nas.drift(tmp_path / "none")
    with pytest.raises(RecipeError, match="a target starts with"):
        nas.drift(run, target="!", progress=None)
    rows = [row for row in rows_of_a_run() if getattr(row, "stage", "") != "winner"]
    unfinished = write_run(tmp_path / "unfinished", rows)
    with pytest.raises(RecipeError, match=r"needs winners with models, but .* has none yet"):
        nas.drift(unfinished, progress=None)


def test_a_sustained_latency_is_measured_for_as_long_as_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another time of running gives another latency."""
    opened: list[float] = []
    monkeypatch.setattr(
        "nas.hardware.bench_request.bench_on", lambda target, settings, **more: opened.append(settings.sustained_s)
    )
    then = Measurement("sustained_latency_ms", "onnxruntime-cpu", ((1.0,),), {"stated_s": 20.0})
    for recorded in ({}, {"sustained_latency_ms": then}):
        nas.Effort(sustained=True).open(Target.parse("onnxruntime-cpu"), NullProgress(), sustained_s_of([recorded]))
    assert opened == [180.0, 20.0]
