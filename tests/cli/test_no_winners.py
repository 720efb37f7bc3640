"""A search without winners does not end as if all were well."""

from __future__ import annotations

import sys
from pathlib import Path

import fault_spaces
import pytest
from commands import SHORT, UNMEASURED

from nas.cli.main import main

pytestmark = pytest.mark.usefixtures("onnx_profile")


@pytest.mark.slow
def test_every_candidate_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit status is 1, and the output counts the failures and quotes the first one with its line."""
    faults = ("--space", "fault_spaces:Faulty", "--set", "space.faults=raise", "--set", "space.always=true")
    arguments = ["search", *faults, *SHORT, *UNMEASURED, "--executor", "inline", "--trials", "4"]
    monkeypatch.setattr(sys, "argv", ["nas", *arguments, "--name", "run", "--runs", str(tmp_path)])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr()
    assert end.value.code == 1, output.err
    assert "No winners. 4 evaluations failed (exception 4). The first of the kind 'exception' says: " in output.out
    assert f"this part cannot be trained ({Path(fault_spaces.__file__)}, line " in output.out
