"""Precision as a choice: one training gives a candidate for each precision, and winners say what theirs costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from commands import evaluations_of
from fake_bench import FakeClock, InAnyPrecision, latency_ms
from quick_runs import BASE, OneChoice, Stopping, instruments
from torch import nn

import nas
from nas.errors import CandidateError, RecipeError, SpaceError, TargetError
from nas.hardware.devices.device import why_not_measured
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.runtimes.runtime import ExportedModel
from nas.results.bundle import Bundle
from nas.results.front import Front
from nas.results.run import funnel_of
from nas.searching.instruments import Instruments
from nas.space.architecture import Architecture, Choice
from nas.space.parts.candidate import PRECISION, SpaceParts, by_training, precision_of
from nas.space.parts.device_parts import with_precisions
from nas.space.search_space import count, enumerate_space
from nas.training.deployed_errors import InPrecisions
from nas.values.evaluation import Evaluation, Stage
from nas.values.target import Target

pytestmark = pytest.mark.usefixtures("quick_export")

QUICK: Mapping[str, Any] = {
    **BASE,
    "precisions": ["fp32", "int8"],
    "trials": 3,
    "rounds": 1,
    "measuring": {"initial": 12},
    "training": {"epochs": 1, "subset": 0.1},
    "retraining": {"epochs": 1, "winners": 2},
}
FASTER, SLOWER = 0.5, 1.5
DEPLOYED = "nas.training.deployed_errors.InPrecisions._by_precision"
"""The method that deploys a trained network and runs it. It takes a second or two."""


class InPrecision(InAnyPrecision):
    """A bench on which everything takes ``factor`` times as long as on ``FakeBench``. It refuses some widths."""

    def __init__(self, factor: float, refused: Sequence[int] = ()) -> None:
        super().__init__(OneChoice(), factor)
        self._refused = refused

    def deploy(self, models: Sequence[ExportedModel], folders: Sequence[Path], *rest: Any) -> list[Any]:
        found = super().deploy(models, folders, *rest)
        widths = [self._by_id[identity]["width"] for identity in self.deployed[-len(models) :]]
        refusal = CandidateError("measure", "this runtime does not take it")
        return [refusal if width in self._refused else each for width, each in zip(widths, found, strict=True)]


def tools(factor: float, refused: Sequence[int] = (), plain: Sequence[int] = ()) -> Instruments:
    """Return instruments on which int8 takes ``factor`` times as long as fp32, which refuses the widths ``plain``."""
    benches = {"fp32": InPrecision(1.0, plain), "int8": InPrecision(factor, refused)}
    return Instruments(benches=benches, looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())


def search(
    runs: Path, factor: float = FASTER, refused: Sequence[int] = (), plain: Sequence[int] = (), **changes: Any
) -> Front:
    given = {key: changes.pop(key) for key in ("progress", "train") if key in changes}
    recipe = {**QUICK, **changes}
    return nas.search(recipe, space=OneChoice(), runs=runs, instruments=tools(factor, refused, plain), **given)


def known_errors(work: InPrecisions, part: Architecture, weights: bytes, names: list[str], seed: int) -> dict[str, Any]:
    """Return a large error that falls with the width, in the place of one by a runtime."""
    assert weights
    assert PRECISION not in part
    return {name: {"error": 0.99 - 0.01 * int(part["width"])} for name in names}


@pytest.fixture
def undeployed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors in other precisions come from ``known_errors``."""
    monkeypatch.setattr(DEPLOYED, known_errors)


def rows_by_precision(run: Path, stage: Stage) -> dict[str, list[Evaluation]]:
    rows = evaluations_of(run, stage)
    return {name: [row for row in rows if row.architecture[PRECISION] == name] for name in ("fp32", "int8")}


@pytest.mark.slow
def test_one_training_gives_a_candidate_for_each_precision(tmp_path: Path) -> None:
    """The budget counts trainings; int8 has an error of its own from the runtime; winners name their precision."""
    front = search(tmp_path, trials=2)
    rows = evaluations_of(tmp_path / "run", "train")
    assert [row.is_shared for row in rows] == [False, True] * 2
    for plain, small in zip(rows[::2], rows[1::2], strict=True):
        assert (precision_of(plain.architecture), precision_of(small.architecture)) == ("fp32", "int8")
        assert plain.architecture["width"] == small.architecture["width"]
        assert small.details["trained_as"] == plain.architecture.id
        assert small.values["modelled_energy_mj"] < plain.values["modelled_energy_mj"]
        assert small.values["error"] == pytest.approx(plain.values["error"], abs=0.2)
    assert rows[0].values["error"] != rows[1].values["error"] or rows[2].values["error"] != rows[3].values["error"]
    assert len(front) > 0
    assert "precision" in repr(front)
    assert "onnxruntime-cpu:int8" in nas.load_run(tmp_path / "run").target
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "was chosen" in report
    counts = {count.stage: count.reached for count in funnel_of(nas.load_run(tmp_path / "run").rows)}
    assert counts["train"] == 2
    solved = nas.solve(tmp_path / "run")
    assert {point.architecture[PRECISION] for point in solved.candidates} == {"fp32", "int8"}
    assert solved.improvements[-1].startswith("The run trained 2 candidates in 1 round,")
    with pytest.raises(RecipeError, match=r"solved on its own target, .* hold for that runtime alone"):
        nas.solve(tmp_path / "run", target="onnxruntime-cpu:int8")


@pytest.mark.usefixtures("undeployed")
def test_each_precision_is_measured_on_each_target(tmp_path: Path) -> None:
    """A candidate runs in its own precision on all of them, and so do winners."""
    factors = {"fp32": 1.0, "int8": FASTER, "pi/fp32": 3.0, "pi/int8": 2.0}
    benches = {name: InPrecision(factor) for name, factor in factors.items()}
    instruments = Instruments(benches=benches, looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())
    targets = ["onnxruntime-cpu", "pi/onnxruntime-cpu"]
    recipe = {**QUICK, "target": targets, "limits": ["pi/latency_ms <= 1s"]}
    nas.search(recipe, space=OneChoice(), runs=tmp_path, instruments=instruments, progress=None)
    for stage in ("measure", "winner"):
        for name, rows in rows_by_precision(tmp_path / "run", stage).items():
            assert rows
            for row in rows:
                ratio = row.measurements["pi/latency_ms"].median / row.measurements["latency_ms"].median
                assert ratio == pytest.approx(factors[f"pi/{name}"] / factors[name], rel=0.05)


@pytest.mark.usefixtures("undeployed")
def test_winners_of_one_network_share_a_retraining(tmp_path: Path) -> None:
    """Each has a folder of its own, with the same weights and the target of its own precision."""
    front = search(tmp_path, retraining={"epochs": 1, "winners": 6})
    retrained = evaluations_of(tmp_path / "run", "retrain")
    trained = {row.architecture["width"] for row in retrained if not row.is_shared}
    assert len(trained) == sum(not row.is_shared for row in retrained) < len(retrained)
    for row in retrained:
        if row.is_shared:
            folders = [tmp_path / "run" / "winners" / each for each in (row.architecture.id, row.details["trained_as"])]
            both = [(folder / "model.safetensors").read_bytes() for folder in folders]
            assert both[0] == both[1]
    for winner in front:
        precision = winner.precision
        assert f":{precision}:" in Bundle.read(winner.bundle).about["target"]  # type: ignore[arg-type]
        assert isinstance(winner.load(OneChoice()), nn.Module)
        assert bool(winner.fp32) == (precision == "int8")


@pytest.mark.usefixtures("undeployed")
@pytest.mark.parametrize(
    ("factor", "said"),
    [pytest.param(FASTER, "", marks=pytest.mark.slow), (SLOWER, "is slower"),
     pytest.param(1.0, "gains no time", marks=pytest.mark.slow)],
)  # fmt: skip
def test_a_winner_that_int8_makes_no_faster_is_marked(tmp_path: Path, factor: float, said: str) -> None:
    """Its note gives both latencies with intervals; one that is surely faster has no such note."""
    front = search(tmp_path, factor, limits=[f"latency_ms <= {2 * factor}ms"], objectives=["error", "weight_bytes"])
    marked = [any("gains no time" in note for note in notes) for notes in front.notes]
    assert marked == [bool(said) and each.precision == "int8" for each in front]
    if any(marked):
        note = next(note for note in front.notes[marked.index(True)] if "gains no time" in note)
        assert said in note
        assert "in fp32." in note
        report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
        assert "gains no time" in report


@pytest.mark.usefixtures("undeployed")
def test_a_winner_whose_form_in_fp32_cannot_be_measured_says_so(tmp_path: Path) -> None:
    """Its accuracy is compared all the same."""
    front = search(tmp_path, plain=(2, 3, 4, 5, 6, 8), retraining={"epochs": 1, "winners": 1})
    assert {winner.precision for winner in front} == {"int8"}
    assert all(winner.exported is not None for winner in front)
    assert all(any("could not be measured in fp32" in note for note in notes) for notes in front.notes)


@pytest.mark.usefixtures("undeployed")
def test_a_run_is_measured_further_in_each_precision(tmp_path: Path) -> None:
    """``nas.solve`` measures a metric that the run did not measure, of each candidate in its own precision."""
    search(tmp_path, predictor="quick_predictor:fit_quick")
    given, objectives = tools(FASTER), ["error", "latency_ms", "peak_memory_mib"]
    solved = nas.solve(
        tmp_path / "run", objectives=objectives, space=OneChoice(), trust=True, progress=None, instruments=given
    )
    counts = [len(bench.measured) for bench in given.benches.values() if isinstance(bench, InAnyPrecision)]
    assert min(counts) > 0
    assert sum(counts) == solved.newly_measured > 0
    for point in solved.candidates:
        factor = FASTER if precision_of(point.architecture) == "int8" else 1.0
        assert point.value("latency_ms") == pytest.approx(factor * latency_ms(point.architecture), rel=0.05)
        assert point.has("peak_memory_mib")


@pytest.mark.slow
@pytest.mark.usefixtures("undeployed")
def test_limits_hold_for_each_precision(tmp_path: Path) -> None:
    """A network that is too slow in fp32 is trained for its int8 form, and only that can win."""
    bound_ms = 0.55 * max(map(latency_ms, enumerate_space(OneChoice())))
    front = search(tmp_path, limits=[f"latency_ms <= {bound_ms}ms"], trials=6)
    assert all(winner.meets(front.limits) for winner in front)
    too_slow = [row.architecture for row in rows_by_precision(tmp_path / "run", "train")["fp32"]
                if latency_ms(row.architecture) > bound_ms]  # fmt: skip
    assert too_slow
    small = {row.architecture["width"] for row in rows_by_precision(tmp_path / "run", "train")["int8"]}
    assert {architecture["width"] for architecture in too_slow} <= small
    assert all(each.precision == "int8" for each in front if each.architecture in too_slow)


def test_a_precision_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failing to evaluate int8 fails that candidate alone; a runtime that refuses a network in int8 saves the try."""
    asked = []

    def failing(work: Any, part: Architecture, weights: bytes, names: list[str], seed: int) -> dict[str, Any]:
        asked.append((part["width"], names))
        return {name: {"failure": ["measure", "it crashed"]} for name in names}

    monkeypatch.setattr(DEPLOYED, failing)
    front = search(tmp_path, refused=(2, 3), trials=6)
    rows = rows_by_precision(tmp_path / "run", "train")
    assert all(not row.failed for row in rows["fp32"])
    assert {row.failure.reason for row in rows["int8"] if row.failure} == {"it crashed"}
    assert dict(asked)[2] == []
    assert {winner.precision for winner in front} == {"fp32"}


@pytest.mark.slow
@pytest.mark.usefixtures("undeployed")
def test_a_training_that_fails_fails_in_all_precisions(tmp_path: Path) -> None:
    """It is one failed row and one trial, and is not tried again in another precision."""

    def train(module: nn.Module, task: nas.Task, settings: Any) -> dict[str, float]:
        width = next(module.parameters()).shape[0]
        return {"error": math.nan if width > 4 else 1 / width}

    search(tmp_path, trials=6, train=train)
    failed = [row for row in evaluations_of(tmp_path / "run", "train") if row.failed]
    assert sorted(int(row.architecture["width"]) for row in failed) == [5, 6, 8]
    assert len({row.architecture["width"] for row in evaluations_of(tmp_path / "run", "train")}) == 6


@pytest.mark.slow
def test_a_kill_between_training_and_deploying_loses_that_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of a training come to disk together: after it nothing that has ended is done again."""
    deployed: list[Architecture] = []

    def interrupted(work: Any, part: Architecture, weights: bytes, names: list[str], seed: int) -> dict[str, Any]:
        deployed.append(part)
        if len(deployed) == 2:
            raise KeyboardInterrupt
        return known_errors(work, part, weights, names, seed)

    monkeypatch.setattr(DEPLOYED, interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, trials=4)
    run = tmp_path / "run"
    assert len(evaluations_of(run, "train")) == 2
    front = nas.resume(run, space=OneChoice(), instruments=tools(FASTER))
    widths = [row.architecture["width"] for row in rows_by_precision(run, "train")["int8"]]
    assert len(set(widths)) == len(widths) == 4
    assert deployed.count(deployed[0]) == 1
    monkeypatch.setattr(DEPLOYED, known_errors)
    whole = search(tmp_path, trials=4, name="whole")
    assert [w.architecture for w in whole] == [w.architecture for w in front]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["retraining winners", "testing winners"])
@pytest.mark.usefixtures("undeployed")
def test_a_run_resumes_among_its_winners(tmp_path: Path, stage: str) -> None:
    """Winners that share a retraining share it after an interruption too, and are compared with fp32."""
    several = {"epochs": 1, "winners": 6}
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, retraining=several, progress=Stopping(stage))
    front = nas.resume(tmp_path / "run", space=OneChoice(), instruments=tools(FASTER))
    retrained = [row for row in evaluations_of(tmp_path / "run", "retrain") if not row.is_shared]
    assert len({row.architecture["width"] for row in retrained}) == len(retrained)
    assert all(winner.fp32 for winner in front if winner.precision == "int8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"precisions": ["int8"]},
            "must hold fp32, which the others are compared with, and at least one other, but got int8",
        ),
        ({"precisions": ["fp32"]}, "at least one other, but got fp32"),
        ({"precisions": ["fp32", "int4"]}, "but got 'int4'. Did you mean 'int8'"),
        ({"precisions": ["fp32", "int8", "int8"]}, "must differ, but int8 comes more than once"),
        ({"precisions": ["fp32", "int8"], "target": "onnxruntime-cpu:int8"}, "or a target with one, but got both"),
        ({"precisions": ["fp32", "int8"], "evaluate": "zero-cost"}, 'precisions need evaluate = "train" or "supernet"'),
    ],
)
def test_precisions_that_cannot_be_chosen_from_are_refused(changes: dict[str, Any], message: str) -> None:
    """The message says the rule and the value."""
    with pytest.raises(RecipeError, match=message):
        nas.Recipe(**changes)


def test_too_many_threads_are_no_fault_of_a_precision(tmp_path: Path) -> None:
    """No precision runs on a target of more cores than there are, and each is told alike."""
    recipe = {**BASE, "precisions": ["fp32", "int8"], "target": "onnxruntime-cpu:threads=4096"}
    with pytest.raises(TargetError, match=r"^threads must be at most the \d+ cores? that this process may use"):
        nas.search(recipe, runs=tmp_path, progress=None)


@pytest.mark.parametrize(
    ("runtime", "precision"), [("onnxruntime-cpu", "bf16"), ("executorch-xnnpack", "int8-dynamic")]
)
def test_a_precision_that_the_target_cannot_run_is_refused(tmp_path: Path, runtime: str, precision: str) -> None:
    """The sentence names the precision and the target, and nothing is written."""
    missing = why_not_measured(Target(runtime), LocalDevice())
    if missing is not None:
        pytest.skip(missing)
    message = f"must run on the target, but {precision} does not run on {runtime}:fp32.*Leave it out"
    with pytest.raises(TargetError, match=message):
        nas.search({**QUICK, "target": runtime, "precisions": ["fp32", precision]}, space=OneChoice(), runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_space_leaves_precisions_to_the_recipe(tmp_path: Path) -> None:
    """A space of one's own has no choice of deployment, and none that is called precision beside the recipe's."""
    own = Choice("form", ("a", "b"), affects="deployment")
    with pytest.raises(SpaceError, match=r"'form' affects its deployment\. Leave it out, and name the precisions"):
        nas.check_space(type("Own", (OneChoice,), {"choices": (*OneChoice.choices, own)})())
    named = type("Named", (OneChoice,), {"choices": (*OneChoice.choices, Choice("precision", (1, 2)))})
    with pytest.raises(RecipeError, match="precisions adds the choice 'precision', but the space given"):
        nas.search(QUICK, space=named(), runs=tmp_path, instruments=tools(FASTER))


def test_a_choice_of_ones_own_may_be_called_precision(tmp_path: Path) -> None:
    """Where the recipe has no precisions, it is a choice of the network like any other."""
    own = type("Own", (OneChoice,), {"choices": (*OneChoice.choices, Choice("precision", ("low", "high")))})()
    recipe = {**BASE, "trials": 2, "rounds": 1, "retraining": {"epochs": 1, "winners": 1}}
    front = nas.search(recipe, space=own, runs=tmp_path, instruments=instruments(own))
    assert [winner.fp32 for winner in front] == [{}]
    assert front[0].values["modelled_energy_mj"] > 0


def test_parts_that_are_trained() -> None:
    """Siblings differ in their precision alone; without that choice an architecture is its own part."""
    space = with_precisions(OneChoice(), ("fp32", "int8", "int8-dynamic"))
    wholes = list(map(SpaceParts(space).candidate, enumerate_space(space)))
    assert len(wholes) == count(space) == 3 * count(OneChoice())
    assert by_training(wholes).keys() == set(enumerate_space(OneChoice()))
    assert all(whole.siblings == group for group in by_training(wholes).values() for whole in group)
    assert [each.precision for each in wholes[0].siblings] == ["fp32", "int8", "int8-dynamic"]
    in_fp32 = [each.in_fp32 for each in wholes[1].siblings]
    assert in_fp32 == [None, wholes[1].siblings[0], wholes[1].siblings[0]]
    plain = SpaceParts(OneChoice()).candidate(next(enumerate_space(OneChoice())))
    assert (plain.siblings, plain.trained, plain.precision, plain.in_fp32) == ([plain], plain, None, None)
    assert with_precisions(plain_space := OneChoice(), ()) is plain_space
