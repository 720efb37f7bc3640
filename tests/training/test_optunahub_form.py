"""The pruner in the form in which OptunaHub loads packages."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import optuna
import pytest

import nas

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "optunahub" / "package" / "pruners" / "pareto_pruner"


def loaded(package: str) -> ModuleType:
    """Load a package as OptunaHub does: from its file, under a name of its own."""
    spec = importlib.util.spec_from_file_location("optunahub_pareto", FOLDER.parents[1] / package / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_package_gives_the_pruner() -> None:
    """What OptunaHub loads is the class of this project, not a copy."""
    assert loaded("pruners/pareto_pruner").ParetoPruner is nas.ParetoPruner


def test_its_example_prunes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As printed, with this package in the place of the registry's."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    monkeypatch.setitem(sys.modules, "optunahub", SimpleNamespace(load_module=loaded))
    exec(compile((FOLDER / "example.py").read_text(), "example.py", "exec"), {"__name__": "__main__"})
    found = re.fullmatch(r"(\d+) of 60 trials ran to their end; (\d+) are on the front\n", capsys.readouterr().out)
    assert found is not None
    assert 5 <= int(found[1]) < 60
    assert 0 < int(found[2]) <= int(found[1])


def test_its_readme_has_what_the_registry_asks_for() -> None:
    """The head names six keys, and each argument of the class and each setting that it takes is described."""
    _, head, body = (FOLDER / "README.md").read_text().split("---\n", 2)
    keys = [line.split(":")[0] for line in head.splitlines()]
    assert keys == ["author", "title", "description", "tags", "optuna_versions", "license"]
    assert (FOLDER / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    for name in ("steps", "learned", "best", "settings"):
        assert f"  - `{name}`: " in body
