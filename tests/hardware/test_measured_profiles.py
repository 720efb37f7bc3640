"""Latencies that are measured for a predictor get the times of operators, where the bench can profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from fake_bench import FakeBench
from telling import Telling
from tiny_space import TinySpace

from nas.errors import TargetError
from nas.hardware.measuring import Surroundings, measure_architectures
from nas.hardware.runtimes.runtime import Deployed
from nas.space.architecture import Architecture
from nas.space.search_space import architecture_from
from nas.space.signature import image_signature
from nas.values.evaluation import Evaluation
from nas.values.layer_times import LayerTime, LayerTimes
from nas.values.profiled_network import PROFILE, profiled_network


class Profiling(FakeBench):
    """Tells that two operators of each model take a fixed time, or why that is not known of wide ones."""

    profiles_layers = True

    def layer_times(self, models: Sequence[Deployed], advance: Callable[[], None] = lambda: None) -> list[LayerTimes]:
        found = []
        for model in models:
            advance()
            is_wide = self._by_id[model.path.stem]["width"] == 16
            operators = [LayerTime("a", "Conv", 0.25, 256), LayerTime("b", "Gemm", 0.5, 10)]
            found.append(LayerTimes(reason="too wide") if is_wide else LayerTimes.of(operators))
        return found


class Unplugged(FakeBench):
    """Loses its device before it can profile."""

    profiles_layers = True

    def layer_times(self, models: Sequence[Deployed], advance: Callable[[], None] = lambda: None) -> list[LayerTimes]:
        raise TargetError("the board does not answer.")


@pytest.fixture(autouse=True)
def _files_without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the export, because these benches open no files."""
    monkeypatch.setattr(
        "nas.hardware.measuring.export_model",
        lambda module, shape, batch, path, model_format: path.write_bytes(b"model"),
    )


def of_widths(*widths: int) -> list[Architecture]:
    return [architecture_from(TinySpace(), {"width": width, "depth": 1, "kernel": 3}) for width in widths]


def rows(
    bench: FakeBench,
    architectures: Sequence[Architecture],
    metrics: Sequence[str] = ("latency_ms", "weight_bytes"),
    *,
    progress: Telling,
) -> list[Evaluation]:
    surroundings = Surroundings(TinySpace(), bench, image_signature((1, 8, 8), 10), 1)
    rng = np.random.default_rng(0)
    return measure_architectures(surroundings, architectures, metrics, round_number=3, rng=rng, progress=progress)


class TestProfiles:
    def test_are_taken_of_what_was_measured(self) -> None:
        """Each latency gets its own. A model that cannot be profiled keeps its latency, and so does a failed one."""
        progress = Telling()
        narrow, wide = rows(Profiling(TinySpace()), of_widths(4, 16), progress=progress)
        assert progress.stages["profiling 2 models"] == (2, 2)
        profile = profiled_network(narrow.measurements["latency_ms"], narrow.architecture, is_of_run=True)
        assert profile is not None
        assert [(each.kind, each.elements, each.ms) for each in profile.operators] == [
            ("Conv", 256, 0.25),
            ("Gemm", 10, 0.5),
        ]
        assert profile.layers
        assert PROFILE not in wide.measurements["latency_ms"].conditions
        assert wide.failure is None

    def test_are_not_taken_where_latency_is_not_asked_for(self) -> None:
        progress = Telling()
        rows(Profiling(TinySpace()), of_widths(4), ("weight_bytes",), progress=progress)
        assert not [stage for stage in progress.stages if "profiling" in stage]

    def test_are_not_taken_where_the_runtime_has_no_profiler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor where nothing could be measured."""
        progress = Telling()
        monkeypatch.setattr(Profiling, "profiles_layers", False)
        rows(Profiling(TinySpace()), of_widths(4), progress=progress)
        assert not [stage for stage in progress.stages if "profiling" in stage]

    def test_are_optional(self) -> None:
        """A device that is lost in the meantime costs the profiles, and no measurement."""
        progress = Telling()
        (row,) = rows(Unplugged(TinySpace()), of_widths(4), progress=progress)
        assert row.measurements["latency_ms"].median > 0
        assert progress.news == [
            "the predictor learns from no profile, because models could not be profiled: the board does not answer."
        ]
