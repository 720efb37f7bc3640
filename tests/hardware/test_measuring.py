"""Architectures become measured rows; what was measured on the same target before is not measured again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_bench import VALUES, FakeBench
from fault_spaces import Faulty
from tiny_space import TinySpace
from torch import nn

from nas.errors import CandidateError
from nas.hardware.bench import Outcome
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.measuring import KEPT, Surroundings, measure_architectures
from nas.hardware.runtimes.runtime import Deployed
from nas.hardware.target_profile import TargetProfile
from nas.progress import NullProgress
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace, architecture_from, enumerate_space
from nas.storage.measurement_store import MeasurementStore
from nas.values.evaluation import Evaluation
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


class Telling:
    """Keeps what it is told: news, and steps by stage."""

    def __init__(self) -> None:
        self.news: list[str] = []
        self.stages: dict[str, tuple[int | None, int]] = {}

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        self._now = name
        self.stages[name] = (total, 0)

    def advance(self, count: int = 1, best: str | None = None) -> None:
        total, done = self.stages[self._now]
        self.stages[self._now] = (total, done + count)

    def say(self, text: str) -> None:
        self.news.append(text)

    def close(self) -> None:
        """Not kept."""


class Doubting(FakeBench):
    """Flags what it measures of wide networks."""

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
    """Deploys no wide network, and fails to run narrow ones."""

    def deploy(
        self, models: Sequence[Path], folders: Sequence[Path], advance: Callable[[], None] = lambda: None
    ) -> list[Deployed | CandidateError]:
        deployed = super().deploy(models, folders, advance)
        return [
            CandidateError("measure", "too wide for this one") if self._by_id[model.stem]["width"] == 16 else found
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
    """The bench here does not open the files."""
    monkeypatch.setattr(
        "nas.hardware.measuring.export_model",
        lambda module, shape, batch, path, model_format: path.write_bytes(b"model"),
    )


def surroundings_of(bench: FakeBench, folder: Path | None = None, space: SearchSpace | None = None) -> Surroundings:
    store = None if folder is None else MeasurementStore(folder)
    return Surroundings(TinySpace() if space is None else space, bench, SHAPE, 10, 1, store)


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
        """One for each architecture, in their order, whatever the order of measuring."""
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
            "measuring 3 models": (9, 9),
        }

    def test_tell_why_there_is_nothing(self) -> None:
        """What the runtime does not take is not measured, and what hangs is told so; the others have their numbers."""
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
        """With a store and without: neither building nor tracing ends the others' measurement."""
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
            if folder is not None:  # tracing finds it, which without a store nobody needs
                assert misshapen.failure is not None
                assert misshapen.failure.kind == "build"

    def test_of_nothing_are_none(self) -> None:
        """No architectures take no time."""
        bench = FakeBench(TinySpace())
        assert rows(surroundings_of(bench), []) == []
        assert bench.deployed == []


@pytest.mark.usefixtures("quick_export")
class TestStore:
    def test_spares_the_second_measuring(self, tmp_path: Path) -> None:
        """The very same measurements are given, the bench is not asked, and the rows say where they are from."""
        first = rows(surroundings_of(FakeBench(TinySpace(), fingerprint="print"), tmp_path), of_widths(4, 8))
        bench, progress = FakeBench(TinySpace(), fingerprint="print"), Telling()
        second = rows(surroundings_of(bench, tmp_path), of_widths(4, 8), progress=progress)
        assert [row.measurements for row in second] == [row.measurements for row in first]
        assert [dict(row.details) for row in second] == [{KEPT: True}] * 2
        assert bench.deployed == bench.measured == []
        assert progress.news == ["2 of 2 architectures were measured on this target before"]

    def test_gives_what_it_has_and_the_bench_the_rest(self, tmp_path: Path) -> None:
        """In the order of the architectures; the new ones are kept too."""
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
        """Where one is missing all are measured, so that they are of one session; those not asked for are left out."""
        bench = FakeBench(TinySpace(), fingerprint="print")
        rows(surroundings_of(bench, tmp_path), of_widths(4), ("latency_ms",))
        (wider,) = rows(surroundings_of(bench, tmp_path), of_widths(4), METRICS)
        assert len(bench.measured) == 2
        (narrower,) = rows(surroundings_of(bench, tmp_path), of_widths(4), ("weight_bytes",))
        assert len(bench.measured) == 2
        assert dict(narrower.measurements) == {"weight_bytes": wider.measurements["weight_bytes"]}

    def test_that_is_fresh_refuses_old_ones_and_keeps_new_ones(self, tmp_path: Path) -> None:
        """So that a doubtful figure can be replaced for all."""
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
        """It stands in the row with its doubt, and the next run measures anew."""
        bench = Doubting(TinySpace(), fingerprint="print")
        plain, doubtful = rows(surroundings_of(bench, tmp_path), of_widths(4, 8))
        assert plain.measurements["latency_ms"].flags == ()
        assert doubtful.measurements["latency_ms"].flags == ("the machine was busy",)
        again = FakeBench(TinySpace(), fingerprint="print")
        found = rows(surroundings_of(again, tmp_path), of_widths(4, 8))
        assert again.measured == [doubtful.architecture.id]
        assert [KEPT in row.details for row in found] == [True, False]

    def test_keeps_no_failure(self, tmp_path: Path) -> None:
        """What hung once is tried again."""
        rows(surroundings_of(Refusing(TinySpace(), fingerprint="print"), tmp_path), of_widths(4, 16))
        bench = FakeBench(TinySpace(), fingerprint="print")
        found = rows(surroundings_of(bench, tmp_path), of_widths(4, 16))
        assert len(bench.measured) == 2
        assert not any(row.failed for row in found)

    @pytest.mark.parametrize("fingerprint", ["another", None])
    def test_knows_nothing_of_another_target(self, tmp_path: Path, fingerprint: str | None) -> None:
        """Nor of a bench without a fingerprint, of which nothing is kept either."""
        rows(surroundings_of(FakeBench(TinySpace(), fingerprint="print"), tmp_path), of_widths(4))
        bench = FakeBench(TinySpace(), fingerprint=fingerprint)
        for _ in range(2):
            rows(surroundings_of(bench, tmp_path), of_widths(4))
        assert len(bench.measured) == (2 if fingerprint is None else 1)

    def test_knows_nothing_of_another_input_shape(self, tmp_path: Path) -> None:
        """The same network is slower on larger images; with other classes its last layer is another."""
        space = _AnySize()
        bench = FakeBench(space, fingerprint="print")
        (architecture, *_) = enumerate_space(space)
        for shape, classes in (((1, 8, 8), 10), ((1, 16, 16), 10), ((1, 8, 8), 12)):
            space.classes = classes
            for _ in range(2):
                surroundings = replace(surroundings_of(bench, tmp_path, space), input_shape=shape, classes=classes)
                (row,) = rows(surroundings, [architecture])
                assert row.failure is None
        assert len(bench.measured) == 3

    def test_knows_nothing_of_other_layers(self, tmp_path: Path) -> None:
        """A space whose build depends on something beside its choices gives other models by the same names."""
        space = _AnySize()
        bench = FakeBench(space, fingerprint="print")
        (architecture, *_) = enumerate_space(space)
        for kernel in (3, 3, 5, 3):
            space.kernel = kernel
            rows(surroundings_of(bench, tmp_path, space), [architecture])
        assert len(bench.measured) == 2

    def test_knows_nothing_of_changed_source_code(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An edit of the space's module is another space, though its layers may be the same, until it is undone."""
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
    """One network, whose kernel and classes are no choice."""

    choices = TinySpace.choices

    def __init__(self) -> None:
        self.kernel = 3
        self.classes = 10

    def build(self, architecture: Architecture) -> nn.Module:
        convolution = nn.Conv2d(1, 4, self.kernel, padding=self.kernel // 2)
        return nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, self.classes))


def test_a_real_bench_builds_exports_deploys_and_measures(
    tmp_path: Path, onnx_profile: TargetProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way with ONNX Runtime: a wider network has more weights; the second time nothing is exported."""
    settings = BenchSettings(rounds=2, max_rounds=2, precision=100.0, seconds_per_round=0.01, min_samples=3)
    # flags are the machine's matter: a busy one would keep nothing
    monkeypatch.setattr("nas.hardware.latency_rounds.BUSY_SHARE", float("inf"))
    monkeypatch.setattr("nas.hardware.latency_rounds.MUCH_DRIFT", float("inf"))
    random_state = torch.random.get_rng_state()
    found = []
    for _ in range(2):
        bench = DeviceBench(Target("onnxruntime-cpu"), settings)
        surroundings = Surroundings(TinySpace(), bench, SHAPE, 10, 1, MeasurementStore(tmp_path))
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
    assert [row.measurements for row in again] == [narrow.measurements, wide.measurements]
    assert all(row.details == {KEPT: True} for row in again)
