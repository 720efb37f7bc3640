"""A signal stops a search in the caller's own program, even if a library catches it, and the search goes on later."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path

import pytest
from commands import assert_nothing_twice, evaluations_of, rows_of
from quick_runs import EXPORT, Diary, resume, search, trained, write_any_model

from nas.signals import Stopped

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send"),
    pytest.mark.usefixtures("quick_export"),
]


class Swallowing(Diary):
    """A signal where a stage begins, whose exception a library catches before anybody else sees it."""

    def __init__(self, stage: str, number: signal.Signals) -> None:
        super().__init__()
        self._stage = stage
        self._number = number

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        super().stage(name, total, most_s)
        if name == self._stage:
            with contextlib.suppress(BaseException):
                signal.raise_signal(self._number)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a file that is opened just then
@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("exporting models", signal.SIGINT),
        ("round 1/2: training", signal.SIGTERM),
        ("retraining winners", signal.SIGINT),
    ],
)
def test_a_signal_that_a_library_catches_stops_the_search(tmp_path: Path, stage: str, number: signal.Signals) -> None:
    """The exception says how to go on, the handlers are as before, and the resumed run ends as any other."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    progress = Swallowing(stage, number)
    with pytest.raises(Stopped) as found:
        search(tmp_path, progress=progress)
    assert stage in progress.stages
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert found.value.status == 128 + number
    assert any("nas.resume(" in note for note in found.value.__notes__)
    rows = rows_of(tmp_path / "run")
    resume(tmp_path / "run")
    assert rows_of(tmp_path / "run")[: len(rows)] == rows
    assert len(trained(tmp_path / "run")) == 6
    assert_nothing_twice(tmp_path / "run")


@pytest.mark.slow
def test_a_signal_that_an_exporter_turns_into_its_error_fails_no_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error looks as if the architecture could not be exported, but no such row is written."""
    exports = []

    def export(*given: object) -> None:
        exports.append(given)
        write_any_model(*given)  # type: ignore[arg-type]
        if len(exports) == 3:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt as error:
                kept.append(error)
                raise ValueError("the exporter has failed") from error

    kept: list[BaseException] = []
    monkeypatch.setattr(EXPORT, export)
    with pytest.raises(Stopped):
        search(tmp_path)
    assert len(kept) == 1
    run = tmp_path / "run"
    assert [row.failure for row in evaluations_of(run, "measure") if row.failure] == []
    resume(run)
    assert [row.failure for row in evaluations_of(run, "measure") if row.failure and row.failure.kind == "export"] == []
