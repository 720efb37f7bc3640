"""Brings the protocols of the experiments into the site.

They stand beside the scripts, in ``experiments/protocols``, and Sphinx reads only what lies in ``docs``. So they are
copied to ``docs/protocols``, which git ignores, and links between both places are turned to the copies.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

FOLDER = "protocols"
CONTENTS = """
```{toctree}
:hidden:
:glob:

*
```
"""
"""Follows the first of the pages, so that the site's contents list the others below it."""


def copy_protocols(app: Sphinx) -> None:
    """Make ``docs/protocols`` hold the protocols as they are now."""
    docs = Path(app.srcdir)
    source, copies = docs.parent / "experiments" / FOLDER, docs / FOLDER
    copies.mkdir(exist_ok=True)
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(source.glob("*.md"))}
    texts["README.md"] += CONTENTS
    for path in copies.glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        copy, turned = copies / name, text.replace("](../../docs/", "](../")
        if not copy.is_file() or copy.read_text(encoding="utf-8") != turned:  # an unchanged page is not built again
            copy.write_text(turned, encoding="utf-8")


def turn_links(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let a page's links to protocols lead to the copies."""
    source[0] = source[0].replace(f"](../experiments/{FOLDER}/", f"]({FOLDER}/")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what happens before the pages are listed, and to each page that is read."""
    app.connect("builder-inited", copy_protocols)
    app.connect("source-read", turn_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
