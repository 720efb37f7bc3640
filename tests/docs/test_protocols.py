"""The protocols of the experiments are complete, and stand in the site."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pages import DOCS, PROTOCOLS, ROOT, links

sys.path.insert(0, str(DOCS / "extensions"))

pytest.importorskip("sphinx")

import nas_protocols


def test_every_protocol_is_listed_and_every_script_has_one() -> None:
    """A figure leads to its protocol, and a script to what it found."""
    protocols = {path.name for path in PROTOCOLS.glob("*.md")} - {"README.md"}
    assert {link.partition("#")[0] for link in links(PROTOCOLS / "README.md") if "/" not in link} == protocols
    told = "".join((PROTOCOLS / name).read_text(encoding="utf-8") for name in protocols)
    starts = 'if __name__ == "__main__"'
    scripts = [path.stem for path in (ROOT / "experiments").glob("*.py") if starts in path.read_text(encoding="utf-8")]
    assert len(scripts) > 20
    assert not [script for script in scripts if f"experiments.{script}" not in told and script != "loads"]


def test_protocols_are_copied_into_the_site(tmp_path: Path) -> None:
    """Copies follow their pages, and their links lead to pages of the site."""
    docs, protocols = tmp_path / "docs", tmp_path / "experiments" / "protocols"
    for folder in (docs, protocols):
        folder.mkdir(parents=True)
    (protocols / "README.md").write_text("# Protocols\n", "utf-8")
    (protocols / "speed.md").write_text("See [it](../../docs/page.md#part) and [that](README.md).\n", "utf-8")
    (protocols / "gone.md").write_text("# Gone\n", "utf-8")
    app: Any = SimpleNamespace(srcdir=docs)
    nas_protocols.copy_protocols(app)
    (protocols / "gone.md").unlink()
    nas_protocols.copy_protocols(app)
    assert {copy.name for copy in (docs / "protocols").iterdir()} == {"README.md", "speed.md"}
    assert (docs / "protocols" / "speed.md").read_text("utf-8") == "See [it](../page.md#part) and [that](README.md).\n"
    assert "{toctree}" in (docs / "protocols" / "README.md").read_text("utf-8")


def test_links_of_pages_lead_to_the_copies() -> None:
    source = ["See [it](../experiments/protocols/speed.md#part)."]
    nas_protocols.turn_links(SimpleNamespace(), "page", source)  # type: ignore[arg-type]
    assert source == ["See [it](protocols/speed.md#part)."]
