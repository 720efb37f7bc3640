"""``nas serve``: where it listens, how it ends, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from damaged_journals import rows_of_a_run, write_run
from in_process import printed, refused

from nas.serving.server import Server


def test_the_command_says_where_it_listens_and_ends_at_ctrl_c(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(self: Server) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", pressed)
    for folder in ((tmp_path,), ("--runs", tmp_path)):
        said = printed(capsys, monkeypatch, "serve", *folder, "--port", "0")
        assert f"Runs in {tmp_path}: http://127.0.0.1:" in said
        assert "Ctrl-C" in said


def test_the_name_of_a_run_is_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(self: Server) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", pressed)
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "mine", rows_of_a_run())
    assert "runs/mine: http://127.0.0.1:" in printed(capsys, monkeypatch, "serve", "mine", "--port", "0")


def test_a_folder_that_does_not_exist_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = refused(capsys, monkeypatch, "serve", tmp_path / "none")
    assert "nas serve takes a folder" in text
    assert "does not exist" in text
    file = tmp_path / "file"
    file.write_text("")
    assert "is no folder" in refused(capsys, monkeypatch, "serve", file)
    assert "takes one folder, but got" in refused(capsys, monkeypatch, "serve", tmp_path, "--runs", tmp_path)
    assert "Invalid value for '--port'" in refused(capsys, monkeypatch, "serve", tmp_path, "--port", "70000")
