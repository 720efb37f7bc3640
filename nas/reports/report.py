"""The report of a run: one HTML file that opens offline, made from the run's records alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nas.reports.analysis.sections import sections_of
from nas.reports.candidates import ways_of
from nas.reports.cells import PageTable
from nas.reports.facts import conditions_of, data_sentences, doubts_of, evaluation_sentences, titled_notes
from nas.reports.page.checks import checks_of
from nas.reports.page.document import document_of
from nas.reports.page.next_steps import next_steps, shipped_of
from nas.reports.page.trust import trust_answers, trust_sentences
from nas.reports.summary import funnel_steps, tiles_of
from nas.reports.tables import FIT_COLUMNS, first_answer_table, winner_table
from nas.reports.web_page import render_page, write_page
from nas.reports.wording import failed_text, retrained_text, wording_of
from nas.results.baselines import baseline_rows
from nas.results.failures import failure_counts
from nas.results.front import Front
from nas.results.notes.prior_ranks import prior_sentences
from nas.results.run import Run, funnel_of
from nas.results.winner import Winner, broken_text
from nas.storage.garbage import without_garbage_collection
from nas.values.indexed_rows import choices_of_training
from nas.values.objective import Limit, limit_text

SCRIPTS = tuple(
    f"page/{name}.js"
    for name in ("store", "state", "drawing", "front", "budget", "compare", "filters", "parallel", "table", "card")
)
"""The scripts of a run's report, in the order in which they need each other."""
MOST_WITHOUT_SCRIPTS = 50
"""The most winners that the page shows where scripts do not run."""


def write_report(path: Path, record: Run) -> None:
    """Write the report to ``path`` atomically: a reader sees either the old report or the new one."""
    write_page(path, render_report(record, path.parent))


@without_garbage_collection()
def render_report(record: Run, page_folder: Path | None = None) -> str:
    """Return the report as one HTML page that loads nothing; all recorded text is escaped.

    ``page_folder`` is the folder that the page will lie in, by default the run's own: links to bundles start there.
    """
    front = record.front
    places = {each.architecture: place for place, each in enumerate(record.records)}
    words = wording_of(front.table)
    checks = checks_of(record.index, places, words)
    sections = sections_of([record]) if record.rows and not front.first else {}
    document = {**document_of(record, page_folder), "checks": checks, "sections": sections}
    scripts = () if front.first else (*SCRIPTS, "page/page.js")
    return render_page(
        "report.html.jinja",
        document,
        [*scripts, "page/static.js", *(f"sections/{name}.js" for name in sections)],
        ["page/page.css", "sections/sections.css"],
        sections=sections,
        record=record,
        front=front,
        first=first_answer_table(front.first) if front.first else None,
        headline=headline(record),
        tiles=tiles_of(front, record),
        checks=checks,
        words=words,
        failed=failed_text(front.failed),
        winners=winner_table(front[:MOST_WITHOUT_SCRIPTS], front.costs, choices_of_training(record.rows)),
        count=len(record.records),
        retrained=retrained_text(record.index, front),
        funnel=funnel_steps(record.index, words),
        remarks=remarks_of(front),
        notes=titled_notes(record.notes),
        steps=next_steps(record),
        shipped=shipped_of(record, page_folder),
        **_trust(record, front),
    )


def _trust(record: Run, front: Front) -> dict[str, Any]:
    """Return what the page says about trust: answers, further sentences, doubts, conditions and fits."""
    answers = trust_answers(front, record.fits, record.rows)
    told = " ".join(answer.sentence for answer in answers)
    sentences: Sequence[str] = [
        *record.damages_in_short,
        *data_sentences(record.notes),
        *evaluation_sentences(record.notes),
        *prior_sentences(record.rows),
        *trust_sentences(front, record.rows),
    ]
    return {
        "answers": answers,
        "trust": [sentence for sentence in sentences if sentence not in told],
        "flags": doubts_of(record.rows),
        "conditions": conditions_of(record.rows),
        "fits": PageTable.of(record.fits, FIT_COLUMNS),
        "baselines": baseline_rows(front),
    }


def remarks_of(front: Front) -> list[str]:
    """Return the notes on a front's winners, each once; doubts about measurements have a list of their own."""
    doubts = {f"Doubt: {doubt}." for winner in front for doubt in winner.doubts}
    learned = [front.nothing_learned] if front.nothing_learned else []
    return learned + list(dict.fromkeys(note for notes in front.notes for note in notes if note not in doubts))


def headline(record: Run) -> str:
    """Return the result of the run in one sentence, or in two if no winner meets the limits."""
    front = record.front
    limits = " and ".join(limit_text(limit) for limit in front.limits)
    if front.first is not None:
        return front.first.title
    if not front.winners:
        return _headline_without_winners(record)
    if front.nothing_learned:
        found = "the winner" if len(front) == 1 else f"none of {len(front)} winners"
        verb = "cannot" if len(front) == 1 else "can"
        return f"Nothing was learned {record.place}: {found} {verb} be told from {front.words.constant}."
    noun = "winner" if len(front) == 1 else "winners"
    start = f"{len(front)} {noun} {record.place}"
    best = front.best_or_none
    if best is None:
        shortfall = min(front.winners, key=lambda winner: _excess(winner, front.limits))
        broken = "; ".join(broken_text(shortfall, limit) for limit in shortfall.broken(front.limits))
        models = "1 model was" if len(front) == 1 else f"{len(front)} models were"
        closest = f"The closest is {shortfall.architecture.id}: {broken}."
        return f"{models} tested {record.place}, but none meets {limits}. {closest}"
    cost = next((metric for metric in front.costs if best.has(metric.name)), None)
    at = "" if cost is None else f" at {cost.format(best.value(cost.name))}"
    if cost is not None and cost.source != "measured":
        at += f" ({cost.title.lower()})" if cost.source == "counted" else " (modelled)"
    within = f", within {limits}" if limits else ""
    subject = "it has" if len(front) == 1 else "the best has"
    return f"{start}: {subject} {_tested_text(front, best)}{at}{within}."


def _tested_text(front: Front, best: Winner) -> str:
    """Return the quality of the best winner: its error, or another objective that was trained."""
    quality = front.quality
    if quality.name == "error" or not best.has(quality.name):
        over = "" if best.seeds is None else f", {best.seeds.text(front.words)},"
        mark = f" ({best.chance_mark})" if best.chance_mark else ""
        return f"{front.words.text(best.test_error)} {front.scored} {front.words.title}{mark}{over}"
    return f"a {front.scored} {quality.title.lower()} of {quality.format(best.value(quality.name))}"


def _headline_without_winners(record: Run) -> str:
    ended = f" {record.ended_by}" if record.ended_by else ""
    if not record.rows:
        return f"Nothing has been recorded yet {record.place}.{ended}"
    failures = failure_counts(record.rows)
    if sum(each.count for each in failures) == len(record.rows):
        kind, count = failures[0].kind, failures[0].count
        all_failed = f"all {len(record.rows)} evaluations failed; the most frequent failure is '{kind}' ({count})"
        return f"No winners {record.place}: {all_failed}.{ended or f' The first says: {failures[0].first}'}"
    counts = {count.stage: count for count in funnel_of(record.index)}
    words = wording_of(record.table)
    evaluated = "evaluated" if ways_of(record.rows) else words.stages["train"].lower()
    trained, measured, chosen = (counts[stage] for stage in ("train", "measure", "winner"))
    failed = f" ({trained.failed} failed)" if trained.failed else ""
    done = [
        f"{trained.reached - trained.failed} {evaluated}{failed}",
        f"{measured.finished} {words.stages['measure'].lower()}",
    ]
    if chosen.failed:
        done.append(f"{chosen.failed} chosen as winners failed")
    listed = f"{', '.join(done[:-1])} and {done[-1]}"
    if record.is_over or ended:
        return f"No winners {record.place}: {listed}.{ended}"
    return f"No winners yet {record.place}: {listed} so far."


def _excess(winner: Winner, limits: Iterable[Limit]) -> float:
    return max(
        (limit.excess(winner.upper(limit.metric.name)) if winner.has(limit.metric.name) else math.inf)
        for limit in limits
    )
