"""Mistakes of many kinds: each is answered by a sentence, never by a traceback, by silence or by a hang."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
from bad_inputs.bad_input import BadInput

from nas.cli.main import main

TABLES = sorted(path.stem for path in Path(__file__).parent.glob("bad_*s.py"))
CASES = {
    f"{table.removeprefix('bad_')}: {name}": case
    for table in TABLES
    for name, case in importlib.import_module(f"bad_inputs.{table}").BAD_INPUTS.items()
}

PROGRESS = re.compile(r"^.+: \d+ (to do|of \d+ done in .+)\.\n", re.MULTILINE)
"""Lines that tell how far a command came before it was refused."""

pytestmark = pytest.mark.usefixtures("onnx_profile", "small_spaces_here")  # so that commands take no time for these


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", CASES)
def test_a_bad_input_is_answered_by_a_sentence(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the words that help, the exit status tells what kind it is, and nobody sees a traceback."""
    case = CASES[name]
    here = tmp_path / "here"
    here.mkdir()
    case.prepare(here)
    monkeypatch.chdir(here)
    for variable, value in case.variables.items():
        monkeypatch.setenv(variable, value)
    arguments = [argument.replace("{here}", str(here)) for argument in case.arguments]
    status, output, error = _run(arguments, capfd, monkeypatch)
    assert status == case.status, output + error
    assert "Traceback" not in output + error
    for words in (each.replace("{here}", str(here)) for each in case.says):
        assert words in " ".join((error if case.status == 2 else output + error).split()), output + error
    if case.status == 2:
        told = PROGRESS.sub("", error)
        assert told.startswith("error: ")
        assert len(told.splitlines()) <= case.most_lines, told


def _run(
    arguments: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[object, str, str]:
    """Return status, output and error of the command in this process. What it imports is forgotten again."""
    monkeypatch.setattr(sys, "argv", ["nas", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    with pytest.raises(SystemExit) as end:
        main()
    here = str(Path.cwd())
    for module in set(sys.modules) - known:
        if (getattr(sys.modules[module], "__file__", None) or "").startswith(here):
            del sys.modules[module]
    output = capfd.readouterr()
    return end.value.code or 0, output.out, output.err


def test_there_are_many_kinds_of_them() -> None:
    """Every table has cases, each with words that help."""
    assert TABLES
    assert all(isinstance(case, BadInput) and case.says and case.arguments for case in CASES.values())
