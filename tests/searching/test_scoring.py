"""Candidates that are scored many at a time: which a job holds, and what becomes of its reports and failures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from fault_spaces import Faulty
from made_up_beliefs import beliefs_of
from tiny_space import TinySpace
from torch import nn

from nas.errors import CandidateError
from nas.jobs.execution import Job
from nas.recipe.recipe import Recipe
from nas.searching.beliefs import Beliefs
from nas.searching.scoring import Scoring
from nas.space.architecture import Architecture, Choice
from nas.space.search_space import count, enumerate_space
from nas.values.evaluation import Evaluation

FIRST_AT_ONCE = 6


@pytest.fixture(autouse=True)
def small_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny space has fifteen architectures."""
    monkeypatch.setattr("nas.searching.scoring.FIRST_AT_ONCE", FIRST_AT_ONCE)


class FakeState:
    """A run's state whose rows are in ``kept``."""

    def __init__(self, beliefs: Beliefs) -> None:
        self.beliefs, self.recipe, self.kept = beliefs, Recipe(objectives=("error",)), list[Evaluation]()
        self.progress = SimpleNamespace(advance=lambda **_: None)
        self.spent_s = 0.0

    def add(self, *rows: Evaluation) -> None:
        self.kept += rows
        self.beliefs.add(*rows)

    def scoring(self, until: int = 30, **more: Any) -> Scoring:
        return Scoring(cast(Any, self), 1, until, **more)


def report(architecture: dict[str, Any], error: float = 0.5, seconds: float = 0.1) -> dict[str, Any]:
    return {"epoch": 1, "error": error, "by": "supernet", "seconds": seconds, "architecture": architecture}


def finish(scoring: Scoring, job: Job) -> None:
    """Report on all architectures of a job."""
    *others, last = job["architectures"]
    for each in others:
        assert scoring.on_report(job, report(each))
    scoring.on_end(job, {**report(last), "done": True})


def jobs_of(scoring: Scoring) -> list[Job]:
    found = []
    while (job := scoring.next_job()) is not None:
        found.append(job)
        finish(scoring, job)
    return found


def test_all_candidates_of_a_small_space_are_scored_once() -> None:
    state = FakeState(beliefs_of(space=TinySpace()))
    scoring = state.scoring(until=1000)
    jobs = jobs_of(scoring)
    rows = [row.architecture for row in state.kept]
    assert len(rows) == len(set(rows))
    assert set(rows) == set(enumerate_space(TinySpace()))
    assert scoring.dried_up
    assert len(jobs) > 1
    assert {row.details["by"] for row in state.kept} == {"supernet"}
    assert all(row.values["macs"] > 0 for row in state.kept)


def test_a_round_ends_with_its_share_and_a_resumed_one_goes_on() -> None:
    state = FakeState(beliefs_of(space=TinySpace()))
    scoring = state.scoring(until=FIRST_AT_ONCE + 3)
    assert [len(job["architectures"]) for job in jobs_of(scoring)] == [FIRST_AT_ONCE, 3]
    assert not scoring.dried_up
    more = jobs_of(state.scoring(until=FIRST_AT_ONCE + 7))
    assert sum(len(job["architectures"]) for job in more) == 4
    assert len({row.architecture for row in state.kept}) == FIRST_AT_ONCE + 7 <= count(TinySpace())


def test_a_job_has_its_candidates_in_the_order_of_their_options() -> None:
    """So that a network that begins like the one before need not run again."""
    state = FakeState(beliefs_of(space=TinySpace()))
    job = state.scoring().next_job()
    assert job is not None
    choices = TinySpace().choices
    places = [[choice.options.index(each[choice.name]) if choice.name in each else -1 for choice in choices]
              for each in job["architectures"]]  # fmt: skip
    assert places == sorted(places)


class Long:
    """A space of twelve choices, from input to output."""

    choices = tuple(Choice(f"layer{number}", tuple(range(8))) for number in range(12))

    def build(self, architecture: Architecture) -> nn.Module:
        """Build nothing that these tests need."""
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def test_members_of_a_family_begin_alike() -> None:
    """Each differs from one of those before only from some choice on: three quarters along, on average."""
    scoring = FakeState(beliefs_of(space=Long())).scoring()
    shared = []
    for _ in range(30):
        members = [list(each.values()) for each in dict.fromkeys(scoring._drawn_family())]
        for number, each in enumerate(members[1:], start=1):
            pairs = [zip(each, other, strict=True) for other in members[:number]]
            shared.append(max(next(n for n, (a, b) in enumerate(pair) if a != b) for pair in pairs))
    assert len(shared) > 300
    assert 0.65 * 12 < sum(shared) / len(shared) < 0.95 * 12


def test_candidates_that_break_a_limit_are_not_scored() -> None:
    params = sorted(beliefs_of(space=TinySpace()).counted(each)["params"] for each in enumerate_space(TinySpace()))
    most = params[len(params) // 2]
    state = FakeState(beliefs_of(f"params <= {most:.0f}", space=TinySpace()))
    jobs_of(state.scoring(until=1000))
    assert state.kept
    assert all(row.values["params"] <= most for row in state.kept)


def test_a_lost_job_fails_one_candidate_and_the_others_come_again() -> None:
    """Those that were reported stay; a restart repeats them, and they are not counted twice."""
    state = FakeState(beliefs_of(space=TinySpace()))
    scoring = state.scoring(until=8)
    job = scoring.next_job()
    assert job is not None
    first, second, *others = job["architectures"]
    scoring.on_report(job, report(first))
    scoring.on_restart(job)
    scoring.on_report(job, report(first))
    scoring.on_failure(job, CandidateError("worker", "its process died"))
    (ended, failed) = state.kept
    assert (ended.architecture, failed.architecture) == (Architecture(first), Architecture(second))
    assert failed.failure is not None
    assert failed.failure.kind == "worker"
    assert scoring.is_interrupted
    again = scoring.next_job()
    assert not scoring.is_interrupted
    assert again is not None
    assert all(each in again["architectures"] for each in others)
    assert first not in again["architectures"]
    assert second not in again["architectures"]


def test_what_a_lost_job_leaves_behind_does_not_come_again_after_the_time() -> None:
    """Or else a round would wait for it for ever."""
    state = FakeState(beliefs_of(space=TinySpace()))
    scoring = state.scoring(until=8, ends_s=5.0)
    job = scoring.next_job()
    assert job is not None
    state.spent_s = 6.0
    scoring.on_failure(job, CandidateError("worker", "its process died"))
    assert scoring.is_interrupted
    assert scoring.next_job() is None
    assert not scoring.is_interrupted


def test_a_candidate_that_fails_in_a_report_is_a_failed_row() -> None:
    state = FakeState(beliefs_of(space=TinySpace()))
    scoring = state.scoring(until=2)
    job = scoring.next_job()
    assert job is not None
    first, second = job["architectures"]
    told = {"epoch": 1, "failure": ["nan", "outputs must be finite"], "seconds": 0.1, "architecture": first}
    scoring.on_report(job, told)
    scoring.on_end(job, {**report(second), "done": True})
    assert [row.failed for row in state.kept] == [True, False]


def test_a_report_without_what_is_minimised_is_a_failed_row() -> None:
    """A metric that is not finite, such as that of a class without items, is in no report."""
    state = FakeState(beliefs_of(space=TinySpace()))
    scoring = state.scoring(until=2)
    job = scoring.next_job()
    assert job is not None
    first, second = job["architectures"]
    lacking = {key: value for key, value in report(first).items() if key != "error"}
    scoring.on_report(job, lacking)
    scoring.on_end(job, {**report(second), "done": True})
    assert [row.failed for row in state.kept] == [True, False]
    assert state.kept[0].failure is not None
    assert "a report must have a finite error of at least 0, but one has none" in state.kept[0].failure.reason


@pytest.mark.parametrize(("each_s", "most"), [(0.01, 60), (2.5, 2), (100.0, 1)])
def test_a_job_takes_about_five_seconds(each_s: float, most: int) -> None:
    """So that a kill costs little, and the time of the round is kept."""
    state = FakeState(beliefs_of(space=Faulty()))
    scoring = state.scoring(until=10_000)
    first = scoring.next_job()
    assert first is not None
    assert len(first["architectures"]) <= FIRST_AT_ONCE
    for each in first["architectures"][:-1]:
        scoring.on_report(first, report(each, seconds=each_s))
    scoring.on_end(first, {**report(first["architectures"][-1], seconds=each_s), "done": True})
    second = scoring.next_job()
    assert second is None or len(second["architectures"]) <= most


def test_no_job_begins_after_the_time_of_the_round() -> None:
    """But for the first of a run: however short the time, something is scored."""
    state = FakeState(beliefs_of(space=TinySpace()))
    state.spent_s = 5.0
    first = state.scoring(ends_s=5.0)
    job = first.next_job()
    assert job is not None
    finish(first, job)
    assert first.next_job() is None
    assert state.scoring(ends_s=5.0).next_job() is None
    assert state.scoring(ends_s=6.0).next_job() is not None
