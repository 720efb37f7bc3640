"""The report of a run: one HTML file that opens offline, a pure function of what was recorded."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from nas.front import RunRecord, Winner, accuracy_text, broken_text, funnel_of, limit_text
from nas.objective import Limit
from nas.report_candidates import candidates_of
from nas.report_facts import conditions_of, doubts_of, titled_notes
from nas.report_plots import error_plot, front_plot, prediction_plots
from nas.report_tables import fit_table, funnel_steps, row_table, tiles_of, trust_sentences, winner_table


def write_report(path: Path, record: RunRecord) -> None:
    """Write the report to ``path``: aside at first and then renamed, so that no reader meets half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_text(render_report(record), encoding="utf-8", errors="replace")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def render_report(record: RunRecord) -> str:
    """The report as one HTML page that loads nothing else.

    Recorded text is escaped everywhere. Scripts stand in the page's content security policy by their hashes,
    so that a browser runs these and no others, and fetches nothing.
    """
    front = record.front
    candidates = candidates_of(record.rows)
    costs = front.costs
    script = files("nas").joinpath("templates", "report.js").read_text(encoding="utf-8")
    plots = [front_plot(front, candidates, cost) for cost in costs] or [error_plot(front, candidates)]
    checks = prediction_plots(record.rows)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nas"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = _unbroken
    return environment.get_template("report.html.jinja").render(
        record=record,
        front=front,
        headline=headline(record),
        tiles=tiles_of(front, record),
        plots=plots,
        checks=checks,
        winners=winner_table(front, costs),
        fits=fit_table(record.fits),
        trust=trust_sentences(front, record.fits),
        flags=doubts_of(record.rows),
        conditions=conditions_of(record.rows),
        funnel=funnel_steps(record.rows),
        candidates=row_table(record.rows, costs),
        notes=titled_notes(record.notes),
        figures=_inert_json({plot.id: plot.figure for plot in (*plots, *checks)}),
        style=Markup(files("nas").joinpath("templates", "report.css").read_text(encoding="utf-8")),  # noqa: S704 ours
        script=Markup(script),  # noqa: S704 ours
        plotly=Markup(_plotly_script()),  # noqa: S704 plotly's own
        script_hashes=[_script_hash(_plotly_script()), _script_hash(script)],
    )


def headline(record: RunRecord) -> str:
    """The result in one sentence."""
    front = record.front
    limits = " and ".join(limit_text(limit) for limit in front.limits)
    if not front.winners:
        return _headline_without_winners(record)
    noun = "winner" if len(front) == 1 else "winners"
    start = f"{len(front)} {noun} on {record.target}"
    best = front.best
    if best is None:
        shortfall = min(front.winners, key=lambda winner: _excess(winner, front.limits))
        broken = "; ".join(broken_text(shortfall, limit) for limit in shortfall.broken(front.limits))
        return f"{start}, but none meets {limits}. The nearest is {shortfall.architecture.id}: {broken}."
    cost = next((metric for metric in front.costs if best.has(metric.name)), None)
    at = "" if cost is None else f" at {cost.format(best.value(cost.name))}"
    if cost is not None and cost.source != "measured":
        at += f" ({cost.title.lower()})" if cost.source == "counted" else " (modelled)"
    within = f", within {limits}" if limits else ""
    return f"{start}; best {accuracy_text(best.test_error)} test accuracy{at}{within}."


def _headline_without_winners(record: RunRecord) -> str:
    if not record.rows:
        return f"Nothing has been recorded yet on {record.target}."
    failures = Counter(row.failure.kind for row in record.rows if row.failure is not None)
    if failures.total() == len(record.rows):
        kind, count = failures.most_common(1)[0]
        return f"No winners on {record.target}: all {len(record.rows)} evaluations failed, {count} of them by {kind}."
    counts = {count.stage: count for count in funnel_of(record.rows)}
    done = [f"{counts['train'].reached} trained", f"{counts['measure'].finished} measured"]
    return f"No winners yet on {record.target}: {' and '.join(done)} so far."


def _excess(winner: Winner, limits: Iterable[Limit]) -> float:
    return max(
        (limit.excess(winner.upper(limit.metric.name)) if winner.has(limit.metric.name) else math.inf)
        for limit in limits
    )


# Embedding


def _unbroken(text: str) -> str:
    """``text`` with numbers held to their units and signs, so that no line ends between them."""
    return re.sub(r"(?<=\d) (?=(?:[kMG]?B|[kMG]|ms|MiB|mJ|%)(?:\W|$))|(?<=[≤≥<>]) ", "\u00a0", text)


def _inert_json(value: Any) -> Markup:
    """JSON that may stand within a script element: nothing in it can end the element or begin another."""
    text = json.dumps(value, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 escaped just above


@cache
def _plotly_script() -> str:
    """Plotly's script with the line ends that a browser makes of it, on which the hash depends."""
    script: str = get_plotlyjs()
    return script.replace("\r\n", "\n")


@cache
def _script_hash(script: str) -> str:
    """The hash by which a content security policy names an inline script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
