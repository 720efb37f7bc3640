"""Plug-ins are found by entry point or path; each way in which that goes wrong is one clear error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nas.errors import RecipeError
from nas.space.plug_ins import load_plug_in, plug_in_names, plug_in_path

FIT = "def fit_half(space, architectures, values, *, target, sources=(), given=(), seed): ...\n"
LOAD = """
import nas

try:
    print(nas.load_predictor({name!r}))
except nas.RecipeError as error:
    print("refused:", error)
"""


def run(code: str, folder: Path) -> str:
    """Run a script that lies in ``folder``, as a user would, and return its output."""
    (folder / "script.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(folder: Path, name: str, module: str, group: str, entry: str, code: str) -> None:
    """Write a third party's package, with its metadata, as pip would into ``folder``."""
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    metadata = folder / f"{name}-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{entry}\n", encoding="utf-8")


def test_a_user_s_own_file_that_hides_a_package_is_named(tmp_path: Path) -> None:
    """The message names the file beside the script, and no traceback is printed."""
    shadow = tmp_path / "predictors.py"
    shadow.write_text("", encoding="utf-8")
    out = run(LOAD.format(name="stacked"), tmp_path)
    assert out.startswith("refused: the predictor 'stacked' lies in the package 'predictors' of nas")
    assert f"but {shadow} has the same name and hides it" in out
    assert "Rename that" in out


def test_nothing_hides_a_package_in_an_empty_folder(tmp_path: Path) -> None:
    assert "fit_stacked" in run(LOAD.format(name="stacked"), tmp_path)


def test_a_third_party_s_plug_in_is_found(tmp_path: Path) -> None:
    """A package that only registers an entry point is named like one of ours."""
    install(tmp_path, "own-rules", "own_rules", "nas.predictors", "half = own_rules:fit_half", FIT)
    assert "fit_half" in run(LOAD.format(name="half"), tmp_path)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import a_module_that_is_nowhere\n", "ModuleNotFoundError: No module named 'a_module_that_is_nowhere'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("def fit_half(:\n", "SyntaxError: invalid syntax"),
    ],
)
def test_a_third_party_s_plug_in_that_fails_to_import_is_named(tmp_path: Path, code: str, text: str) -> None:
    """The message names the package, the error, the file and the line."""
    install(tmp_path, "own-rules", "own_rules", "nas.predictors", "half = own_rules:fit_half", code)
    out = run(LOAD.format(name="half"), tmp_path)
    assert out.startswith("refused: the predictor 'half' of the package own-rules 1.2 fails to import: " + text)
    assert f"{tmp_path / 'own_rules.py'}, line 1" in out


def test_a_name_that_two_packages_register_is_refused(tmp_path: Path) -> None:
    """The message names both, and how to choose one."""
    install(tmp_path, "own-rules", "own_rules", "nas.predictors", "gp = own_rules:fit_half", "def fit_half(): ...\n")
    out = run(LOAD.format(name="gp"), tmp_path)
    assert "registered by nas" in out
    assert "own-rules 1.2: write own_rules:fit_half or predictors.gp:fit_gp instead" in out


@pytest.mark.parametrize(
    ("group", "name", "near"),
    [
        ("nas.predictors", "stackd", "stacked"),
        ("nas.samplers", "locl", "local"),
        ("nas.runtimes", "torch", "torch-cpu"),
    ],
)
def test_an_unknown_name_names_the_nearest(group: str, name: str, near: str) -> None:
    for find in (load_plug_in, plug_in_path):
        with pytest.raises(RecipeError, match=rf"unknown thing '{name}'. Did you mean '{near}'"):
            find(group, name, "thing")


def test_a_user_s_module_that_raises_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raising_module.py").write_text("\nraise ValueError('no such file')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(RecipeError, match=r"raising_module fails to import: ValueError: no such file \(.*line 2\)"):
        load_plug_in("nas.predictors", "raising_module:fit", "predictor")


def test_every_registered_plug_in_loads() -> None:
    """Runtimes are left out: some need packages that are not installed."""
    for group in ("nas.predictors", "nas.samplers", "nas.search_spaces"):
        assert plug_in_names(group)
        for name in plug_in_names(group):
            assert callable(load_plug_in(group, name, "plug-in"))


def test_options_of_a_runtime_reach_its_constructor() -> None:
    """An option that it does not take names the nearest, a misspelt word of the target's own included."""
    from nas.hardware.runtimes.runtime import load_runtime

    assert load_runtime("own_runtime:Streaming", (("streams", "2"),)).version() == "acting 1.0, streams 2"
    with pytest.raises(RecipeError, match=r"the runtime 'torch-cpu' has no option 'treads'. Did you mean 'threads'"):
        load_runtime("torch-cpu", (("treads", "2"),))
    with pytest.raises(RecipeError, match=r"has no option 'stream'. Did you mean 'streams'"):
        load_runtime("own_runtime:Streaming", (("stream", "2"),))
