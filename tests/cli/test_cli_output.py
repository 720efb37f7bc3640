"""The output of a search and of the commands about its run."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import SHORT, UNMEASURED, environment, rows_of, run_nas
from in_process import printed

from nas.recipe.recipe import Recipe, read_recipe
from nas.storage.journal import Journal

pytestmark = pytest.mark.usefixtures("onnx_profile")  # found once, not by each command anew

SPACE = ("--space", "fault_spaces:Faulty")
INLINE = ("--executor", "inline")


@pytest.fixture(name="finished", scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run that was started with flags only, and its output as JSON."""
    runs = tmp_path_factory.mktemp("runs")
    done = run_nas("search", *SPACE, *SHORT, *UNMEASURED, *INLINE, "--trials", "3", "--seed", "1", "--limit",
                   "params<=2k", "--name", "run", "--runs", runs, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return runs / "run", done


def test_json_is_all_that_stands_on_standard_output(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Progress goes to standard error, and without a terminal neither has escape codes."""
    run, done = finished
    result = json.loads(done.stdout)
    assert result["run_folder"] == str(run)
    assert result["objectives"] == ["error", "macs"]
    assert [winner["meets_limits"] for winner in result["winners"]] == [True]
    assert "round 1/1: training" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_flags_and_a_recipe_file_give_the_same_recipe(
    tmp_path: Path, finished: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    """Flags mean the same as their keys in TOML."""
    (tmp_path / "recipe.toml").write_text("""
        name = "run"
        seed = 1
        data = "digits"
        space = "fault_spaces:Faulty"
        objectives = ["error", "macs"]
        limits = ["params <= 2000"]
        trials = 3
        rounds = 1
        measuring = {initial = 5, rounds = 2, max_rounds = 2, seconds_per_round = 0.02}
        training = {epochs = 1, subset = 0.1}
        retraining = {epochs = 1, winners = 1}
        execution = {executor = "inline"}
    """)
    assert read_recipe(tmp_path / "recipe.toml").differences(read_recipe(finished[0] / "recipe.toml")) == {}


@pytest.mark.slow
def test_show_prints_a_run_again(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run is shown as a table without escape codes, or as the same JSON that the search printed."""
    run, done = finished
    shown = run_nas("show", run)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(done.stdout)["winners"][0]["id"] in shown.stdout
    assert "accuracy" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert json.loads(printed(capsys, monkeypatch, "show", run, "--json")) == json.loads(done.stdout)


def test_show_can_be_redirected_to_an_ascii_file(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """Characters that the output lacks are replaced, as happens to files on Windows."""
    run, _ = finished
    shown = run_nas("show", run, PYTHONIOENCODING="ascii")
    assert shown.returncode == 0, shown.stderr
    assert "? " in shown.stdout


def test_show_to_a_closed_pipe_ends_quietly(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """A reader such as ``head -0`` closes the pipe early, which is no error."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "nas", "show", str(finished[0]), "--json"],
        env=environment(), stdout=write, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.stderr == ""


def test_report_is_written_again(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The report is made from the journal alone, at the same path, which is printed."""
    run, _ = finished
    before = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    assert printed(capsys, monkeypatch, "report", run) == f"{run / 'report.html'}\n"
    assert len((run / "report.html").read_bytes()) == len(before)


@pytest.mark.slow
def test_resuming_a_finished_run_by_command_changes_nothing(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same result is printed again, and no row is added. Keys of the execution hold for this time only."""
    run, done = finished
    rows, recipe = rows_of(run), (run / "recipe.toml").read_bytes()
    resume = ("search", "--resume", run, *INLINE, "--set", "execution.workers=1", "--json")
    assert json.loads(printed(capsys, monkeypatch, *resume)) == json.loads(done.stdout)
    assert rows_of(run) == rows
    assert (run / "recipe.toml").read_bytes() == recipe


@pytest.mark.slow
def test_a_dry_run_prints_the_recipe_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed recipe is a valid one, and keys without a value are in it as comments."""
    dry_run = ("search", *SPACE, "--time", "90s", "--runs", tmp_path / "runs", "--dry-run")
    recipe = printed(capsys, monkeypatch, *dry_run)
    (tmp_path / "recipe.toml").write_text(recipe)
    assert read_recipe(tmp_path / "recipe.toml") == Recipe(space="fault_spaces:Faulty", search_time_s=90)
    assert "\n# image_size =\n" in recipe
    assert not (tmp_path / "runs").exists()


def test_show_lists_runs(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each run has one line, also a run that is not finished and has no report."""

    def shown(*arguments: str | Path) -> str:
        return printed(capsys, monkeypatch, "show", *arguments)

    run, _ = finished
    with_another = shutil.copytree(run.parent, run.parent.parent / "listed")
    other = with_another / "stopped"
    Journal.start(other, (run / "recipe.toml").read_text(), clock=time.time).close()
    first, second = shown("--runs", with_another).splitlines()
    assert first.startswith(f"{with_another / 'run'}: 1 winner ")
    assert second == f"{other}: Nothing has been recorded yet on onnxruntime-cpu:fp32:batch=1:threads=1. Not finished."
    assert len(json.loads(shown("--runs", with_another, "--json"))) == 2
    assert shown(other) == (
        f"No winners.\nNot finished. Unless it is still running, continue with: nas search --resume {other}\n"
    )
    assert shown("--runs", run.parent / "none") == f"There are no runs in {run.parent / 'none'}.\n"


def test_a_terminal_gets_colours(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """In a terminal, the same table has escape codes."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "nas", "show", str(finished[0])],
        env=environment(TERM="xterm-256color", COLUMNS="100"), stdout=end, stderr=end,
    )  # fmt: skip
    os.close(end)
    parts = []
    try:
        while part := os.read(terminal, 4096):
            parts.append(part)
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    assert process.wait(timeout=30) == 0
    text = b"".join(parts).decode()
    assert "\x1b[" in text
    assert "accuracy" in re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize(
    ("redirection", "status", "says"),
    [
        (">&-", 2, "error: standard output must be open, but it is closed."),
        ("> /dev/full", 2, "error: a file could not be read or written: [Errno 28] No space left on device"),
        ("2>&- > /dev/null", 0, ""),
        ("<&- > /dev/null", 0, ""),
    ],
)
def test_closed_and_full_streams_are_told(redirection: str, status: int, says: str) -> None:
    """A closed output is refused, because the next file that is opened would take its place."""
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m nas list {redirection}'],
        env=environment(), text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == bool(says)
