"""Additive costs: every layer costs something, and the costs add up. Fitted by non-negative regression.

Layers are grouped so that a device treats a group alike. A group has a cost for each of ``description.QUANTITIES``,
such as a cost per layer and per multiply-accumulate. Each cost is the sum of three terms: one for the kind of layer,
one for its kernel and sharing, and one for the group itself. The last two are shrunk to zero, as in hierarchical
regression (Gelman and Hill, 2006), so a group with few samples costs what its kind does. Layers that a runtime merges
into a neighbour, such as activations, get a cost of zero from the fit.

Where other targets are known, a network also costs a share of what it costs on each of them. These shares are shrunk
least, so with few samples a network costs what it does elsewhere, as far as the samples do not contradict.

``predictors.layer_process`` then learns the relative error of each layer's cost. Of 200 measured mobile networks, 92 %
are predicted within ±10 % without it and 98 % with it, after 100 others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
import numpy.typing as npt

from nas.prediction.one_thread import one_thread
from nas.prediction.predictor import Batch, FloatArray, Given
from nas.space.architecture import Architecture
from nas.space.description import Describer, Descriptions, GroupedLayer, LayerGroup
from nas.space.layer import Layer
from nas.values.other_target import Source
from predictors.bounded import BoundedPredictor, fit_bounded
from predictors.layer_process import NOTHING_OFF, LayerProcess, fit_layer_process
from predictors.source_models import SourceModels

IndexArray = npt.NDArray[np.int64]
Place = tuple[int, Hashable]

_LEVELS: tuple[Callable[[LayerGroup], Hashable], ...] = (
    lambda group: group.kind,
    lambda group: (group.kind, group.sharing, group.kernel),
    lambda group: group,
)
_DEVIATION = 0.06
"""Expected size of a group's own cost, as a share of the value if every layer of its kind had this cost.

On measured mobile networks, FBNet and NAS-Bench-201, 0.04 to 0.08 work equally well; with 0.02, twenty samples give
larger errors.
"""
_FIRST_STRENGTH, _STRENGTHS = 1.0, (0.1, 30.0)
_KIND_SHARE = 0.1
"""Strength with which costs of kinds are shrunk to zero, relative to that of other costs."""
_OTHERS_SHARE = 0.001
"""The same for shares of what networks cost on other targets."""
_ROUNDS = 4
_HUBER = 3.0
"""Residuals beyond this many standard deviations count linearly, not squared, because a few measurements are spoilt."""
_QUICK = 0.3
"""Values below this share of the median count less in the first round, because relative errors near zero are huge."""
_GIVEN_RIDGE = 1e-3
_SMALLEST, _EVEN = 0.05, 1e-6
_DEVIATIONS = 1.4826
"""Ratio of the standard deviation to the median absolute error of normal errors."""
_NNLS_STEPS = 30


@final
@dataclass(frozen=True, eq=False)
class AdditiveModel:
    """Non-negative costs by level and key of a group, each of shape (quantities,).

    Where a space knows numbers in the place of layers, costs are a power law in them. ``dead_costs``, shape (options,),
    are costs of options that are chosen but change nothing; some runtimes execute them. ``shares``, shape (targets,),
    are those of the costs on ``others``. ``slopes`` are the exponents of the given features and of known numbers.
    ``off`` gives the relative error of each layer's cost. ``smallest`` is the lowest credible value.
    """

    constant: float
    costs: Mapping[Place, FloatArray]
    dead_costs: FloatArray
    slopes: FloatArray
    smallest: float
    others: SourceModels | None = field(default=None, repr=False)
    shares: FloatArray = field(default_factory=lambda: np.zeros(0))
    off: LayerProcess = NOTHING_OFF
    _known: dict[tuple[Layer, LayerGroup], float] = field(default_factory=dict, repr=False)

    def log_means(self, batch: Batch) -> FloatArray:
        """Return log-predictions, shape (N,); a network of free layers alone gets the lowest credible value."""
        means: FloatArray = np.log(np.maximum(self.totals(batch), self.smallest))
        return means + _powers(batch, self.others) @ self.slopes

    def totals(self, batch: Batch) -> FloatArray:
        """Return the sums of costs, shape (N,), before the given features are applied."""
        descriptions = batch.descriptions
        costs_L = np.zeros(len(descriptions.layers) + 1)  # the last entry is for the padding, number -1
        present = np.unique(descriptions.layer_numbers)
        present = present[present >= 0]
        costs_L[present] = self._corrected([descriptions.layers[n] for n in present.tolist()], descriptions.groups)
        dead = _dead_counts(descriptions, len(self.dead_costs)) @ self.dead_costs
        elsewhere = _elsewhere(batch, self.others) @ self.shares
        totals: FloatArray = self.constant + dead + elsewhere + costs_L[descriptions.layer_numbers].sum(axis=1)
        return totals

    def share_elsewhere(self, batch: Batch) -> float | None:
        """Return the mean share of N networks' costs that follows other targets; None where these are powers."""
        if self.others is None or self.others.are_products:
            return None
        parts: FloatArray = _elsewhere(batch, self.others) @ self.shares
        return float((parts / np.maximum(self.totals(batch), self.smallest)).mean())

    def layer_costs(self, layers: Sequence[GroupedLayer], groups: Sequence[LayerGroup]) -> FloatArray:
        """Return each layer's cost according to its group alone, shape (len(layers),)."""
        costs = [float(self.cost(groups[each.group], len(each.quantities)) @ each.quantities) for each in layers]
        return np.array(costs, dtype=np.float64)

    def _corrected(self, layers: Sequence[GroupedLayer], groups: Sequence[LayerGroup]) -> list[float]:
        """Return each layer's cost, corrected by ``off``; the result is cached."""
        keys = [(each.layer, groups[each.group]) for each in layers]
        new = [index for index, key in enumerate(keys) if key not in self._known]
        if new:
            fresh = [layers[index] for index in new]
            costs = self.layer_costs(fresh, groups) * (1 + self.off([each.layer for each in fresh]))
            for index, cost in zip(new, np.maximum(costs, 0.0).tolist(), strict=True):
                self._known[keys[index]] = cost
        return [self._known[key] for key in keys]

    def cost(self, group: LayerGroup, quantities: int) -> FloatArray:
        """Return the cost per unit of each quantity; a group without samples has the costs of its kind."""
        cost_Q = np.zeros(quantities)
        for place in _places(group):
            cost_Q += self.costs.get(place, 0.0)
        return cost_Q


@one_thread()
def fit_additive(
    space: Describer,
    architectures: Sequence[Architecture],
    values: FloatArray,
    *,
    target: str,
    sources: Sequence[Source] = (),
    given: Sequence[Given] = (),
    seed: int,
) -> BoundedPredictor:
    """Return a predictor that adds up costs of layers, which suits devices that run layers one after another.

    ``sources`` are ignored. Raises ValueError as described in ``nas.prediction.predictor.PredictorMethod``.
    """
    return fit_bounded(space, architectures, values, target=target, given=given, seed=seed, method=AdditiveMethod())


@final
@dataclass(frozen=True)
class AdditiveMethod:
    """Fits ``AdditiveModel``, as ``predictors.bounded.ModelMethod`` describes, with what ``others`` tell."""

    others: SourceModels | None = None

    def fit(self, batch: Batch, values: FloatArray, seed: int) -> AdditiveModel:
        """Fit the model to N samples."""
        return fit_model(batch, values, seed, self.others)

    fit_in_fold = fit


def fit_model(batch: Batch, values: FloatArray, seed: int, others: SourceModels | None = None) -> AdditiveModel:
    """Return the costs with the least squared error of logarithms; the seed has no effect.

    With given features, a power law in them is fitted first, and the costs explain what it leaves.
    """
    powers = _powers(batch, others)
    slopes = _power_law(powers, np.log(values))
    left = values / np.exp(powers @ slopes)
    places, parents, terms = _terms(batch.descriptions)
    dead = _dead_counts(batch.descriptions, int(batch.descriptions.options.max(initial=-1)) + 1)
    elsewhere = _elsewhere(batch, others)
    # The constant, the dead options and other targets have no coarser level, so each is its own parent.
    columns = np.hstack([np.ones((len(left), 1)), terms, dead, elsewhere])
    parent = np.arange(columns.shape[1])
    parent[1 : 1 + terms.shape[1]] = 1 + parents
    shrinking = np.where(parent == np.arange(len(parent)), _KIND_SHARE, 1.0)
    shrinking[len(parent) - elsewhere.shape[1] :] = _OTHERS_SHARE
    costs = _solve(columns, parent, shrinking, left)
    ends = np.cumsum([1, terms.shape[1], dead.shape[1]])
    by_place = costs[1 : ends[1]].reshape(len(places), batch.descriptions.layer_sums.shape[2])
    model = AdditiveModel(
        constant=float(costs[0]),
        costs=dict(zip(places, by_place, strict=True)),
        dead_costs=costs[ends[1] : ends[2]],
        slopes=slopes,
        smallest=float(left.min()) / 100,
        others=others,
        shares=costs[ends[2] :],
    )
    return replace(model, off=_off(model, batch, left), _known={})


def _off(model: AdditiveModel, batch: Batch, values: FloatArray) -> LayerProcess:
    """Return the process of relative errors of the layers' costs, if networks cost ``values``, shape (N,)."""
    descriptions = batch.descriptions
    totals = np.maximum(model.totals(batch), model.smallest)
    parts_NL = np.zeros((len(descriptions), len(descriptions.layers) + 1))
    for numbers_N in descriptions.layer_numbers.T:
        parts_NL[np.arange(len(descriptions)), numbers_N] += 1.0
    shares_NL = parts_NL[:, :-1] * model.layer_costs(descriptions.layers, descriptions.groups) / totals[:, None]
    return fit_layer_process([each.layer for each in descriptions.layers], shares_NL, values / totals - 1)


def _places(group: LayerGroup) -> Iterable[Place]:
    return enumerate(level(group) for level in _LEVELS)


def _terms(descriptions: Descriptions) -> tuple[list[Place], IndexArray, FloatArray]:
    """Return places (level and key), parents, shape (P quantities,), and sums, shape (N, P quantities).

    Groups that no architecture has are left out, and so is a place with the same groups as a coarser one.
    """
    members: dict[Place, list[int]] = {}
    for index in np.flatnonzero(descriptions.layer_sums.any(axis=(0, 2))):
        for place in _places(descriptions.groups[index]):
            members.setdefault(place, []).append(int(index))
    distinct: dict[tuple[int, ...], Place] = {}
    for place in sorted(members, key=lambda place: place[0]):
        distinct.setdefault(tuple(members[place]), place)
    kinds = {place[1]: number for number, place in enumerate(distinct.values()) if place[0] == 0}
    quantities = descriptions.layer_sums.shape[2]
    parents, sums = [], [np.empty((len(descriptions), 0))]
    for groups in distinct:
        parent = kinds[_LEVELS[0](descriptions.groups[groups[0]])]
        parents.append(parent * quantities + np.arange(quantities))
        sums.append(descriptions.layer_sums[:, list(groups)].sum(axis=1))
    return list(distinct.values()), np.concatenate([np.empty(0, dtype=np.int64), *parents]), np.hstack(sums)


def _dead_counts(descriptions: Descriptions, options: int) -> FloatArray:
    """Count how often each option is chosen where it changes nothing, shape (N, options); later options are ignored."""
    dead = descriptions.options != descriptions.live_options
    counts = np.zeros((len(descriptions), options))
    for option in range(options):
        counts[:, option] = (dead & (descriptions.options == option)).sum(axis=1)
    return counts


def _elsewhere(batch: Batch, others: SourceModels | None) -> FloatArray:
    """Return what N networks cost on other targets, relative to the median there, shape (N, targets).

    There is no column where these are powers.
    """
    if others is None or others.are_products:
        return np.empty((len(batch), 0))
    return np.exp(others.logs(batch))


def _powers(batch: Batch, others: SourceModels | None) -> FloatArray:
    """Return the logarithms of which costs are a power law, shape (N, P): given features and known numbers.

    In spaces without layers, those of the costs on other targets are among them.
    """
    elsewhere = others.logs(batch) if others is not None and others.are_products else np.empty((len(batch), 0))
    return np.hstack([batch.given, batch.descriptions.log_numbers, elsewhere])


def _power_law(given: FloatArray, logs: FloatArray) -> FloatArray:
    """Return the slopes, shape (G,), of log-values over given features, shape (N, G), by ridge regression."""
    centred = given - given.mean(axis=0)
    scale = np.where(centred.std(axis=0) > 0, centred.std(axis=0), 1.0)
    standard = centred / scale
    ridge = _GIVEN_RIDGE * len(logs) * np.eye(standard.shape[1])
    slopes: FloatArray = np.linalg.solve(standard.T @ standard + ridge, standard.T @ (logs - logs.mean())) / scale
    return slopes


def _solve(columns: FloatArray, parent: IndexArray, shrinking: FloatArray, values: FloatArray) -> FloatArray:
    """Return non-negative costs of the columns, shape (N, C), each shrunk to zero on the scale of its parent.

    ``shrinking``, shape (C,), is the strength of that for each column, relative to the other columns. The first step
    minimises the squared error of relative values, and later steps that of logarithms. The remaining error determines
    how strongly costs are shrunk.
    """
    from scipy.optimize import nnls  # here, because scipy is slow to import

    weights = np.minimum(1.0, values / (_QUICK * np.median(values))) ** 2
    relative = columns / values[:, None]
    scale = np.sqrt(((relative * weights[:, None]) ** 2).mean(axis=0))
    used = scale > 0
    unit = scale[parent][used]
    shares = relative[:, used] / unit
    targets = np.ones(len(values))
    strength = _FIRST_STRENGTH
    for _ in range(_ROUNDS):
        weighted = shares * weights[:, None]
        products = weighted.T @ weighted
        penalised = products + np.diag(strength * shrinking[used])
        factor = np.linalg.cholesky(penalised)
        solution, _ = nnls(
            factor.T, np.linalg.solve(factor, weighted.T @ (weights * targets)), maxiter=_NNLS_STEPS * len(penalised)
        )
        predicted = np.maximum(shares @ solution, _SMALLEST)
        errors = np.log(predicted)
        sizes = np.maximum(np.abs(errors), _EVEN)
        largest = _HUBER * max(_DEVIATIONS * float(np.median(sizes)), _EVEN)
        paid = np.ix_(solution > 0, solution > 0)
        freedom = float(np.trace(np.linalg.solve(penalised[paid], products[paid])))
        variance = float((np.minimum(sizes, largest) ** 2).sum()) / max(len(values) - freedom, 0.25 * len(values))
        strength = float(np.clip(variance / _DEVIATION**2, *_STRENGTHS))
        # A Gauss-Newton step: log p is linear in p nearby. Errors beyond the largest count less.
        weights = np.sqrt(np.minimum(1.0, largest / sizes)) / predicted
        targets = predicted * (1 - errors)
    costs = np.zeros(columns.shape[1])
    costs[used] = solution / unit
    return costs
