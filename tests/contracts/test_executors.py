"""The contract of executors: the same checks for the one in this process and the one on Ray."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from job_work import work
from scripted_jobs import ENOUGH_S, Script, counting, two_workers

from nas.errors import CandidateError, DataError
from nas.jobs.execution import Executor, InlineExecutor


@pytest.fixture(name="ray_executor", scope="module")
def running_ray() -> Iterator[Executor]:
    with two_workers() as executor:
        yield executor


@pytest.fixture(name="executor", params=["inline", "ray"])
def each_executor(request: pytest.FixtureRequest) -> Executor:
    return InlineExecutor() if request.param == "inline" else request.getfixturevalue("ray_executor")


class TestEvery:
    """One Ray serves all of these tests, so each test is also another run in the same session."""

    @pytest.mark.slow
    def test_reports_come_in_order(self, executor: Executor) -> None:
        """Every report before the last goes to ``on_report``; the last one goes to ``on_end``, unchanged."""
        source = Script(counting(3), counting(1), counting(4))
        executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.heard == {
            f"j{number}": [
                *(("report", {"epoch": epoch}) for epoch in range(1, epochs)),
                ("end", {"epoch": epochs, "done": True}),
            ]
            for number, epochs in enumerate((3, 1, 4))
        }

    @pytest.mark.slow
    def test_a_source_can_stop_a_job(self, executor: Executor) -> None:
        """A stopped job ends with the report at which it was stopped, without ``done``; the others continue."""
        source = Script(counting(5, stop_at=2), counting(3), counting(4, stop_at=1))
        executor.run(work, source, time_limit_s=ENOUGH_S)
        assert [events[-1] for events in source.heard.values()] == [
            ("end", {"epoch": 2}),
            ("end", {"epoch": 3, "done": True}),
            ("end", {"epoch": 1}),
        ]
        assert [len(events) for events in source.heard.values()] == [3, 3, 2]

    @pytest.mark.slow
    def test_a_failure_ends_its_job_alone(self, executor: Executor) -> None:
        """A CandidateError keeps its kind; any other exception gets the kind exception, whenever it is raised."""
        source = Script(
            {"do": "fail"},
            {"do": "fail as candidate"},
            {"do": "raise at once"},
            {"do": "leave"},
            counting(2),
        )
        executor.run(work, source, time_limit_s=ENOUGH_S)
        *failures, end = [events[-1] for events in source.heard.values()]
        patterns = [
            ("exception", r"training raised ValueError: wrong in the middle \(.*job_work\.py, line \d+\)"),
            ("nan", "the loss is no number"),
            ("exception", r"training raised ValueError: wrong at once \(.*job_work\.py, line \d+\)"),
            ("exception", "training raised AssertionError: the last report of a job must hold done"),
        ]
        for (event, (kind, reason)), (expected, pattern) in zip(failures, patterns, strict=True):
            assert (event, kind) == ("failure", expected)
            assert re.fullmatch(pattern, reason), reason
        assert end == ("end", {"epoch": 2, "done": True})
        assert [len(events) for events in source.heard.values()] == [2, 2, 1, 2, 2]

    @pytest.mark.slow
    def test_a_job_that_exhausts_memory_fails_alone(self, executor: Executor) -> None:
        """A MemoryError gets a kind of its own."""
        source = Script({"do": "exhaust memory"}, counting(2))
        executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.heard["j0"][-1] == (
            "failure",
            ("memory", "training must fit into memory, but raised MemoryError: "),
        )
        assert source.kinds == ["memory", None]

    @pytest.mark.slow
    def test_another_nas_error_ends_the_run(self, executor: Executor) -> None:
        """Missing data would fail every job, so the error is raised at once and is recorded for no job."""
        source = Script({"do": "find no data"}, *[counting(1)] * 20)
        with pytest.raises(DataError, match="the data set is gone"):
            executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.heard["j0"] == [("report", {"epoch": 1})]
        assert source.asked < 20

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["next_job", "on_report", "on_end", "on_failure"])
    def test_an_exception_of_the_source_ends_the_run(
        self, executor: Executor, method: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same exception is raised, even if it is a CandidateError, and the source is not called again."""
        source = Script(counting(2), {"do": "fail"}, *[counting(3)] * 20)
        original: Callable[..., Any] = getattr(source, method)
        calls = []

        def failing(*arguments: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 3 or method == "on_failure":
                raise error
            return original(*arguments)

        error = CandidateError("disk", "the journal is full") if method == "on_report" else OSError("disk full")
        monkeypatch.setattr(source, method, failing)
        with pytest.raises(type(error)) as caught:
            executor.run(work, source, time_limit_s=ENOUGH_S)
        assert caught.value is error
        assert len(calls) == (1 if method == "on_failure" else 3)
        assert source.asked < 22

    @pytest.mark.slow
    def test_data_pass_as_they_are(self, executor: Executor) -> None:
        """Nested data in jobs and reports keep shape and type, and so does a megabyte of bytes."""
        data = {"architecture": {"depth": 2, "residual": True, "name": "é/ü", "a.b": 0.1}, "list": [[], {}, None, [1]]}
        source = Script({"do": "give back", "data": data})
        executor.run(work, source, time_limit_s=ENOUGH_S)
        (_, first), (_, last) = source.heard["j0"]
        assert first == {"epoch": 1, "got": data}
        assert last == {"epoch": 2, "got": data, "weights": bytes(range(256)) * 4000, "done": True}

    def test_no_jobs_are_no_error(self, executor: Executor) -> None:
        """A source without jobs is no error."""
        source = Script()
        executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.heard == {}
