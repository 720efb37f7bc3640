"""After kill -9 in the middle of a retraining, by real processes, the run goes on and loses at most one epoch."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import SHORT, UNMEASURED, assert_nothing_twice, evaluations_of, rows_of
from fault_runs import INLINE, ONE_WORKER, faults
from forked_commands import ForkedCommand, run_forked
from spaces_here import take_faulty_here

from nas.training.state_packing import unpacked

pytestmark = pytest.mark.usefixtures("onnx_profile")  # so that not every command looks for it

EPOCHS = 8
PATIENCE_S = 200
"""On a busy machine Ray takes a minute to start."""


def kept_epoch(run: Path, number: int = 0) -> int:
    """Return the epoch of the checkpoint on the disk; 0 without any."""
    found = list((run / "checkpoints" / str(number)).glob("*.safetensors"))
    return int(unpacked(found[0].read_bytes())["state"]["epoch"]) if found else 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "executor",
    [pytest.param(INLINE, id="inline"), pytest.param(ONE_WORKER, id="ray")],
)
def test_a_killed_retraining_loses_at_most_one_epoch(tmp_path: Path, executor: tuple[str, ...]) -> None:
    """First that of the run itself, and then one that was asked for afterwards."""
    run = tmp_path / "run"
    slow = ("--set", "space.seconds=0.01", "--set", f"retraining.epochs={EPOCHS}")
    named = ("--trials", "1", "--name", "run", "--runs", tmp_path)
    arguments = (*faults("slow", always=True), *SHORT, *UNMEASURED, *slow, *executor, *named)
    command = ForkedCommand(tmp_path, "search", *arguments, prepare=take_faulty_here)
    assert command.wait_until(lambda: kept_epoch(run) >= 2, PATIENCE_S), command.output
    command.kill()
    command.wait_for_the_others(20)
    before, kept = rows_of(run), kept_epoch(run)
    assert 2 <= kept < EPOCHS
    resumed = run_forked("search", "--resume", run, prepare=take_faulty_here)
    assert resumed.returncode == 0, resumed.stderr
    assert f"goes on after epoch {kept} of {EPOCHS}" in resumed.stdout + resumed.stderr
    assert rows_of(run)[: len(before)] == before
    (row,) = evaluations_of(run, "retrain")
    assert row.details["resumed"] == kept
    assert not (run / "checkpoints").exists()
    assert_nothing_twice(run)
    again = ("retrain", run, "--top", "1", "--epochs", str(EPOCHS + 1))
    command = ForkedCommand(tmp_path, *again, prepare=take_faulty_here)
    assert command.wait_until(lambda: kept_epoch(run, 1) >= 1, PATIENCE_S), command.output
    command.kill()
    command.wait_for_the_others(20)
    kept = kept_epoch(run, 1)
    resumed = run_forked(*again, prepare=take_faulty_here)
    assert resumed.returncode == 0, resumed.stderr
    assert f"goes on after epoch {kept} of {EPOCHS + 1}" in resumed.stdout + resumed.stderr
    last = evaluations_of(run, "retrain")[-1]
    assert (last.details["resumed"], last.details["retraining"]) == (kept, 1)
