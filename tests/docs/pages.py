"""The README and the documentation as text: their pages, code blocks, links, headings and sentences."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PROTOCOLS = ROOT / "experiments" / "protocols"
"""How each published figure was found. The build copies these pages into ``docs``; the copies are not checked again."""
MARK = re.compile(r"<!-- (\w+) -->\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced code block: where it stands, its language, its text, and the marker comment before it."""

    page: str
    line: int
    language: str
    text: str
    mark: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """The README, the other texts of the root folder, all pages of ``docs``, and the protocols of the experiments."""
    texts = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*texts, *written_docs(), *sorted(PROTOCOLS.glob("*.md"))]


def written_docs() -> list[Path]:
    """The pages of ``docs``, without those that a build leaves there: copies of protocols, and a page for each name.

    What OptunaHub would show is no page of this site.
    """
    others = (DOCS / PROTOCOLS.name, DOCS / "reference" / "api", DOCS / "optunahub")
    return sorted(page for page in DOCS.rglob("*.md") if not any(page.is_relative_to(folder) for folder in others))


def name_of(page: Path) -> str:
    """The path from the project's root."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced code blocks of a page, directives of Sphinx included."""
    found = []
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = re.fullmatch(r"```(\S*)( .*)?", lines[number])
        if fence:
            end = lines.index("```", number + 1)
            before = MARK.match(lines[number - 1]) if number else None
            text = "\n".join(lines[number + 1 : end]) + "\n"
            found.append(Block(name_of(page), number + 1, fence[1], text, before[1] if before else ""))
            number = end
        number += 1
    return found


def all_blocks(language: str) -> list[Block]:
    """The blocks of all pages in one language."""
    return [block for page in pages() for block in blocks(page) if block.language == language]


def commands(block: Block) -> list[str]:
    """The commands of a shell block, continued lines joined and comments left out."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def prose(page: Path) -> Iterator[str]:
    """The paragraphs and list items of a page as plain text: without code blocks, tables, headings and comments."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    item: list[str] = []
    for line in [*text.splitlines(), ""]:
        starts_anew = re.match(r"\s*([-*] |\d+\. )", line)
        if not line.strip() or line.startswith(("|", "#")) or starts_anew:
            if item:
                yield plain(" ".join(item))
            item = []
        if line.strip() and not line.startswith(("|", "#")):
            item.append(re.sub(r"^\s*([-*] |\d+\. )", "", line).strip())


def plain(text: str) -> str:
    """Markdown as a reader sees it: images gone, links by their text, a code span as one word."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"`[^`]*`", "code", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"[*_]", "", text).strip()


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+(?=[\"“A-Z0-9])", text) if part.strip()]


def words(sentence: str) -> int:
    """How many words a sentence has; punctuation and signs alone are none."""
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def links(page: Path) -> list[str]:
    """The targets of the links and images of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)}


def anchor(heading: str) -> str:
    """The anchor of a heading."""
    text = unicodedata.normalize("NFKC", heading).lower().replace("`", "")
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text).strip())
