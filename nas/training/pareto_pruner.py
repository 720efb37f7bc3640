"""Early stopping for studies of Optuna with several objectives, where Optuna's own pruners refuse."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, final

from nas.recipe.recipe import Recipe
from nas.training.early_stopping import EarlyStopping
from nas.training.whole_curves import WholeCurves

if TYPE_CHECKING:
    import optuna

PREFIX = "pareto_pruner:"
KNOWN = f"{PREFIX}known"


@final
class ParetoPruner:
    """Decides which trials of a study with several objectives go on, by the rule of this project's searches.

    One objective is learned, step by step. The others are known before, such as a model's latency or size. A trial is
    stopped if one of similar costs is better in every objective, by more than early values fluctuate; nothing is
    stopped before a few whole trials have shown that early values rank trials as last values do. What is reported
    becomes user attributes of the trials, so that several processes on one storage know of each other's. Not each step
    needs a report: a report stands for the steps since the one before.

    Args:
        steps: the last step of a whole trial. The first is step 1.
        learned: the place of the learned objective among the study's directions.
        best: the best value that the learned objective can have: 0 for an error, 1 for an accuracy.
        settings: keys of a recipe's section ``[early_stopping]``, such as ``margin`` and ``reduction``.

    Raises:
        ValueError: ``steps`` is below 1, or ``learned`` below 0.
        RecipeError: settings that the section does not have, or values that it refuses.

    Example::

        pruner = nas.ParetoPruner(steps=20)

        def objective(trial):
            model = build(trial)
            latency = measure(model)
            for epoch in range(1, 21):
                error = train_epoch(model)
                if pruner.should_prune(trial, epoch, error, known=[latency]):
                    raise optuna.TrialPruned
            return error, latency

        study = optuna.create_study(directions=["minimize", "minimize"])
        study.optimize(objective, n_trials=100)
    """

    def __init__(self, steps: int, *, learned: int = 0, best: float = 0.0, **settings: object) -> None:
        if steps < 1 or learned < 0:
            raise ValueError(f"steps must be at least 1 and learned at least 0, but got {steps} and {learned}.")
        self._steps, self._learned, self._best = steps, learned, best
        self._study: str | None = None
        self._lock = threading.Lock()
        self._all_ended = 0  # the number before which all trials have ended
        self._ended: set[int] = set()
        self._reported: dict[int, set[int]] = {}  # the steps that each trial of this process has reported
        self._known: dict[int, list[float]] = {}  # what was last stored as known, of trials of this process
        self._whole = WholeCurves()
        self._stopping = EarlyStopping(
            Recipe.from_mapping({"early_stopping": settings}).early_stopping,
            steps,
            whole=lambda: self._whole,
            tell=lambda trust, trials: None,
        )

    def should_prune(self, trial: optuna.Trial, step: int, value: float, known: Sequence[float]) -> bool:
        """Take in the learned objective's ``value`` after a ``step``, and return True if the trial should be pruned.

        ``known`` are the values of the other objectives, in the order of the study's directions.

        Raises:
            ValueError: a study with one direction, or another study than before; a step that is not from 1 to the last;
                a value that is not finite or better than the best; known ones that are not as many finite numbers above
                0 as the study has other objectives.
        """
        study = trial.study
        self._check_study(study)
        error = self._error(value, study.directions[self._learned].name)
        losses = self._losses(known, [each.name for n, each in enumerate(study.directions) if n != self._learned])
        if not 1 <= step <= self._steps:
            raise ValueError(f"a step must be from 1 to {self._steps}, but got {step}. Steps count from 1.")
        if self._known.get(trial.number) != losses:  # storing takes milliseconds in a database
            trial.set_user_attr(KNOWN, losses)  # before the value, which others read with it
            self._known[trial.number] = losses
        trial.set_user_attr(f"{PREFIX}{step}", error)
        with self._lock:  # a study may have several threads
            if trial.number not in self._reported:  # it may go on with another pruner than it began with
                self._reported[trial.number] = set(_values(trial.user_attrs))
            steps = self._reported[trial.number]
            steps.add(step)
            rung = self._rung(max((each for each in steps if each < step), default=0), step)
            if rung is None:
                return False
            self._take_in(study.get_trials(deepcopy=False))
            self._stopping.record(str(trial.number), rung, error, losses)
            return step < self._steps and not self._stopping.goes_on(str(trial.number), rung)

    def _take_in(self, trials: Sequence[optuna.trial.FrozenTrial]) -> None:
        """Take in what trials have reported, in this process or others; ``trials`` are all, by their numbers.

        One that has ended is read once.
        """
        new = [each for each in trials[self._all_ended :] if each.number not in self._ended]
        for each in new:
            values = _values(each.user_attrs)
            for before, step in itertools.pairwise((0, *sorted(values))):
                rung = self._rung(before, step)
                if rung is not None:
                    self._stopping.record(str(each.number), rung, values[step], each.user_attrs[KNOWN])
        ended = [each for each in new if each.state.is_finished()]
        for each in sorted(ended, key=lambda each: (each.datetime_complete, each.number)):
            self._ended.add(each.number)
            self._reported.pop(each.number, None)
            self._known.pop(each.number, None)
            values = _values(each.user_attrs)
            if each.state.name == "COMPLETE" and self._steps in values:
                self._whole.add(_filled(values, self._steps))
        while self._all_ended in self._ended:
            self._ended.remove(self._all_ended)
            self._all_ended += 1

    def _rung(self, before: int, step: int) -> int | None:
        """Return the rung that a report after a step is for: the last one since the report before; None if none is."""
        return max((rung for rung in self._stopping.rungs if before < rung <= step), default=None)

    def _check_study(self, study: optuna.Study) -> None:
        if len(study.directions) < 2:
            raise ValueError(
                "a ParetoPruner is for a study with several directions, but this one has one. "
                "Use a pruner of Optuna's, such as optuna.pruners.HyperbandPruner."
            )
        if self._learned >= len(study.directions):
            raise ValueError(
                f"learned must be the place of an objective, below {len(study.directions)}, but it is {self._learned}."
            )
        self._study = self._study or study.study_name
        if study.study_name != self._study:
            raise ValueError(
                f"a ParetoPruner follows one study, {self._study!r}, but got a trial of {study.study_name!r}. "
                "Make another pruner for it."
            )

    def _error(self, value: float, direction: str) -> float:
        """Return how far a value is from the best one."""
        error = float(value) - self._best if direction == "MINIMIZE" else self._best - float(value)
        if not 0 <= error < math.inf:
            raise ValueError(
                f"the learned objective is to {direction.lower()}, and its best value is {self._best:g}, "
                f"but one is {value}. For another best value use ParetoPruner(best=…); where a training has diverged, "
                "raise optuna.TrialPruned yourself."
            )
        return error

    def _losses(self, known: Sequence[float], directions: Sequence[str]) -> list[float]:
        """Return known values as costs, of which lower is better; those to maximise are inverted."""
        values = [float(each) for each in known]
        if len(values) != len(directions) or not all(0 < each < math.inf for each in values):
            raise ValueError(
                f"known must hold {len(directions)} finite numbers above 0, one for each other objective, "
                f"but got {list(known)}."
            )
        pairs = zip(values, directions, strict=True)
        return [value if direction == "MINIMIZE" else 1 / value for value, direction in pairs]


def _values(attributes: Mapping[str, object]) -> dict[int, float]:
    """Return the reported errors by step. Another thread may report meanwhile, so that a copy is read."""
    reported = dict(attributes).items()
    steps = {name.removeprefix(PREFIX): value for name, value in reported if name.startswith(PREFIX)}
    return {int(step): float(str(value)) for step, value in steps.items() if step.isdigit()}


def _filled(values: Mapping[int, float], steps: int) -> list[float]:
    """Return an error for each step; a step without a report has that of the next one. The last step has one."""
    following = values[steps]
    return [following := values.get(step, following) for step in range(steps, 0, -1)][::-1]
