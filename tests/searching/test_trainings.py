"""What a round of trainings tells the proposer of what ended, and of what is known before anything is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from fake_predictor import Settings, fake_settings, fit_fake
from fault_spaces import Faulty
from made_up_screen import screen_of
from tiny_space import TinySpace

from nas.errors import RepeatedFailureError
from nas.recipe.recipe import Recipe
from nas.searching import trainings as training_round
from nas.searching.knowledge import FAILURES_IN_A_ROW, NOT_DESCRIBED, Knowledge
from nas.searching.proposer import Beforehand, Told
from nas.searching.trainings import RoundOfTrainings
from nas.space.architecture import Architecture
from nas.space.layer import total_macs
from nas.space.search_space import enumerate_space
from nas.values.evaluation import Evaluation, Failure
from nas.values.measurement import Measurement

ALL = tuple(enumerate_space(TinySpace()))


def told_to_the_proposer(
    monkeypatch: pytest.MonkeyPatch,
    rows: Sequence[Evaluation],
    objectives: Sequence[str] = ("error", "latency_ms"),
    search_time_s: float | None = None,
    limits: Sequence[str] = (),
) -> tuple[dict[Architecture, Told], Beforehand]:
    """What it is given when a round begins after these rows, with a predictor of a microsecond for each 1,000 MACs."""
    screen = screen_of(*limits, objectives=objectives)
    latencies = np.array([1e-3 + 1e-6 * total_macs(screen.describer.layers(a)) for a in ALL])
    with fake_settings(Settings()):
        screen.rely_on({"latency_ms": fit_fake(screen.describer, ALL, latencies, target="cpu", seed=0)})
    given: dict[str, Any] = {}
    monkeypatch.setattr(training_round, "Proposer", lambda *arguments, **options: given.update(options))
    recipe = Recipe(objectives=objectives, search_time_s=search_time_s)
    task = SimpleNamespace(space=TinySpace())
    state: Any = SimpleNamespace(recipe=recipe, knowledge=Knowledge(rows), screen=screen, task=task)
    RoundOfTrainings(state, cast(Any, SimpleNamespace(epochs=recipe.training.epochs, subset=1.0)), 1, 9)
    return {told.architecture: told for told in given["history"]}, given["beforehand"]


def trained(architecture: Architecture, curve: Sequence[float], *, stopped: bool = False) -> Evaluation:
    details = {"curve": list(curve), "epochs": len(curve), "stopped_early": stopped}
    return Evaluation("train", architecture, values={"error": curve[-1]}, details=details)


def test_time_is_weighed_where_there_is_a_limit_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a training took is told of those that ran to their end."""
    rows = [
        replace(row, details={**row.details, "seconds": seconds})
        for row, seconds in ((trained(ALL[0], [0.2, 0.1]), 8.0), (trained(ALL[1], [0.3], stopped=True), 3.0))
    ]
    told, beforehand = told_to_the_proposer(monkeypatch, rows, search_time_s=60)
    assert [told[architecture].seconds for architecture in ALL[:2]] == [8.0, None]
    assert beforehand.weigh_time
    assert not told_to_the_proposer(monkeypatch, rows)[1].weigh_time


def test_stopped_trainings_are_expected_to_fall_as_finished_ones_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the median ratio from the epoch at which they were stopped; the costs are their own."""
    rows = [
        trained(ALL[0], (0.8, 0.4, 0.2)),
        trained(ALL[1], (0.6, 0.5, 0.3)),
        trained(ALL[2], (0.9, 0.5, 0.1)),
        trained(ALL[3], (0.7,), stopped=True),
        trained(ALL[4], (0.7, 0.6), stopped=True),
        Evaluation("train", ALL[5], failure=Failure("nan", "the loss is NaN")),
    ]
    told, _ = told_to_the_proposer(monkeypatch, rows)
    first, second = told[ALL[3]].expected, told[ALL[4]].expected
    assert first is not None
    assert second is not None
    assert first[0] == pytest.approx(0.7 * 0.25)
    assert second[0] == pytest.approx(0.6 * 0.5)
    assert told[ALL[3]].losses is None
    assert told[ALL[3]].stopped
    assert told[ALL[0]].losses is not None
    assert told[ALL[0]].losses[0] == 0.2
    assert told[ALL[5]] == Told(ALL[5], None, {})


def test_stopped_trainings_tell_how_far_they_would_exceed_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As what is expected of them does, so that a hopeless one does not count as just within."""
    rows = [trained(ALL[0], (0.8, 0.2)), trained(ALL[3], (0.7,), stopped=True)]
    told, _ = told_to_the_proposer(monkeypatch, rows, limits=["error <= 10%"])
    assert told[ALL[0]].excesses == {"error": pytest.approx(1.0)}
    assert told[ALL[3]].excesses == {"error": pytest.approx(0.75)}


def test_nothing_is_expected_before_a_training_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to go by."""
    told, _ = told_to_the_proposer(monkeypatch, [trained(ALL[3], (0.7,), stopped=True)])
    assert told[ALL[3]] == Told(ALL[3], None, {}, stopped=True)


def test_costs_are_known_beforehand_and_measured_ones_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the predictor, unless it was measured; the error is not."""
    found = {"latency_ms": Measurement("latency_ms", "cpu", ((0.5,),))}
    _, beforehand = told_to_the_proposer(
        monkeypatch, [Evaluation("measure", ALL[1], measurements=found)], ("macs", "error", "latency_ms")
    )
    assert sorted(beforehand.costs) == [0, 2]
    macs = beforehand.costs[0](ALL[:3])
    assert macs.tolist() == [total_macs(beforehand.describer.layers(a)) for a in ALL[:3]]
    assert beforehand.costs[2](ALL[:3]) == pytest.approx([1e-3 + 1e-6 * macs[0], 0.5, 1e-3 + 1e-6 * macs[2]], rel=0.05)


def test_without_a_trained_objective_nothing_counts_as_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the sampler had nothing to learn."""
    _, beforehand = told_to_the_proposer(monkeypatch, [], ("macs", "latency_ms"))
    assert beforehand.costs == {}


@pytest.mark.parametrize("some_can_be_built", [True, False])
def test_what_is_turned_away_comes_between_failures(monkeypatch: pytest.MonkeyPatch, some_can_be_built: bool) -> None:
    """A run in which everything fails ends, but not one in which something could be built that a limit turned away."""
    screen = screen_of("macs <= 1", space=Faulty(faults="shape"))
    everything = list(enumerate_space(screen.space))
    bad = [each for each in everything if not screen.describer.can_be_built(each)]
    good = next(each for each in everything if screen.describer.can_be_built(each))
    knowledge = Knowledge()
    monkeypatch.setattr(training_round, "Proposer", lambda *_, **__: SimpleNamespace(tell=lambda told: None))
    state: Any = SimpleNamespace(
        recipe=Recipe(objectives=("error",)),
        knowledge=knowledge,
        screen=screen,
        task=SimpleNamespace(space=screen.space),
        progress=SimpleNamespace(advance=lambda **_: None),
        add=knowledge.add,
    )
    trainings = RoundOfTrainings(state, cast(Any, SimpleNamespace(epochs=4, subset=1.0)), 1, 99)
    with contextlib.nullcontext() if some_can_be_built else pytest.raises(RepeatedFailureError):
        for unfit in (*bad, *bad):
            assert not trainings._accept(unfit)
            assert not (some_can_be_built and trainings._accept(good))
    assert len(knowledge.rows) == (2 * len(bad) if some_can_be_built else FAILURES_IN_A_ROW)
    first, second = knowledge.rows[:2]
    assert first.details == NOT_DESCRIBED
    assert second.details == NOT_DESCRIBED | ({"turned_away": {"macs <= 1": 1}} if some_can_be_built else {})


def test_what_was_measured_within_the_limits_is_trained_before_there_is_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no sampler finds anything more. It is sought around as long as no candidate is within them."""
    screen = screen_of("latency_ms <= 1ms")
    screen.rely_on({"latency_ms": fit_fake(screen.describer, ALL, np.full(len(ALL), 9.0), target="", seed=0)})
    found = {a: Measurement("latency_ms", "", ((0.5 if a in ALL[:2] else 9.0,),)) for a in ALL[:4]}
    knowledge = Knowledge([Evaluation("measure", a, measurements={"latency_ms": each}) for a, each in found.items()])
    asked: list[Sequence[Architecture]] = []
    nothing = SimpleNamespace(propose=lambda accept, taken, starts: asked.append(starts), tell=lambda told: None)
    monkeypatch.setattr(training_round, "Proposer", lambda *_, **__: nothing)
    state: Any = SimpleNamespace(
        recipe=Recipe(objectives=("error",), limits=["latency_ms <= 1ms"]),
        knowledge=knowledge,
        screen=screen,
        task=SimpleNamespace(space=TinySpace()),
        progress=SimpleNamespace(advance=lambda **_: None),
        add=knowledge.add,
    )
    trainings = RoundOfTrainings(state, cast(Any, SimpleNamespace(epochs=1, subset=1.0)), 1, 9)
    for architecture in ALL[:2]:
        job = trainings.next_job()
        assert job is not None
        assert job["id"] == architecture.id
        trainings.on_end(job, {"epoch": 1, "error": 0.1, "seconds": 1.0, "done": True})
    assert trainings.next_job() is None
    assert trainings.dried_up
    assert asked == [list(ALL[:2]), [], []]


@pytest.mark.parametrize("kind", ["nan", "build"])
def test_what_is_described_comes_between_no_failures_to_train(kind: str) -> None:
    """Ten of them in a row are ten, though each was described before; a space may tell layers that it cannot build."""
    knowledge = Knowledge()
    for architecture in ALL[:FAILURES_IN_A_ROW]:
        knowledge.check_failures()
        knowledge.note_described()
        knowledge.add(Evaluation("train", architecture, failure=Failure(kind, "it went wrong")))
    with pytest.raises(RepeatedFailureError):
        knowledge.check_failures()


class TestEarlyStopping:
    """Which reports end a training, by what the trainings before it have shown."""

    def round_after(
        self, monkeypatch: pytest.MonkeyPatch, rows: Sequence[Evaluation], notes: Sequence[dict[str, Any]] = ()
    ) -> tuple[RoundOfTrainings, list[str], list[dict[str, Any]]]:
        """A round of 4 epochs in which each training is worse than those before; what is told, and what is noted."""
        told: list[str] = []
        kept: list[dict[str, Any]] = list(notes)
        monkeypatch.setattr(training_round, "Proposer", lambda *arguments, **options: None)
        screen = screen_of()
        state: Any = SimpleNamespace(
            recipe=Recipe(objectives=("error",), training={"epochs": 4}, early_stopping={"check": 4, "keep": 0.1}),
            knowledge=Knowledge(rows),
            screen=screen,
            task=SimpleNamespace(space=TinySpace()),
            progress=SimpleNamespace(say=told.append),
            journal=SimpleNamespace(append=lambda kind, body: kept.append(body), bodies=lambda kind: kept),
        )
        return RoundOfTrainings(state, cast(Any, SimpleNamespace(epochs=4, subset=1.0)), 1, 9), told, kept

    def goes_on(self, trainings: RoundOfTrainings, epoch: int) -> bool:
        job = {"id": ALL[9].id, "architecture": dict(ALL[9]), "seed": 0}
        trainings._curves[ALL[9].id] = []
        return trainings.on_report(job, {"epoch": epoch, "error": 0.95})

    def whole(self, count: int, *, early_tells: bool = True) -> list[Evaluation]:
        """Trainings whose errors after one epoch rank them as those after all do, or the other way round."""
        firsts = [0.5 + 0.01 * (index if early_tells else -index) for index in range(count)]
        return [trained(ALL[i], (f, 0.4 + 0.01 * i, 0.3, 0.1 + 0.01 * i)) for i, f in enumerate(firsts)]

    def test_nobody_is_stopped_before_it_is_known_to_make_sense(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However bad it is."""
        trainings, told, _ = self.round_after(monkeypatch, self.whole(3))
        assert self.goes_on(trainings, 1)
        assert told == []

    def test_rungs_are_used_once_they_have_shown_to_rank(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is told, and stands in the journal."""
        trainings, told, kept = self.round_after(monkeypatch, self.whole(4))
        assert not self.goes_on(trainings, 1)
        assert not self.goes_on(trainings, 2)
        assert told == [
            "errors rank 4 whole trainings as those after 4 epochs do, Spearman: 1.00 after 1, 1.00 after 2; "
            "stopping begins at epoch 1"
        ]
        figures = {"Spearman after epoch 1": 1.0, "Spearman after epoch 2": 1.0}
        assert kept == [{"early_stopping": {**figures, "trainings": 4, "stops after": [1, 2]}}]

    def test_rungs_move_up_where_early_errors_tell_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first epoch is passed over then."""
        trainings, told, _ = self.round_after(monkeypatch, self.whole(4, early_tells=False))
        assert self.goes_on(trainings, 1)
        assert not self.goes_on(trainings, 2)
        assert "-1.00 after 1, 1.00 after 2; stopping begins at epoch 2" in told[0]

    def test_what_a_stopped_training_saw_is_recorded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where images grow with the rungs, the shares that its epochs saw; the last of them is its fidelity."""
        trainings, _, _ = self.round_after(monkeypatch, self.whole(4))
        ended: list[Evaluation] = []
        monkeypatch.setattr(trainings, "_end", ended.append)
        job = {"id": ALL[9].id, "architecture": dict(ALL[9]), "seed": 0}
        trainings._curves[ALL[9].id], trainings._predicted[ALL[9].id] = [], {}
        for epoch, subset in ((1, 0.25), (2, 0.5)):
            report = {"epoch": epoch, "error": 0.3, "subset": subset, "seconds": 1.0}
            trainings.on_report(job, report)
        trainings.on_end(job, report)
        [row] = ended
        assert not row.reached_full_fidelity
        assert row.details["epochs"] == 2
        assert row.details["subset"] == 0.5
        assert row.details["subsets"] == [0.25, 0.5]

    def test_a_resumed_run_does_not_say_it_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The journal has it already."""
        trainings, told, kept = self.round_after(monkeypatch, self.whole(4), [{"early_stopping": {"trainings": 4}}])
        assert not self.goes_on(trainings, 1)
        assert told == []
        assert len(kept) == 1
