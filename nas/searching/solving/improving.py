"""What it would take to improve on a re-solved front, in sentences; and which limits no candidate meets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nas.progress import command_text, duration_text
from nas.recipe.recipe import Recipe
from nas.recipe.toml_text import toml_literal
from nas.results.run import Run
from nas.results.run_folder import further_text, given_objects
from nas.results.solved import SolvedPoint
from nas.searching.extending import unknown_limits
from nas.searching.solving.request import Asked
from nas.storage.journal import RECIPE
from nas.values.metric import Metric
from nas.values.objective import Limit, Objective, limit_text, quality_of

DIGITS = 3
"""The significant digits of a limit that is proposed."""


def improvements_of(asked: Asked, points: Sequence[SolvedPoint], front: Sequence[SolvedPoint]) -> tuple[str, ...]:
    """Return what would improve on the front: a limit that is loosened, or a longer search, with its cost."""
    told = [sentence for limit in asked.limits if (sentence := _loosened(asked, limit, points, front))]
    return (*told, *_longer_search(asked))


def _loosened(asked: Asked, limit: Limit, points: Sequence[SolvedPoint], front: Sequence[SolvedPoint]) -> str | None:
    """Return the sentence about one limit: by how much it must be raised for the next better candidate."""
    quality = quality_of(asked.objectives)
    best = min((point.value(quality.name) for point in front), default=math.inf)
    others = [each for each in asked.limits if each != limit]
    better = [
        (value, point)
        for point in points
        if point.value(quality.name) < best
        and (value := point.judged(limit)) is not None
        and not limit.holds(value)
        and point.meets(others, surely=False)
    ]
    if not better:
        return f"{_begin(limit_text(limit))} costs no accuracy among these candidates." if front else None
    value, point = min(better, key=lambda each: (each[0], each[1].value(quality.name)))
    last_value, last = min(better, key=lambda each: (each[1].value(quality.name), each[0]))
    gain = f"{_quality_title(asked, quality)} {_quality_text(point, quality)}"
    instead = f" instead of {_quality_text(min(front, key=lambda p: p.value(quality.name)), quality)}" if front else ""
    sentence = f"With {_raised(limit, value)}, {point.architecture.id} joins: {gain}{instead}{_source(point, limit)}."
    if last.architecture != point.architecture:
        needed = _raised(limit, last_value, short=True)
        sentence += f" The best of all, with {_quality_text(last, quality)}, needs {needed}."
    return sentence


def _raised(limit: Limit, value: float, *, short: bool = False) -> str:
    """Return a limit that ``value`` meets, for people: ``latency ≤ 1.24 ms (24 % more)``."""
    most = rounded_up(value)
    told = limit.metric.format(most)
    if limit.metric.source == "trained" or short:
        return told if short else f"{limit.metric.title.lower()} ≤ {told}"
    more = f" ({_percent(most / limit.value - 1)} more)" if limit.value > 0 else ""
    return f"{limit.metric.title.lower()} ≤ {told}{more}"


def _percent(share: float) -> str:
    return f"{100 * share:,.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def rounded_up(value: float) -> float:
    """Return the least number of three significant digits that is no less than ``value``."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - DIGITS + 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.12g}")


def _source(point: SolvedPoint, limit: Limit) -> str:
    return ", as predicted" if point.source(limit.metric.name) == "predicted" else ""


def _quality_title(asked: Asked, quality: Metric) -> str:
    if quality.name != "error":
        return quality.title.lower()
    return asked.place.error_title(asked.run.words)


def _quality_text(point: SolvedPoint, quality: Metric) -> str:
    value = point.value(quality.name)
    return point.words.text(value) if quality.name == "error" else quality.format(value)


def _begin(text: str) -> str:
    return text[:1].upper() + text[1:]


def _longer_search(asked: Asked) -> list[str]:
    """Return what the run's trainings took, and the command of a new search under these limits."""
    recipe, run = asked.recipe, asked.run
    trained = [row for row in run.rows if row.stage == "train" and not row.is_shared]
    rounds = len({row.round for row in trained}) or 1
    seconds = asked.place.training_s(trained)
    each = len(trained) / rounds
    took = ""
    if seconds:
        median = float(np.median(seconds))
        took = f", each {duration_text(median)} of training, so a round of {each:.0f} is {duration_text(each * median)}"
    told = f"The run {asked.place.evaluated} {len(trained)} candidates in {rounds} round{'s' * (rounds != 1)}{took}."
    command = search_command(run, recipe)
    return [told if command is None else f"{told} To search further under these limits: {command}"]


def search_command(run: Run, recipe: Recipe) -> str | None:
    """Return the command line that searches further as asked; None where objects are needed that no command has.

    The run itself is extended where it can be. Another target or objective takes a new run, with another seed so that
    its candidates are others. Measurements that are kept are not taken again.
    """
    limits = [word for limit in recipe.limits for word in ("--limit", limit)]
    if run.recipe.limits and not recipe.limits:
        limits = ["--set", "limits=[]"]
    is_same = (recipe.objectives, recipe.measured_on) == (run.recipe.objectives, run.recipe.measured_on)
    if is_same and not unknown_limits(run.recipe, recipe):
        is_changed = recipe.limits != run.recipe.limits
        overrides = [f"limits={toml_literal(recipe.limits)}"] if is_changed else []
        return further_text(run.run_folder, run.recipe, limits if is_changed else (), overrides)
    if given_objects(recipe):
        return None
    words = ["nas", "search", str(run.run_folder / RECIPE), *limits, "--seed", str(recipe.seed + 1)]
    if recipe.objectives != run.recipe.objectives:
        words += [word for objective in recipe.objectives for word in ("--objective", objective)]
    if recipe.target != run.recipe.target:
        words += ["--target", recipe.target]
    if recipe.table.device != run.recipe.table.device:
        words += ["--set", f"table.device={recipe.table.device}"]
    words += ["--name", f"{run.name}-further"]
    return command_text(words)


def unmet_of(
    objectives: Sequence[Objective], limits: Sequence[Limit], points: Sequence[SolvedPoint]
) -> tuple[tuple[str, ...], SolvedPoint | None]:
    """Return sentences that say why no candidate is left, and the candidate that exceeds the limits least, if one does.

    They name what no candidate has a value of, and the limits that none meets.
    """
    if not points:
        return ("No candidate is left to compare.",), None
    names = [objective.metric.name for objective in objectives]
    unknown = [name for name in names if not any(point.has(name) for point in points)]
    told = [f"No candidate has a value of {name}, which is an objective." for name in unknown]
    for limit in limits:
        judged = [(value, point) for point in points if (value := point.judged(limit)) is not None]
        if not judged:
            told.append(f"No candidate has a value of {limit.metric.name}, so {limit_text(limit)} cannot be checked.")
            continue
        value, lowest = min(judged, key=lambda each: (each[0], each[1].architecture.id))
        if not limit.holds(value):
            told.append(
                f"No candidate meets {limit_text(limit)}: the lowest is {_judged_text(lowest, limit, value)}, of "
                f"{lowest.architecture.id} ({lowest.architecture.short})."
            )
    if not told:
        told.append(f"No candidate meets all of {', '.join(map(limit_text, limits))} together.")
    nearest = min(points, key=lambda point: (point.excess(limits), point.architecture.id))
    excesses = ", ".join(
        f"{limit.metric.title.lower()} by {_percent(limit.excess(value))}"
        for limit in nearest.broken(limits)
        if (value := nearest.judged(limit)) is not None
    )
    if not excesses:
        return tuple(told), None
    told.append(f"The nearest candidate is {nearest.architecture.id}, which exceeds {excesses}.")
    return tuple(told), nearest


def _judged_text(point: SolvedPoint, limit: Limit, judged: float) -> str:
    """Return a point's value, and the bound that a limit is judged by if that is another: ``2 ms (up to 3 ms)``."""
    name, bound = limit.metric.name, limit.metric.format_apart(judged, limit.value)[0]
    value = limit.metric.format(point.value(name))
    source = ", as predicted" if point.source(name) == "predicted" else ""
    return f"{bound}{source}" if point.value(name) == judged else f"{value} (up to {bound}{source})"
