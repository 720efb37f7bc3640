"""A round proposes, screens, trains and tells: which jobs it gives, and which rows it adds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from fake_predictor import fit_fake
from fault_spaces import Faulty
from made_up_beliefs import beliefs_of
from parted_space import Parted
from tiny_space import TinySpace

from nas.errors import RepeatedFailureError
from nas.recipe.recipe import Recipe
from nas.searching.beliefs import Beliefs
from nas.searching.durations import Durations
from nas.searching.failures import FAILURES_IN_A_ROW, NOT_DESCRIBED
from nas.searching.proposer import Beforehand, Proposal, Told
from nas.searching.recorded_rows import RecordedRows
from nas.searching.screening import TOO_LONG, Screening, Verdict
from nas.searching.trainings import Trainings
from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space
from nas.storage.journal_rows import Row, RungsJudged, TurnedAway
from nas.values.error_words import OF_IMAGES
from nas.values.evaluation import Evaluation
from nas.values.measurement import Measurement

ALL = tuple(enumerate_space(TinySpace()))


class FakeProposer:
    """Proposes nothing, but has each of ``to_judge`` judged. ``made`` holds the last one's arguments."""

    to_judge: Sequence[Architecture] = ()
    made: dict[str, Any]
    asked: list[Sequence[Architecture]]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        type(self).made, type(self).asked = options, []

    def propose(
        self, judge: Callable[[Architecture], Verdict], taken: Collection[str], starts: Sequence[Architecture]
    ) -> Proposal:
        self.asked.append(starts)
        return Proposal(None, [(architecture, judge(architecture)) for architecture in self.to_judge])

    def tell(self, told: Told) -> None:
        """Learn nothing."""

    def note_fits(self, fits: int) -> None:
        """Judge everything each time."""


@pytest.fixture(autouse=True)
def fake_proposer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.searching.trainings.Proposer", FakeProposer)
    monkeypatch.setattr(FakeProposer, "to_judge", ())


class FakeState:
    """A run's state whose journal is the list ``kept``. ``news`` are the messages."""

    def __init__(self, beliefs: Beliefs, recipe: Recipe, kept: Sequence[Row] = ()) -> None:
        self.beliefs, self.recipe, self.kept, self.news = beliefs, recipe, list(kept), list[str]()
        self.screening = Screening(beliefs)
        self.durations: Any = Durations(recipe, beliefs)
        self.schedule: Any = SimpleNamespace(is_timed=False, may_be_late_s=0.0)
        self.spent_s = 0.0
        self.recorded = RecordedRows((), beliefs.candidate)
        self.resolved = SimpleNamespace(space=beliefs.space, backend=SimpleNamespace(words=OF_IMAGES, task=None))
        self.progress = SimpleNamespace(say=self.news.append, advance=lambda **_: None)
        self.journal = SimpleNamespace(
            append=lambda *rows: self.kept.extend(rows),
            rows=lambda kind: [row for row in self.kept if isinstance(row, kind)],
        )

    def add(self, *rows: Evaluation, turned_away: Sequence[TurnedAway] = ()) -> None:
        self.kept += [*turned_away, *rows]
        self.beliefs.add(*rows)

    def trainings(self, epochs: int = 1, until: int = 9) -> Trainings:
        return Trainings(cast(Any, self), cast(Any, SimpleNamespace(epochs=epochs, subset=1.0)), 1, until)


def trained(architecture: Architecture, curve: Sequence[float]) -> Evaluation:
    details = {"curve": list(curve), "epochs": len(curve), "stopped_early": False}
    return Evaluation("train", architecture, values={"error": curve[-1]}, details=details)


@pytest.mark.parametrize("search_time_s", [60, None])
def test_time_is_weighed_where_it_is_limited(search_time_s: float | None) -> None:
    """The proposer learns of the limit before the round begins, and of all trainings before it."""
    rows = [trained(ALL[0], [0.2, 0.1])]
    recipe = Recipe(objectives=("error",), search_time_s=search_time_s)
    FakeState(beliefs_of(rows=rows), recipe).trainings()
    beforehand: Beforehand = FakeProposer.made["beforehand"]
    assert beforehand.weigh_time == (search_time_s is not None)
    assert [told.architecture for told in FakeProposer.made["history"]] == [ALL[0]]


def test_the_recipes_sampler_and_its_options_reach_the_proposer() -> None:
    """Options are the keys of the section beside its name."""
    recipe = Recipe(objectives=("error",), sampler={"name": "tpe", "n_startup_trials": 3})
    FakeState(beliefs_of(), recipe).trainings()
    assert FakeProposer.made["options"] == {"n_startup_trials": 3}


@pytest.mark.slow
@pytest.mark.parametrize("some_can_be_built", [True, False])
def test_an_architecture_that_a_limit_turned_away_interrupts_failures(
    monkeypatch: pytest.MonkeyPatch, some_can_be_built: bool
) -> None:
    """A run in which everything fails ends, but not one in which a proposal that was turned away could be built."""
    beliefs = beliefs_of("macs <= 1", space=Faulty(faults="shape"))
    everything = list(enumerate_space(beliefs.space))
    bad = [each for each in everything if not beliefs.describer.can_be_built(each)]
    good = next(each for each in everything if beliefs.describer.can_be_built(each))
    in_turn = [each for unfit in (*bad, *bad) for each in ((unfit, good) if some_can_be_built else (unfit,))]
    monkeypatch.setattr(FakeProposer, "to_judge", in_turn)
    state = FakeState(beliefs, Recipe(objectives=("error",)))
    trainings = state.trainings(until=99)
    with contextlib.nullcontext() if some_can_be_built else pytest.raises(RepeatedFailureError):
        assert trainings.next_job() is None
    rows = state.beliefs.rows
    assert len(rows) == (2 * len(bad) if some_can_be_built else FAILURES_IN_A_ROW)
    assert all(row.details == NOT_DESCRIBED for row in rows)
    turned_away = [TurnedAway(1, {"macs <= 1": 1})] if some_can_be_built else []
    assert state.kept == [rows[0], *turned_away, *rows[1:]]


def test_architectures_that_cannot_be_built_take_their_place_in_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is a failed training, and the round has no more rows than its budget."""
    space = Faulty(faults="build", always=True)
    monkeypatch.setattr(FakeProposer, "to_judge", list(enumerate_space(space))[:5])
    state = FakeState(beliefs_of(space=space), Recipe(objectives=("error",)))
    trainings = state.trainings(until=3)
    assert trainings.next_job() is None
    assert [row.architecture for row in state.beliefs.rows] == list(FakeProposer.to_judge)[:3]
    assert not trainings.dried_up


def test_architectures_measured_within_the_limits_are_trained_when_nothing_else_is_found() -> None:
    """Candidates are sought around them as long as no candidate is within the limits."""
    found = {a: Measurement("latency_ms", "", ((0.5 if a in ALL[:2] else 9.0,),)) for a in ALL[:4]}
    beliefs = beliefs_of(
        "latency_ms <= 1ms",
        rows=[Evaluation("measure", a, measurements={"latency_ms": each}) for a, each in found.items()],
    )
    beliefs.rely_on({"latency_ms": fit_fake(beliefs.describer, ALL, np.full(len(ALL), 9.0), target="", seed=0)})
    trainings = FakeState(beliefs, Recipe(objectives=("error",), limits=["latency_ms <= 1ms"])).trainings()
    for architecture in ALL[:2]:
        job = trainings.next_job()
        assert job is not None
        assert job["id"] == architecture.id
        trainings.on_end(job, {"epoch": 1, "error": 0.1, "seconds": 1.0, "done": True})
    assert trainings.next_job() is None
    assert trainings.dried_up
    assert FakeProposer.asked == [list(ALL[:2]), [], []]


def test_a_proposal_that_was_measured_during_the_round_is_trained_in_it() -> None:
    """It was too near a limit to tell, and a device measured it while others trained."""
    beliefs = beliefs_of("latency_ms <= 1ms")
    beliefs.rely_on({"latency_ms": fit_fake(beliefs.describer, ALL, np.full(len(ALL), 9.0), target="", seed=0)})
    state = FakeState(beliefs, Recipe(objectives=("error",), limits=["latency_ms <= 1ms"]))
    trainings = state.trainings()
    for architecture, latency_ms in ((ALL[0], 2.0), (ALL[1], 0.5)):
        found = {"latency_ms": Measurement("latency_ms", "", ((latency_ms,),))}
        beliefs.add(Evaluation("measure", architecture, round=1, measurements=found))
    job = trainings.next_job()
    assert job is not None
    assert job["id"] == ALL[1].id


class TestEarlyStopping:
    """Earlier trainings decide which reports end a training."""

    def round_after(self, rows: Sequence[Evaluation], notes: Sequence[Row] = ()) -> tuple[Trainings, FakeState]:
        """Return a round of 4 epochs that begins after these rows, and its state."""
        recipe = Recipe(objectives=("error",), training={"epochs": 4}, early_stopping={"check": 4, "keep": 0.1})
        state = FakeState(beliefs_of(rows=rows), recipe, notes)
        return state.trainings(epochs=4), state

    def goes_on(self, trainings: Trainings, epoch: int) -> bool:
        """Report an error that is worse than all before it. Return True if the training goes on."""
        job = {"id": ALL[9].id, "architecture": dict(ALL[9]), "seed": 0}
        trainings._begun[ALL[9].id], trainings._curves[ALL[9].id] = ALL[9], []
        return trainings.on_report(job, {"epoch": epoch, "error": 0.95})

    def whole(self, count: int, *, early_tells: bool = True) -> list[Evaluation]:
        """Return trainings whose errors after one epoch rank them as the last errors do, or the other way round."""
        firsts = [0.5 + 0.01 * (index if early_tells else -index) for index in range(count)]
        return [trained(ALL[i], (f, 0.4 + 0.01 * i, 0.3, 0.1 + 0.01 * i)) for i, f in enumerate(firsts)]

    def test_no_training_is_stopped_before_enough_have_ended(self) -> None:
        """Three whole trainings are too few, however bad the next one is."""
        trainings, state = self.round_after(self.whole(3))
        assert self.goes_on(trainings, 1)
        assert state.news == []

    def test_early_epochs_are_used_once_they_rank_well(self) -> None:
        """A message says so, and the journal has it."""
        trainings, state = self.round_after(self.whole(4))
        assert not self.goes_on(trainings, 1)
        assert not self.goes_on(trainings, 2)
        assert state.news == [
            "early errors rank 4 whole trainings like those after 4 epochs, Spearman: 1.00 after 1, 1.00 after 2; "
            "stopping begins at epoch 1"
        ]
        assert state.kept == [RungsJudged(4, {"1": 1.0, "2": 1.0}, [1, 2])]

    def test_early_epochs_that_rank_badly_are_not_used(self) -> None:
        """The first epoch is passed over here, and the second is used."""
        trainings, state = self.round_after(self.whole(4, early_tells=False))
        assert self.goes_on(trainings, 1)
        assert not self.goes_on(trainings, 2)
        assert "-1.00 after 1, 1.00 after 2; stopping begins at epoch 2" in state.news[0]

    def test_the_images_that_a_stopped_training_saw_are_recorded(self) -> None:
        """Where the share of images grows, each epoch's share is recorded, and the last one is that of the row."""
        trainings, state = self.round_after(self.whole(4))
        job = {"id": ALL[9].id, "architecture": dict(ALL[9]), "seed": 0}
        trainings._begun[ALL[9].id], trainings._curves[ALL[9].id], trainings._predicted[ALL[9].id] = ALL[9], [], {}
        for epoch, subset in ((1, 0.25), (2, 0.5)):
            report = {"epoch": epoch, "error": 0.3, "subset": subset, "seconds": 1.0}
            trainings.on_report(job, report)
        trainings.on_end(job, report)
        row = state.beliefs.rows[-1]
        assert not row.reached_full_fidelity
        assert row.details["epochs"] == 2
        assert row.details["subset"] == 0.5
        assert row.details["subsets"] == [0.25, 0.5]

    def test_a_resumed_run_does_not_say_it_again(self) -> None:
        """The journal has the judgement of these four trainings already."""
        trainings, state = self.round_after(self.whole(4), [RungsJudged(4, {"1": 1.0}, [1])])
        assert not self.goes_on(trainings, 1)
        assert state.news == []
        assert len(state.kept) == 1


class Wanting(TinySpace):
    """A space that wants to see five of its architectures first."""

    first = ALL[:5]


@pytest.mark.parametrize(("trials", "places"), [(20, [0, 1, 2, 3, 4]), (4, [0, 2, 4]), (1, [0])])
def test_what_a_space_wants_to_see_first_comes_first(trials: int, places: list[int]) -> None:
    """Of few trials it takes three quarters, evenly spread."""
    state = FakeState(beliefs_of(space=Wanting()), Recipe(objectives=("error",), trials=trials))
    trainings = state.trainings(until=9)
    jobs = [trainings.next_job() for _ in range(len(places) + 1)]
    assert [job["id"] for job in jobs if job] == [ALL[place].id for place in places]


def test_what_breaks_a_limit_does_not_come_first() -> None:
    params = {each: beliefs_of(space=Wanting()).counted(each)["params"] for each in Wanting.first}
    most = sorted(params.values())[2]
    beliefs = beliefs_of(f"params <= {most:.0f}", space=Wanting())
    small = [each.id for each in Wanting.first if params[each] <= most]
    assert 0 < len(small) < 5
    trainings = FakeState(beliefs, Recipe(objectives=("error",))).trainings()
    found = [job["id"] for _ in range(5) if (job := trainings.next_job())]
    assert found == small


@pytest.mark.parametrize(
    ("takes_s", "spent_s", "begins"), [(30.0, 91.0, False), (30.0, 79.0, True), (16.0, 91.0, True), (16.0, 92.5, False)]
)
def test_a_training_begins_if_it_ends_late_by_little(takes_s: float, spent_s: float, begins: bool) -> None:
    """By half of it at most, and by a tenth of the search's time: what ends later would be stopped."""
    state: Any = timed_state(takes_s, spent_s)
    trainings = Trainings(state, cast(Any, SimpleNamespace(epochs=1, subset=1.0)), 1, 9, ends_s=100.0)
    assert trainings.next_job() is not None  # the first one of a run always begins
    assert (trainings.next_job() is not None) == begins


def test_none_begins_in_the_time_that_winners_need_by_now() -> None:
    """They may need more than when the round began, because the best takes longer than those before it."""
    state: Any = timed_state(5.0, 50.0)
    trainings = Trainings(state, cast(Any, SimpleNamespace(epochs=1, subset=1.0)), 1, 9, ends_s=100.0)
    assert [trainings.next_job() is not None for _ in range(2)] == [True, True]
    state.schedule.reserve_s = 60.0
    assert trainings.next_job() is None


def timed_state(takes_s: float, spent_s: float, late_s: float = 10.0) -> FakeState:
    """Return the state of a run of 100 s, whose candidates take so long each."""
    state = FakeState(beliefs_of(space=Wanting()), Recipe(objectives=("error",), search_time_s=100))
    state.durations = SimpleNamespace(candidate_s=lambda _: takes_s, least_candidate_s=takes_s)
    state.spent_s = spent_s
    state.schedule = SimpleNamespace(is_timed=True, may_be_late_s=late_s, reserve_s=0.0, left_s=100.0 - spent_s)
    return state


@pytest.mark.parametrize(("spent_s", "goes_on"), [(99.0, True), (108.0, False)])
def test_a_training_far_slower_than_expected_stops_at_an_epoch(spent_s: float, goes_on: bool) -> None:
    """Two of its three epochs are left, of 4 s each, and the search may be late by a tenth of its time."""
    beliefs = beliefs_of(space=Wanting())
    beliefs.add(trained(ALL[7], [0.5, 0.4, 0.3]))
    state: Any = FakeState(beliefs, Recipe(objectives=("error",), search_time_s=100))
    state.durations, state.spent_s = SimpleNamespace(candidate_s=lambda _: 5.0, least_candidate_s=5.0), 90.0
    state.schedule = SimpleNamespace(is_timed=True, may_be_late_s=10.0, reserve_s=20.0, left_s=40.0)
    trainings = Trainings(state, cast(Any, SimpleNamespace(epochs=3, subset=1.0)), 1, 9, ends_s=100.0)
    job = trainings.next_job()
    assert job is not None
    state.schedule.left_s = 120.0 - spent_s
    assert trainings.on_report(job, {"epoch": 1, "error": 0.5, "seconds": 4.0}) is goes_on
    assert any("would end 16 s after the time for training" in text for text in state.news) is not goes_on


def test_what_takes_too_long_gives_way_to_what_still_fits() -> None:
    """A space may have quick candidates beside slow ones, such as linear models beside networks."""
    state: Any = timed_state(2.0, 90.0)
    slow, quick = ALL[0], ALL[1]
    state.durations.candidate_s = lambda each: 60.0 if each == slow else 2.0
    trainings = Trainings(state, cast(Any, SimpleNamespace(epochs=1, subset=1.0)), 1, 9, ends_s=100.0)
    assert trainings._judged(slow).is_accepted  # the first candidate of a run always begins
    assert trainings.next_job() is not None
    trainings._room_s = trainings._time_left_s()
    verdicts = [trainings._judged(each) for each in (slow, quick)]
    assert [each.reason for each in verdicts] == [TOO_LONG, None]
    state.spent_s = 99.5
    assert trainings.next_job() is None
    assert not trainings.dried_up


def test_what_is_wanted_first_and_takes_too_long_is_passed_over() -> None:
    state: Any = timed_state(2.0, 90.0)
    trainings = Trainings(state, cast(Any, SimpleNamespace(epochs=1, subset=1.0)), 1, 9, ends_s=100.0)
    assert trainings.next_job() is not None
    assert trainings._first() is not None
    state.durations.candidate_s = lambda _: 60.0
    assert trainings._first() is None


def test_a_parent_is_evaluated_though_no_time_is_left() -> None:
    """Candidates that were trained as a check may come before it. It takes one pass, and is always a winner."""
    beliefs = beliefs_of(space=Parted(), rows=[trained(ALL[1], [0.5]), trained(ALL[2], [0.4])])
    state: Any = FakeState(beliefs, Recipe(objectives=("error",), search_time_s=100))
    state.spent_s, state.schedule = 101.0, timed_state(1.0, 101.0).schedule
    assert state.durations.candidate_s(Parted.parent) == 0.0
    trainings = Trainings(state, cast(Any, SimpleNamespace(epochs=1, subset=1.0)), 1, 9, ends_s=100.0)
    job = trainings.next_job()
    assert job is not None
    assert job["id"] == Parted.parent.id
    assert trainings.next_job() is None
