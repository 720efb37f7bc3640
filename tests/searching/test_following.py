"""A search that trackers follow: events appear while it goes on, after a resume, and a failing tracker ends nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import evaluations_of
from quick_runs import Diary, Stopping, resume, search

from nas.errors import RecipeError
from nas.results.exports.tensorboard_events import EVENTS_FOLDER, TensorBoardTracker

pytestmark = pytest.mark.usefixtures("quick_export")
FOLLOWED = {"execution": {"executor": "inline", "track": ["tensorboard"]}}


def sessions(run: Path) -> set[str]:
    return {each.name for each in (run / EVENTS_FOLDER / "run" / "architectures").iterdir()}


@pytest.mark.slow
def test_events_follow_a_run_and_go_on_after_a_resume(tmp_path: Path) -> None:
    """They hold every architecture that was evaluated, before and after the interruption."""
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, progress=Stopping("retraining winners"), **FOLLOWED)
    evaluated = {row.architecture.id for row in evaluations_of(run, "train") if not row.failed}
    assert sessions(run) == evaluated
    resume(run)
    assert sessions(run) == evaluated | {row.architecture.id for row in evaluations_of(run, "winner")}


@pytest.mark.slow
def test_a_tracker_that_fails_ends_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: TensorBoardTracker, rows: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(TensorBoardTracker, "add", full)
    diary = Diary()
    assert len(search(tmp_path, progress=diary, **FOLLOWED))
    (told,) = [text for text in diary.news if "no longer follows" in text]
    assert told.startswith("tensorboard no longer follows this run: No space left on device.")


def test_an_unknown_tracker_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown export 'wandb'"):
        search(tmp_path, execution={"executor": "inline", "track": ["wandb"]})
    assert not (tmp_path / "run").exists()
