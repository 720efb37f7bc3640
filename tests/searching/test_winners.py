"""Winners need no energy, and a message says if they only nearly meet the limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from commands import evaluations_of
from fake_bench import VALUES, FakeBench, FakeClock, latency_ms
from fault_spaces import Faulty
from predicted_latency import SOME, measured, predicting
from quick_runs import BASE, Diary, search

import nas
from nas.errors import CandidateError, TargetError
from nas.hardware.bench import Outcome
from nas.hardware.runtimes.runtime import Deployed
from nas.searching.instruments import Instruments
from nas.searching.selection import only_misses
from nas.searching.winners.misses import say_only_misses
from nas.tasks.images.images import Images
from nas.tasks.images.splits import Split
from nas.values.evaluation import Evaluation
from nas.values.layer_times import LayerTime, LayerTimes

pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.mark.slow
@pytest.mark.parametrize(
    "refusal", [CandidateError("energy", "no window was above idle"), TargetError("the meter must update")], ids=str
)
def test_energy_is_optional_for_a_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    """An energy that cannot be measured is left out with a message; all other measurements are kept."""

    class Metered(FakeBench):
        def measure(
            self, models: Sequence[Deployed], metrics: Sequence[str], rng: np.random.Generator, *more: Any
        ) -> list[Outcome]:
            if list(metrics) != ["energy_mj"]:
                return super().measure(models, metrics, rng, *more)
            if isinstance(refusal, CandidateError):
                return [*super().measure(models[:1], metrics, rng, *more), *[refusal] * (len(models) - 1)]
            raise refusal

    monkeypatch.setattr("fake_bench.VALUES", {**VALUES, "energy_mj": latency_ms})
    diary = Diary()
    instruments = Instruments(bench=Metered(Faulty()), looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())
    front = nas.search(BASE, space=Faulty(), runs=tmp_path, progress=diary, instruments=instruments)
    assert len(front) == 2
    assert all({"latency_ms", "weight_bytes"} <= set(winner.measurements) for winner in front)
    metered = sum("energy_mj" in winner.measurements for winner in front)
    assert metered == (1 if isinstance(refusal, CandidateError) else 0)
    assert sum("could not be measured" in text for text in diary.news) == 1


@pytest.mark.slow
def test_winners_alone_are_measured_warm_where_that_is_asked_for(tmp_path: Path) -> None:
    front = search(tmp_path, measuring={**BASE["measuring"], "sustain_winners": True})
    assert all(winner.value("sustained_latency_ms") > winner.value("latency_ms") for winner in front)
    candidates = evaluations_of(tmp_path / "run", "measure")
    assert candidates
    assert all("sustained_latency_ms" not in row.measurements for row in candidates)


@pytest.mark.slow
def test_a_winner_knows_the_error_of_always_answering_the_most_frequent_class(tmp_path: Path, digits: Images) -> None:
    """Winners of the quickest trainings are no better, and the front says that nothing was learned."""
    labels = np.zeros(len(digits.test), dtype=np.int64)
    labels[:100] = 1
    one_class = replace(digits, test=Split(digits.test.images, labels))
    front = search(tmp_path, data=one_class)
    assert {winner.chance_error for winner in front} == {100 / len(labels)}
    assert all(winner.is_near_chance for winner in front)
    assert front.nothing_learned is not None
    assert front.nothing_learned.startswith("Nothing was learned: no winner can be told from always answering")
    read = nas.load_run(front.run_folder).front
    assert read.nothing_learned == front.nothing_learned
    for winner in read:
        assert winner.layer_times is None, "the bench cannot profile"
        assert winner.confusion is not None
        assert list(winner.confusion["names"]) == [str(digit) for digit in range(10)]
        counts_CC = np.array(winner.confusion["counts"])
        assert counts_CC.sum(axis=1).tolist() == [len(labels) - 100, 100, *([0] * 8)]
        assert 1 - np.trace(counts_CC) / len(labels) == pytest.approx(winner.test_error)


PROFILED = LayerTimes.of([LayerTime("first <b>", "Conv", 0.25), LayerTime("second", "Gemm", 0.5)])
BROKEN = LayerTimes(reason="the profiler has no counters.")


@pytest.mark.slow
@pytest.mark.parametrize("answer", [[PROFILED, BROKEN], TargetError("the board is gone")], ids=["told", "no target"])
def test_a_winner_has_its_latency_by_layer_or_the_reason(
    tmp_path: Path, answer: list[LayerTimes] | TargetError
) -> None:
    """Each winner is profiled once, after its measurement, and none is lost if that fails."""
    profiled: list[Path] = []

    class Profiling(FakeBench):
        profiles_layers = True

        def layer_times(self, models: Sequence[Deployed], advance: Callable[[], None]) -> list[LayerTimes]:
            if models[0].path.stem in self._by_id:  # measured for the predictor, and no winner
                return [BROKEN] * len(models)
            profiled.extend(model.path for model in models)
            if isinstance(answer, TargetError):
                raise answer
            return answer

    diary = Diary()
    instruments = Instruments(bench=Profiling(Faulty()), looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())
    front = nas.search(BASE, space=Faulty(), runs=tmp_path, progress=diary, instruments=instruments)
    assert sorted(path.parent.name for path in profiled) == sorted(winner.architecture.id for winner in front)
    read = nas.load_run(front.run_folder).front
    assert [winner.layer_times for winner in read] == [winner.layer_times for winner in front]
    found = [winner.layer_times for winner in read]
    if isinstance(answer, TargetError):
        assert found == [LayerTimes(reason="the board is gone")] * 2
        assert any("could not be profiled: the board is gone" in text for text in diary.news)
    else:
        assert sorted(found, key=repr) == sorted(answer, key=repr)
    assert [each["layer_times"] for each in read.to_json()["winners"]] == [each.to_json() for each in found if each]


@pytest.mark.parametrize("surely", [True, False])
def test_a_message_says_that_winners_are_the_nearest_misses(surely: bool) -> None:
    """The question says nothing; only the command does."""
    latency_ms = 0.5 if surely else 1.5
    rows = [measured(SOME, latency_ms), Evaluation("train", SOME, values={"error": 0.1})]
    beliefs = predicting("latency_ms <= 1ms")
    beliefs.add(*rows)
    diary = Diary()
    state: Any = SimpleNamespace(beliefs=beliefs, progress=diary)
    assert only_misses(beliefs) == (not surely)
    assert diary.news == []
    say_only_misses(state)
    assert diary.news == [
        "no trained candidate surely meets latency_ms <= 1ms as measured; the nearest misses become winners instead."
    ]
