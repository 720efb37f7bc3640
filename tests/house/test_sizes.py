"""The house stays easy to walk through: modules and functions have a largest size, and rooms say what they are for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES, MOST_FUNCTION_LINES = 400, 60
TOPS = ("nas", "search_spaces", "predictors", "experiments", "tests", "docs")
PACKAGES = sorted(path.parent for path in (ROOT / "nas").rglob("__init__.py"))
MODULES = sorted(path for top in TOPS for path in (ROOT / top).rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(module: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield node


@pytest.mark.parametrize("room", PACKAGES, ids=lambda room: room.relative_to(ROOT).as_posix())
def test_a_room_says_what_belongs_there(room: Path) -> None:
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8")))
    assert docstring
    assert len(docstring.splitlines()) <= 6


def test_no_module_is_long() -> None:
    lengths = {module: len(module.read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert {str(module): lines for module, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_function_is_long() -> None:
    found = []
    for module in MODULES:
        for each in functions(module):
            lines = (each.end_lineno or each.lineno) - each.lineno + 1
            if lines > MOST_FUNCTION_LINES:
                found.append(f"{module.relative_to(ROOT)}:{each.name} {lines}")
    assert found == []


def test_every_public_function_and_class_has_a_docstring() -> None:
    """Methods of a class may leave it to the protocol that they implement, and overloads to the function itself."""
    bare = []
    for module in MODULES:
        if module.is_relative_to(ROOT / "tests"):
            continue
        tree = ast.parse(module.read_text(encoding="utf-8"))
        for node in tree.body:
            is_public = isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")
            is_overload = any(ast.unparse(each) == "overload" for each in getattr(node, "decorator_list", ()))
            if is_public and not is_overload and not ast.get_docstring(node):
                bare.append(f"{module.relative_to(ROOT)}:{node.name}")
    assert bare == []


def test_every_test_room_is_a_room_of_the_house() -> None:
    """Tests lie where the code that they test lies; a few rooms are the tests' own."""
    rooms = {room.name for room in PACKAGES} | {"predictors", "samplers", "search_spaces", "experiments"}
    own = {"bad_inputs", "contracts", "docs", "house", "old_runs", "golden"}
    found = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert found <= rooms | own


def test_no_two_test_files_share_a_name() -> None:
    """pytest imports test files by their name alone, and refuses the second of two."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    twice = [str(file) for file in files if [other.name for other in files].count(file.name) > 1]
    assert twice == []
