"""The reference of commands, recipe keys and names is generated, and leaves nothing out."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pages import DOCS

import nas

sys.path.insert(0, str(DOCS / "extensions"))

pytest.importorskip("sphinx")

import nas_reference as reference


def directives(page: str, name: str) -> list[str]:
    text = (DOCS / "reference" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```\{{{name}\}} (.*)$", text, flags=re.MULTILINE)


def test_every_command_has_its_section() -> None:
    """A new command must be added to the page."""
    assert sorted(directives("cli.md", "nas-command")) == sorted(reference.command_paths())


def test_every_option_of_a_command_is_listed() -> None:
    """With its default, where it has one."""
    text = "\n".join(reference.command_lines("nas measure"))
    assert "`--input-shape` `CxHxW` | `3x32x32` |" in text
    assert "`--json` |  |" in text


def test_every_section_of_a_recipe_has_its_table() -> None:
    """A new section must be added to the page."""
    assert sorted(directives("recipe.md", "nas-recipe")) == sorted(reference.sections())


@pytest.mark.parametrize("section", ["top level", "measuring", "table", "execution"])
def test_every_key_of_a_section_is_listed(section: str) -> None:
    """With its type and its default as TOML."""
    text = "\n".join(reference.section_lines(section))
    for key, field in reference.sections()[section].model_fields.items():
        assert (f"| `{key}` |" in text) == (reference.section_of(field) is None)


def test_types_and_ranges_are_in_words() -> None:
    """A reader need not know Python's notation."""
    fields = nas.Recipe.model_fields
    assert reference.type_text(fields["trials"]) == "whole number, ≥ 0"
    assert reference.type_text(fields["search_time_s"]) == "number, > 0"
    assert reference.default_text(fields["objectives"]) == '`["error", "latency_ms"]`'


def test_every_error_is_listed_with_its_code() -> None:
    """A new exception needs a code of its own, for which a program can look."""
    rows = list(reference.error_rows())
    errors = [each for each in vars(nas.errors).values() if isinstance(each, type) and issubclass(each, nas.NasError)]
    assert {name for _, name, _ in rows} == {f"`nas.{each.__name__}`" for each in errors}
    assert len({code for code, _, _ in rows}) == len(rows) == len(errors)
    assert all(each.code and "code" in vars(each) for each in errors)
    assert all(meaning for _, _, meaning in rows)


def test_names_are_documented_in_full_or_in_one_line() -> None:
    """Every public name of ``nas`` is on the page about the API."""
    page = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    documented = reference.documented_names(page)
    assert documented <= set(nas.__all__)
    others = {name.strip("`"): text for name, text in reference.other_names(documented)}
    assert documented | set(others) == set(nas.__all__)
    assert all(others.values())


def test_every_documented_name_has_a_page_that_all_systems_tell_from_others(tmp_path: Path) -> None:
    """Pages of names that are gone are removed, and those that stay the same are not written again."""
    page = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    (tmp_path / "reference" / "api").mkdir(parents=True)
    (tmp_path / "reference" / "api.md").write_text(page)
    (tmp_path / "reference" / "api" / "Gone.md").write_text("gone")
    site = SimpleNamespace(srcdir=tmp_path)
    reference.write_api_pages(site)  # type: ignore[arg-type]
    written = {path.name: path for path in (tmp_path / "reference" / "api").iterdir()}
    assert len({name.lower() for name in written}) == len(written) == len(reference.documented_names(page))
    assert {"drift.md", "Drift-class.md", "Front.md"} <= set(written)
    assert ".. autoclass:: nas.Front\n   :members:" in written["Front.md"].read_text()
    assert ".. autofunction:: nas.search" in written["search.md"].read_text()
    before = {path: path.stat().st_mtime_ns for path in written.values()}
    reference.write_api_pages(site)  # type: ignore[arg-type]
    assert before == {path: path.stat().st_mtime_ns for path in written.values()}
