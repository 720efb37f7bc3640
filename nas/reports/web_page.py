"""HTML pages of one file each, which open offline, escape all text and load nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs


def write_page(path: Path, text: str) -> None:
    """Write a page to ``path`` atomically: a reader sees either the old page or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_text(text, encoding="utf-8", errors="replace")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def render_page(template: str, figures: Mapping[str, Any], **values: Any) -> str:
    """Return the page that ``template`` makes of ``values``.

    ``figures`` maps the id of an element to the plotly figure that is drawn in it. All text is escaped. The page's
    content security policy names its scripts by their hashes, so that a browser runs no others and fetches nothing.
    """
    script = files("nas.reports").joinpath("templates", "report.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nas.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = _unbroken
    return environment.get_template(template).render(
        **values,
        figures=_inert_json(figures),
        style=Markup(files("nas.reports").joinpath("templates", "report.css").read_text(encoding="utf-8")),  # noqa: S704 ours
        script=Markup(script),  # noqa: S704 ours
        plotly=Markup(_plotly_script()),  # noqa: S704 plotly's own
        script_hashes=[_script_hash(_plotly_script()), _script_hash(script)],
    )


def _unbroken(text: str) -> str:
    """Return ``text`` with no-break spaces between numbers and their units, and around comparison signs."""
    return re.sub(r"(?<=\d) (?=(?:[kMG]?B|[kMG]|ms|MiB|mJ|%)(?:\W|$))|(?<=[≤≥<>]) | (?=[≤≥<>] )", "\u00a0", text)


def _inert_json(value: Any) -> Markup:
    """Return JSON for a script element; nothing in it can end the element or begin another."""
    text = json.dumps(value, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 escaped just above


@cache
def _plotly_script() -> str:
    """Return plotly's script with normalised line ends, as a browser hashes it."""
    script: str = get_plotlyjs()
    return script.replace("\r\n", "\n")


@cache
def _script_hash(script: str) -> str:
    """Return the hash by which a content security policy names an inline script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
