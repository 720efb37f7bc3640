"""The README and the documentation stay short, linked and complete."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pages import DOCS, ROOT, anchors, links, name_of, pages, prose, sentences, words, written_docs

from nas.values.target import PRECISIONS

MOST_BYTES, MOST_LINES, MOST_WORDS = 12_000, 150, 30


def test_the_readme_is_short() -> None:
    """A newcomer reads all of it."""
    text = (ROOT / "README.md").read_bytes()
    assert len(text) <= MOST_BYTES
    assert text.count(b"\n") <= MOST_LINES


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_no_sentence_is_long(page: Path) -> None:
    """Thirty words are the most, outside tables and code."""
    found = [each for paragraph in prose(page) for each in sentences(paragraph) if words(each) > MOST_WORDS]
    assert not found


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_internal_links_resolve(page: Path) -> None:
    """Each names a file of the project, and a heading in it where there is an anchor."""
    broken = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_file() or (fragment and fragment not in anchors(target)):
            broken.append(link)
    assert not broken


def test_the_rule_about_sentences_sees_long_ones(tmp_path: Path) -> None:
    """Joined lines, list items and links count as what a reader sees."""
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n- {'word ' * 20}\n  [{'word ' * 11}](x.md). Next.\n\n| {'cell ' * 40} |\n", "utf-8")
    (paragraph,) = prose(page)
    assert [words(each) for each in sentences(paragraph)] == [31, 1]


def test_every_page_is_in_the_table_of_contents() -> None:
    """A page that nobody can reach is not documentation."""
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = {
        line.strip()
        for block in re.findall(r"```\{toctree\}\n(.*?)```", index, flags=re.DOTALL)
        for line in block.splitlines()
        if line.strip() and not line.startswith(":")
    }
    there = {path.relative_to(DOCS).with_suffix("").as_posix() for path in written_docs()} - {"index"}
    assert listed == there | {"protocols/README"}


def test_every_room_has_its_line_in_the_readme() -> None:
    """A newcomer finds the job of each room."""
    rooms = {f"nas/{folder.parent.name}" for folder in (ROOT / "nas").glob("*/__init__.py")}
    named = re.findall(r"^\| `(nas/\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(named) == sorted(rooms)


def test_the_changelog_begins_with_this_version() -> None:
    """The version that is installed has its section, first or below what is not released yet."""
    import nas

    first = re.search(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert first is not None
    assert first[1] == nas.__version__


def what_works() -> dict[str, tuple[str, str]]:
    """The README's table of what works: by row, what does and what is planned."""
    (table,) = re.findall(r"\n## What works\n\n(.*?)\n\n", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {name: (yes, planned) for name, yes, _, planned in rows}


@pytest.mark.parametrize(("row", "group"), [("tasks", "nas.tasks"), ("runtimes", "nas.runtimes")])
def test_what_the_readme_says_works_is_what_is_there(row: str, group: str) -> None:
    """Tasks and runtimes are plug-ins, so the installed ones are known."""
    there = {entry.name.partition("-")[0] for entry in entry_points(group=group)}
    told = {re.sub(r"\W", "", each.lower()) for each in what_works()[row][0].split(",")} - {"yourown"}
    assert told == there


def test_the_precisions_of_the_readme_are_there() -> None:
    told = what_works()["precisions"][0].partition(" as ")[0].rstrip(",").split(", ")
    assert set(told) == {name.removesuffix("-dynamic") for name in PRECISIONS}


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_nothing_that_works_is_called_planned(page: Path) -> None:
    """Only rows of the README's table may say what is planned, and a plan of training."""
    told = [each for paragraph in prose(page) for each in sentences(paragraph)]
    assert not [each for each in told if re.search(r"\b(is|are) planned\b|\bnot yet\b", each)]
