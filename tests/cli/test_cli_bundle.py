"""``nas bundle export|verify`` and ``nas drift``: what they print, and their exit statuses."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from acting_bench import ActingBench
from in_process import printed, refused
from run_of_winners import write_run_of_winners

from nas.bundles.agreement import Agreement
from nas.bundles.measuring import Effort
from nas.cli.main import main


@pytest.fixture(name="runs", scope="module")
def folder_of_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests do not change the run in it."""
    return write_run_of_winners(tmp_path_factory.mktemp("runs")).parent


@pytest.fixture(autouse=True)
def _acting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing real is measured."""
    monkeypatch.setattr(Effort, "open", lambda self, target, *_: ActingBench()(target))


def ended(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    """Return the standard output of a command that ends with status 1."""
    monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr()
    assert end.value.code == 1, output.err
    return output.out


def test_a_winner_is_exported_by_its_first_digits(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the new bundle is then checked; both say what was found."""
    winner = sorted((runs / "run" / "winners").iterdir())[0].name
    command = ["bundle", "export", winner[:6], "--format", "onnx", "--runs", runs, "--out", tmp_path / "form"]
    text = printed(capsys, monkeypatch, *command)
    assert f"onnx, fp32, for a batch of 1: {tmp_path / 'form'}" in text
    assert "Parity: outputs differ from those of torch by" in text
    assert "Latency: 1 ms (" in text
    assert json.loads(printed(capsys, monkeypatch, *command, "--json"))["parity"]["sound"]
    text = printed(capsys, monkeypatch, "bundle", "verify", tmp_path / "form")
    assert text.splitlines()[-1] == "The bundle is sound."
    (tmp_path / "form" / "predict.py").unlink()
    text = ended(capsys, monkeypatch, "bundle", "verify", tmp_path / "form", "--no-measure")
    assert "FAILED      files: predict.py is missing." in text


@pytest.mark.slow
def test_a_model_that_decides_otherwise_ends_with_1(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the user asks for less."""
    monkeypatch.setattr(Effort, "open", lambda self, target, *_: ActingBench(bend=lambda outputs: -outputs)(target))
    judged = Agreement.is_damaged
    monkeypatch.setattr(Agreement, "is_damaged", lambda found, precision, least: judged(found, "int8", least))
    winner = sorted((runs / "run" / "winners").iterdir())[0]
    command = ["bundle", "verify", winner, "--no-measure"]
    assert ended(capsys, monkeypatch, *command).splitlines()[-1] == "The bundle is not sound."
    assert "The bundle is sound" in printed(capsys, monkeypatch, *command, "--least-agreement", "0")


def test_drift_ends_with_1_if_a_limit_breaks(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise with 0, whatever moved."""
    assert "winners moved" in printed(capsys, monkeypatch, "drift", runs / "run")
    shutil.rmtree(shutil.copytree(runs / "run", tmp_path / "run") / "winners")
    found = json.loads(ended(capsys, monkeypatch, "drift", tmp_path / "run", "--json"))
    assert all(winner["failure"] for winner in found["winners"])


def test_what_is_no_bundle_is_refused(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a run that is none."""
    assert "have no winner" in refused(capsys, monkeypatch, "bundle", "verify", "ffffffff", "--runs", runs)
    assert "must be the folder of a run" in refused(capsys, monkeypatch, "drift", runs / "none")
