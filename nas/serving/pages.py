"""The pages of the server: all runs, one run while it goes on, the files of a run, and a sentence."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from nas.serving.watching import Seen, segment
from nas.values.metric import readable


def index_page(folder: Path, live: Mapping[str, Any]) -> str:
    """Return the page that lists all runs of ``folder``; ``live`` is what its script asks for again and again."""
    return _rendered("index.html.jinja", title=f"Runs in {folder}", folder=str(folder), live=live)


def run_page(seen: Seen) -> str:
    """Return the page of one run while it goes on."""
    return _rendered("run.html.jinja", title=seen.name, run=seen.to_json())


def files_page(seen: Seen, parts: Sequence[str], listed: Sequence[tuple[str, bool, int]]) -> str:
    """Return the page of a run's folder, with its files to download."""
    entries = [
        {
            "name": f"{name}/" if is_folder else name,
            "link": f"./{segment(name)}{'/' if is_folder else ''}",
            "size": "" if is_folder else readable(size, "B", smallest=""),
        }
        for name, is_folder, size in listed
    ]
    return _rendered("files.html.jinja", title="/".join((seen.name, *parts)), entries=entries)


def message_page(title: str, sentence: str) -> str:
    """Return a page of one sentence."""
    return _rendered("message.html.jinja", title=title, sentence=sentence)


def policy_of_pages() -> str:
    """Return the content security policy of all pages here: they run their own script and ask this server alone."""
    return (
        f"default-src 'none'; script-src '{_hash(_text('live.js'))}'; style-src '{_hash(_style())}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("nas.serving"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _rendered(template: str, **values: Any) -> str:
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            style=Markup(_style()),  # noqa: S704 ours
            script=Markup(_text("live.js")),  # noqa: S704 ours
        )
    )


@cache
def _style() -> str:
    """Return the style of reports with a few rules more."""
    of_reports = files("nas.reports").joinpath("templates", "report.css").read_text(encoding="utf-8")
    return of_reports + _text("live.css")


@cache
def _text(name: str) -> str:
    return files("nas.serving").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _hash(text: str) -> str:
    """Return the hash by which a content security policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
