"""What a search cost: time, time of the device, energy and carbon; and what stopping trainings early saved."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from nas.hardware.energy.metering import grams_co2e
from nas.progress import duration_text
from nas.reports.analysis.architecture_values import Training
from nas.results.search_cost import SEARCH, WINNERS
from nas.storage.journal_rows import Cost, RungsJudged
from nas.values.evaluation import Evaluation
from nas.values.metric import readable

JOULES_PER_KWH = 3.6e6


def spending_of(costs: Sequence[Cost], rows: Sequence[Evaluation], grams_per_kwh: float | None) -> dict[str, Any]:
    """Return what a run cost, as numbers and as texts for people.

    Energy is known only if every part of the run was metered: a part is never given as the whole. ``training_s`` adds
    up all workers, which train at the same time.
    """
    if not costs:
        return {"known": False, "facts": []}
    wall_s, device_s = sum(each.wall_s for each in costs), sum(each.device_s for each in costs)
    by_part = {part: sum(each.wall_s for each in costs if each.of == part) for part in (SEARCH, WINNERS)}
    metered = [each.joules for each in costs if each.joules is not None]
    joules = sum(metered) if len(metered) == len(costs) else None
    training_s = sum(float(row.details.get("seconds", 0.0)) for row in rows if row.stage in ("train", "retrain"))
    carbon = None if joules is None or grams_per_kwh is None else grams_co2e(joules, grams_per_kwh)
    meters = "; ".join(dict.fromkeys(each.meter for each in costs))
    facts = [("Time", duration_text(wall_s))]
    if by_part[WINNERS]:
        facts += [("Time for the search", duration_text(by_part[SEARCH]))]
        facts += [("Time for the winners", duration_text(by_part[WINNERS]))]
    facts += [("Time of the device", duration_text(device_s))]
    facts += [("Time of training, all workers added", duration_text(training_s))] if training_s else []
    if joules is None:
        facts += [("Energy", f"not measured: {meters}")]
    else:
        facts += [("Energy", f"{readable(joules, 'J')} ({joules / JOULES_PER_KWH:.3g} kWh), measured by {meters}")]
    if carbon is not None and grams_per_kwh is not None:
        facts += [("Carbon", f"{readable(carbon, 'g')} CO2e at {grams_per_kwh:g} g/kWh")]
    elif joules is not None:
        facts += [("Carbon", "unknown: energy.gco2e_per_kwh in the recipe gives the intensity of your electricity")]
    return {
        "known": True,
        "wall_s": wall_s,
        "search_s": by_part[SEARCH],
        "winners_s": by_part[WINNERS],
        "device_s": device_s,
        "training_s": training_s,
        "joules": joules,
        "gco2e": carbon,
        "gco2e_per_kwh": grams_per_kwh,
        "facts": [list(fact) for fact in facts],
    }


def savings_of(trainings: Sequence[Training], judged: Sequence[RungsJudged]) -> dict[str, Any]:
    """Return how many trainings were stopped early, and an estimate of the training time that this saved.

    A stopped training would have gone on at its own pace to the median work of whole trainings. Work is counted in
    epochs over the whole training data; candidates with a choice of epochs are compared with those that chose alike.
    """
    alone = [each for each in trainings if each.row.by == "train"]
    whole: dict[Any, list[float]] = {}
    for each in alone:
        if each.end == "whole":
            whole.setdefault(each.row.architecture.get("epochs"), []).append(work_of(each.row))
    usual_of = {epochs: statistics.median(works) for epochs, works in whole.items()}
    stopped = [each for each in alone if each.end == "stopped"]
    saved_s, known = 0.0, 0
    for each in stopped:
        done, seconds = work_of(each.row), float(each.row.details.get("seconds", 0.0))
        usual = usual_of.get(each.row.architecture.get("epochs"))
        if usual and done > 0 and seconds > 0:
            saved_s += seconds * max(0.0, usual / done - 1)
            known += 1
    spent_s = sum(float(each.row.details.get("seconds", 0.0)) for each in alone)
    share = saved_s / (saved_s + spent_s) if saved_s > 0 else 0.0
    return {
        "stopped": len(stopped),
        "trainings": len(alone),
        "spent_s": spent_s,
        "saved_s": saved_s,
        "saved_share": share,
        "judged_by": known,
        "sentences": [*_saved_text(len(stopped), len(alone), saved_s, share), *map(_judged_text, judged[-1:])],
    }


def work_of(row: Evaluation) -> float:
    """Return the work of a training: its epochs, each by the share of the training data that it saw."""
    details: Mapping[str, Any] = row.details
    if subsets := details.get("subsets"):
        return float(sum(subsets))
    share = details.get("subset")
    return float(details.get("epochs") or 0) * (1.0 if share is None else float(share))


def _saved_text(stopped: int, trainings: int, saved_s: float, share: float) -> list[str]:
    if not trainings:
        return []
    if not stopped:
        return [f"None of {trainings} trainings was stopped early."]
    start = f"{stopped} of {trainings} trainings {'was' if stopped == 1 else 'were'} stopped early."
    if saved_s <= 0:
        return [f"{start} What that saved is unknown, because no training of the kind ran to its end."]
    return [
        f"{start} That saved about {duration_text(saved_s)} of training, {100 * share:.0f} % of what all whole "
        "trainings would have taken. This is an estimate: each would have gone on at its own pace."
    ]


def _judged_text(judged: RungsJudged) -> str:
    known = {epoch: value for epoch, value in judged.correlations.items() if value is not None}
    told = ", ".join(f"{value:.2f} after {epoch}" for epoch, value in known.items())
    of = f" of {judged.epochs} epochs" if judged.epochs else ""
    start = f"Early errors ranked {judged.trainings} whole trainings{of} like their last errors, Spearman: {told}."
    if not judged.stops_after:
        return f"{start} That was too little, so no training was stopped."
    return f"{start} Trainings could be stopped from epoch {judged.stops_after[0]} on."
