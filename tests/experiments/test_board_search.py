"""A search through ssh is compared with one here: what is read of each, and how the table tells it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from experiments import board_here, board_search
from experiments.board_search import Searched, searched, summary
from nas.space.architecture import Architecture
from nas.storage.journal import Journal
from nas.storage.journal_rows import Cost
from nas.values.evaluation import Evaluation, Stage


def test_the_ratio_is_of_medians_of_whole_searches() -> None:
    here = [Searched(100.0, 20.0, 30, 25), Searched(104.0, 21.0, 30, 26), Searched(900.0, 22.0, 30, 26)]
    there = [Searched(110.0, 24.0, 30, 25), Searched(113.0, 25.0, 30, 25), Searched(114.4, 26.0, 30, 27)]
    lines = summary({"here": here, "through ssh": there})
    assert "| here | 100 s, 104 s, 900 s | 20 s, 21 s, 22 s | 30, 30, 30 | 25, 26, 26 |" in lines
    assert lines[-1] == "Through ssh the search took 1.09 times as long."


def test_a_search_is_read_from_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It measures anew, and the command is the one that a user types."""
    typed: list[tuple[str, ...]] = []

    def run_nas(*arguments: str, folder: Path) -> None:
        typed.append(arguments)
        stages: tuple[Stage, ...] = ("measure", "measure", "train")
        rows = [Evaluation(stage, Architecture({"width": 2}), values={"error": 0.1}) for stage in stages]
        with Journal.start(folder / "runs" / "one", "", clock=lambda: 0.0) as journal:
            journal.append(*rows, Cost(9.0, 2.5, None, "none"), Cost(3.0, 1.5, None, "none", "winners"))

    monkeypatch.setattr(board_search, "run_nas", run_nas)
    found = searched("here/onnxruntime-cpu", 7, "one", tmp_path)
    assert (found.device_s, found.trained, found.measured) == (4.0, 1, 2)
    assert "--target here/onnxruntime-cpu --trials 7" in " ".join(typed[0])
    assert "measuring.reuse=false" in typed[0]


def test_a_machine_without_sshd_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.real_sshd.IS_THERE", False)
    with pytest.raises(OSError, match="install openssh-server"), board_here.board_here():
        raise AssertionError("there is no board")


@pytest.mark.skipif(not board_here.real_sshd.IS_THERE, reason="this machine has no sshd")
def test_this_machine_becomes_a_board_and_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    """Within the block, commands know the device by the environment."""
    before = dict(os.environ)
    with board_here.board_here():
        subprocess.run(["ssh", "-V"], check=True)
        board_here.run_nas("device", "list")
        assert os.environ["PATH"].startswith(os.environ["NAS_HOME"])
    assert "here  ssh://" in capfd.readouterr().out
    assert dict(os.environ) == before
