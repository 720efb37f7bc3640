"""Failures, and jobs in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from scripted_jobs import ENOUGH_S, Script

from nas.jobs.execution import InlineExecutor, Job, Report, as_failure


def test_memory_errors_of_torch_get_a_kind_of_their_own() -> None:
    """Torch raises a RuntimeError on CPUs, and a special class on GPUs."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert as_failure(caught.value).kind == "memory"
    assert as_failure(torch.OutOfMemoryError("CUDA out of memory")).kind == "memory"
    assert as_failure(RuntimeError("wrong")).kind == "exception"


def test_stopped_work_is_closed_before_its_end_is_reported() -> None:
    """The work restores what it has changed, such as random states, before anything else runs."""
    open_jobs = []

    def work(job: Job) -> Iterator[Report]:
        open_jobs.append(job["id"])
        try:
            yield {"epoch": 1}
        finally:
            open_jobs.remove(job["id"])

    class Looking(Script):
        def on_end(self, job: Job, report: Report) -> None:
            assert open_jobs == []
            super().on_end(job, report)

    source = Looking({"stop_at": 1}, {"stop_at": 1})
    InlineExecutor().run(work, source, time_limit_s=ENOUGH_S)
    assert source.kinds == [None, None]
