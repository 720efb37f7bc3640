"""Which rows are measured on a new target, and what is told where too few can be."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_up_devices import SPACE, Device, drawn

from nas.errors import TargetError
from nas.space.architecture import Architecture
from nas.tables import onboarding
from nas.tables.onboarding import Onboarded, measure_few
from nas.values.evaluation import Evaluation, Failure

ROWS = drawn(12, seed=0)
ELSEWHERE = Device().latencies_ms(ROWS)
TABLE: Any = SimpleNamespace(
    architectures=ROWS, targets=lambda metric: ["other"], column=lambda name, positive: ELSEWHERE, path="table.csv"
)


class Saying:
    """What is said while measuring, and how many rows are looked at."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, name: str, total: int) -> None:
        assert name == "choosing what to measure"
        assert 0 < total <= len(ROWS)

    def advance(self) -> None:
        """Rows are looked at by ``buildable``, which the tests replace."""

    def say(self, text: str) -> None:
        self.said.append(text)


def measured(
    monkeypatch: pytest.MonkeyPatch, count: int, *, unbuildable: int = 0, failing: int = 0
) -> tuple[Onboarded, list[list[Architecture]], list[str]]:
    """Measure few of the rows, of which the first cannot be built and the last fail; tell batches and sayings too."""
    batches: list[list[Architecture]] = []

    def measure(surroundings: object, architectures: Sequence[Architecture], *_: object, **__: object) -> Any:
        batches.append(list(architectures))
        taken = {"latency_ms": SimpleNamespace(median=1.0, flags=())}
        return [
            Evaluation("measure", each, failure=Failure("measure", "it hung"))
            if ROWS.index(each) >= len(ROWS) - failing
            else SimpleNamespace(architecture=each, failed=False, failure=None, measurements=taken)
            for each in architectures
        ]

    def buildable(space: object, architectures: Sequence[Architecture], *_: object) -> list[Architecture]:
        return [each for each in architectures if ROWS.index(each) >= unbuildable]

    monkeypatch.setattr(onboarding, "measure_architectures", measure)
    monkeypatch.setattr(onboarding, "buildable", buildable)
    nothing: Any = None
    progress: Any = Saying()
    found = measure_few(TABLE, "latency_ms", "new", ["other"], count, nothing, SPACE, seed=0, progress=progress)
    return found, batches, progress.said


def test_failed_rows_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    found, batches, said = measured(monkeypatch, 8, failing=3)
    assert len(found.values) == 8
    assert len(batches[0]) == 8
    assert len({each for batch in batches for each in batch}) == sum(map(len, batches))
    assert not said


def test_rows_that_cannot_be_built_are_not_chosen_and_a_shortfall_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, batches, said = measured(monkeypatch, 10, unbuildable=4)
    assert sorted(found.values) == list(range(4, 12))
    assert len(batches) == 1
    assert said == ["8 architectures have a value instead of 10: the others cannot be built, or failed"]


@pytest.mark.parametrize(
    ("unbuildable", "failing", "says"),
    [
        (12, 0, "but 0 could be measured. The others cannot be built."),
        (9, 0, "but 3 could be measured. The others cannot be built."),
        (0, 12, "but 0 could be measured and 12 failed. The last one: it hung"),
        (4, 8, "but 0 could be measured and 8 failed. The last one: it hung"),
    ],
)
def test_too_few_measurements_are_a_sentence(
    monkeypatch: pytest.MonkeyPatch, unbuildable: int, failing: int, says: str
) -> None:
    with pytest.raises(TargetError) as error:
        measured(monkeypatch, 6, unbuildable=unbuildable, failing=failing)
    assert str(error.value) == f"a predictor needs 5 measured architectures, {says}"


def test_rows_with_a_value_count_and_are_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    own = np.where(np.arange(12) < 3, 2.0, np.nan)
    columns = {"latency_ms_other": ELSEWHERE, "latency_ms_new": own}
    monkeypatch.setattr(TABLE, "targets", lambda metric: ["other", "new"])
    monkeypatch.setattr(TABLE, "column", lambda name, positive: columns[name])
    found, batches, _ = measured(monkeypatch, 7)
    assert (found.known, len(found.values)) == (3, 7)
    assert not set(batches[0]) & set(ROWS[:3])
    np.testing.assert_array_equal([found.values[row] for row in range(3)], 2.0)
