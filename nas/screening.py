"""What is known of a candidate before it is trained, and whether that is within the limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from nas.architecture import Architecture
from nas.energy_model import MemoryHierarchy, dram_traffic_bytes, modelled_energy_mj
from nas.evaluation import PredictedValue
from nas.knowledge import Knowledge
from nas.layer import total_macs, total_params
from nas.metric import METRICS
from nas.objective import Limit, Objective
from nas.predictor import Predictor, Subject
from nas.search_space import HasLayers, SearchSpace, encode, neighbours, sample
from nas.target import Target
from nas.tracing import layers_of

FloatArray = npt.NDArray[np.float64]

POOL = 200
TRACED_POOL = 40
"""Fewer where layers must be traced, which takes some hundredths of a second each."""
DESCENT_STEPS = 30


@final
class Screen:
    """Counts, predicts and judges candidates of one space for one task, target and set of limits.

    ``predictors`` may be replaced as they are refitted; everything else stays. Whatever asks about an
    architecture that cannot be built raises its CandidateError.
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
        self.predictors: Mapping[str, Predictor] = {}
        self.turned_away: Counter[str] = Counter()
        self._input_shape = input_shape
        self._classes = classes
        self._target = target
        self._hierarchy = MemoryHierarchy.of_this_machine()
        self._subjects: dict[Architecture, Subject] = {}
        self._predicted: dict[Architecture, dict[str, PredictedValue]] = {}
        self._predicted_by: Mapping[str, Predictor] = {}

    @property
    def measured_metrics(self) -> tuple[str, ...]:
        """Names of the measured metrics among objectives and limits, which need a predictor."""
        return measured_metrics(self.objectives, self.limits)

    def subject(self, architecture: Architecture) -> Subject:
        """Layers and encoding of an architecture, kept for the next time."""
        if architecture not in self._subjects:
            layers = layers_of(self.space, architecture, self._input_shape, self._classes)
            self._subjects[architecture] = Subject(architecture, tuple(layers), encode(self.space, [architecture])[0])
        return self._subjects[architecture]

    def counted(self, architecture: Architecture) -> dict[str, float]:
        """What follows from the layers: ``params``, ``macs``; ``modelled_energy_mj`` and ``dram_traffic_bytes``."""
        layers, precision = self.subject(architecture).layers, self._target.precision
        return {
            "params": float(total_params(layers)),
            "macs": float(total_macs(layers)),
            "modelled_energy_mj": modelled_energy_mj(layers, precision, self._hierarchy),
            "dram_traffic_bytes": float(dram_traffic_bytes(layers, precision, self._hierarchy)),
        }

    def predicted(self, architecture: Architecture) -> dict[str, PredictedValue]:
        """What the predictors say of the measured metrics."""
        if self._predicted_by is not self.predictors:
            self._predicted, self._predicted_by = {}, self.predictors
        if architecture not in self._predicted:
            subject = self.subject(architecture)
            self._predicted[architecture] = {
                name: predictor.predict([subject])[0] for name, predictor in self.predictors.items()
            }
        return self._predicted[architecture]

    def values(self, architecture: Architecture, knowledge: Knowledge) -> dict[str, float]:
        """The best known value of every metric: measured before predicted, and the error if it was trained."""
        known = {name: prediction.mean for name, prediction in self.predicted(architecture).items()}
        known |= self.counted(architecture)
        known |= {name: m.median for name, m in knowledge.measurements.get(architecture, {}).items()}
        training = knowledge.trainings.get(architecture)
        if training is not None and "error" in training.values:
            known["error"] = training.values["error"]
        return known

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

    def lets_through(self, architecture: Architecture, knowledge: Knowledge) -> bool:
        """The same, asked of a proposal: what is turned away is counted by the first limit that it breaks."""
        values = self.values(architecture, knowledge)
        broken = next((limit for limit in self.cost_limits if not limit.holds(values[limit.metric.name])), None)
        if broken is not None:
            self.turned_away[str(broken)] += 1
        return broken is None

    def surely_meets(self, architecture: Architecture, knowledge: Knowledge) -> bool:
        """Whether every limit but one on the error holds, by the upper bound of what was measured."""
        values = self.values(architecture, knowledge)
        measured = knowledge.measurements.get(architecture, {})
        for limit in self.cost_limits:
            name = limit.metric.name
            if limit.metric.source == "measured" and name not in measured:
                return False
            value = measured[name].interval.upper if name in measured else values[name]
            if not limit.holds(value):
                return False
        return True

    def spread(self, count: int, rng: np.random.Generator, note: Callable[[Architecture], bool]) -> list[Architecture]:
        """``count`` architectures that lie far apart, the fewest and the most multiply-accumulates among them.

        Farthest-first traversal (Gonzalez, 1985) over the counts, in logs, and the encoded choices.
        ``note`` is asked of each drawn architecture, and those for which it says no are left out.
        """
        pool_size = max(POOL if isinstance(self.space, HasLayers) else TRACED_POOL, 2 * count)
        pool = [a for a in self.draw(pool_size, rng) if note(a)]
        if len(pool) <= count:
            return pool
        subjects = [self.subject(architecture) for architecture in pool]
        features = _standardised_features(subjects)
        macs = [total_macs(subject.layers) for subject in subjects]
        chosen = [int(np.argmin(macs)), int(np.argmax(macs))]
        distances = np.linalg.norm(features[:, None] - features[chosen], axis=2).min(axis=1)
        while len(chosen) < count:
            farthest = int(np.argmax(distances))
            chosen.append(farthest)
            distances = np.minimum(distances, np.linalg.norm(features - features[farthest], axis=1))
        return [pool[index] for index in dict.fromkeys(chosen[:count])]

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
        best = min(starts, key=score)
        for _ in range(DESCENT_STEPS):
            nearby = neighbours(self.space, best)
            step = min(nearby, key=score, default=best)
            if score(step) >= score(best):
                break
            best = step
        return best


def measured_metrics(objectives: Iterable[Objective], limits: Iterable[Limit]) -> tuple[str, ...]:
    """Names of the measured metrics among them, each once."""
    names = [objective.metric.name for objective in objectives] + [limit.metric.name for limit in limits]
    return tuple(name for name in dict.fromkeys(names) if METRICS[name].source == "measured")


def _standardised_features(subjects: Sequence[Subject]) -> FloatArray:
    """Logs of macs, params and moved elements, and the encoded choices scaled to weigh as much; shape (N, D)."""
    sizes = np.log1p(
        np.array(
            [
                (total_macs(s.layers), total_params(s.layers), sum(layer.output_elements for layer in s.layers))
                for s in subjects
            ],
            dtype=np.float64,
        )
    )
    sizes = (sizes - sizes.mean(axis=0)) / np.maximum(sizes.std(axis=0), 1e-9)
    choices = np.stack([subject.encoding for subject in subjects])
    spread = np.sqrt(((choices - choices.mean(axis=0)) ** 2).sum(axis=1).mean())
    return np.hstack([sizes, choices * (np.sqrt(sizes.shape[1]) / max(float(spread), 1e-9))])
