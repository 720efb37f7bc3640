"""Fitting the predictors to everything measured, and saying how far they can be relied on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import final

import numpy as np

from nas.errors import SpaceError
from nas.prediction.guarded import fit_guarded
from nas.prediction.layers.earlier_profiles import apart_from, earlier_profiles
from nas.prediction.layers.profiled_costs import profiled_costs
from nas.prediction.operator_fusion import as_executed
from nas.prediction.predictor import MIN_SAMPLES, Predictor, given_by, grounds_of, load_predictor
from nas.prediction.trust import verdict, warning_about
from nas.prediction.widening import Later, WidenedPredictor, Widening, widening_after
from nas.recipe.recipe import Recipe
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.storage.journal import began_at
from nas.storage.journal_rows import Fit
from nas.storage.measurement_store import space_identity
from nas.values.evaluation import PredictedValue
from nas.values.held_out import HeldOutError, reach_text
from nas.values.measurement import Measurement
from nas.values.metric import METRICS, bare_name, on_target, target_in
from nas.values.other_target import Source
from nas.values.profiled_network import LATENCY, ProfiledNetwork, profiled_among


@final
class Fitting:
    """Gives a run's beliefs their predictors.

    Attributes:
        doubts: by metric, in sentences, why its predictor is not good enough for a limit.
        held_out: by metric, the held-out error of its predictor.
    """

    def __init__(
        self,
        state: RunState,
        *,
        sources: Mapping[str, Source] | None = None,
        before: float | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Fit nothing yet.

        Args:
            state: the run.
            sources: by metric, values of another target that the run was seeded with. Kept ones of it do not count.
            before: networks are learnt from that were profiled before this time; by default, before the run began.
            say: takes sentences for people; by default the run's progress does.
        """
        self._state = state
        self._seeded = dict(sources or {})
        self._before = began_at(state.journal) if before is None else before
        self._say = say or state.progress.say
        self._sources: dict[tuple[str, int], list[Source]] = {}
        self._told_sources: set[str] = set()
        self._earlier: dict[str, list[ProfiledNetwork]] = {}
        self.held_out: dict[str, HeldOutError] = {}
        self._says_that_all_are_measured = False
        self._fitted: dict[str, Predictor] = {}
        self._samples: dict[str, list[Architecture]] = {}
        self.doubts: dict[str, list[str]] = {}
        self._warned_of: set[str] = set()

    @property
    def doubts_text(self) -> str:
        """All doubts in one line."""
        return " ".join(sentence for sentences in self.doubts.values() for sentence in sentences)

    def fit(self, round_number: int) -> None:
        """Fit the predictors again, and report their held-out error before they are relied on.

        Once every architecture of a small space is measured, nothing is left to predict.

        Raises:
            SpaceError: fewer architectures are measured than a predictor needs.
        """
        state = self._state
        if state.beliefs.is_all_measured:
            self._predict_nothing()
            return
        self._check_samples()
        recorded = {(fit.round, fit.metric, fit.samples) for fit in state.journal.rows(Fit)}
        fitted = dict(self._fitted_to_all())
        self.doubts = {}
        self.held_out = {name: predictor.held_out for name, predictor in fitted.items()}
        for name in state.beliefs.measured_metrics:
            held_out = fitted[name].held_out
            doubts = verdict(METRICS[name], held_out, fitted[name].held_out_predictions, state.beliefs.limits)
            if doubts:
                self.doubts[name] = doubts
            widening = self._widening(name, held_out.samples)
            grounds = (*grounds_of(fitted[name]), *([widening.told] if widening.told else []))
            if widening.factor != 1:
                fitted[name] = WidenedPredictor(fitted[name], widening.factor)
            if (round_number, name, held_out.samples) not in recorded:
                state.journal.append(Fit(round_number, name, held_out, tuple(doubts), grounds, widening.factor))
            for told in (f"{name} predictor, {held_out_text(held_out)}", *grounds):
                self._say(told)
            warning = warning_about(METRICS[name], held_out)
            if warning and name not in self._warned_of:
                self._say(warning)
            self._warned_of = self._warned_of | {name} if warning else self._warned_of - {name}
        state.beliefs.rely_on(fitted)
        state.screening.begin_fit()

    def _fitted_to_all(self) -> dict[str, Predictor]:
        """Return predictors that are fitted to all measurements: those of the last time, if nothing was added since."""
        measured = self._state.beliefs.measurements
        names = self._state.beliefs.measured_metrics
        samples = {name: [a for a, found in measured.items() if name in found] for name in names}
        if not self._fitted or samples != self._samples:
            self._fitted, self._samples = self._fitted_to(measured), samples
        return self._fitted

    def _widening(self, metric: str, samples: int) -> Widening:
        """Return how far bounds are widened, judged by those of the first ``samples`` that were predicted before.

        A prediction came from the last fit before its value was measured, which tells how wide its bounds were.
        """
        state = self._state
        factors = {fit.samples: fit.widened for fit in state.journal.rows(Fit) if fit.metric == metric}
        later: list[Later] = []
        seen: set[Architecture] = set()
        for row in state.beliefs.rows:
            part = state.beliefs.parts.on_device(row.architecture)
            if row.stage != "measure" or row.failed or metric not in row.measurements or part in seen:
                continue
            guess, before = row.predicted.get(metric), [count for count in factors if count <= len(seen)]
            if guess is not None and before and len(seen) < samples:
                widened = factors[max(before)]
                later.append(Later(row.measurements[metric].median, guess.mean, guess.limit, widened))
            seen.add(part)
        return widening_after(later)

    def _predict_nothing(self) -> None:
        """Give up the predictors, because every architecture is measured. Says so once."""
        state = self._state
        self.doubts, self.held_out, self._fitted = {}, {}, {}
        if not self._says_that_all_are_measured:
            count = len(state.beliefs.measurements)
            self._say(
                f"every architecture of this space that can be measured is measured ({count}), so nothing is predicted"
            )
        self._says_that_all_are_measured = True
        state.beliefs.rely_on({})
        state.screening.begin_fit()

    def predicted_before(self, architecture: Architecture) -> Mapping[str, PredictedValue]:
        """Return what was predicted before an architecture was measured.

        The first ones were measured before there was a predictor: theirs are the held-out predictions of the last fit.
        """
        rows = (row for row in self._state.beliefs.rows if row.stage == "measure" and not row.failed)
        on_device = self._state.beliefs.parts.on_device
        part = on_device(architecture)
        before = next((row.predicted for row in rows if on_device(row.architecture) == part), {})
        return before or {
            name: _held_out(predictor, self._samples[name].index(part))
            for name, predictor in self._fitted.items()
            if part in self._samples[name]
        }

    def predict_unseen(self, architecture: Architecture) -> dict[str, PredictedValue]:
        """Return predictions by predictors that were fitted as the last ones, but without this architecture.

        There are none once every architecture is measured. What was measured since the last fit is left out too, so
        that a winner's prediction is one that the search could have made.
        """
        beliefs = self._state.beliefs
        if beliefs.is_all_measured:
            return {}
        part = beliefs.parts.on_device(architecture)
        fitted = {each for samples in self._samples.values() for each in samples} or {*beliefs.measurements}
        others = {a: found for a, found in beliefs.measurements.items() if a != part and a in fitted}
        return {name: p.predict([part])[0] for name, p in self._fitted_to(others).items()}

    def _check_samples(self) -> None:
        beliefs = self._state.beliefs
        for name in beliefs.measured_metrics:
            count = sum(name in found for found in beliefs.measurements.values())
            if count < MIN_SAMPLES:
                failed = [row.failure.reason for row in beliefs.rows if row.stage == "measure" and row.failure]
                why = (
                    f"The last of {len(failed)} failures was: {failed[-1]}"
                    if failed
                    else "Give the space more options."
                )
                raise SpaceError(
                    f"a predictor of {name} needs at least {MIN_SAMPLES} measured architectures, "
                    f"but there are {count}. {why}"
                )

    def _fitted_to(self, measurements: Mapping[Architecture, Mapping[str, Measurement]]) -> dict[str, Predictor]:
        """Return a predictor of each measured metric that has enough values. Each target has its own.

        An architecture that this run measured tells nothing by an earlier run, so that it can be left out.
        """
        recipe, beliefs = self._state.recipe, self._state.beliefs
        fitted: dict[str, Predictor] = {}
        for on in dict.fromkeys(map(target_in, beliefs.measured_metrics)):
            found = fitted_predictors(
                recipe,
                beliefs.device_describer,
                {a: _measured_on(on, each) for a, each in measurements.items()},
                [bare_name(name) for name in beliefs.measured_metrics if target_in(name) == on],
                lambda metric, on=on: self._sources_of(on_target(on, metric)),  # type: ignore[misc]
                apart_from(self._profiled_earlier(on), beliefs.device_describer, beliefs.measurements),
                str(recipe.named_targets[on]) if on else recipe.measured_on,
            )
            fitted |= {on_target(on, name): predictor for name, predictor in found.items()}
        return fitted

    def _profiled_earlier(self, on: str) -> list[ProfiledNetwork]:
        """Return networks that were profiled on a target before the run began. They are looked up once."""
        state, resolved = self._state, self._state.resolved
        if resolved.store is None or on_target(on, LATENCY) not in state.beliefs.measured_metrics:
            return []
        if on not in self._earlier:
            space, fingerprint = space_identity(resolved.space, resolved.signature), resolved.fingerprint_on(on)
            self._earlier[on] = found = earlier_profiles(
                resolved.store, fingerprint, space, state.beliefs.device_describer, before=self._before
            )
            if found:
                where = on or "this target"
                self._say(f"earlier runs on {where} tell what layers cost: {len(found)} profiled networks")
        return self._earlier[on]

    def _sources_of(self, metric: str) -> list[Source]:
        """Return earlier measurements of this space on other targets, but of no architecture that this run measured.

        So a run on several targets does not learn from itself. They are looked up again once more is measured.
        """
        state, resolved = self._state, self._state.resolved
        seeded = [self._seeded[metric]] if metric in self._seeded else []
        fingerprint = None if resolved.store is None else resolved.fingerprint_on(target_in(metric))
        if resolved.store is None or fingerprint is None:
            return seeded
        measured = state.beliefs.measurements
        key = metric, len(measured)
        if key not in self._sources:
            space = space_identity(resolved.space, resolved.signature)
            own = {fingerprint, *state.fingerprints}
            stored = resolved.store.sources(space, bare_name(metric), without=own, apart_from=measured)
            known = {source.target for source in self._seeded.values()}
            self._sources[key] = found = [*seeded, *(source for source in stored if source.target not in known)]
            if found and metric not in self._told_sources:
                named = ", ".join(f"{source.target} ({len(source.values)})" for source in found)
                self._say(f"{metric} was measured in this space before on other targets: {named}")
                self._told_sources.add(metric)
        return self._sources[key]


def _measured_on(target: str, found: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """Return the measurements on the target of a name, by their bare names."""
    return {bare_name(name): each for name, each in found.items() if target_in(name) == target}


def fitted_predictors(
    recipe: Recipe,
    describer: Describer,
    measurements: Mapping[Architecture, Mapping[str, Measurement]],
    metrics: Sequence[str],
    sources_of: Callable[[str], Sequence[Source]],
    profiled_earlier: Sequence[ProfiledNetwork] = (),
    target: str | None = None,
) -> dict[str, Predictor]:
    """Return a predictor of each of ``metrics`` on one target that has enough values, by the recipe's method.

    ``sources_of`` returns values of a metric on other targets. ``profiled_earlier`` are networks of earlier runs on
    this ``target``, by default the recipe's; with the profiles among ``measurements``, they tell the latency's
    predictor what layers cost.
    Energy is power times time: where both are measured, the energy's predictor is given the predicted latency.
    """
    method = load_predictor(recipe.predictor.name)
    describer = as_executed(describer, measurements)
    fitted: dict[str, Predictor] = {}
    latency_samples: list[Architecture] = []
    for name in sorted(metrics, key=lambda metric: metric != LATENCY):
        values = {a: found[name].median for a, found in measurements.items() if name in found}
        if len(values) < MIN_SAMPLES:
            continue
        if name == LATENCY:
            latency_samples = list(values)
        given = []
        if name == LATENCY:
            given += profiled_costs(describer, values, [*profiled_among(measurements), *profiled_earlier])
        if name == "energy_mj" and LATENCY in fitted:
            given.append(given_by(LATENCY, fitted[LATENCY], latency_samples))
        fitted[name] = fit_guarded(
            method,
            recipe.predictor.name,
            describer,
            list(values),
            np.array(list(values.values())),
            target=target or recipe.measured_on,
            sources=sources_of(name),
            given=given,
            seed=recipe.seed,
            **recipe.predictor.options,
        )
    return fitted


def _held_out(predictor: Predictor, index: int) -> PredictedValue:
    """Return the held-out prediction of one sample. The end of a 90 % interval is a one-sided 95 % bound."""
    found = predictor.held_out_predictions
    mean, lower, upper = (float(part[index]) for part in (found.mean, found.lower, found.upper))
    return PredictedValue(mean, lower, upper, upper, True)


def held_out_text(held_out: HeldOutError) -> str:
    """Return one line about a predictor's error on architectures that it had not seen."""
    rank = "" if math.isnan(held_out.spearman) else f", Spearman {held_out.spearman:.3f}"
    bounds = reach_text(held_out.width / 2, held_out.samples, "±{}")
    return (
        f"{held_out.samples} measured, held-out error: mean {100 * held_out.mape:.1f} %{rank}, "
        f"within ±10 % for {100 * held_out.within_10_percent:.0f} %, 90 % bounds {bounds}"
    )
