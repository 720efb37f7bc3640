"""Counts the words of pages, so that the search of the site puts the page first that a word is about.

The index of Sphinx knows which pages have a word, but not how often. ``word_counts.js`` tells the search page how
often, relative to the page with the most; ``static/search_scores.js`` reads it.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

FILE = "word_counts.js"
LEAST, MOST_SCORE = 2, 6.0
"""A word that a page has once is not counted, and the page with the most gets so much, about as a title does."""


def counts_of(texts: dict[str, str]) -> dict[str, dict[str, float]]:
    """Return for each word the scores of the pages, given the text of each page.

    A page's score is its number of the word over the root of all its words, relative to the best page.
    """
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for page, text in texts.items():
        words = Counter(re.findall(r"[a-z0-9_.]*[a-z0-9_]", text.lower()))
        for word, count in words.items():
            if count >= LEAST and len(word) > 1:
                found[word][page] = count / words.total() ** 0.5
    return {
        word: {page: round(MOST_SCORE * share / max(shares.values()), 1) for page, share in shares.items()}
        for word, shares in sorted(found.items())
    }


def write_counts(app: Sphinx, exception: Exception | None) -> None:
    """Write the counts beside the other static files of the site."""
    if exception is None and app.builder.format == "html":
        texts = {page: app.env.get_doctree(page).astext() for page in sorted(app.env.found_docs)}
        written = f"window.wordCounts = {json.dumps(counts_of(texts), separators=(',', ':'))};\n"
        Path(app.outdir, "_static", FILE).write_text(written, encoding="utf-8")


def load_counts(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Let the search page load the counts."""
    if page == "search":
        app.add_js_file(FILE, priority=400)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what happens to the search page, and once all pages are written."""
    app.connect("html-page-context", load_counts)
    app.connect("build-finished", write_counts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
