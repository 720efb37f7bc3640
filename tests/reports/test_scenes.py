"""Scenes of a run: which values they show, and what is said where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from exported_runs import awkward_runs, whole
from made_rows import made_run, trained

from nas.errors import RecipeError
from nas.reports.drawing.scenes import KINDS, PlotRequest, scene_of, terminal_scene
from nas.results.plots.scene import Axis, Mark, Scene, axis_of, spread_of, ticks_of
from nas.values.error_words import OF_IMAGES
from nas.values.evaluation import TRAINED_AS, Evaluation
from nas.values.metric import METRICS
from nas.values.objective import Limit

AWKWARD = sorted(awkward_runs(Path("runs/x")))


def marks(scene: Scene, role: str) -> list[Mark]:
    return [mark for each in scene.series if each.role == role for mark in each.marks]


def test_the_front_has_the_journals_values_in_the_units_of_its_axes(tmp_path: Path) -> None:
    """Winners have intervals; what was only predicted is told from what was measured."""
    run = whole(tmp_path)
    scene = scene_of(run, PlotRequest())
    assert (scene.x.label, scene.y.label) == ("Latency, µs", "Test error, %")
    drawn = {mark.name: mark for role in ("front", "winner") for mark in marks(scene, role)}
    assert set(drawn) == {winner.architecture.id for winner in run.front}
    for winner, on_front in zip(run.front, run.front.on_front, strict=True):
        mark = drawn[winner.architecture.id]
        interval = winner.measurements["latency_ms"].interval
        assert (mark.x, mark.y) == (1000 * winner.value("latency_ms"), 100 * winner.test_error)
        assert mark.x_bounds == (1000 * interval.lower, 1000 * interval.upper)
        assert (mark in marks(scene, "front")) == on_front
    assert not marks(scene, "measured"), "their errors are of the validation split"
    assert "--kind candidates" in scene.notes[0]
    assert scene.limits == (("x", 500.0, "latency ≤ 0.5 ms"),)


def test_candidates_are_drawn_by_what_the_search_saw(tmp_path: Path) -> None:
    """Winners too, so that like is drawn with like; what was only predicted is told from what was measured."""
    run = whole(tmp_path)
    scene = scene_of(run, PlotRequest(kind="candidates"))
    assert (scene.x.label, scene.y.label) == ("Latency, µs", "Validation error, %")
    searched = {
        row.architecture.id: 100 * row.values["error"] for row in run.rows if row.stage == "train" and not row.failed
    }
    drawn = {mark.name: mark for mark in scene.marks}
    assert {winner.architecture.id for winner in run.front} & set(searched) <= set(drawn)
    assert all(mark.y == searched[name] and mark.y_bounds is None for name, mark in drawn.items())
    assert not marks(scene, "line")
    measured = {row.architecture.id for row in run.rows if row.stage == "measure" and not row.failed}
    assert {mark.name for mark in marks(scene, "measured")} <= measured
    assert not {mark.name for mark in marks(scene, "predicted")} & measured
    assert not marks(scene, "stopped")
    assert marks(scene_of(run, PlotRequest(kind="candidates", stopped=True)), "stopped")


def test_a_winner_at_chance_stretches_no_axis(tmp_path: Path) -> None:
    """It is told in place of being drawn; where all learned nothing, all are drawn."""
    run = whole(tmp_path)
    winner = next(each for each in run.rows if each.stage == "winner" and not each.failed)

    def useless(rows: Iterable[Evaluation]) -> tuple[Evaluation, ...]:
        told = {"test_error": 0.9, "test_interval": [0.88, 0.92], "chance_error": 0.9}
        return tuple(replace(row, details={**row.details, **told}) if row in rows else row for row in run.rows)

    one = scene_of(replace(run, rows=useless([winner])), PlotRequest())
    assert winner.architecture.id not in {mark.name for mark in one.marks}
    assert one.left_out == (f"Not drawn, for it learned nothing: {winner.architecture.id} at 10.00 %.",)
    assert max(mark.y for mark in one.marks) < 50
    plot = replace(run, rows=useless([winner])).front.plot().scene
    assert len(list(plot.marks)) < len(list(run.front.plot().scene.marks))
    assert plot.left_out == one.left_out
    every = scene_of(replace(run, rows=useless([row for row in run.rows if row.stage == "winner"])), PlotRequest())
    assert winner.architecture.id in {mark.name for mark in every.marks}
    assert every.left_out == ()
    costs = scene_of(replace(run, rows=useless([winner])), PlotRequest(x="params", y="macs"))
    assert winner.architecture.id in {mark.name for mark in costs.marks}


def test_any_two_metrics_are_drawn(tmp_path: Path) -> None:
    run = whole(tmp_path)
    scene = scene_of(run, PlotRequest(x="params", y="macs", log=("x",)))
    assert (scene.x.label, scene.y.label) == ("Parameters, thousand", "Multiply-accumulates, million")
    assert (scene.x.is_log, scene.y.is_log) == (True, False)
    winner = run.front[0]
    (mark,) = [mark for mark in scene.marks if mark.name == winner.architecture.id]
    assert (mark.x, mark.y) == pytest.approx((winner.value("params") / 1e3, winner.value("macs") / 1e6))
    assert scene_of(run, PlotRequest(x="latency_ms", y="accuracy")).y.title == "Test error"


def test_architectures_that_share_a_training_stand_at_one_evaluation() -> None:
    """So that the plot has as many evaluations as the report."""
    first, other = trained({"a": 1}, 0.2), trained({"a": 2}, 0.3)
    sibling = trained({"a": 1, "precision": "int8"}, 0.1, details={TRAINED_AS: first.architecture.id})
    scene = scene_of(made_run([first, sibling, other]), PlotRequest(kind="search"))
    assert [(mark.x, mark.y) for mark in marks(scene, "measured")] == [(1, 20.0), (1, 10.0), (2, 30.0)]


def test_the_search_has_the_best_so_far(tmp_path: Path) -> None:
    run = whole(tmp_path)
    scene = scene_of(run, PlotRequest(kind="search"))
    rows = [row for row in run.rows if row.stage == "train"]
    full = [100 * row.values["error"] for row in rows if row.reached_full_fidelity]
    assert [mark.y for mark in marks(scene, "measured")] == pytest.approx(full)
    line = [mark.y for mark in marks(scene, "line")]
    assert line[-1] == pytest.approx(min(full))
    assert line == sorted(line, reverse=True)


def test_predictions_are_drawn_against_measurements(tmp_path: Path) -> None:
    scene = scene_of(whole(tmp_path), PlotRequest(kind="predictions"))
    assert scene.x.label.startswith("Predicted latency")
    assert len(marks(scene, "identity")) == 2
    assert marks(scene, "predicted") or marks(scene, "front")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            PlotRequest(kind="fronts"),
            "--kind is one of front, candidates, search, predictions, but got 'fronts'. Did you mean",
        ),
        (PlotRequest(x="latency"), "--x is a metric, but got 'latency'. Did you mean 'latency_ms'"),
        (PlotRequest(log=("z",)), "--log takes x or y, but got 'z'"),
        (
            PlotRequest(x="energy_mj"),
            "there is nothing to plot: No architecture of this run has both a value of ene",
        ),
        (PlotRequest(kind="search", y="latency_ms"), "plots a metric that is trained, but latency_ms is measured"),
        (PlotRequest(kind="predictions", x="energy_mj"), "No prediction of energy was followed by a measurement"),
    ],
)
def test_a_wrong_request_is_one_sentence(request_: PlotRequest, words: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as refusal:
        scene_of(whole(tmp_path), request_)
    assert words in str(refusal.value)


@pytest.mark.parametrize("what", AWKWARD)
@pytest.mark.parametrize("kind", KINDS)
def test_awkward_runs_are_drawn_or_say_why_not(what: str, kind: str, tmp_path: Path) -> None:
    run = awkward_runs(tmp_path)[what]
    scene = KINDS[kind](run, PlotRequest(kind=kind)).drawable()
    assert all(mark.is_drawable(scene.x, scene.y) for mark in scene.marks)
    if scene.is_empty:
        with pytest.raises(RecipeError, match=r"there is nothing to plot: .+"):
            scene_of(run, PlotRequest(kind=kind))


def test_a_run_without_costs_is_drawn_as_its_search(tmp_path: Path) -> None:
    runs = awkward_runs(tmp_path)
    scene = terminal_scene(runs["one objective"])
    assert scene is not None
    assert scene.x.title == "Evaluation"
    assert terminal_scene(runs["empty"]) is None


def test_a_limit_below_everything_stays_off_the_axes(tmp_path: Path) -> None:
    run = replace(whole(tmp_path), limits=(Limit.parse("latency_ms <= 1ns"),))
    assert scene_of(run, PlotRequest()).limits[0][1] == pytest.approx(1e-3)


def test_an_axis_takes_the_unit_that_suits_its_values() -> None:
    labels = {
        "latency_ms": ([0.02, 0.5], "Latency, µs"),
        "model_bytes": ([2e6], "Model size, MB"),
        "params": ([12.0], "Parameters"),
        "energy_mj": ([5e3], "Energy, J"),
        "error": ([0.3], "Error, %"),
        "rmse": ([5e4], "Root mean squared error"),
    }
    for name, (values, label) in labels.items():
        assert axis_of(METRICS[name], OF_IMAGES, values).label == label
    assert axis_of(METRICS["latency_ms"], OF_IMAGES, [0.1, 90.0]).is_log
    assert not axis_of(METRICS["latency_ms"], OF_IMAGES, [0.1, 90.0], is_log=False).is_log


def cases() -> Iterator[tuple[float, float, bool, int]]:
    for low, high in ((0.0, 1.0), (0.3, 0.31), (5.0, 5.0), (1e-6, 2e-6), (1.0, 1e6), (3.0, 4.0)):
        for is_log in (False, True):
            if low > 0 or not is_log:
                for most in (2, 5, 9):
                    yield low, high, is_log, most


@pytest.mark.parametrize(("low", "high", "is_log", "most"), list(cases()))
def test_ticks_are_few_and_within_the_axis(low: float, high: float, is_log: bool, most: int) -> None:
    ticks = ticks_of(low, high, Axis("x", is_log=is_log), most)
    assert 1 <= len(ticks) <= most + 1
    assert ticks == sorted(ticks)
    assert all(low * 0.999999 <= tick <= high * 1.000001 for tick in ticks)


def test_the_ends_of_an_axis_leave_room() -> None:
    assert spread_of([2.0, 100.0], Axis("x")) == (0.0, pytest.approx(105.88))
    low, high = spread_of([2.0, 100.0], Axis("x", is_log=True))
    assert 0 < low < 2 < 100 < high
    assert spread_of([5.0], Axis("x"))[0] < 5 < spread_of([5.0], Axis("x"))[1]
