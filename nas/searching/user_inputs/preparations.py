"""Checking that the data can be prepared as architectures of a space ask for it, before anything runs."""

from __future__ import annotations

from nas.errors import CandidateError
from nas.space.parts.own_inputs import wishes_of
from nas.space.search_space import SearchSpace, ends
from nas.tasks.task import Task


def check_inputs(space: SearchSpace, task: Task) -> None:
    """Check the wishes of a space's smallest and largest architecture.

    One whose wishes cannot be told is left to the search, where it is a failed candidate.

    Raises:
        DataError: the task cannot prepare its items in that way.
    """
    for architecture in ends(space):
        try:
            wishes = wishes_of(space, architecture)
        except CandidateError:
            continue
        task.check_wishes(wishes)
