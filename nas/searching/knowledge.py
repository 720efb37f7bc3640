"""What the rows so far say about each architecture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nas.errors import RepeatedFailureError
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation
from nas.values.measurement import Measurement

FAILURES_IN_A_ROW = 10
NOT_DESCRIBED = {"described": False}
"""Details of the row of an architecture that failed before anything was done with it."""


class Knowledge:
    """An index over evaluation rows, grown row by row as the journal grows."""

    def __init__(self, rows: Sequence[Evaluation] = ()) -> None:
        self.rows: list[Evaluation] = []
        self.measurements: dict[Architecture, dict[str, Measurement]] = {}
        self.trainings: dict[Architecture, Evaluation] = {}
        self.retrainings: dict[Architecture, Evaluation] = {}
        self.winners: dict[Architecture, Evaluation] = {}
        self.unfit: set[Architecture] = set()
        self._failing: list[Evaluation] = []
        self._failing_winners: list[Evaluation] = []
        for row in rows:
            self.add(row)

    def add(self, row: Evaluation) -> None:
        """Take in the next row. ``unfit`` gathers what failed before it was retrained.

        Rows of the stage ``check`` tell nothing of an architecture but how well others foretold its error.
        """
        self.rows.append(row)
        # Apart from all others, for each of them was retrained first, mostly well.
        if row.stage == "winner":
            self._failing_winners = [*self._failing_winners, row] if row.failed else []
        else:
            self._failing = [*self._failing, row] if row.failed else []
        architecture = row.architecture
        if row.stage == "train":
            self.trainings[architecture] = row
        elif row.stage == "retrain":
            self.retrainings[architecture] = row
        elif row.stage == "winner":
            self.winners[architecture] = row
        elif row.stage == "measure" and not row.failed:
            self.measurements.setdefault(architecture, {}).update(row.measurements)
        if row.failed and row.stage in ("measure", "train"):
            self.unfit.add(architecture)

    @property
    def trials(self) -> int:
        """Trainings that have ended, in whatever way: what the budget counts."""
        return len(self.trainings)

    @property
    def candidates(self) -> list[Evaluation]:
        """Trainings that reached full fidelity, of architectures of which nothing failed."""
        return [
            row for row in self.trainings.values() if row.reached_full_fidelity and row.architecture not in self.unfit
        ]

    def note_described(self) -> None:
        """An architecture could be described, which leaves no row: those that could not show nothing of all others."""
        self._failing = [row for row in self._failing if not NOT_DESCRIBED.items() <= row.details.items()]

    def check_failures(self) -> None:
        """Stop a run in which nothing works.

        Raises:
            RepeatedFailureError: ten evaluations, or ten winners, failed one after the other; it says what they have in
                common.
        """
        for what, failing in (("evaluations", self._failing), ("retrained winners", self._failing_winners)):
            last = failing[-FAILURES_IN_A_ROW:]
            if len(last) == FAILURES_IN_A_ROW:
                raise RepeatedFailureError(
                    f"{FAILURES_IN_A_ROW} {what} in a row failed, so the run stops. {_in_common(last)} "
                    "Mend that, then start a new run."
                )


def _in_common(rows: Sequence[Evaluation]) -> str:
    """What failed evaluations share: the reason, or else its kind, and the choices on which all agree."""
    failures = [row.failure for row in rows if row.failure is not None]
    reason, times = Counter(failure.reason for failure in failures).most_common(1)[0]
    kinds = Counter(failure.kind for failure in failures)
    said = f"{times} of them say: {reason}" if times > 1 else f"The last says: {failures[-1].reason}"
    texts = [said if said.endswith((".", "!", "?")) else f"{said}."]
    if len(kinds) > 1:
        texts.append("Kinds of failure: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()) + ".")
    first = rows[0].architecture
    shared = {n: v for n, v in first.items() if all(row.architecture.get(n) == v for row in rows)}
    if shared:
        texts.append("All of them have " + ", ".join(f"{name}={value}" for name, value in shared.items()) + ".")
    else:
        texts.append("They have no choice in common.")
    return " ".join(texts)
