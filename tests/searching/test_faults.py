"""Architectures that fail in the real command become rows, or end the run after ten failures."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import fault_spaces
import pytest
from commands import SHORT, UNMEASURED, assert_nothing_twice, evaluations_of
from fault_runs import INLINE, ONE_WORKER, RAY, faults, kinds_by_part, trainings_if_any
from fault_spaces import Faulty
from forked_commands import ForkedCommand, run_forked
from spaces_here import take_faulty_here

import nas
from nas.errors import RepeatedFailureError

pytestmark = pytest.mark.usefixtures("onnx_profile")  # so that not every command looks for it

SOURCE = f"{Path(fault_spaces.__file__)}, line "
"""Failures name the line of the user's code."""


@pytest.mark.slow
def test_parts_that_cannot_be_built_become_rows_and_the_search_goes_on(tmp_path: Path) -> None:
    """A build that raises, or that gives another shape, is a failed row, and the budget is exact all the same."""
    done = run_forked("search", *faults("build", "shape"), *SHORT, *UNMEASURED, *INLINE, "--trials", "8", "--name",
                      "run", "--runs", tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    kinds = kinds_by_part(tmp_path / "run", "measure", "train")
    assert kinds["build"] == {"build"}
    assert kinds["shape"] == {"build"}
    assert kinds["plain"] == {"fine"}
    assert len(evaluations_of(tmp_path / "run", "train")) == 8
    reasons = {row.failure.reason for row in evaluations_of(tmp_path / "run", "measure") if row.failure}
    assert any(
        reason.startswith(f"build raised RuntimeError: this part cannot be built ({SOURCE}") for reason in reasons
    )
    assert any("to (1, 10), but it gave (1, 9)" in reason for reason in reasons)
    assert_nothing_twice(tmp_path / "run")


@pytest.mark.slow
def test_local_search_skips_parts_that_cannot_be_built(tmp_path: Path) -> None:
    """It skips neighbours of the front that cannot be built; those that were drawn at random are failed rows."""
    done = run_forked("search", *faults("build", "shape"), *SHORT, *UNMEASURED, *INLINE, "--trials", "10", "--name",
                      "run", "--runs", tmp_path, "--set", "sampler=local")  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = evaluations_of(tmp_path / "run", "train")
    assert len(rows) == 10
    assert sum(not row.failed for row in rows) > 5


@pytest.mark.slow
def test_parts_that_the_target_refuses_become_rows_and_others_take_their_place(tmp_path: Path) -> None:
    """An architecture that cannot be exported or run is a failed row, and another one is measured instead.

    With thirty of ninety trained, some of them surely work, whatever the times on this machine make the search choose.
    """
    run = tmp_path / "run"
    done = run_forked("search", *faults("refused", "export"), *SHORT, *INLINE, "--trials", "30", "--name", "run",
                      "--runs", tmp_path, "--seed", "3", "--set", "measuring.per_round=1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    kinds = kinds_by_part(run, "measure")
    assert kinds["refused"] == {"measure"}
    assert kinds["export"] == {"export"}
    assert kinds["plain"] == {"fine"}
    first = [row for row in evaluations_of(run, "measure") if row.round == 0]
    assert sum(not row.failed for row in first) == 5
    refusals = [row.failure.reason for row in first if row.failure and row.failure.kind == "measure"]
    assert all("refused the model" in reason for reason in refusals)
    assert len(evaluations_of(run, "train")) == 30
    assert_nothing_twice(run)


@pytest.mark.slow
def test_a_space_in_which_nothing_can_be_built_is_refused(tmp_path: Path) -> None:
    """The run does not begin, and the error names the line that fails."""
    done = run_forked("search", *faults("build", always=True), *SHORT, *INLINE, "--trials", "20", "--name", "run",
                      "--runs", tmp_path)  # fmt: skip
    assert done.returncode == 2
    assert "a space must have an architecture that can be built, but none of " in done.stderr
    assert f"build raised RuntimeError: this part cannot be built ({SOURCE}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_space_in_which_nothing_can_be_trained_ends_after_ten_failures(tmp_path: Path) -> None:
    """Ten failed trainings in a row end the run too, and it has a report."""
    done = run_forked("search", *faults("nan", always=True), *SHORT, *UNMEASURED, *INLINE, "--trials", "20", "--name",
                      "run", "--runs", tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert "the training loss must be finite, but was nan" in done.stderr
    assert len(evaluations_of(tmp_path / "run", "train")) == 10
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("fault", "says"),
    [("refused", "ONNX Runtime cannot run the exported model: "), ("export", "torch.onnx.export raised ")],
)
@pytest.mark.slow
def test_winners_that_all_fail_become_rows_and_end_the_run_after_ten(
    fault: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only winners are exported here, because no objective is measured."""
    monkeypatch.setattr("nas.searching.failures.FAILURES_IN_A_ROW", 3)
    recipe = {
        "name": "run",
        "data": "digits",
        "objectives": ["error", "macs"],
        "trials": 6,
        "rounds": 1,
        "training": {"epochs": 1, "subset": 0.1},
        "early_stopping": {"enabled": False},
        "retraining": {"epochs": 1, "winners": 2},
        "execution": {"executor": "inline"},
    }
    with pytest.raises(RepeatedFailureError, match="3 retrained winners in a row failed, so") as ended:
        nas.search(recipe, space=Faulty(fault, always=True), runs=tmp_path)
    assert says in str(ended.value)
    rows = evaluations_of(tmp_path / "run", "winner")
    assert len(rows) == 3
    assert all(row.failure is not None and row.failure.kind == "export" for row in rows)
    assert len(evaluations_of(tmp_path / "run", "retrain")) in (3, 4)


@pytest.mark.slow
def test_failures_of_training_become_rows_inline(tmp_path: Path) -> None:
    """NaN, an exception and a training beyond its time limit are rows with reasons, and the budget is exact."""
    run = tmp_path / "run"
    done = run_forked("search", *faults("nan", "raise", "slow"), *SHORT, *UNMEASURED, *INLINE, "--trials", "10",
                      "--set", "space.seconds=2.5", "--set", "training.time_limit_s=2", "--name", "run", "--runs",
                      tmp_path, "--set", 'sampler="random"', "--seed", "18")  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = evaluations_of(run, "train")
    assert len(rows) == 10
    assert kinds_by_part(run, "train") == {
        "plain": {"fine"},
        "nan": {"nan"},
        "raise": {"exception"},
        "slow": {"timeout"},
    }
    reasons = {str(row.architecture["part"]): row.failure.reason for row in rows if row.failure}
    assert reasons["raise"].startswith(f"training raised RuntimeError: this part cannot be trained ({SOURCE}")
    assert "at most 2 s" in reasons["slow"]
    assert_nothing_twice(run)


@pytest.mark.slow
def test_failures_of_training_become_rows_with_ray(tmp_path: Path) -> None:
    """A process that exits, a hang that only a kill ends, NaN and an exception are rows with reasons."""
    run = tmp_path / "run"
    command = ForkedCommand(tmp_path, "search", *faults("nan", "raise", "exit", "hang"), *SHORT, *UNMEASURED, *RAY,
                            "--trials", "10", "--set", "training.time_limit_s=9", "--name", "run", "--runs", tmp_path,
                            "--set", 'sampler="random"', "--seed", "23")  # fmt: skip
    assert command.process.wait(timeout=200) == 0, command.output
    rows = evaluations_of(run, "train")
    assert len(rows) == 10
    assert kinds_by_part(run, "train") == {
        "plain": {"fine"},
        "nan": {"nan"},
        "raise": {"exception"},
        "exit": {"worker"},
        "hang": {"timeout"},
    }
    hangs = [row.failure.reason for row in rows if row.architecture["part"] == "hang" and row.failure]
    assert all("at most 9 s, but hung; its process was ended" in reason for reason in hangs)
    assert_nothing_twice(run)
    command.wait_for_the_others()


@pytest.mark.slow
def test_a_worker_killed_from_outside_costs_no_row(tmp_path: Path) -> None:
    """After SIGKILL of a training process, as when memory runs out, its training begins again."""
    run = tmp_path / "run"
    command = ForkedCommand(tmp_path, "search", *faults("slow", always=True), "--set", "space.seconds=0.3", *SHORT,
                            *UNMEASURED, *ONE_WORKER, "--trials", "4", "--set", "training.subset=1", "--set",
                            "training.time_limit_s=60", "--name", "run", "--runs", tmp_path,
                            prepare=take_faulty_here)  # fmt: skip

    def workers() -> list[int]:
        return [
            process_id
            for process_id, line in command.others().items()
            if line.startswith("ray::") and "Trainable" in line
        ]

    assert command.wait_until(lambda: bool(trainings_if_any(run)) and bool(workers()))
    time.sleep(1)
    (process_id,) = workers()
    os.kill(process_id, signal.SIGKILL)
    assert command.process.wait(timeout=120) == 0, command.output
    rows = evaluations_of(run, "train")
    assert len({row.architecture for row in rows}) == len(rows) == 4
    assert not any(row.failed for row in rows)
    assert all(len(row.details["curve"]) == row.details["epochs"] for row in rows)
    command.wait_for_the_others()
