"""What is known of a candidate before it is trained, and whether that is within the limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from nas.hardware.energy_model import MemoryHierarchy, dram_traffic_bytes, modelled_energy_mj
from nas.prediction.predictor import Predictor
from nas.prediction.spreading import medoids
from nas.searching.knowledge import Knowledge
from nas.space.architecture import Architecture
from nas.space.description import QUANTITIES
from nas.space.layer import total_macs, total_params
from nas.space.search_space import HasLayers, SearchSpace, encode, neighbours, sample
from nas.space.tracing import describer_of
from nas.values.evaluation import PredictedValue
from nas.values.metric import METRICS
from nas.values.objective import Limit, Objective
from nas.values.target import Target

FloatArray = npt.NDArray[np.float64]

POOL = 200
TRACED_POOL = 40
"""Fewer where layers must be traced, which takes some hundredths of a second each."""
DESCENT_STEPS = 30


@dataclass(frozen=True)
class TurnedAway:
    """Proposals that limits turned away: how many by which, and those that were too near to one to tell."""

    counts: Counter[str] = field(default_factory=Counter)
    near_limits: list[Architecture] = field(default_factory=list)

    def to_details(self) -> dict[str, Any]:
        """As details of the next row."""
        found: dict[str, Any] = {"turned_away": dict(self.counts)} if self.counts else {}
        return {**found, "near_limits": [dict(each) for each in self.near_limits]} if self.near_limits else found

    @classmethod
    def from_details(cls, details: Mapping[str, Any]) -> Self:
        """From a row that has what ``to_details`` gave."""
        near_limits = [Architecture(each) for each in details.get("near_limits", ())]
        return cls(Counter(details.get("turned_away", {})), near_limits)


@final
class Screen:
    """Counts, predicts and judges candidates of one space for one task, target and set of limits.

    ``rely_on`` replaces the predictors as they are refitted; everything else stays. Whatever asks about an
    architecture that cannot be built raises its CandidateError.

    ``near_limits`` are the proposals, as they came since the last fit, that meet the limits by what is predicted but
    perhaps not in truth: the predictor's bound lies beyond a limit. ``turned_away`` counts a round's proposals by why.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        input_shape: tuple[int, int, int],
        classes: int,
        target: Target,
        objectives: Sequence[Objective],
        limits: Sequence[Limit],
    ) -> None:
        self.space = space
        self.objectives = tuple(objectives)
        self.limits = tuple(limits)
        self.turned_away: Counter[str] = Counter()
        self._turned_away_before: set[Architecture] = set()
        self.near_limits: dict[Architecture, None] = {}
        self._news = TurnedAway()
        self._target = target
        self._hierarchy = MemoryHierarchy.of_this_machine()
        self.describer = describer_of(space, input_shape, classes)
        self._counted: dict[Architecture, dict[str, float]] = {}
        self._predictors: Mapping[str, Predictor] = {}
        self._predicted: dict[Architecture, dict[str, PredictedValue]] = {}
        self._is_cautious = True

    @property
    def measured_metrics(self) -> tuple[str, ...]:
        """Names of the measured metrics among objectives and limits, which need a predictor."""
        return measured_metrics(self.objectives, self.limits)

    def rely_on(self, predictors: Mapping[str, Predictor]) -> None:
        """Predict by these from now on, and be cautious again where they are in doubt."""
        self._predictors = dict(predictors)
        self._predicted = {}
        self.near_limits.clear()
        self._is_cautious = True

    def counted(self, architecture: Architecture) -> dict[str, float]:
        """What follows from the layers: ``params``, ``macs``; ``modelled_energy_mj`` and ``dram_traffic_bytes``."""
        if architecture not in self._counted:
            layers, precision = self.describer.layers(architecture), self._target.precision
            self._counted[architecture] = {
                "params": float(total_params(layers)),
                "macs": float(total_macs(layers)),
                "modelled_energy_mj": modelled_energy_mj(layers, precision, self._hierarchy),
                "dram_traffic_bytes": float(dram_traffic_bytes(layers, precision, self._hierarchy)),
            }
        return dict(self._counted[architecture])

    def predicted(self, architecture: Architecture) -> dict[str, PredictedValue]:
        """What the predictors say of the measured metrics."""
        if architecture not in self._predicted:
            self._predict([architecture])
        return self._predicted[architecture]

    def predict_all(self, architectures: Iterable[Architecture]) -> None:
        """Predict many at once, so that asking about each costs no time; what cannot be built is left out."""
        new = [a for a in dict.fromkeys(architectures) if a not in self._predicted and self.describer.can_be_built(a)]
        if new:
            self._predict(new)

    def _predict(self, architectures: Sequence[Architecture]) -> None:
        self.describer.describe(architectures)  # raises for what cannot be built, with or without predictors
        predictions = {name: predictor.predict(architectures) for name, predictor in self._predictors.items()}
        for index, architecture in enumerate(architectures):
            self._predicted[architecture] = {name: found[index] for name, found in predictions.items()}

    def values(self, architecture: Architecture, knowledge: Knowledge) -> dict[str, float]:
        """The best known value of every metric: measured before predicted, and the error if it was trained."""
        known = {name: prediction.mean for name, prediction in self.predicted(architecture).items()}
        known |= self.counted(architecture)
        known |= {name: m.median for name, m in knowledge.measurements.get(architecture, {}).items()}
        training = knowledge.trainings.get(architecture)
        if training is not None and "error" in training.values:
            known["error"] = training.values["error"]
        return known

    def costs(self, architectures: Sequence[Architecture], name: str, knowledge: Knowledge) -> FloatArray:
        """The best known values, shape (N,), of a metric that needs no training: measured, predicted or counted."""
        if METRICS[name].source != "measured":
            return np.array([self.counted(architecture)[name] for architecture in architectures])
        self.predict_all(architectures)
        found = [knowledge.measurements.get(architecture, {}) for architecture in architectures]
        return np.array(
            [
                measured[name].median if name in measured else self.predicted(architecture)[name].mean
                for architecture, measured in zip(architectures, found, strict=True)
            ]
        )

    def losses(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """The values of the objectives, in their order."""
        return tuple(values[objective.metric.name] for objective in self.objectives)

    def excesses(self, values: Mapping[str, float]) -> dict[str, float]:
        """How far each limit is exceeded, relative to it; at most 0 where it holds."""
        return {limit.metric.name: limit.excess(values[limit.metric.name]) for limit in self.limits}

    @property
    def cost_limits(self) -> tuple[Limit, ...]:
        """The limits that can be judged without training."""
        return tuple(limit for limit in self.limits if limit.metric.source != "trained")

    def accuracy_excess(self, values: Mapping[str, float]) -> float:
        """How far a limit on the error is exceeded in a short training: a hint, since winners train longer."""
        return sum(max(0.0, limit.excess(values["error"])) for limit in self.limits if limit.metric.source == "trained")

    def probably_meets(self, architecture: Architecture, knowledge: Knowledge) -> bool:
        """Whether the best known values meet every limit that does not need training."""
        values = self.values(architecture, knowledge)
        return all(limit.holds(values[limit.metric.name]) for limit in self.cost_limits)

    def doubtful_limits(self, architecture: Architecture, knowledge: Knowledge) -> list[Limit]:
        """The limits within which the predicted mean lies, but not its one-sided bound; what was measured is sure."""
        predicted = self.predicted(architecture)
        measured = knowledge.measurements.get(architecture, {})
        unsure = {name: prediction for name, prediction in predicted.items() if name not in measured}
        return [
            limit
            for limit in self.cost_limits
            if (guess := unsure.get(limit.metric.name)) and limit.holds(guess.mean) and not limit.holds(guess.limit)
        ]

    def lets_through(self, architecture: Architecture, knowledge: Knowledge) -> bool:
        """Whether a proposal meets the limits that need no training, a prediction by its one-sided bound.

        What is turned away is counted, once a round in each process that is at it, by the first limit that it breaks
        or is too near to. Once caution was dropped the predicted mean decides.
        """
        values = self.values(architecture, knowledge)
        broken = next((limit for limit in self.cost_limits if not limit.holds(values[limit.metric.name])), None)
        if broken is not None:
            self._turn_away(architecture, str(broken))
            return False
        doubtful = self.doubtful_limits(architecture, knowledge)
        if not doubtful or not self._is_cautious:
            return True
        self._turn_away(architecture, f"{doubtful[0]}: too near to tell")
        if architecture not in self.near_limits:
            self.near_limits[architecture] = None
            self._news.near_limits.append(architecture)
        return False

    def _turn_away(self, architecture: Architecture, reason: str) -> None:
        if architecture not in self._turned_away_before:
            self._turned_away_before.add(architecture)
            self.turned_away[reason] += 1
            self._news.counts[reason] += 1

    def tell_turned_away(self) -> TurnedAway:
        """What was turned away since this was last asked, to be kept with the next row."""
        news, self._news = self._news, TurnedAway()
        return news

    def begin_round(self) -> None:
        """Count anew what is turned away."""
        self.turned_away.clear()
        self._turned_away_before.clear()
        self._news = TurnedAway()

    def take_up(self, turned_away: TurnedAway) -> None:
        """Count what this round turned away before the run was interrupted."""
        self.turned_away += turned_away.counts
        self.near_limits |= dict.fromkeys(turned_away.near_limits)

    def drop_caution(self) -> bool:
        """Let predicted means decide until the next fit; whether that lets anything more through."""
        if not self.may_drop_caution:
            return False
        self._is_cautious = False
        return True

    @property
    def may_drop_caution(self) -> bool:
        """Whether something was turned away that predicted means would let through."""
        return self._is_cautious and bool(self.near_limits)

    def surely_meets(self, architecture: Architecture, knowledge: Knowledge) -> bool:
        """Whether every limit but one on the error holds, by the upper bound of what was measured."""
        measured = knowledge.measurements.get(architecture, {})
        is_known = all(limit.metric.source != "measured" or limit.metric.name in measured for limit in self.cost_limits)
        return is_known and self.total_excess(architecture, knowledge) == 0

    def total_excess(self, architecture: Architecture, knowledge: Knowledge) -> float:
        """By how much limits that need no training are exceeded, added up: by upper bounds, measured or predicted."""
        values = self.values(architecture, knowledge)
        values |= {name: prediction.limit for name, prediction in self.predicted(architecture).items()}
        values |= {name: m.interval.upper for name, m in knowledge.measurements.get(architecture, {}).items()}
        return sum(max(0.0, limit.excess(values[limit.metric.name])) for limit in self.cost_limits)

    def spread(
        self,
        count: int,
        rng: np.random.Generator,
        note: Callable[[Architecture], bool],
        taken: Collection[Architecture] = (),
    ) -> list[Architecture]:
        """``count`` architectures that stand for the space, the fewest and the most multiply-accumulates among them.

        Medoids of random ones, by the logs of what their layers add up to and by their encoded choices: unlike the
        points farthest from each other they stand for the many in the middle too. ``note`` is asked of each drawn
        architecture, and those for which it says no are left out; those in ``taken`` are among the ``count``.
        """
        pool_size = max(POOL if isinstance(self.space, HasLayers) else TRACED_POOL, 2 * count)
        pool = [a for a in self.draw(pool_size, rng) if note(a)]
        if len(pool) <= count:
            return pool
        sums = self.describer.describe(pool).layer_sums.sum(axis=1)
        features = _standardised_features(sums, encode(self.space, pool))
        macs = sums[:, QUANTITIES.index("macs")]
        kept = [index for index, architecture in enumerate(pool) if architecture in taken]
        chosen = medoids(features, count, rng, (*kept, int(macs.argmin()), int(macs.argmax())))
        return [pool[index] for index in chosen]

    def draw(self, count: int, rng: np.random.Generator) -> list[Architecture]:
        """Up to ``count`` different random architectures; a small space may have fewer."""
        drawn: dict[str, Architecture] = {}
        for _ in range(4 * count):
            architecture = sample(self.space, rng)
            drawn[architecture.id] = architecture
            if len(drawn) == count:
                break
        return list(drawn.values())

    def lowest(self, score: Callable[[Architecture], float], starts: Iterable[Architecture]) -> Architecture:
        """Where steepest descent over neighbours ends, from the best of ``starts``."""
        starts = list(starts)
        self.predict_all(starts)
        best = min(starts, key=score)
        for _ in range(DESCENT_STEPS):
            nearby = neighbours(self.space, best)
            self.predict_all(nearby)
            step = min(nearby, key=score, default=best)
            if score(step) >= score(best):
                break
            best = step
        return best


def measured_metrics(objectives: Iterable[Objective], limits: Iterable[Limit]) -> tuple[str, ...]:
    """Names of the measured metrics among them, each once."""
    names = [objective.metric.name for objective in objectives] + [limit.metric.name for limit in limits]
    return tuple(name for name in dict.fromkeys(names) if METRICS[name].source == "measured")


def _standardised_features(sums: FloatArray, choices: FloatArray) -> FloatArray:
    """Logs of the layers' sums, shape (N, 5), and the encoded choices scaled to weigh as much; shape (N, D)."""
    sizes = np.log1p(sums)
    sizes = (sizes - sizes.mean(axis=0)) / np.maximum(sizes.std(axis=0), 1e-9)
    spread = np.sqrt(((choices - choices.mean(axis=0)) ** 2).sum(axis=1).mean())
    return np.hstack([sizes, choices * (np.sqrt(sizes.shape[1]) / max(float(spread), 1e-9))])
