"""Architectures become measured rows, and earlier measurements on the same target are reused."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_bench import VALUES, FakeBench
from fault_spaces import Faulty
from telling import Telling
from tiny_space import TinySpace
from torch import nn

from nas.errors import CandidateError
from nas.hardware import measuring
from nas.hardware.bench import Outcome
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings, Latencies
from nas.hardware.measuring import Surroundings, measure_architectures
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.hardware.target_profile import TargetProfile
from nas.prediction.layers.segments import segments_of
from nas.progress import NullProgress
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace, architecture_from, enumerate_space
from nas.space.signature import image_signature
from nas.storage.measurement_store import MeasurementStore
from nas.values.evaluation import KEPT, Evaluation
from nas.values.measurement import Measurement
from nas.values.profiled_network import profiled_network
from nas.values.target import Target

SHAPE = (1, 8, 8)
METRICS = ("latency_ms", "weight_bytes")
SOURCE = """
from torch import nn
from nas.space.architecture import Choice

class Own:
    choices = (Choice("width", (2, 4, 8)),)

    def build(self, architecture):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, architecture["width"]), nn.Linear(architecture["width"], 10))
"""


class Doubting(FakeBench):
    """Flags the measurements of wide networks."""

    def measure(
        self,
        models: Sequence[Deployed],
        metrics: Sequence[str],
        rng: np.random.Generator,
        advance: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        outcomes = super().measure(models, metrics, rng, advance)
        for model, outcome in zip(models, outcomes, strict=True):
            if self._by_id[model.path.stem]["width"] == 8 and isinstance(outcome, dict):
                outcome["latency_ms"] = replace(outcome["latency_ms"], flags=("the machine was busy",))
        return outcomes


class Refusing(FakeBench):
    """Refuses to deploy wide networks, and fails to run narrow ones."""

    def deploy(self, models: Sequence[ExportedModel], *rest: Any) -> list[Deployed | CandidateError]:
        deployed = super().deploy(models, *rest)
        return [
            CandidateError("measure", "too wide for this one") if self._by_id[model.path.stem]["width"] == 16 else found
            for model, found in zip(models, deployed, strict=True)
        ]

    def measure(
        self,
        models: Sequence[Deployed],
        metrics: Sequence[str],
        rng: np.random.Generator,
        advance: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        outcomes = super().measure(models, metrics, rng, advance)
        return [
            CandidateError("timeout", "it hung") if self._by_id[model.path.stem]["width"] == 4 else outcome
            for model, outcome in zip(models, outcomes, strict=True)
        ]


@pytest.fixture(name="quick_export")
def _files_without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the export, because the bench of these tests opens no files."""
    monkeypatch.setattr(
        "nas.hardware.measuring.export_model",
        lambda module, shape, batch, path, model_format: path.write_bytes(b"model"),
    )


def surroundings_of(bench: FakeBench, folder: Path | None = None, space: SearchSpace | None = None) -> Surroundings:
    store = None if folder is None else MeasurementStore(folder)
    return Surroundings(TinySpace() if space is None else space, bench, image_signature(SHAPE, 10), 1, store)


def rows(
    surroundings: Surroundings,
    architectures: Sequence[Architecture],
    metrics: Sequence[str] = METRICS,
    progress: Telling | None = None,
) -> list[Evaluation]:
    return measure_architectures(
        surroundings,
        architectures,
        metrics,
        round_number=3,
        rng=np.random.default_rng(0),
        progress=NullProgress() if progress is None else progress,
    )


def of_widths(*widths: int) -> list[Architecture]:
    return [architecture_from(TinySpace(), {"width": width, "depth": 1, "kernel": 3}) for width in widths]


@pytest.mark.usefixtures("quick_export")
class TestRows:
    def test_hold_what_the_bench_measured(self, tmp_path: Path) -> None:
        """Rows keep the order of the architectures, whatever the order of measuring."""
        progress = Telling()
        bench = FakeBench(TinySpace(), fingerprint="print")
        architectures = of_widths(16, 4, 8)
        found = rows(surroundings_of(bench, tmp_path), architectures, progress=progress)
        assert [row.architecture for row in found] == architectures
        for row in found:
            assert (row.stage, row.round, row.failure, dict(row.details)) == ("measure", 3, None, {})
            assert list(row.measurements) == list(METRICS)
            for name in METRICS:
                assert row.measurements[name].median == pytest.approx(VALUES[name](row.architecture), rel=0.05)
        assert bench.deployed == bench.measured == [architecture.id for architecture in architectures]
        assert progress.news == []
        assert progress.stages == {
            "exporting models": (3, 3),
            "deploying models": (3, 3),
            "sessions of measuring 3 models": (9, 9),
        }

    def test_tell_why_there_is_nothing(self) -> None:
        """Networks that cannot be deployed or run have failed rows, and the others have measurements."""
        bench = Refusing(TinySpace())
        wide, narrow, middle = rows(surroundings_of(bench), of_widths(16, 4, 8))
        assert wide.failure is not None
        assert (wide.failure.kind, wide.failure.reason) == ("measure", "too wide for this one")
        assert narrow.failure is not None
        assert (narrow.failure.kind, narrow.failure.reason) == ("timeout", "it hung")
        assert middle.failure is None
        assert set(middle.measurements) == set(METRICS)
        assert bench.measured == [row.architecture.id for row in (narrow, middle)]

    def test_of_what_cannot_be_built_are_failures(self, tmp_path: Path) -> None:
        """An error in building or tracing fails only its own row, with and without a store."""
        space = Faulty("build shape")
        parts = [
            architecture_from(space, {"width": 4, "depth": 0, "part": part}) for part in ("build", "plain", "shape")
        ]
        for folder in (None, tmp_path):
            bench = FakeBench(space, fingerprint="print")
            unbuilt, plain, misshapen = rows(surroundings_of(bench, folder, space), parts)
            assert unbuilt.failure is not None
            assert "this part cannot be built" in unbuilt.failure.reason
            assert plain.failure is None
            if folder is not None:  # only a run with a store traces, which finds the fault
                assert misshapen.failure is not None
                assert misshapen.failure.kind == "build"

    def test_of_nothing_are_none(self) -> None:
        """No architectures give no rows."""
        bench = FakeBench(TinySpace())
        assert rows(surroundings_of(bench), []) == []
        assert bench.deployed == []


@pytest.mark.usefixtures("quick_export")
class TestStore:
    def test_spares_the_second_measuring(self, tmp_path: Path) -> None:
        """Stored measurements are returned without the bench, and the rows are marked."""
        first = rows(surroundings_of(FakeBench(TinySpace(), fingerprint="print"), tmp_path), of_widths(4, 8))
        bench, progress = FakeBench(TinySpace(), fingerprint="print"), Telling()
        second = rows(surroundings_of(bench, tmp_path), of_widths(4, 8), progress=progress)
        assert [row.measurements for row in second] == [row.measurements for row in first]
        assert [dict(row.details) for row in second] == [{KEPT: True}] * 2
        assert bench.deployed == bench.measured == []
        assert progress.news == ["2 of 2 architectures were measured on this target before"]

    def test_gives_what_it_has_and_the_bench_the_rest(self, tmp_path: Path) -> None:
        """Rows keep the order of the architectures, and new measurements are stored too."""
        rows(surroundings_of(FakeBench(TinySpace(), fingerprint="print"), tmp_path), of_widths(8))
        bench = FakeBench(TinySpace(), fingerprint="print")
        architectures = of_widths(4, 8, 16)
        found = rows(surroundings_of(bench, tmp_path), architectures)
        assert [row.architecture for row in found] == architectures
        assert [KEPT in row.details for row in found] == [False, True, False]
        assert bench.measured == [architectures[0].id, architectures[2].id]
        last = FakeBench(TinySpace(), fingerprint="print")
        assert rows(surroundings_of(last, tmp_path), architectures)[0].measurements == found[0].measurements
        assert last.measured == []

    def test_must_have_all_metrics(self, tmp_path: Path) -> None:
        """If one metric is missing, all are measured again in one session. Extra stored metrics are left out."""
        bench = FakeBench(TinySpace(), fingerprint="print")
        rows(surroundings_of(bench, tmp_path), of_widths(4), ("latency_ms",))
        (wider,) = rows(surroundings_of(bench, tmp_path), of_widths(4), METRICS)
        assert len(bench.measured) == 2
        (narrower,) = rows(surroundings_of(bench, tmp_path), of_widths(4), ("weight_bytes",))
        assert len(bench.measured) == 2
        assert dict(narrower.measurements) == {"weight_bytes": wider.measurements["weight_bytes"]}

    def test_knows_no_sizes_of_files_with_notes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Files of older versions held notes of their exporter. Rows do not tell of it, but the store does."""
        bench, sizes = FakeBench(TinySpace(), fingerprint="print"), ("model_bytes", "weight_bytes")
        with monkeypatch.context() as older:
            older.setattr(measuring, "NOTES", "something_else")
            rows(surroundings_of(bench, tmp_path), of_widths(4), sizes)
        (first,) = rows(surroundings_of(bench, tmp_path), of_widths(4), sizes)
        assert len(bench.measured) == 2
        (second,) = rows(surroundings_of(bench, tmp_path), of_widths(4), sizes)
        assert len(bench.measured) == 2
        assert second.measurements == first.measurements
        assert dict(second.measurements["model_bytes"].conditions) == {}

    def test_that_is_fresh_refuses_old_ones_and_keeps_new_ones(self, tmp_path: Path) -> None:
        """A fresh store replaces a doubtful measurement for later runs."""
        bench = FakeBench(TinySpace(), fingerprint="print")
        (old,) = rows(surroundings_of(bench, tmp_path), of_widths(4))
        fresh = replace(surroundings_of(bench), store=MeasurementStore(tmp_path, fresh=True))
        (new,) = measure_architectures(
            fresh, of_widths(4), METRICS, round_number=0, rng=np.random.default_rng(1), progress=NullProgress()
        )
        assert len(bench.measured) == 2
        assert new.measurements["latency_ms"] != old.measurements["latency_ms"]
        (kept,) = rows(surroundings_of(bench, tmp_path), of_widths(4))
        assert kept.measurements == new.measurements
        assert len(bench.measured) == 2

    def test_keeps_no_flagged_measurement(self, tmp_path: Path) -> None:
        """A flagged measurement stays in its row and is measured again in the next run."""
        bench = Doubting(TinySpace(), fingerprint="print")
        plain, doubtful = rows(surroundings_of(bench, tmp_path), of_widths(4, 8))
        assert plain.measurements["latency_ms"].flags == ()
        assert doubtful.measurements["latency_ms"].flags == ("the machine was busy",)
        again = FakeBench(TinySpace(), fingerprint="print")
        found = rows(surroundings_of(again, tmp_path), of_widths(4, 8))
        assert again.measured == [doubtful.architecture.id]
        assert [KEPT in row.details for row in found] == [True, False]

    def test_keeps_no_failure(self, tmp_path: Path) -> None:
        """A failed measurement is tried again in the next run."""
        rows(surroundings_of(Refusing(TinySpace(), fingerprint="print"), tmp_path), of_widths(4, 16))
        bench = FakeBench(TinySpace(), fingerprint="print")
        found = rows(surroundings_of(bench, tmp_path), of_widths(4, 16))
        assert len(bench.measured) == 2
        assert not any(row.failed for row in found)

    @pytest.mark.parametrize("fingerprint", ["another", None])
    def test_knows_nothing_of_another_target(self, tmp_path: Path, fingerprint: str | None) -> None:
        """Measurements are not shared between targets, and a bench without a fingerprint stores none."""
        rows(surroundings_of(FakeBench(TinySpace(), fingerprint="print"), tmp_path), of_widths(4))
        bench = FakeBench(TinySpace(), fingerprint=fingerprint)
        for _ in range(2):
            rows(surroundings_of(bench, tmp_path), of_widths(4))
        assert len(bench.measured) == (2 if fingerprint is None else 1)

    def test_knows_nothing_of_another_input_shape(self, tmp_path: Path) -> None:
        """Another input shape or number of classes makes another network."""
        space = _AnySize()
        bench = FakeBench(space, fingerprint="print")
        (architecture, *_) = enumerate_space(space)
        for shape, classes in (((1, 8, 8), 10), ((1, 16, 16), 10), ((1, 8, 8), 12)):
            space.classes = classes
            for _ in range(2):
                surroundings = replace(
                    surroundings_of(bench, tmp_path, space), signature=image_signature(shape, classes)
                )
                (row,) = rows(surroundings, [architecture])
                assert row.failure is None
        assert len(bench.measured) == 3

    def test_knows_nothing_of_other_layers(self, tmp_path: Path) -> None:
        """A space that builds other layers for the same choices gives other networks."""
        space = _AnySize()
        bench = FakeBench(space, fingerprint="print")
        (architecture, *_) = enumerate_space(space)
        for kernel in (3, 3, 5, 3):
            space.kernel = kernel
            rows(surroundings_of(bench, tmp_path, space), [architecture])
        assert len(bench.measured) == 2

    def test_knows_nothing_of_changed_source_code(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An edit of the space's module makes other networks, until the edit is undone."""
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        measured = []
        for source in (SOURCE, SOURCE, SOURCE + "# a comment\n", SOURCE):
            (tmp_path / "own_measured_space.py").write_text(source)
            monkeypatch.delitem(sys.modules, "own_measured_space", raising=False)
            importlib.invalidate_caches()
            space = importlib.import_module("own_measured_space").Own()
            bench = FakeBench(space, fingerprint="print")
            rows(surroundings_of(bench, tmp_path, space), [Architecture({"width": 4})], ("latency_ms",))
            measured.append(len(bench.measured))
        assert measured == [1, 0, 1, 0]


class _AnySize:
    """A space whose kernel and classes are no choice."""

    choices = TinySpace.choices

    def __init__(self) -> None:
        self.kernel = 3
        self.classes = 10

    def build(self, architecture: Architecture) -> nn.Module:
        convolution = nn.Conv2d(1, 4, self.kernel, padding=self.kernel // 2)
        return nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, self.classes))


def without_doubts(found: Measurement | CandidateError) -> Measurement | CandidateError:
    return replace(found, flags=()) if isinstance(found, Measurement) else found


@pytest.mark.slow
def test_a_real_bench_builds_exports_deploys_and_measures(
    tmp_path: Path, onnx_profile: TargetProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ONNX Runtime a wider network has more weights, and the second call exports nothing."""
    settings = BenchSettings(rounds=2, max_rounds=2, precision=100.0, seconds_per_round=0.01, min_samples=3)
    # a busy machine adds doubts, and doubtful measurements are not kept
    found_by_rounds = Latencies._result
    monkeypatch.setattr(Latencies, "_result", lambda *of: without_doubts(found_by_rounds(*of)))
    random_state = torch.random.get_rng_state()
    found = []
    for _ in range(2):
        bench = DeviceBench(Target("onnxruntime-cpu"), settings)
        surroundings = Surroundings(TinySpace(), bench, image_signature(SHAPE, 10), 1, MeasurementStore(tmp_path))
        found.append(rows(surroundings, of_widths(4, 16), ("latency_ms", "weight_bytes", "model_bytes")))
        monkeypatch.setattr(
            "nas.hardware.measuring.export_model", lambda *arguments: pytest.fail("it was exported again")
        )
    assert torch.equal(torch.random.get_rng_state(), random_state)
    (narrow, wide), again = found
    assert narrow.failure is wide.failure is None
    assert narrow.measurements["weight_bytes"].median < wide.measurements["weight_bytes"].median
    assert narrow.measurements["weight_bytes"].median < narrow.measurements["model_bytes"].median
    assert narrow.measurements["latency_ms"].conditions["executed_precision"] == "fp32"
    profile = profiled_network(wide.measurements["latency_ms"], wide.architecture, is_of_run=True)
    assert profile is not None
    assert next(layer.kind for layer in profile.layers if layer.macs) == "conv"
    assert sum(segment.ms for segment in segments_of(profile)) == pytest.approx(profile.latency_ms)
    assert [row.measurements for row in again] == [narrow.measurements, wide.measurements]
    assert all(row.details == {KEPT: True} for row in again)
