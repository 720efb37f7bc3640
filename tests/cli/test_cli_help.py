"""The command's help and version, and the imports that they do without."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from commands import environment
from in_process import printed, refused

from nas.cli.main import SECTIONS, app
from nas.space.plug_ins import plug_in_names
from nas.tasks.images.well_known import DATA_SETS

HEAVY = (
    *("torch", "ray", "optuna", "onnxruntime", "sklearn", "scipy", "torchvision", "timm", "pandas"),
    *("pydantic", "numpy", "rich", "jinja2"),
)


@pytest.mark.parametrize(
    "code",
    [
        "import nas",
        "import nas.cli.main",
        "import nas.cli.main\ntry:\n nas.cli.main.main()\nexcept SystemExit as e: assert not e.code",
    ],
)
def test_help_and_import_load_nothing_heavy(code: str) -> None:
    """Importing nas and printing help loads neither torch, Ray, pydantic nor another heavy library."""
    check = f"\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code + check, "--help"],
        env=environment(), text=True, capture_output=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stderr == "[]\n"
    assert "Usage" in done.stdout or "main()" not in code


COMMANDS = (
    *("", "search", "show", "report", "list", "measure", "target", "target list", "target show", "target install"),
    *("predictor", "predictor report", "predictor onboard"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_page_fits_80_columns_and_repeats_no_list(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of plug-ins and data sets are listed by nas list only; a help page has two at most, as examples."""
    page = printed(capsys, monkeypatch, *command.split(), "--help")
    assert all(len(line) <= 80 for line in page.splitlines())
    assert "..." not in page.partition("Show this message and exit.")[2]
    for names in (DATA_SETS, *map(plug_in_names, ("nas.search_spaces", "nas.predictors", "nas.samplers"))):
        assert sum(bool(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", page)) for name in names) <= 2


def test_commands_are_listed_by_what_they_are_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command stands in one section, and names are in one column over all of them."""
    page = printed(capsys, monkeypatch, "--help")
    titles = re.findall(r"^(\S.*):$", page, flags=re.MULTILINE)
    assert titles == ["Options", *SECTIONS]
    names = [name for section in SECTIONS.values() for name in section]
    assert sorted(names) == sorted(set(names)) == sorted(app.places)
    assert {len(re.search(rf"^  {name} +\S", page, flags=re.MULTILINE)[0]) for name in names} == {14}  # type: ignore[index]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("s", {"search", "shrink", "show", "serve", "solve"}),
        ("bundle ", {"export", "verify"}),
        ("show --ru", {"--runs"}),
    ],
)
def test_the_shell_completes_commands_and_options(typed: str, offered: set[str]) -> None:
    words = ["nas", *typed.split(" ")]
    variables = {"_NAS_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "nas"],
        env={**environment(), **variables}, text=True, capture_output=True, timeout=30, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("show ", ["photos", "digits-2", "digits"]),
        ("report dig", ["digits-2", "digits"]),
        ("search --resume p", ["photos"]),
        ("show --runs elsewhere ", ["there"]),
        ("show x", []),
    ],
)
def test_the_shell_completes_names_of_runs(
    typed: str, offered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The newest one comes first. A folder that holds no run is none."""
    for moment, name in enumerate(("runs/digits", "runs/digits-2", "runs/photos", "elsewhere/there")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "recipe.toml").touch()
        os.utime(tmp_path / name / "recipe.toml", (moment, moment))
    (tmp_path / "runs" / "digits-notes").mkdir()
    words = ["nas", *typed.split(" ")]
    monkeypatch.chdir(tmp_path)
    for name, value in {"COMPLETE": "complete_bash", "WORDS": " ".join(words), "CWORD": str(len(words) - 1)}.items():
        monkeypatch.setenv("_NAS_COMPLETE" if name == "COMPLETE" else f"COMP_{name}", value)
    with pytest.raises(SystemExit):
        app.main(prog_name="nas")
    assert capsys.readouterr().out.split() == offered


def test_the_version_is_printed() -> None:
    """The version comes from the installed package, without loading torch or another heavy library."""
    code = f"import sys, nas.cli.main as m\ntry:\n m.main()\nfinally:\n assert not {set(HEAVY)} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        env=environment(), text=True, capture_output=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout == f"nas {version('nas')}\n"


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (("serch",), "'search'"),
        (("search", "--trails", "3"), "--trials"),
        (("show", "--run", "x"), "--runs"),
        (("target", "lst"), "'list'"),
        (("predictor", "reprot"), "'report'"),
        (("predictor", "onboard", "--sample", "3"), "--samples"),
    ],
)
def test_an_unknown_command_or_option_names_the_nearest(
    arguments: tuple[str, ...], nearest: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the known command or option that is nearest."""
    text = refused(capsys, monkeypatch, *arguments)
    assert nearest in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("command", ["", "target", "predictor"])
def test_a_command_alone_prints_its_help(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what ``-h`` and ``--help`` print, with whole sentences about each command in a narrow terminal, too."""
    alone = printed(capsys, monkeypatch, *command.split())
    assert alone == printed(capsys, monkeypatch, *command.split(), "-h")
    assert alone == printed(capsys, monkeypatch, *command.split(), "--help")
    described = " ".join(alone.partition("Show this message and exit.")[2].split())
    assert described.count(".") >= 2
    assert "..." not in described
