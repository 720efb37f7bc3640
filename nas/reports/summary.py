"""The report in short: the tiles at its top, and the funnel of candidates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nas.progress import duration_text
from nas.reports.candidates import ways_of
from nas.reports.wording import MEASURED, Wording, wording_of
from nas.results.front import Front
from nas.results.run import Run, funnel_of
from nas.values.evaluation import Evaluation
from nas.values.indexed_rows import IndexedRows

INTERVAL = " (95\u00a0%\u00a0interval)"


def tiles_of(front: Front, record: Run) -> list[tuple[str, str, str]]:
    """Return the tiles at the top of the page: label, value and remark of each."""
    tiles = []
    words = wording_of(front.table)
    best = front.best_or_none
    if best is not None:
        interval = front.words.range_text(best.test_interval)
        interval += "" if best.test_interval.is_point else INTERVAL
        of_that = front.quality.name != "error" and best.has(front.quality.name)
        within = " within the limits" if front.limits else ""
        if of_that:
            text, bounds = best.told(front.quality)
            tiles.append(
                (f"{front.scored} {front.quality.title.lower()} of the best model{within}", text, f"{bounds}{INTERVAL}")
            )
        scored = f"{front.scored} {front.words.title}"
        title = f"{scored} of that winner" if of_that else f"{scored} of the best model{within}"
        tiles.append((title, front.words.text(best.test_error), interval))
        for cost in front.costs[:2]:
            if best.has(cost.name):
                text, bounds = best.told(cost)
                remark = f"{bounds}{INTERVAL}" if bounds and cost.source == "measured" else ""
                source = words.value_source if cost.source == "measured" else cost.source.replace("trained", "test")
                title = cost.title.removesuffix(f" ({cost.source})").lower()
                tiles.append((f"{title} of that winner, {source}", text, remark))
    meeting = sum(winner.meets(front.limits) for winner in front)
    if front.winners:
        within = f"{meeting} within the limits" if front.limits else f"{sum(front.on_front)} on the front"
        tiles.append(("winners" if best is not None else "models tested", str(len(front)), within))
    counts = {count.stage: count for count in funnel_of(record.index)}
    trained, measured = counts["train"], counts["measure"]
    if ways := ways_of(record.rows):
        tiles.append(("candidates evaluated", str(trained.reached), f"{', '.join(ways)}, not trained"))
    elif trained.reached:
        remark = f"{trained.stopped_early} stopped early" if front.table is None else _simulated_text(record.rows)
        tiles.append((words.errors_tile, str(trained.reached), remark))
    if measured.reached:
        tiles.append((words.costs_tile, str(measured.finished), words.costs_remark))
    return tiles


def _simulated_text(rows: Iterable[Evaluation]) -> str:
    """Return the time that training the candidates of a table would have taken."""
    simulated_s = sum(row.details.get("seconds", 0.0) for row in rows if row.stage == "train")
    return f"{duration_text(simulated_s)} of simulated training" if simulated_s else "none was trained"


@dataclass(frozen=True)
class FunnelStep:
    """The count of architectures that reached one stage; the percentages refer to the largest stage."""

    title: str
    count: int
    finished_percent: float
    stopped_percent: float
    failed_percent: float
    remark: str


def funnel_steps(rows: Sequence[Evaluation] | IndexedRows, words: Wording = MEASURED) -> list[FunnelStep]:
    """Return one step for each stage, in order.

    Checks are left out if there were none, and retraining is left out if values come from a table.
    """
    without = {"retrain"} if words is not MEASURED else set()
    indexed = IndexedRows.of(rows)
    counts = [c for c in funnel_of(indexed) if c.stage not in without and (c.stage != "check" or c.reached)]
    ways = ways_of(indexed.rows)
    titles = {**words.stages, "train": "Evaluated"} if ways else words.stages
    most = max((count.reached for count in counts), default=0) or 1
    steps = []
    for count in counts:
        remarks = [f"{count.finished} finished"] if count.finished != count.reached else []
        if count.stage == "train":
            remarks += ways
        if count.stage == "check" and count.reached:
            remarks.append("trained individually, to check errors that do not come from training")
        remarks += [f"{count.stopped_early} stopped early"] if count.stopped_early else []
        if count.failed:
            kinds = ", ".join(f"{kind}: {number}" for kind, number in count.failures.items())
            remarks.append(f"{count.failed} failed ({kinds})")
        steps.append(
            FunnelStep(
                title=titles[count.stage],
                count=count.reached,
                finished_percent=100 * count.finished / most,
                stopped_percent=100 * count.stopped_early / most,
                failed_percent=100 * count.failed / most,
                remark=", ".join(remarks),
            )
        )
    return steps
