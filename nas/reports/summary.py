"""The report in short: the tiles at its top, sentences about trust, and the funnel of candidates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nas.prediction.trust import warning_about
from nas.progress import duration_text
from nas.reports.candidates import ways_of
from nas.reports.wording import MEASURED, Wording, wording_of
from nas.results.front import Front
from nas.results.notes.precision_notes import precision_sentences
from nas.results.run import Run, funnel_of
from nas.storage.journal_rows import Fit
from nas.values.comparison import is_surely_less
from nas.values.evaluation import Evaluation
from nas.values.held_out import reach_text
from nas.values.metric import METRICS

INTERVAL = " (95\u00a0%\u00a0interval)"


def tiles_of(front: Front, record: Run) -> list[tuple[str, str, str]]:
    """Return the tiles at the top of the page: label, value and remark of each."""
    tiles = []
    words = wording_of(front.table)
    best = front.best
    if best is not None:
        interval = front.words.range_text(best.test_interval)
        interval += "" if best.test_interval.is_point else INTERVAL
        of_that = front.quality.name != "error" and best.has(front.quality.name)
        within = " within the limits" if front.limits else ""
        if of_that:
            text, bounds = best.told(front.quality)
            tiles.append((f"best test {front.quality.title.lower()}{within}", text, f"{bounds}{INTERVAL}"))
        title = f"test {front.words.title} of that winner" if of_that else f"best test {front.words.title}{within}"
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
        tiles.append(("winners", str(len(front)), within))
    counts = {count.stage: count for count in funnel_of(record.rows)}
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


def trust_sentences(front: Front, fits: Sequence[Fit], rows: Sequence[Evaluation] = ()) -> list[str]:
    """Return sentences about the accuracy of predictors, of predicted bounds, of precisions, and of exported models."""
    words = wording_of(front.table)
    sentences = []
    for name, fit in {fit.metric: fit for fit in fits}.items():
        title = METRICS[name].title.lower() if name in METRICS else name
        width = fit.held_out.width
        reach = reach_text(width / 2, fit.held_out.samples) if math.isfinite(width) else ""
        bounds = f" Its 90 % bounds {reach}." if reach else ""
        sentences.append(
            f"On {fit.held_out.samples} {words.held_out}, the last {title} predictor was off by "
            f"{100 * fit.held_out.mape:.1f} % on average.{bounds}"
        )
        warning = warning_about(METRICS[name], fit.held_out) if name in METRICS else None
        sentences += [warning] if warning else []
        sentences.extend(fit.verdict)
    for name, metric in METRICS.items():
        pairs = [
            (w.predicted[name], w.measurements[name]) for w in front if {name} <= w.predicted.keys() & w.measurements
        ]
        if pairs:
            title = metric.title.lower()
            value = f"measured {title}" if words is MEASURED else f"{title} from the table"
            inside = sum(guess.lower <= found.median <= guess.upper for guess, found in pairs)
            sentences.append(
                f"For {inside} of {len(pairs)} winners, the {value} lies within the predicted 90 % bounds."
            )
    sentences += precision_sentences(rows)
    sentences += best_sentences(front)
    parities = [winner.parity for winner in front if winner.parity is not None]
    if parities:
        sentences.append(
            f"The outputs of exported and trained models differ by at most {max(parities):.2g}, relative to the "
            "largest output."
        )
    return sentences


def best_sentences(front: Front) -> list[str]:
    """Return a sentence about winners whose quality cannot be told from the best one's, if there are any."""
    best = front.best
    if best is None:
        return []
    name = front.quality.name if best.has(front.quality.name) else "error"
    others = [winner for winner in front if winner is not best and winner.has(name)]
    errors = [(winner.estimate(name), best.estimate(name)) for winner in others]
    # A surely better winner breaks a limit, or it would be the best.
    same = sum(not is_surely_less(own, error) and not is_surely_less(error, own) for error, own in errors)
    if not same:
        return []
    of_others = "that of another winner" if same == 1 else f"those of {same} other winners"
    title, text = front.words.title, front.words.text(best.test_error)
    if name != "error":
        title, text = front.quality.title.lower(), front.quality.format(best.value(name))
    return [f"The test cannot tell the best {title}, {text}, from {of_others}."]


@dataclass(frozen=True)
class FunnelStep:
    """The count of architectures that reached one stage; the percentages refer to the largest stage."""

    title: str
    count: int
    finished_percent: float
    stopped_percent: float
    failed_percent: float
    remark: str


def funnel_steps(rows: Sequence[Evaluation], words: Wording = MEASURED) -> list[FunnelStep]:
    """Return one step for each stage, in order.

    Checks are left out if there were none, and retraining is left out if values come from a table.
    """
    without = {"retrain"} if words is not MEASURED else set()
    counts = [c for c in funnel_of(rows) if c.stage not in without and (c.stage != "check" or c.reached)]
    titles = {**words.stages, "train": "Evaluated"} if ways_of(rows) else words.stages
    most = max((count.reached for count in counts), default=0) or 1
    steps = []
    for count in counts:
        remarks = [f"{count.finished} finished"] if count.finished != count.reached else []
        if count.stage == "train":
            remarks += ways_of(rows)
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
