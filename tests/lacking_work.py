"""Work that a process cannot load where an environment variable says so, as if a module of the user's were missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from job_work import work

from nas.jobs.execution import Job

LACKS = "NAS_TEST_LACKS"


class LackingWork:
    """Does what ``job_work`` does."""

    def __call__(self, job: Job) -> Iterator[dict[str, Any]]:
        return work(job)

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return loaded, ()


def loaded() -> LackingWork:
    """Return the work, or raise what an import of an unknown module raises."""
    if os.environ.get(LACKS):
        raise ModuleNotFoundError("No module named 'their_space'")
    return LackingWork()
