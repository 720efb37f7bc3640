"""Several targets on one front: each measures, is predicted and limits, and its metrics have its name before them."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from acting_bench import ActingBench
from commands import evaluations_of
from fake_bench import FakeBench, FakeClock, latency_ms
from quick_runs import EXPORT, Diary, Stopping, write_any_model
from two_targets import PI, QUICK, Wide, on_pi_ms, search, tools

import nas
from nas.errors import RecipeError, TargetError
from nas.prediction.measured_run import device_of_run, recipe_of_run
from nas.reports.analysis.architecture_values import known_of
from nas.reports.analysis.runs import runs_of
from nas.reports.analysis.targets import comparisons_of_targets
from nas.searching.instruments import Instruments
from nas.space.first_look import LookHere
from nas.storage.journal import read_rows
from nas.storage.journal_rows import BenchUsed, Fit
from nas.values.target import Target


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished search on two targets."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EXPORT, write_any_model)
        patch.setenv("NAS_HOME", str(runs / "home"))
        search(runs, measuring={**QUICK["measuring"], "sustain_winners": True})
    return runs / "run"


@pytest.mark.slow
def test_winners_and_candidates_are_measured_on_each_target(run: Path) -> None:
    """All are within the limits of both, also where that was only predicted before a training."""
    for stage in ("measure", "winner"):
        for row in evaluations_of(run, stage):
            assert row.measurements["latency_ms"].median == pytest.approx(latency_ms(row.architecture), rel=0.05)
            assert row.measurements["pi/latency_ms"].median == pytest.approx(on_pi_ms(row.architecture), rel=0.05)
            assert row.measurements["pi/latency_ms"].target == PI
    assert all(6 <= row.architecture["width"] <= 17 for row in evaluations_of(run, "train"))
    front = nas.load_run(run).front
    assert len(front) > 0
    assert all(winner.meets(front.limits) for winner in front)
    assert len(read_rows(run, BenchUsed)) == 1


def test_each_target_has_a_predictor_of_its_own(run: Path) -> None:
    """It learns from the measurements of its target, and predicts what its bench would tell."""
    assert {fit.metric for fit in read_rows(run, Fit)} == {"latency_ms", "pi/latency_ms"}
    guesses = [row for row in evaluations_of(run, "measure") if row.predicted]
    assert guesses
    for row in guesses:
        assert row.predicted["latency_ms"].mean == pytest.approx(latency_ms(row.architecture), rel=0.3)
        assert row.predicted["pi/latency_ms"].mean == pytest.approx(on_pi_ms(row.architecture), rel=0.3)


def test_python_knows_the_metrics_of_each_target(run: Path) -> None:
    """Winners and fronts take limits on it; a target that the run has not is an error, not an empty front."""
    front = nas.load_run(run).front
    winner = front[0]
    here, there = latency_ms(winner.architecture), on_pi_ms(winner.architecture)
    assert winner.value("pi/latency_ms") == pytest.approx(there, rel=0.05)
    assert winner.meets([f"pi/latency_ms <= {1.2 * there}ms", "latency_ms <= 1s"])
    assert not winner.meets([f"pi/latency_ms <= {1.2 * there}ms", "latency_ms <= 1us"])
    for target, value in (("pi", there), ("pi/onnxruntime-cpu:int8", there), ("onnxruntime-cpu", here)):
        assert winner.meets(f"{target}/latency_ms <= {1.2 * value}ms")
        assert not winner.meets(f"{target}/latency_ms <= {0.8 * value}ms")
    assert len(front.within("pi/latency_ms <= 1s")) == len(front)
    assert len(front.within("pi/throughput_per_s >= 10000")) == 0
    assert 0 <= winner.value("pi/error") <= 1
    for target in ("pi", "pi/onnxruntime-cpu:int8", "onnxruntime-cpu"):
        assert len(front.within(f"{target}/error <= 100%")) == len(front)
        assert len(front.within(f"{target}/error <= 0%")) == 0
    assert winner.value("onnxruntime-cpu/error") == winner.test_error
    doubted = {name: replace(each, flags=("busy",)) for name, each in winner.measurements.items()}
    assert replace(winner, measurements=doubted).doubts == ("busy", "on pi: busy")
    assert "pi/latency_ms" in front.to_dataframe().columns
    assert front.plot("pi/latency_ms")
    with pytest.raises(RecipeError, match=r"a further target of the run, but .* has pi, and got 'pie/latency_ms <="):
        front.within("pie/latency_ms <= 1ms")


def test_exports_have_the_metrics_of_each_target(run: Path, tmp_path: Path) -> None:
    """The table, the document and the study name them as limits do, with their units."""
    done = nas.load_run(run)
    done.export("csv", tmp_path / "run.csv")
    with (tmp_path / "run.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert {"latency_ms", "pi/latency_ms", "predicted_pi/latency_ms", "test_pi/error"} <= rows[0].keys()
    done.export("json", tmp_path / "run.json")
    document = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert document["units"]["pi/latency_ms"] == "ms"
    assert any("pi/latency_ms" in each["measured"] for each in document["architectures"])
    winners = nas.load_run(run).front.to_json()["winners"]
    assert all("pi/latency_ms" in winner["measured"] and winner["meets_limits"] for winner in winners)


def test_the_report_compares_the_targets(run: Path) -> None:
    """It tells how ranks differ, and each winner's latency on either target."""
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Targets side by side" in page
    assert "They rank them with a Spearman correlation of -1.00" in page
    assert "Latency on pi" in page
    assert "Accuracy on pi, test" in page
    assert "Error on pi, test" not in page
    notes = [note for notes in nas.load_run(run).front.notes for note in notes]
    assert [
        note for note in notes if re.search(r" is the fastest on pi, with .* ms, but number 2 of 2 on the first", note)
    ]
    text = repr(nas.load_run(run))
    assert "pi/onnxruntime-cpu:int8" in nas.load_run(run).target
    assert "on pi" in text


def test_a_report_of_several_runs_says_whose_targets_it_compares(run: Path) -> None:
    """One run needs no label. Where the precision is a choice, the first target's says so."""
    done = nas.load_run(run)
    known = known_of(done.records)
    for count, first, second in ((1, "onnxruntime-cpu", "pi"), (2, "b: onnxruntime-cpu", "b: pi")):
        found = runs_of([done] * count, ["a", "b"][:count], [known] * count)["groups"][-1]["comparisons"]
        assert (found[-1]["first"], found[-1]["second"]) == (first, second)
    targets = ["onnxruntime-cpu:int8", "onnxruntime-cpu:fp32"]
    there = {"pi/latency_ms": SimpleNamespace(target=PI)}
    rows = [SimpleNamespace(measurements={"latency_ms": SimpleNamespace(target=each), **there}) for each in targets]
    chosen, *_ = comparisons_of_targets(SimpleNamespace(rows=rows, objectives=done.objectives), known)
    assert chosen["first"] == "onnxruntime-cpu in fp32 or int8"


def test_a_bundle_holds_the_file_of_each_target(run: Path) -> None:
    """Its description names the target, the file and the test error there."""
    for winner in nas.load_run(run).front:
        assert winner.bundle is not None
        about = json.loads((winner.bundle / "architecture.json").read_text(encoding="utf-8"))
        there = about["elsewhere"]["pi"]
        assert there["target"] == PI
        assert (winner.bundle / there["deployed"]).is_file()
        card = (winner.bundle / "model_card.md").read_text(encoding="utf-8")
        assert f"For `{PI}` it is `{there['deployed']}`." in card
        accuracy = f"| accuracy on pi | {100 * (1 - there['test_error'][0]):.2f} % |"
        assert card.index(accuracy) < card.index(f"On `{about['target']}`:") < card.index(f"On `{PI}`:")
        assert card.count("| latency |") == 2
        assert there["test_error"][0] == winner.value("pi/error")


def test_drift_on_a_further_target_is_against_what_was_measured_there(run: Path) -> None:
    """It measures the file for that target, and checks the limits of that target alone."""
    then = {winner.architecture.id: winner.value("pi/latency_ms") for winner in nas.load_run(run).front}
    for factor, moved in ((1.0, False), (2.5, True)):
        bench = ActingBench(lambda path, factor=factor: factor * then[path.parent.name])  # type: ignore[misc]
        found = nas.drift(run, target=PI, effort=nas.Effort(bench=bench), progress=None)
        assert [winner.has_moved for winner in found.winners] == [moved] * len(then)
        assert found.to_json()["recorded_on"] == []
        assert not bench.deployed
    assert {str(limit) for winner in found.winners for limit in winner.breaks} == {"pi/latency_ms <= 80ms"}


def test_a_predictor_s_report_is_on_the_target_that_its_metric_names(run: Path) -> None:
    """It takes the values, the limits and the sources of that target."""
    signature = nas.image_signature((1, 8, 8), 10)
    recipe, look = recipe_of_run(run, print), LookHere(Wide(), signature)
    for metric, target, value, limit in (
        ("pi/latency_ms", PI, on_pi_ms, "latency_ms <= 80ms"),
        ("latency_ms", "onnxruntime-cpu:fp32:batch=1:threads=1", latency_ms, "latency_ms <= 2.5ms"),
    ):
        device = device_of_run(run, recipe, Wide(), look, signature, [metric], 0)
        assert device.target == target
        assert list(map(str, device.limits)) == [limit]
        for architecture, found in device.values["latency_ms"].items():
            assert found == pytest.approx(value(architecture), rel=0.05)
    with pytest.raises(RecipeError, match="a report is on one target, but got latency_ms and pi/latency_ms"):
        device_of_run(run, recipe, Wide(), look, signature, ["latency_ms", "pi/latency_ms"], 0)


class Recording(ActingBench):
    """A bench that remembers by which metrics it was to measure."""

    asked: tuple[str, ...] = ()

    def can_measure(self, metric: str) -> bool:
        self.asked += (metric,)
        return super().can_measure(metric)


def drifted(run: Path, there: float | None = 1.0, **effort: Any) -> tuple[nas.Drift, Recording]:
    """Measure a run's winners again, on the board ``there`` times as slow as then; it may be out of reach."""
    winners = {winner.architecture.id: winner for winner in nas.load_run(run).front}
    here = Recording(lambda path: winners[path.parent.name].value("latency_ms"))
    board = ActingBench(lambda path: (there or 0) * winners[path.parent.name].value("pi/latency_ms"))

    def opened(target: Target) -> ActingBench:
        if target == Target.parse(PI) and there is None:
            raise TargetError("pi does not answer")
        return board if target == Target.parse(PI) else here

    return nas.drift(run, effort=nas.Effort(bench=opened, **effort), progress=None), here


def test_drift_is_measured_on_all_targets(run: Path) -> None:
    """A limit of the board is checked too, and its values have its name. One out of reach is told."""
    found, _ = drifted(run)
    assert not found.breaks
    assert not found.failed
    assert found.target.endswith(f" and {PI}")
    assert all(list(winner.moved) == ["latency_ms", "pi/latency_ms"] for winner in found.winners)
    found, _ = drifted(run, 2.5)
    assert all([str(limit) for limit in winner.breaks] == ["pi/latency_ms <= 80ms"] for winner in found.breaks)
    assert found.breaks
    assert "latency on pi" in repr(found)
    found, _ = drifted(run, None)
    assert all(list(winner.moved) == ["latency_ms"] for winner in found.winners)
    assert len(found.failed) == len(found.winners)
    assert "not measured on pi: pi does not answer" in repr(found)


def test_drift_leaves_out_sustained_latencies_unless_asked(run: Path) -> None:
    """They take minutes each; that they were left out is told."""
    found, bench = drifted(run)
    assert "sustained_latency_ms" not in bench.asked
    assert "Sustained latencies were left out" in repr(found)
    found, bench = drifted(run, sustained=True)
    assert "sustained_latency_ms" in bench.asked
    assert "left out" not in repr(found)


def test_a_bundle_is_verified_on_all_targets(run: Path) -> None:
    """Each is compared with what was measured there, and no metric of one is taken for that of another."""
    winner = nas.load_run(run).front[0]
    assert winner.bundle is not None
    here, board = (Recording(lambda path, name=name: winner.value(name)) for name in ("latency_ms", "pi/latency_ms"))
    effort = nas.Effort(bench=lambda target: board if target == Target.parse(PI) else here)
    verified = nas.verify_bundle(winner.bundle, space=Wide(), effort=effort, progress=None)
    assert verified.is_sound, verified
    assert list(verified.moved) == ["latency_ms", "pi/latency_ms"]
    assert not any(each.is_sure for each in verified.moved.values())
    sound = [check.what for check in verified.checks if check.state == "sound"]
    assert {"measuring again", "measuring again on pi"} < set(sound)
    assert "sustained_latency_ms" not in here.asked
    assert repr(verified).count("Its sustained latency was left out") == 2


@pytest.mark.slow
@pytest.mark.usefixtures("quick_export")
def test_an_interrupted_search_goes_on_on_all_targets(tmp_path: Path) -> None:
    """What both targets measured is not measured again."""
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, progress=Stopping("retraining winners"))
    before = evaluations_of(tmp_path / "run", "measure")
    front = nas.resume(tmp_path / "run", space=Wide(), instruments=tools(), progress=None)
    assert evaluations_of(tmp_path / "run", "measure")[: len(before)] == before
    assert all(winner.meets(front.limits) for winner in front)
    assert len(front) > 0


@pytest.mark.slow
@pytest.mark.usefixtures("quick_export")
def test_measurements_on_other_devices_are_a_source_for_a_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each target learns from those of an earlier search that this one does not measure itself."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("nas.storage.measurement_store.LEAST_OF_A_SOURCE", 5)
    many = {"measuring": {"initial": 24, "per_round": 1}, "trials": 1}
    here = Instruments(
        bench=FakeBench(Wide(), fingerprint="here-1"), looks_apart=False, clock=FakeClock(), stopwatch=FakeClock()
    )
    nas.search(
        {**QUICK, **many, "name": "first", "target": "onnxruntime-cpu", "limits": []},
        space=Wide(),
        runs=tmp_path,
        instruments=here,
        progress=None,
    )
    diary = Diary()
    search(tmp_path, progress=diary)
    assert [
        text for text in diary.news if text.startswith("pi/latency_ms was measured in this space before on other")
    ] == [
        "pi/latency_ms was measured in this space before on other targets: onnxruntime-cpu:fp32:batch=1:threads=1 (16)"
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_export")
def test_a_search_does_not_learn_from_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one target measured of an architecture is unknown for a proposal, so the other does not learn from it."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("nas.storage.measurement_store.LEAST_OF_A_SOURCE", 5)
    diary = Diary()
    search(tmp_path, progress=diary, trials=2)
    assert (tmp_path / "home" / "measurements.db").is_file()
    assert not [text for text in diary.news if "was measured in this space before" in text]


@pytest.mark.usefixtures("quick_export")
def test_solving_knows_the_metrics_of_each_target(run: Path, tmp_path: Path) -> None:
    """Values that the run measured or predicted answer at once; further ones are measured on all targets."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    solved = nas.solve(copy, ["pi/latency_ms <= 70ms"], progress=None)
    assert solved.points
    assert solved.target.endswith(f" and {PI}")
    assert all(point.value("pi/latency_ms") <= 70 for point in solved.points)
    assert [metric.name for metric in solved.costs] == ["latency_ms", "pi/latency_ms"]
    options = {"space": Wide(), "trust": True, "measure": 6, "fresh": True, "instruments": tools(), "progress": None}
    measured = nas.solve(copy, ["pi/latency_ms <= 70ms", "pi/peak_memory_mib <= 4MiB"], **options)
    assert measured.newly_measured > 0
    assert all(point.has("pi/peak_memory_mib") for point in measured.points)


@pytest.mark.usefixtures("quick_export")
def test_what_a_further_target_refuses_is_a_row_that_names_it(tmp_path: Path) -> None:
    """It becomes no winner."""
    front = search(tmp_path, refused=range(9, 26), limits=["pi/latency_ms <= 1s"], trials=2)
    failed = [row for row in evaluations_of(tmp_path / "run", "measure") if row.failed]
    assert failed
    assert all(row.failure.reason == "on pi: the board does not take it" for row in failed if row.failure)
    assert all(winner.architecture["width"] < 9 for winner in front)
