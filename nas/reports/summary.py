"""The report in short: the figures at its top, sentences about trust, and the funnel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nas.progress import duration_text
from nas.reports.candidates import ways_of
from nas.reports.cells import EXACT, cost_cell
from nas.reports.wording import MEASURED, Wording, wording_of
from nas.results.front import Front
from nas.results.run import Run, funnel_of
from nas.results.winner import accuracy_range_text, accuracy_text
from nas.values.evaluation import Evaluation
from nas.values.held_out import Fit
from nas.values.metric import METRICS


def tiles_of(front: Front, record: Run) -> list[tuple[str, str, str]]:
    """The figures at the top: what, how much, and a remark."""
    tiles = []
    words = wording_of(front.table)
    best = front.best
    if best is not None:
        interval = ("" if best.test_interval.is_point else "95 %: ") + accuracy_range_text(best.test_interval)
        tiles.append(
            (
                "best test accuracy within the limits" if front.limits else "best test accuracy",
                accuracy_text(best.test_error),
                interval,
            )
        )
        for cost in front.costs[:2]:
            if best.has(cost.name):
                cell = cost_cell(
                    "measured" if cost.source == "measured" else "value",
                    cost,
                    best.predicted,
                    best.measurements,
                    best.values,
                )
                has_interval = cost.source == "measured" and cell.detail not in ("", EXACT)
                remark = f"95 %: {cell.detail}" if has_interval else ""
                source = words.found if cost.source == "measured" else cost.source
                tiles.append(
                    (f"its {cost.title.removesuffix(f' ({cost.source})').lower()}, {source}", cell.text, remark)
                )
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
        tiles.append((words.evaluated_tile, str(trained.reached), remark))
    if measured.reached:
        tiles.append((words.costs_tile, str(measured.finished), words.costs_remark))
    return tiles


def _simulated_text(rows: Iterable[Evaluation]) -> str:
    """The time that the trainings of a table would have taken."""
    simulated_s = sum(row.details.get("seconds", 0.0) for row in rows if row.stage == "train")
    return f"{duration_text(simulated_s)} of training, simulated" if simulated_s else "none was trained"


def trust_sentences(front: Front, fits: Sequence[Fit]) -> list[str]:
    """How far the predictors, the winners' bounds and the exported models held, in a sentence each."""
    sentences = []
    for name, fit in {fit.metric: fit for fit in fits}.items():
        title = METRICS[name].title.lower() if name in METRICS else name
        width = fit.held_out.width
        bounds = f", and its 90 % bounds reached {50 * width:.0f} % to each side" if math.isfinite(width) else ""
        sentences.append(
            f"On {wording_of(front.table).known} that it had not seen, the last {title} predictor was off by "
            f"{100 * fit.held_out.mape:.1f} % on average{bounds} ({fit.held_out.samples} architectures)."
        )
        sentences.extend(fit.verdict)
    for name, metric in METRICS.items():
        pairs = [
            (w.predicted[name], w.measurements[name]) for w in front if {name} <= w.predicted.keys() & w.measurements
        ]
        if pairs:
            inside = sum(guess.lower <= found.median <= guess.upper for guess, found in pairs)
            sentences.append(
                f"{inside} of {len(pairs)} winners {wording_of(front.table).inside} the {metric.title.lower()} bounds "
                "predicted for them."
            )
    parities = [winner.parity for winner in front if winner.parity is not None]
    if parities:
        sentences.append(f"Exported and trained models gave equal outputs up to {max(parities):.2g}.")
    return sentences


@dataclass(frozen=True)
class FunnelStep:
    """How many architectures one stage was reached by; the shares are of the stage that most reached."""

    title: str
    count: int
    finished_percent: float
    stopped_percent: float
    failed_percent: float
    remark: str


def funnel_steps(rows: Sequence[Evaluation], words: Wording = MEASURED) -> list[FunnelStep]:
    """One step for each stage, in their order; of checks where there were any, and of retraining but in a table."""
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
            remarks.append("trained alone, to check errors found without training")
        remarks += [f"{count.stopped_early} stopped early"] if count.stopped_early else []
        if count.failed:
            kinds = ", ".join(f"{kind} {number}" for kind, number in count.failures.items())
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
