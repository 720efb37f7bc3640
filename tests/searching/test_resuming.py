"""A run that was stopped goes on from its rows, and repeats nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import assert_nothing_twice, evaluations_of, rows_of
from quick_runs import BASE, Diary, Stopping, resume, search, trained

from nas.errors import JournalError
from nas.storage.journal import read_rows
from nas.storage.journal_rows import Cost

pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.mark.slow
def test_resuming_a_finished_run_repeats_nothing(tmp_path: Path) -> None:
    """The journal stays as it was, and the front is the same."""
    front = search(tmp_path)
    before = rows_of(tmp_path / "run")
    again = resume(tmp_path / "run")
    assert rows_of(tmp_path / "run") == before
    assert again.to_json() == front.to_json()


@pytest.mark.slow
def test_trainings_that_were_stopped_early_are_not_repeated(tmp_path: Path) -> None:
    """Their rows have the epochs that they reached, none wins, and a resumed run stops the same ones."""
    changes = {
        "objectives": ["error", "macs"],
        "sampler": "random",
        "trials": 18,
        "training": {"epochs": 6, "subset": 0.3},
        "early_stopping": {"check": 3, "least_correlation": -1, "margin": 0, "min_peers": 2, "neighbours": 6},
    }

    search(tmp_path / "a", **changes)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "b", progress=Stopping("round 2/2: training"), **changes)
    resume(tmp_path / "b" / "run")
    rows, again = (evaluations_of(tmp_path / folder / "run", "train") for folder in "ab")
    assert [(r.architecture, r.values, r.details["epochs"]) for r in again] == [
        (r.architecture, r.values, r.details["epochs"]) for r in rows
    ]
    stopped = {row.architecture for row in rows if row.details["stopped_early"]}
    assert len(rows) == len({row.architecture for row in rows}) == 18
    assert 1 <= len(stopped) <= 15
    for row in rows:
        assert len(row.details["curve"]) == row.details["epochs"]
        assert row.reached_full_fidelity == (row.details["epochs"] == 6) == (row.architecture not in stopped)
    assert not stopped & {row.architecture for row in evaluations_of(tmp_path / "a" / "run", "winner")}
    assert stopped & {row.architecture for row in rows[: len(rows) // 2]}, "some were stopped before the interruption"


@pytest.mark.slow
def test_a_changed_recipe_is_refused_on_resume(tmp_path: Path) -> None:
    """The message names the changes, and nothing is done. Keys about where trainings run may change."""
    search(tmp_path)
    run = tmp_path / "run"
    text = (run / "recipe.toml").read_text()
    before = rows_of(run)
    (run / "recipe.toml").write_text(
        text.replace("seed = 0", "seed = 1").replace('[sampler]\nname = "gp"', '[sampler]\nname = "tpe"')
    )
    with pytest.raises(
        JournalError, match=r"seed was 0 and is 1 now, sampler\.name was \"gp\" and is \"tpe\" now\. Bring"
    ):
        resume(run)
    assert rows_of(run) == before
    (run / "recipe.toml").write_text(text.replace("workers = 0", "workers = 1"))
    resume(run)
    assert rows_of(run) == before


@pytest.mark.slow
@pytest.mark.parametrize("stop_before", ["round 2/2: training", "retraining winners", "exporting winners"])
def test_a_run_stopped_between_stages_goes_on_from_its_rows(tmp_path: Path, stop_before: str) -> None:
    """Earlier rows stay as they are, nothing is done twice, and the budget is exact."""
    with pytest.raises(KeyboardInterrupt) as stopped:
        search(tmp_path, progress=Stopping(stop_before))
    run = tmp_path / "run"
    assert stopped.value.__notes__ == [f"Go on with: nas.resume('{run}', space=…), with the space that it began with"]
    before = rows_of(run)
    front = resume(run)
    assert rows_of(run)[: len(before)] == before
    assert len(trained(run)) == BASE["trials"]
    assert len(front) >= 1
    assert_nothing_twice(run)


def test_a_closed_output_pipe_ends_a_run_like_ctrl_c(tmp_path: Path) -> None:
    """The error says how to go on, and the run has a report and its costs. The disk is not blamed."""

    class Closed(Diary):
        def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
            super().stage(name, total, most_s)
            if name.startswith("round 2"):
                raise BrokenPipeError

        def close(self) -> None:
            if self.stages[-1].startswith("round 2"):
                raise BrokenPipeError

    with pytest.raises(BrokenPipeError) as ended:
        search(tmp_path, progress=Closed())
    run = tmp_path / "run"
    assert [note.split(":")[0] for note in ended.value.__notes__] == ["Go on with"]
    assert (run / "report.html").is_file()
    assert read_rows(run, Cost)
