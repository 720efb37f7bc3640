"""The first proposals: a curve from the cheapest to the largest architecture.

People who try few networks scale one by hand: depth, width and resolution grow together (Tan and Le, "EfficientNet",
2019). The first proposals do the same, with the costs on the device in mind. They are what is best together if errors
are as a prior ranks them. Where no prior does, errors are taken to fall with the size of a network, less and less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nas.prediction.one_thread import one_thread
from nas.prediction.predictor import FloatArray
from nas.space.architecture import Architecture, Choice, Option
from nas.space.description import QUANTITIES, Descriptions, IntArray
from nas.space.search_space import SearchSpace, settle
from predictors.samplers.hypervolume_improvement import DominatedRegion
from predictors.samplers.improvement import MARGIN

NEGLIGIBLE = 0.05
"""A choice changes no size if its options differ by less than this share of what the most telling choice changes."""
RIDGE = 1.0


class Step(NamedTuple):
    """A choice that takes its next option; ``worth`` is what that adds to the network for what it costs."""

    worth: float
    choice: str
    option: Option


def sizes_of(descriptions: Descriptions) -> FloatArray:
    """Return the sizes of N networks, shape (N,): the logarithms of their depth and of their work together.

    The depth is the number of layers with weights. Without layers, the size is the mean of what else is known.
    """
    counts, macs = (descriptions.layer_sums[:, :, QUANTITIES.index(name)] for name in ("count", "macs"))
    if macs.any():
        sizes: FloatArray = np.log1p((counts * (macs > 0)).sum(axis=1)) + np.log1p(macs.sum(axis=1))
        return sizes
    known = descriptions.log_numbers
    return known.mean(axis=1) if known.shape[1] else np.zeros(len(known))


def errors_by_size(sizes: FloatArray) -> FloatArray:
    """Return what errors of N networks may be, shape (N,): the square of what their sizes lack to the largest one."""
    errors: FloatArray = ((sizes.max() - sizes) / max(float(np.ptp(sizes)), 1e-9)) ** 2
    return errors


def scaled_family(
    space: SearchSpace, descriptions: Descriptions, sizes: FloatArray, costs: FloatArray
) -> list[Architecture]:
    """Return a family from the cheapest to the largest architecture; each differs from the one before in a choice.

    ``descriptions`` are of N random architectures. Their ``sizes``, shape (N,), and ``costs``, shape (N, C), tell what
    options change.
    """
    effects = _effects(space.choices, descriptions.options, np.column_stack([sizes, _on_one_scale(costs)]))
    most = max((float(np.ptp(effect[:, 0])) for effect in effects), default=0.0)
    now: dict[str, Option] = {}
    steps: list[Step] = []
    for choice, effect in zip(space.choices, effects, strict=True):
        if choice.affects != "network" or np.ptp(effect[:, 0]) <= NEGLIGIBLE * most:
            now[choice.name] = choice.options[len(choice.options) // 2 if choice.is_numeric else 0]
        else:
            now[choice.name] = choice.options[int(np.argmin(effect[:, 1]))]
            steps += _steps(choice, effect)
    family = [settle(space, lambda choice: now[choice.name])]
    for step in sorted(steps, key=lambda step: -step.worth):
        now[step.choice] = step.option
        family.append(settle(space, lambda choice: now[choice.name]))
    return list(dict.fromkeys(family))


def _on_one_scale(costs: FloatArray) -> FloatArray:
    """Return the mean of N costs, shape (N,), from their columns, shape (N, C): logarithms where the sign allows it."""
    has_sign = (costs > 0).all(axis=0) | (costs < 0).all(axis=0)
    logs = np.sign(costs) * np.log(np.abs(costs), where=costs != 0, out=np.zeros_like(costs))
    scaled: FloatArray = np.where(has_sign, logs, costs).mean(axis=1)
    return scaled


@one_thread()
def _effects(choices: Sequence[Choice], options: IntArray, values: FloatArray) -> list[FloatArray]:
    """Return what the options of each choice add to V ``values``, shape (N, V), by least squares.

    There is one array for each choice, of shape (options, V). An inactive choice adds nothing, and an active one
    nothing on average, so that a choice has the effect of those that depend on it.
    """
    if not choices:
        return []
    columns = []
    for place, choice in enumerate(choices):
        active = np.flatnonzero(options[:, place] >= 0)
        column = np.zeros((len(options), len(choice.options)))
        column[active] = -1 / len(choice.options)
        column[active, options[active, place]] += 1
        columns.append(column)
    design = np.hstack(columns)
    design -= design.mean(axis=0)
    fitted = np.linalg.solve(design.T @ design + RIDGE * np.eye(design.shape[1]), design.T @ (values - values.mean(0)))
    return np.split(fitted, np.cumsum([len(choice.options) for choice in choices])[:-1])


def _steps(choice: Choice, effect: FloatArray) -> Iterator[Step]:
    """Yield the steps of a choice from its cheapest option on, each worth less for its cost than the one before."""
    size, cost = effect.T
    worth = np.sqrt((size - size.min()) / np.ptp(size))
    here = int(np.argmin(cost))
    while (larger := np.flatnonzero(worth > worth[here])).size:
        slopes = (worth[larger] - worth[here]) / np.maximum(cost[larger] - cost[here], 1e-9)
        yield Step(float(slopes.max()), choice.name, choice.options[larger[np.argmax(slopes)]])
        here = int(larger[np.argmax(slopes)])


def best_together(
    losses: FloatArray, begun: FloatArray, ends: Sequence[int], is_accepted: Callable[[int], bool]
) -> Iterator[int]:
    """Yield accepted places of N losses, shape (N, M): the lowest in the columns ``ends``, then the best together.

    Each of the latter adds the most hypervolume to those before it and to ``begun``, shape (B, M), the losses of what
    was proposed before. If something was, the ends are left out. Losses count between the lowest and the highest. Once
    none adds anything, the iteration ends.
    """
    if not len(losses):
        return
    everything = np.vstack([losses, begun])
    lowest, highest = everything.min(axis=0), everything.max(axis=0)
    points, before = ((each - lowest) / np.where(highest > lowest, highest - lowest, 1.0) for each in (losses, begun))
    reference = np.full(points.shape[1], 1.0 + MARGIN)
    region = DominatedRegion.of(before, reference)
    chosen = []
    if not len(begun):
        lowest_ones = (np.argsort(losses[:, end], kind="stable").tolist() for end in ends)
        found = (next(filter(is_accepted, places), None) for places in lowest_ones)
        chosen = list(dict.fromkeys(place for place in found if place is not None))
    while True:
        for place in chosen:
            yield place
            region = region.with_point(points[place])
            points[place] = reference  # it adds nothing any more, not even by rounding
        gains = region.improvements(points)
        best = int(np.argmax(gains))
        if gains[best] <= 0:
            return
        chosen = [best] if is_accepted(best) else []
        if not chosen:
            points[best] = reference
