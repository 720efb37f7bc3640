"""The relay between a source of jobs and the trials of Ray Tune, without Ray."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable

from scripted_jobs import Script, counting

from nas.errors import CandidateError
from nas.jobs.relay import Relay, hard_limit_of

HARD_LIMIT_S = hard_limit_of(10.0)


def relay_of(source: Script, clock: Callable[[], float] = time.monotonic) -> Relay:
    """A relay with a time limit of 10 s."""
    relay = Relay(source, 10.0, HARD_LIMIT_S, clock)
    relay.begin_pass()
    return relay


def job_id(relay: Relay, trial: str) -> str | None:
    """Hand out a job to the trial; its id, or None when there is none."""
    job = relay.next_job(trial)
    return None if job is None else job["id"]


def test_a_lost_job_comes_before_new_ones_and_fails_the_second_time() -> None:
    """The source learns of the restart when the job is handed out again."""
    source = Script(counting(2), counting(2))
    relay = relay_of(source)
    assert job_id(relay, "a") == "j0"
    relay.die("a", 1.0, None)
    assert job_id(relay, "b") == "j0"
    assert source.heard["j0"] == [("restart", None)]
    relay.die("b", 1.0, None)
    assert job_id(relay, "c") == "j1"
    assert source.heard["j0"][-1][1][0] == "worker"


def test_a_process_that_outlasts_the_hard_limit_is_a_timeout() -> None:
    """The job does not start again."""
    source = Script(counting(2))
    seconds = iter((100.0, 100.0 + HARD_LIMIT_S))
    relay = relay_of(source, lambda: next(seconds))
    relay.next_job("a")
    relay.die("a", HARD_LIMIT_S, None)
    assert source.kinds == ["timeout"]
    assert relay.is_over


def test_a_clock_that_jumps_makes_no_hang_of_a_lost_process() -> None:
    """The clock of the day went on by an hour while the process ran for a second: it starts again."""
    source = Script(counting(2), counting(2))
    seconds = iter((100.0, 101.0, 101.0))
    relay = relay_of(source, lambda: next(seconds))
    relay.next_job("a")
    relay.die("a", 3600.0, None)
    assert job_id(relay, "b") == "j0"


def test_after_a_memory_shortage_lost_jobs_run_alone() -> None:
    """One pass runs them one after the other; the next pass runs new jobs side by side again."""
    source = Script(*[counting(1)] * 4)
    relay = relay_of(source)
    assert [job_id(relay, trial) for trial in "ab"] == ["j0", "j1"]
    relay.run_short_of_memory()
    assert not relay.is_over
    relay.begin_pass()
    assert [job_id(relay, trial) for trial in "cd"] == ["j0", None]
    relay.end("c", {"done": True})
    assert job_id(relay, "e") == "j1"
    relay.end("e", {"done": True})
    assert job_id(relay, "f") is None
    assert not relay.is_over
    relay.begin_pass()
    assert [job_id(relay, trial) for trial in "gh"] == ["j2", "j3"]
    relay.end("g", {"done": True})
    relay.end("h", CandidateError("nan", "the loss is no number"))
    assert source.kinds == [None, None, None, "nan"]
    assert relay.is_over


def test_an_error_outside_the_work_is_raised_or_fails_the_job() -> None:
    """An ImportError fails its job; the first exception of the source ends the run."""
    source = Script(counting(1), counting(1), counting(1))
    relay = relay_of(source)
    relay.next_job("a")
    relay.die("a", 0.0, ImportError("no space"))
    assert source.heard["j0"] == [("failure", ("exception", "training raised ImportError: no space"))]
    relay.next_job("b")
    del source.heard["j1"]
    assert not relay.goes_on("b", {"epoch": 1})
    assert isinstance(relay.error, KeyError)
    assert relay.next_job("c") is None
    assert relay.is_over


def test_nothing_of_a_relay_is_pickled() -> None:
    """Tune pickles its searcher, and the source may hold an open journal."""
    assert type(pickle.loads(pickle.dumps(relay_of(Script())))) is object


def test_a_job_that_a_node_refused_begins_on_another_without_a_word() -> None:
    """The node is to blame, so the source learns nothing, and the job keeps both of its tries."""
    source = Script(counting(2), counting(2))
    relay = relay_of(source)
    for trial in "abc":
        assert job_id(relay, trial) == "j0"
        relay.refuse(trial)
    assert not relay.running
    assert job_id(relay, "d") == "j0"
    relay.die("d", 1.0, None)
    assert job_id(relay, "e") == "j0"
    assert source.heard["j0"] == [("restart", None)]


def test_reports_that_come_late_twice_or_from_nobody_change_nothing() -> None:
    """What has ended has ended: the source hears of each end once."""
    source = Script(counting(2), counting(2))
    relay = relay_of(source)
    assert [job_id(relay, trial) for trial in "ab"] == ["j0", "j1"]
    relay.end("a", {"epoch": 2, "done": True})
    heard = list(source.heard["j0"])
    assert not relay.goes_on("a", {"epoch": 1})
    relay.end("a", {"epoch": 2, "done": True})
    relay.die("a", 1.0, None)
    relay.refuse("a")
    assert not relay.goes_on("nobody", {"epoch": 1})
    relay.end("nobody", CandidateError("nan", "the loss is no number"))
    relay.die("nobody", 1.0, None)
    assert source.heard["j0"] == heard
    assert relay.error is None
    assert relay.running == 1


def test_a_job_of_many_candidates_reports_each_of_them() -> None:
    """All in its one epoch; a training that reports an epoch again tells nothing new."""
    source = Script(counting(9), counting(9))
    relay = relay_of(source)
    relay.next_job("scoring")
    for number in range(5):
        assert relay.goes_on("scoring", {"epoch": 1, "architecture": {"width": number}})
    relay.next_job("training")
    for epoch in (1, 2, 2, 1):
        assert relay.goes_on("training", {"epoch": epoch})
    heard = {job: [kind for kind, _ in told] for job, told in source.heard.items()}
    assert heard == {"j0": ["report"] * 5, "j1": ["report"] * 2}
