"""Baselines: fitted and measured once beside the winners, compared in words, and never a reason to fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_bench import FakeBench, FakeClock
from made_tables import people
from quick_runs import BASE, Diary
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

import nas
from nas.errors import CandidateError
from nas.results.front import Front
from nas.results.run_folder import load_run
from nas.searching.instruments import Instruments
from nas.space.architecture import Architecture, Choice
from nas.storage.journal import read_rows
from nas.storage.journal_rows import BaselineTested
from nas.tasks.scores import Score
from nas.tasks.tabular.tabular import Tabular
from nas.tasks.task import Baseline
from nas.tasks.testing import recordable
from nas.values.metric import LARGEST_VALUE

NAME = "HistGradientBoosting"


class Narrow:
    """Networks of one hidden layer for tables of numbers."""

    choices = (Choice("width", (2, 3, 4, 5, 6, 8)),)

    def __init__(self, input_shape: tuple[int, ...] = (2,), classes: int = 2) -> None:
        self._columns, self._classes = input_shape[0], classes

    def build(self, architecture: Architecture) -> nn.Module:
        width = int(architecture["width"])
        return nn.Sequential(nn.Linear(self._columns, width), nn.ReLU(), nn.Linear(width, self._classes))


def table() -> Tabular:
    return Tabular.from_frame(people(150)[["age", "hours", "pay"]].fillna({"hours": 40}), target="pay")


def instruments() -> Instruments:
    bench = FakeBench(Narrow())
    bench._by_id[NAME] = Architecture({"width": 8})
    return Instruments(bench=bench, looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())


def search(runs: Path, data: Tabular, diary: Diary | None = None) -> Front:
    return nas.search(BASE, space=Narrow(), data=data, runs=runs, progress=diary, instruments=instruments())


def failing(data: Tabular, fit: Callable[[int], bytes]) -> Tabular:
    """Return the task with a baseline that is fitted by ``fit``."""

    class Failing(Tabular):
        baselines = (Baseline(NAME, "never", fit),)

    return Failing(**vars(data))


@pytest.mark.slow
def test_winners_are_shown_beside_it(tmp_path: Path) -> None:
    """The baseline has a row with its error and latency, and a sentence says if the best winner beats it."""
    front = search(tmp_path, table())
    (row,) = read_rows(tmp_path / "run", BaselineTested)
    value, low, high = row.scores["error"]
    assert low <= value <= high
    assert row.measurements["latency_ms"].median > 0
    (sentence,) = front.compared
    assert NAME in sentence
    assert "latency" in sentence
    assert sentence in str(front).replace("\n", " ")
    assert front.to_json()["baselines"][0]["compared"] == sentence
    assert sentence.split(":")[0] in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_resuming_does_not_repeat_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed after the baseline's row goes on without another."""
    monkeypatch.setattr("nas.searching.state.RunState.end_round", _stop_at_the_end)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, table())
    monkeypatch.undo()
    diary = Diary()
    nas.resume(tmp_path / "run", space=Narrow(), data=table(), progress=diary, instruments=instruments())
    assert len(read_rows(tmp_path / "run", BaselineTested)) == 1
    assert "fitting and testing baselines" not in diary.stages


def _stop_at_the_end(state: object, number: int) -> None:
    if number == 3:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_it_is_fitted_in_as_many_threads_as_a_worker_has(tmp_path: Path) -> None:
    """Of scikit-learn's threads each waits for all others, which takes minutes on a busy machine."""
    seen: list[int] = []

    def fit(_: int) -> bytes:
        seen.extend(each["num_threads"] for each in threadpool_info() if each["user_api"] == "openmp")
        return b""

    with threadpool_limits(2):
        search(tmp_path, failing(table(), fit))
    assert set(seen) == {1}


@pytest.mark.slow
def test_failure_is_told(tmp_path: Path) -> None:
    """A baseline that cannot be fitted becomes a row with the reason; the winners are there all the same."""

    def fit(batch: int) -> bytes:
        raise ValueError("no trees today")

    front = search(tmp_path, failing(table(), fit))
    assert len(front) > 0
    assert "cannot be compared, because it failed: ValueError: no trees today" in front.compared[0]
    assert load_run(tmp_path / "run").baselines[0].failure


@pytest.mark.slow
def test_open_intervals_do_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a test split of one row. The error's bound becomes a number, and other such scores are left out."""
    scores = {"error": Score(0.5, 0.0, math.inf), "unexplained_variance": Score(math.inf, 0.0, math.inf)}
    monkeypatch.setattr("nas.tasks.testing.scores_of", lambda tally, examples: scores)
    search(tmp_path, table())
    (row,) = load_run(tmp_path / "run").baselines
    assert row.scores == {"error": (0.5, 0.0, LARGEST_VALUE)}


def test_scores_that_are_no_numbers_fail() -> None:
    """A deployed model may give NaN on a test item where the exported one did not."""
    with pytest.raises(CandidateError, match=r"the test error must be finite and at most 1e\+30, but was nan"):
        recordable({"error": Score(math.nan, math.nan, math.nan)})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "said"),
    [
        ((0.9, 0.85, 0.95), "beats HistGradientBoosting"),
        ((0.0001, 0.0, 0.0002), "HistGradientBoosting beats the best winner"),
    ],
)
def test_comparison_is_plain(tmp_path: Path, error: tuple[float, float, float], said: str) -> None:
    """Beyond the joint interval the sentence says who is better; within it, that neither is."""
    front = search(tmp_path, table())
    row = replace(front.baselines[0], scores={"error": error})
    assert said in replace(front, baselines=(row,)).compared[0]
    same = front.winners[0].test_error
    row = replace(row, scores={"error": (same, same - 0.1, same + 0.1)})
    assert "nor is it beaten" in replace(front, baselines=(row,)).compared[0]


@pytest.mark.slow
def test_a_baseline_that_breaks_a_limit_is_not_recommended(tmp_path: Path) -> None:
    """It is told that it is better, and which limit it does not meet."""
    front = search(tmp_path, table())
    better = replace(front.baselines[0], scores={"error": (0.0001, 0.0, 0.0002)})
    (free,) = replace(front, baselines=(better,)).compared
    assert free.endswith("Consider that model, or a longer search.")
    limits = (nas.Limit.parse("latency_ms <= 1us"), nas.Limit.parse("error <= 90%"))
    (limited,) = replace(front, baselines=(better,), limits=limits).compared
    assert limited.endswith("But that model does not meet latency ≤ 1 µs.")


@pytest.mark.slow
def test_it_is_measured_on_each_target(tmp_path: Path) -> None:
    """It meets limits on all of them before it is recommended; one that is not known is told."""
    benches = {"fp32": FakeBench(Narrow()), "pi/int8": FakeBench(Narrow())}
    for bench in benches.values():
        bench._by_id[NAME] = Architecture({"width": 8})
    tools = Instruments(benches=benches, looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())
    recipe = {
        **BASE,
        "target": ["onnxruntime-cpu", "pi/onnxruntime-cpu:int8"],
        "limits": ["latency_ms <= 1s", "pi/latency_ms <= 1s"],
    }
    front = nas.search(recipe, space=Narrow(), data=table(), runs=tmp_path, progress=None, instruments=tools)
    (row,) = front.baselines
    assert {"latency_ms", "pi/latency_ms", "pi/peak_memory_mib"} <= row.measurements.keys()
    better = replace(row, scores={"error": (0.0001, 0.0, 0.0002)})
    (met,) = replace(front, baselines=(better,)).compared
    assert met.endswith("Consider that model, or a longer search.")
    (broken,) = replace(front, baselines=(better,), limits=(nas.Limit.parse("pi/latency_ms <= 1us"),)).compared
    assert broken.endswith("But that model does not meet latency on pi ≤ 1 µs.")
    here = {name: found for name, found in row.measurements.items() if "/" not in name}
    refused = replace(better, measurements=here, unmeasured="on pi: no kernel")
    (unknown,) = replace(front, baselines=(refused,)).compared
    assert "It was not measured: on pi: no kernel." in unknown
    assert unknown.endswith("It is not known if that model meets latency on pi ≤ 1 s: measure it before you use it.")


@pytest.mark.slow
def test_training_defaults_of_the_task(tmp_path: Path) -> None:
    """Keys that a recipe leaves out get the task's own defaults, which the run records; keys that it gives stay."""
    data = table()
    search(tmp_path, data)
    recipe = load_run(tmp_path / "run").recipe
    assert recipe.training.epochs == BASE["training"]["epochs"]
    assert recipe.training.batch_size == data.training_defaults["training"]["batch_size"] == 32
    assert recipe.training.learning_rate == data.training_defaults["training"]["learning_rate"]
