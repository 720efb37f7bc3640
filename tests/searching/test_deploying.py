"""Candidates with shared weights in other precisions: those alone are deployed that may join the front with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_bench
import pytest
import small_parents
from commands import assert_nothing_twice, evaluations_of
from made_up_beliefs import beliefs_of
from quick_runs import BASE, Diary, OneChoice, Stopping
from sharing_space import SharingSpace

import nas
from nas.searching.deploying import hopeful, hopeless
from nas.searching.scoring import score_round
from nas.space.architecture import Architecture
from nas.space.parts.candidate import PRECISION, precision_of
from nas.space.parts.device_parts import with_precisions
from nas.space.search_space import SearchSpace, load_space
from nas.space.signature import image_signature
from nas.training.deployed_errors import InPrecisions
from nas.values.evaluation import Evaluation, Failure
from nas.values.measurement import Measurement

BOTH = ("fp32", "int8")
LOST = 0.01
"""What int8 adds to an error here."""


def row(width: int, precision: str, error: float, **details: Any) -> Evaluation:
    architecture = Architecture({"width": width, PRECISION: precision})
    return Evaluation("train", architecture, values={"error": error}, details={"epochs": 1, **details})


def measured(width: int, precision: str, latency_ms: float) -> Evaluation:
    architecture = Architecture({"width": width, PRECISION: precision})
    found = Measurement("latency_ms", "", ((latency_ms,), (latency_ms,)))
    return Evaluation("measure", architecture, measurements={"latency_ms": found})


def hoped(*rows: Evaluation, limit: str = "latency_ms <= 100ms") -> dict[int, float]:
    """Return the hoped errors in int8 by width. In fp32 a network takes its width in ms, in int8 half of it."""
    times = [measured(width, p, width / (1 + (p == "int8"))) for width in (2, 3, 4, 5, 6, 8) for p in BOTH]
    space = with_precisions(OneChoice(), BOTH)
    beliefs = beliefs_of(limit, objectives=("error", "latency_ms"), space=space, rows=[*times, *rows])
    found = hopeful(beliefs)
    assert all(precision_of(each.architecture) == "int8" for each in found)
    return {int(each.architecture["width"]): each.values["error"] for each in found}


def test_networks_that_may_join_the_front_are_hoped_for() -> None:
    """The one of width 5 is no better than that of width 4, and in int8 it would not be either."""
    rows = [row(2, "fp32", 0.5), row(4, "fp32", 0.3), row(5, "fp32", 0.3), row(8, "fp32", 0.1)]
    assert hoped(*rows) == pytest.approx({2: 0.5, 4: 0.3, 8: 0.1})


def test_a_limit_that_int8_alone_meets_leaves_the_network_in() -> None:
    rows = [row(4, "fp32", 0.3), row(8, "fp32", 0.1)]
    assert hoped(*rows, limit="latency_ms <= 3ms") == pytest.approx({4: 0.3})


def test_what_int8_usually_costs_is_learned() -> None:
    """One that would be dominated with it is not hoped for any more, and those with a row never are."""
    rows = [row(4, "fp32", 0.30), row(5, "fp32", 0.29), row(8, "fp32", 0.1)]
    seen = [row(4, "int8", 0.32, trained_as="a"), row(8, "int8", 0.3, trained_as="b")]
    assert hoped(*rows) == pytest.approx({4: 0.3, 5: 0.29, 8: 0.1})
    assert hoped(*rows, *seen) == {}
    assert hoped(*rows, *seen[:1]) == pytest.approx({5: 0.31, 8: 0.12})


def test_a_precision_in_which_nothing_works_is_given_up() -> None:
    """However many failed, the run goes on: networks in fp32 were evaluated."""
    rows = [row(width, "fp32", 1 / width) for width in (2, 3, 4, 5, 6, 8)]
    lost = Failure("measure", "no such operator")
    failed = [replace(row(width, "int8", 0.5, trained_as="a"), values={}, failure=lost) for width in (2, 3, 4, 5, 6)]
    assert set(hoped(*rows, *failed[:4])) == {6, 8}
    assert hoped(*rows, *failed) == {}
    beliefs = beliefs_of(space=with_precisions(OneChoice(), BOTH), rows=rows)
    for each in failed * 3:
        beliefs.add(each)
    assert hopeless(beliefs) == {"int8"}


def test_nothing_is_hoped_for_without_candidates() -> None:
    assert hoped() == {}


# Whole runs

KEYS: Mapping[str, Any] = {
    **BASE,
    "trials": 9,
    "rounds": 2,
    "evaluate": "supernet",
    "precisions": ["fp32", "int8"],
    "supernet": {"epochs": 2, "check": 3, "recalibration_images": 128},
    "training": {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3},
    "retraining": {"epochs": 1, "winners": 2, "start": "supernet"},
}


@pytest.fixture(name="deployed")
def _deployed(monkeypatch: pytest.MonkeyPatch) -> list[Architecture]:
    """Errors in int8 are made up, which spares a second or two each. Returns the networks that were deployed."""
    seen: list[Architecture] = []

    def found(work: InPrecisions, part: Architecture, weights: bytes, names: list[str], seed: int) -> dict[str, Any]:
        assert weights
        seen.append(part)
        return {name: {"error": 0.5} for name in names}

    monkeypatch.setattr(InPrecisions, "_by_precision", found)
    return seen


def space_of_parent() -> SearchSpace:
    parent = small_parents.make_digits()
    return load_space("shrunk", {"parent": parent, "widths": [0.5], "trunks": [0.5]}, image_signature((1, 8, 8), 10))


def tools(space: SearchSpace) -> nas.Instruments:
    benches = {name: fake_bench.InAnyPrecision(space, 1 / (1 + (name == "int8"))) for name in BOTH}
    clock = fake_bench.FakeClock()
    return nas.Instruments(benches=benches, looks_apart=False, clock=clock, stopwatch=clock)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_export", "latency_by_choices")
def test_forms_are_scored_in_fp32_and_the_hopeful_ones_deployed(tmp_path: Path, deployed: list[Architecture]) -> None:
    """A stopped run deploys none again, and winners in int8 share the retraining of their network."""
    space, diary = space_of_parent(), Stopping("round 2/2: evaluating by shared weights")
    with pytest.raises(KeyboardInterrupt):
        nas.search(KEYS, space=space, runs=tmp_path, progress=diary, instruments=tools(space))
    assert any(stage.startswith("round 1/2: evaluating in other precisions") for stage in diary.stages)
    before = list(deployed)
    assert len(before) > 0
    front = nas.resume(tmp_path / "run", space=space, progress=None, instruments=tools(space))
    assert len(set(deployed)) == len(deployed)
    rows = evaluations_of(tmp_path / "run", "train")
    scored = [each for each in rows if not each.is_shared]
    shared = {each.architecture.without([PRECISION]): each for each in rows if each.is_shared}
    assert {precision_of(each.architecture) for each in scored} == {"fp32"}
    assert len(scored) == 9
    assert set(shared) == set(deployed)
    assert len(shared) < 9
    for part, each in shared.items():
        plain = next(one for one in scored if one.architecture.without([PRECISION]) == part)
        assert each.details["trained_as"] == plain.architecture.id
        assert each.by == plain.by
        assert each.values["error"] == 0.5
        assert each.values["modelled_energy_mj"] < plain.values["modelled_energy_mj"]
    assert all(precision_of(each.architecture) == "fp32" for each in evaluations_of(tmp_path / "run", "check"))
    assert len(front) > 0
    starts = {each.details.get("start") for each in evaluations_of(tmp_path / "run", "retrain")}
    assert "supernet" in starts
    assert_nothing_twice(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.usefixtures("quick_export", "latency_by_choices")
def test_a_network_that_cannot_be_deployed_fails_in_that_precision_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(work: InPrecisions, part: Architecture, weights: bytes, names: list[str], seed: int) -> dict[str, Any]:
        return {name: {"failure": ["export", "an operator has no int8"]} for name in names}

    monkeypatch.setattr(InPrecisions, "_by_precision", refused)
    space, diary = space_of_parent(), Stopping("round 2/2: evaluating by shared weights")
    with pytest.raises(KeyboardInterrupt):
        nas.search(KEYS, space=space, runs=tmp_path, progress=diary, instruments=tools(space))
    rows = evaluations_of(tmp_path / "run", "train")
    failed = [each for each in rows if each.failed]
    assert failed
    assert {precision_of(each.architecture) for each in failed} == {"int8"}
    assert {each.failure.reason for each in failed if each.failure} == {"an operator has no int8"}


@pytest.mark.slow
@pytest.mark.usefixtures("quick_export")
def test_a_space_without_a_parent_is_deployed_candidate_by_candidate(
    tmp_path: Path, deployed: list[Architecture]
) -> None:
    """As after trainings: each network in each precision."""
    space, diary = SharingSpace(), Diary()
    keys = {**KEYS, "trials": 3, "rounds": 1, "sampler": "random", "retraining": {"epochs": 1, "winners": 1}}
    nas.search(keys, space=space, runs=tmp_path, progress=diary, instruments=tools(space))
    rows = evaluations_of(tmp_path / "run", "train")
    assert [precision_of(each.architecture) for each in rows] == ["fp32", "int8"] * 3
    assert {each.by for each in rows} == {"supernet"}
    assert len(deployed) == 3


@pytest.mark.parametrize(("until", "each", "passes"), [(1000, 10, 4), (10, 10, 1), (1000, 0, 1)])
def test_time_that_deploying_leaves_is_for_scoring_more(
    monkeypatch: pytest.MonkeyPatch, until: int, each: int, passes: int
) -> None:
    """Unless there are enough candidates, or nothing new was scored. Each pass leaves time to deploy."""
    state: Any = SimpleNamespace(
        recipe=SimpleNamespace(precisions=BOTH),
        beliefs=SimpleNamespace(trials=0),
        progress=SimpleNamespace(close=lambda: None),
        spent_s=0.0,
    )
    ends: list[float] = []

    def scoring(state: Any, number: int, until: int, ends_s: float) -> Any:
        ends.append(ends_s)
        return SimpleNamespace(is_interrupted=False, dried_up=False)

    def run(*_: Any, **__: Any) -> None:
        state.spent_s = ends[-1]
        state.beliefs.trials += each

    def deploy(*_: Any) -> None:
        state.spent_s += 1.0

    monkeypatch.setattr("nas.searching.scoring.Scoring", scoring)
    monkeypatch.setattr("nas.searching.scoring.deploy_hopeful", deploy)
    evaluator: Any = SimpleNamespace(scoring=object(), time_limit_s=1.0)
    executor: Any = SimpleNamespace(run=run)
    assert not score_round(state, evaluator, executor, 1, until, 100.0)
    assert len(ends) == passes
    assert ends[0] == pytest.approx(70.0)
    assert state.spent_s <= 101.0
