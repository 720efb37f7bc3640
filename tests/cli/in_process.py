"""The command in the tests' own process: what it prints, and how it refuses a request."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nas.cli.main import main


def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    """Return the standard output of the command, which must end with status 0."""
    monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr()
    assert end.value.code == 0, output.err
    return output.out


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    """Return the error of the command, which must end with status 2, no traceback and no standard output."""
    monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr()
    assert end.value.code == 2, output.err
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert "Traceback" not in output.err
    return output.err
