"""HTML pages of one file each, which open offline, escape all text and load nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from nas.storage.output_files import write_whole

DRAWING = ("charts.js", "page/plots.js", "page/plotting.js")
"""The scripts that draw plots, for all pages."""


def write_page(path: Path, text: str) -> None:
    """Write a page to ``path`` whole or not at all: a reader sees either the old page or the new one."""
    write_whole(path, text.encode(errors="replace"))


def render_page(
    template: str, document: Mapping[str, Any], scripts: Sequence[str], styles: Sequence[str] = (), **values: Any
) -> str:
    """Return the page that ``template`` makes of ``values``.

    ``document`` is the data that the page's scripts read. ``scripts`` and ``styles`` are names of files in the folder
    of templates, beside those of all pages. All text is escaped. The page's content security policy names its scripts
    and its style by their hashes, so that a browser runs no others and fetches nothing.
    """
    texts = [file_text(name) for name in (*DRAWING, *scripts)]
    style = "\n".join(file_text(name) for name in ("report.css", *styles))
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_source_hash, texts))}",
            f"style-src {_source_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            policy=Markup(policy),  # noqa: S704 of hashes alone
            document=inert_json(document),
            style=Markup(style),  # noqa: S704 ours
            scripts=[Markup(text) for text in texts],  # noqa: S704 ours
        )
    )


@cache
def _environment() -> jinja2.Environment:
    """Return what compiles the templates, once each: that takes longer than to fill them in."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nas.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = _unbroken
    environment.filters["words"] = command_words
    return environment


@cache
def file_text(name: str) -> str:
    """Return the text of a file in the folder of templates, with line ends as a browser hashes them."""
    text = files("nas.reports").joinpath("templates", *name.split("/")).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


def inert_json(value: Any) -> Markup:
    """Return JSON for a script element; nothing in it can end the element or begin another."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 escaped just above


def _unbroken(text: str) -> str:
    """Return ``text`` with no-break spaces between numbers and their units, and around comparison signs."""
    return re.sub(
        r"(?<=\d) (?=(?:[kMG]?B|[kMG]|[mµn]?s|MiB|[mµn]?J|%)(?:\W|$))|(?<=[≤≥<>]) | (?=[≤≥<>] )", "\u00a0", text
    )


def command_words(command: str) -> Markup:
    """Return a command whose options are not broken at their hyphens. Copied, it is the same text."""
    option = Markup('<span class="option">{}</span>')
    return Markup(" ").join(option.format(word) if word[:1] == "-" else escape(word) for word in command.split(" "))


@cache
def _source_hash(text: str) -> str:
    """Return the hash by which a content security policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
