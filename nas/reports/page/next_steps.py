"""What to run next: advice for a run, each piece with the command that follows it where there is one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.errors import RecipeError
from nas.hardware.runtimes.runtime import load_runtime
from nas.reports.page.models import bundle_link
from nas.results.front import Front
from nas.results.notes.front_notes import choice_notes
from nas.results.records import Record
from nas.results.run import Run
from nas.results.run_folder import resume_text_of, retrain_text_of
from nas.results.winner import Winner
from nas.space.parts.candidate import PLAIN
from nas.space.plug_ins import plug_in_names
from nas.values.comparison import is_surely_less
from nas.values.target import Target

MOST_NAMED = 3
INT8 = "int8"


@dataclass(frozen=True)
class Step:
    """A sentence about what to do, and the command that does it; an empty one where none does."""

    sentence: str
    command: str = ""


@dataclass(frozen=True)
class Shipped:
    """The model to ship: its id, its bundle's folder with a link from the page, and commands that run and check it.

    ``why`` says why another winner is not it, whose test looks better; it is empty where there is none.
    """

    id: str
    why: str
    folder: str
    link: str | None
    run: str
    check: str


def shipped_of(run: Run, page_folder: Path | None = None) -> Shipped | None:
    """Return the best model that meets all limits; None where there is none, or where it learned nothing."""
    best = run.front.best_or_none
    if best is None or best.bundle is None or best.chance_mark:
        return None
    folder = shlex.quote(str(best.bundle))
    link = bundle_link(best, run.run_folder, page_folder)
    script = shlex.quote(str(best.bundle / "predict.py"))
    why = " ".join(choice_notes(run.front))
    return Shipped(
        best.architecture.id, why, str(best.bundle), link, f"python {script} FILE", f"nas bundle verify {folder}"
    )


def next_steps(run: Run) -> list[Step]:
    """Return what to do next, the most urgent first; never empty."""
    folder, front = shlex.quote(str(run.run_folder)), run.front
    steps = []
    if not run.is_over and run.table is None:
        steps.append(Step("The run is not finished. Unless it is still running, go on with it.", resume_text_of(run)))
    if front.first is not None:
        return [Step("Search with trainings: the same command without --trials 0.")]
    if front.nothing_learned:
        steps.append(Step("Nothing was learned, so look at the data and the training first."))
    if front.winners and front.best_or_none is None:
        steps.append(
            Step("No winner meets the limits. Search again with wider limits, or with smaller options in the space.")
        )
    cheaper = _cheapest_equal(front)
    if cheaper is not None and front.best_or_none is not None:
        steps.append(
            Step(
                f"Take {cheaper.architecture.id}: the test cannot tell it from the best, "
                f"{front.best.architecture.id}, and it costs less."
            )
        )
    promising = _promising(front, run.records)
    if promising and run.table is None:
        ids = [each.architecture.id for each in promising[:MOST_NAMED]]
        count = "A candidate was" if len(promising) == 1 else f"{len(promising)} candidates were"
        steps.append(
            Step(f"{count} better in the search than every winner, but never retrained.", retrain_text_of(run, ids))
        )
    poor = {fit.metric: fit for fit in run.fits if fit.verdict}
    last = {fit.metric: fit for fit in run.fits}
    if any(last[name] is fit for name, fit in poor.items()):
        steps.append(
            Step(
                "A predictor was not good enough for the limits. Measure more architectures first: raise "
                "measuring.initial in the recipe."
            )
        )
    if run.table is None and any(winner.doubts for winner in front):
        again = "Some winners were measured on a busy machine. Measure them again on a quiet one."
        steps.append(Step(again, f"nas drift {folder}"))
    steps += _about_int8(run)
    if not front.winners and not steps:
        steps.append(
            Step(
                "The run ended without a winner. Look at why candidates failed or were turned away, then search again "
                "with wider limits, more time or smaller options."
            )
        )
    if not steps:
        steps.append(Step("Nothing is left to do. Take a model from the front, and test it in your own program."))
    return steps


def _about_int8(run: Run) -> list[Step]:
    """Return the advice to try int8 where all winners are networks in fp32, and their runtime offers it."""
    best = run.front.best_or_none
    if best is None or best.bundle is None or not best.values.get("macs") or any(each.precision for each in run.front):
        return []
    try:
        target = Target.parse(run.target)
        if target.runtime not in plug_in_names("nas.runtimes"):  # a page runs no code that a run names
            return []
        runtime = load_runtime(target.runtime, target.options)
    except RecipeError:  # several targets, or a runtime of another package that does not load
        return []
    if target.precision != PLAIN or INT8 not in runtime.precisions or not runtime.form:
        return []
    sentence = (
        "All models ran in fp32. In int8 they take about a fourth of the space, and often less time. "
        f"A search with --precision {PLAIN} --precision {INT8} finds out"
    )
    if target.device:  # bundles are exported and measured on this machine
        return [Step(f"{sentence}.")]
    command = f"nas bundle export {shlex.quote(str(best.bundle))} --format {runtime.form} --precision {INT8}"
    return [Step(f"{sentence}, and this does for the best one.", command)]


def _cheapest_equal(front: Front) -> Winner | None:
    """Return the cheapest winner within the limits that costs surely less than the best one, and tests as well.

    No other cost of it is surely higher.
    """
    best, quality = front.best_or_none, front.quality.name
    if best is None or not front.costs or not all(map(best.has, (quality, *(each.name for each in front.costs)))):
        return None
    cost, *others = (metric.name for metric in front.costs)
    cheaper = [
        winner
        for winner in front
        if winner.meets(front.limits)
        and not winner.chance_mark
        and all(map(winner.has, (quality, cost, *others)))
        and not any(is_surely_less(best.estimate(each), winner.estimate(each)) for each in (quality, *others))
        and not is_surely_less(winner.estimate(quality), best.estimate(quality))
        and is_surely_less(winner.estimate(cost), best.estimate(cost))
    ]
    return min(cheaper, key=lambda winner: winner.value(cost), default=None)


def _promising(front: Front, records: Sequence[Record]) -> list[Record]:
    """Return candidates with a lower error in the search than every winner had, lowest first, within the limits."""
    name = front.quality.name
    found = [
        (each.training.values[name], place)
        for place, each in enumerate(records)
        if each.training is not None and name in each.training.values and each.training.reached_full_fidelity
    ]
    winners = [value for value, place in found if records[place].winner is not None]
    if not winners:
        return []
    better = [
        (value, place)
        for value, place in found
        if records[place].winner is None
        and value < min(winners)
        and records[place].outcome != "failed"
        and records[place].meets(front.limits)
    ]
    return [records[place] for _, place in sorted(better)]
