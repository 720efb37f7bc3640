"""``nas solve``: what it prints, its exit statuses, and the requests that it refuses."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from in_process import printed, refused

from nas.cli.main import main

OLD_RUNS = Path(__file__).parents[1] / "old_runs"


@pytest.fixture(name="run")
def old_run(tmp_path: Path) -> Path:
    """A finished run of version 0.6.0."""
    return Path(shutil.copytree(OLD_RUNS / "finished-0.6.0", tmp_path / "run"))


def test_a_front_is_printed_within_the_terminal(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(capsys, monkeypatch, "solve", run, "--limit", "latency_ms<=2ms", "--limit", "params<=100k")
    assert "under latency ≤ 2 ms and parameters ≤ 100" in " ".join(text.split())
    assert "To improve on this:" in text
    words = {word for line in text.splitlines() if len(line) > 80 for word in line.split()}
    assert all(str(run) in word or "winners/" in word for word in words if len(word) > 40)


def test_json_stands_alone(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(printed(capsys, monkeypatch, "solve", run, "--objective", "error", "--json"))
    assert found["objectives"] == ["error"]
    assert found["limits"] == ["latency_ms <= 1.3ms"]
    assert found["newly_measured"] == 0
    assert len(found["points"]) == 1


def test_nothing_that_meets_the_limits_is_status_1(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["nas", "solve", str(run), "--limit", "latency_ms<=1us"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "No candidate meets latency ≤ 1 µs" in capsys.readouterr().out


def test_bad_requests_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, text in (
        ((run, "--limit", "latency_ms<=2"), "needs a unit"),
        ((run, "--limit", "speed<=2ms"), "speed"),
        ((tmp_path,), "must be the folder of a run"),
        ((run, "--measure", "-1"), "-1"),
        ((run, "--target", "nothing:int8"), "nothing"),
        ((run, "--measure", "5"), "started with a space object"),
    ):
        assert text in refused(capsys, monkeypatch, "solve", *arguments)
