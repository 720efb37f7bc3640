"""Fitting the predictors to all that was measured, and telling how far they can be relied on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from nas.errors import TargetError
from nas.prediction.fusion import as_executed
from nas.prediction.predictor import MIN_SAMPLES, HeldOutError, Predictor, given_by, load_predictor
from nas.prediction.trust import verdict
from nas.searching.run_state import RunState
from nas.space.architecture import Architecture
from nas.storage.measurement_store import space_identity
from nas.values.evaluation import PredictedValue
from nas.values.measurement import Measurement
from nas.values.metric import METRICS
from nas.values.source import Source

LATENCY = "latency_ms"


@final
class Fitting:
    """Gives a run's screen its predictors.

    ``doubts`` says of each metric, by name, in sentences, why its predictor is not good enough for a limit.
    """

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._sources: dict[str, list[Source]] = {}
        self.doubts: dict[str, list[str]] = {}

    @property
    def doubts_text(self) -> str:
        """All doubts in one line."""
        return " ".join(sentence for sentences in self.doubts.values() for sentence in sentences)

    def fit(self, round_number: int) -> None:
        """Refit the predictors to all measurements, and tell their held-out error before they are relied on."""
        state = self._state
        for name in state.screen.measured_metrics:
            count = sum(name in found for found in state.knowledge.measurements.values())
            if count < MIN_SAMPLES:
                failed = [row.failure.reason for row in state.knowledge.rows if row.stage == "measure" and row.failure]
                why = f" The last failure was: {failed[-1]}" if failed else " The space may be too small."
                raise TargetError(
                    f"a predictor of {name} needs at least {MIN_SAMPLES} measured architectures, "
                    f"but there are {count}.{why}"
                )
        told = {(body["round"], body["metric"], body["samples"]) for body in state.journal.bodies("fit")}
        fitted = self._fitted_to(state.knowledge.measurements)
        self.doubts = {}
        for name in state.screen.measured_metrics:
            held_out = fitted[name].held_out
            doubts = verdict(METRICS[name], held_out, fitted[name].held_out_predictions, state.screen.limits)
            if doubts:
                self.doubts[name] = doubts
            if (round_number, name, held_out.samples) not in told:
                state.journal.append("fit", fit_body(round_number, name, held_out, doubts))
            state.progress.say(f"{name} predictor, {held_out_text(held_out)}")
        state.screen.rely_on(fitted)

    def _fitted_to(self, measurements: Mapping[Architecture, Mapping[str, Measurement]]) -> dict[str, Predictor]:
        """A predictor of each measured metric of which there are enough values.

        Energy is power times time: where both are measured, the energy's predictor is given the predicted latency.
        """
        method = load_predictor(self._state.recipe.predictor)
        describer = as_executed(self._state.screen.describer, measurements)
        fitted: dict[str, Predictor] = {}
        latency_samples: list[Architecture] = []
        for name in sorted(self._state.screen.measured_metrics, key=lambda metric: metric != LATENCY):
            values = {a: found[name].median for a, found in measurements.items() if name in found}
            if len(values) < MIN_SAMPLES:
                continue
            if name == LATENCY:
                latency_samples = list(values)
            given = []
            if name == "energy_mj" and LATENCY in fitted:
                given.append(given_by(LATENCY, fitted[LATENCY], latency_samples))
            fitted[name] = method(
                describer,
                list(values),
                np.array(list(values.values())),
                target=self._state.recipe.measured_on,
                sources=self._sources_of(name),
                given=given,
                seed=self._state.recipe.seed,
            )
        return fitted

    def _sources_of(self, metric: str) -> list[Source]:
        """What was measured of this space on other targets before, looked up once a run."""
        task = self._state.task
        if task.store is None or task.measurer.fingerprint is None:
            return []
        if metric not in self._sources:
            space = space_identity(task.space, task.input_shape, task.class_count)
            own = {task.measurer.fingerprint, *self._state.fingerprints}
            self._sources[metric] = task.store.sources(space, metric, without=own)
            if self._sources[metric]:
                named = ", ".join(f"{source.target} ({len(source.values)})" for source in self._sources[metric])
                self._state.progress.say(f"{metric} was measured in this space before on other targets: {named}")
        return self._sources[metric]

    def predict_unseen(self, architecture: Architecture) -> dict[str, PredictedValue]:
        """What predictors say that were fitted to all measurements but those of this very architecture."""
        others = {a: found for a, found in self._state.knowledge.measurements.items() if a != architecture}
        return {name: p.predict([architecture])[0] for name, p in self._fitted_to(others).items()}


def fit_body(round_number: int, metric: str, held_out: HeldOutError, doubts: Sequence[str] = ()) -> dict[str, Any]:
    """The journal's row about a fit; what does not exist, as a correlation may not, or is infinite is null."""
    return {"round": round_number, "metric": metric, **held_out.to_json(), "verdict": list(doubts)}


def held_out_text(held_out: HeldOutError) -> str:
    """A predictor's error on architectures that it had not seen, for people."""
    rank = "" if math.isnan(held_out.spearman) else f", Spearman {held_out.spearman:.3f}"
    bounds = f"reach ±{50 * held_out.width:.0f} %" if math.isfinite(held_out.width) else "are open"
    return (
        f"{held_out.samples} measured, held-out error: mean {100 * held_out.mape:.1f} %{rank}, "
        f"within ±10 % for {100 * held_out.within_10_percent:.0f} %, 90 % bounds {bounds}"
    )
