"""The trainings of a round that was interrupted, which are proposed again in their order.

A sampler keeps more in memory than rows tell: plans, pools, and the numbers that it drew. So where one training follows
the other, an interrupted round is proposed again from its beginning, and each training that the journal holds is taken
from there instead of being done. The sampler then is as it was, and a run is the run of its seed, however often it was
interrupted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import final

from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation

MOST = 5000
"""Of a longer round, nothing is proposed again: that would take longer than it is worth."""


@final
class RecordedRows:
    """Rows of an interrupted round that are yet to be proposed again; there are none where ``rows`` are empty.

    ``trained_of`` returns what is trained of an architecture: rows of one training in several precisions share it.
    """

    def __init__(self, rows: Sequence[Evaluation], trained_of: Callable[[Architecture], Architecture]) -> None:
        self._rows = deque(rows)
        self._trained_of = trained_of

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def trainings(self) -> int:
        """The number of trainings that the rows are of."""
        return len({self._trained_of(row.architecture) for row in self._rows})

    def next_of(self, architecture: Architecture) -> list[Evaluation]:
        """Return the rows of the next training, if it is of this architecture; none if it is of another one."""
        trained = self._trained_of(architecture)
        found: list[Evaluation] = []
        for row in self._rows:
            if self._trained_of(row.architecture) != trained:
                break
            found.append(row)
        return found

    def take(self, count: int) -> list[Evaluation]:
        """Return the next rows, which are not here any more."""
        return [self._rows.popleft() for _ in range(count)]

    def take_rest(self) -> list[Evaluation]:
        """Return all rows, of which none are here any more."""
        return self.take(len(self._rows))


def unended_from(rows: Sequence[Evaluation], rounds_ended: Collection[int]) -> int:
    """Return the place from which rows are of trainings of a round that was interrupted; their number if there is none.

    ``rounds_ended`` are the rounds whose trainings have ended.
    """
    if not rows or rows[-1].stage != "train" or rows[-1].round in rounds_ended:
        return len(rows)
    place = len(rows)
    while place and (rows[place - 1].stage, rows[place - 1].round) == ("train", rows[-1].round):
        place -= 1
    return len(rows) if len(rows) - place > MOST else place
