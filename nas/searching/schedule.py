"""The schedule of a run: what is left to do, how long it should take, and what still fits into the search time."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import final

import numpy as np

from nas.hardware.machine import default_workers
from nas.progress import duration_text
from nas.recipe.recipe import Recipe
from nas.searching.beliefs import Beliefs
from nas.space.architecture import Architecture
from nas.space.parts.parents import first_of
from nas.space.search_space import sample
from nas.training.fitted_heads import is_head_alone
from nas.training.settings import training_settings

FIRST_SHARE = 0.3
"""The share of the search time that first measurements may take."""
WINNERS_SHARE = 0.5
"""The share of the search time for which winners may be retrained, exported, measured and tested, if there are many."""
BETWEEN_SHARE = 0.5
"""The largest share of a round's time for measuring after it. Rounds are left out where it would be more."""
FEWEST_FIRST = 5
MOST_WINNERS_PLANNED = 100

MEASURING, FINISHING = "measuring", "finishing"
USUAL_S: Mapping[str, tuple[float, float]] = {MEASURING: (3.0, 0.7), FINISHING: (3.0, 2.0)}
"""Seconds that measuring models, and finishing winners, takes on an idle machine with two cores: at all, and for each.

They are guesses for the first plan. What was seen corrects them.
"""
REPORT_S = 3.0
FITTING_EPOCHS = 0.6
"""Epochs that take as long as fitting a head, roughly: a pass over the items without gradients, and the regression."""
DRAWN = 64
"""Architectures by which the share of fitted heads in a space is known."""
RECENT = 20
"""The number of trainings that tell how long an epoch takes at present."""


@final
class Schedule:
    """Estimates how long the stages of a run take, and decides what fits into the search time, if there is one.

    ``clock`` returns the seconds that the run has taken. ``guess`` are the seconds of an epoch of a candidate's
    training, to be believed until one has ended. ``items`` are the numbers of training and of validation items.
    """

    def __init__(
        self, recipe: Recipe, beliefs: Beliefs, clock: Callable[[], float], items: tuple[int, int] = (1, 0)
    ) -> None:
        self._recipe = recipe
        self._beliefs = beliefs
        self._clock = clock
        self._items = items
        self._settings = training_settings(recipe)
        self._seen: dict[str, list[float]] = {MEASURING: [], FINISHING: []}
        execution = recipe.execution
        self._workers = 1 if execution.executor == "inline" else execution.workers
        self._workers = self._workers or default_workers(execution.threads_per_worker)
        self._began_s = 0.0
        self.guess: float | None = None

    # What was seen

    def begin(self) -> None:
        """Note that the first measurements begin now, after the target was made ready."""
        self._began_s = self._clock()

    def learn(self, stage: str, count: int, seconds: float) -> None:
        """Learn how long a stage with ``count`` models took. Nothing is learnt from none."""
        if count:
            self._seen[stage].append(seconds / self._usual_s(stage, count))

    def _usual_s(self, stage: str, count: int) -> float:
        once, each = USUAL_S[stage]
        return once + each * count

    def _pace(self, stage: str) -> float:
        """Return how many times longer than usual a stage takes here; one that was not seen is like the others.

        The newest time counts as much as all earlier ones together, because the load of a machine comes and goes.
        """
        seen = self._seen[stage] or [pace for paces in self._seen.values() for pace in paces]
        return functools.reduce(lambda earlier, newest: (earlier + newest) / 2, seen) if seen else 1.0

    # How long stages take

    def measuring_s(self, count: int) -> float:
        """Return the seconds in which ``count`` models are exported and measured."""
        return self._pace(MEASURING) * self._usual_s(MEASURING, count) if count else 0.0

    def finishing_s(self, count: int) -> float:
        """Return the seconds in which ``count`` winners are exported, measured and tested, and the report written."""
        return self._pace(FINISHING) * (self._usual_s(FINISHING, count) + REPORT_S)

    def training_s(self, count: int) -> float | None:
        """Return the seconds in which ``count`` further candidates are trained; None where nothing is known yet.

        First come those that the space wants to see first; the others are as the space draws them.
        """
        first = self._first_left[:count]
        known = [self._candidate_s(is_fitted=self._is_fitted(each)) for each in first]
        drawn = self._mean_s(self._fitted_share)
        if drawn is None or None in known:
            return None
        total = sum(seconds for seconds in known if seconds is not None) + (count - len(first)) * drawn
        # The last turn of the workers is as long as its longest training.
        return total if self._workers == 1 else math.ceil(count / self._workers) * total / max(1, count)

    def candidate_s(self, architecture: Architecture) -> float:
        """Return the seconds in which a candidate is trained; 0 where nothing is known yet, or none is trained."""
        if self._recipe.evaluate != "train":
            return 0.0
        return self._candidate_s(is_fitted=self._is_fitted(architecture)) or 0.0

    def _mean_s(self, fitted_share: float, longer: float = 1.0) -> float | None:
        """Return the seconds of one training where this share is fitted, and the others have epochs ``longer``."""
        fitted = self._candidate_s(is_fitted=True) if fitted_share > 0 else 0.0
        stepped = self._candidate_s(is_fitted=False) if fitted_share < 1 else 0.0
        if fitted is None or stepped is None:
            return None
        return fitted_share * fitted + (1 - fitted_share) * longer * stepped

    def _candidate_s(self, *, is_fitted: bool) -> float | None:
        """Return the seconds of one training: in epochs, or in the one pass in which a head is fitted."""
        if is_fitted and (seen := self._seconds_of(is_fitted=True)):
            return float(np.median(seen[-RECENT:]))
        epoch_s = self._epoch_s
        if epoch_s is None:
            return None
        return FITTING_EPOCHS * epoch_s if is_fitted else self._epochs * epoch_s

    def _seconds_of(self, *, is_fitted: bool) -> list[float]:
        """Return the seconds of an epoch in trainings that have ended, of one of both ways; fitting is one epoch."""
        stage = "train" if self._recipe.evaluate == "train" else "check"
        return [
            float(row.details["seconds"]) / row.details["epochs"]
            for row in self._beliefs.rows
            if row.stage == stage
            and row.details.get("seconds")
            and row.details.get("epochs")
            and row.is_fitted == is_fitted
        ]

    def _is_fitted(self, architecture: Architecture) -> bool:
        """Return True for a candidate that is fitted in one pass over the items: by its settings, or as others were.

        In spaces that are joined, others are those of the same space.
        """
        return self._share_fitted([architecture]) == 1

    def _share_fitted(self, architectures: Sequence[Architecture]) -> float:
        """Return the share of candidates that are fitted in one pass; 0 for none."""
        of, space = self._settings.of, self._beliefs.space
        rows = self._beliefs.trainings.values()
        fitted = [row.architecture for row in rows if row.is_fitted]
        spaces = {each.get("space") for each in fitted if not is_head_alone(of(space, each))}
        found = [is_head_alone(of(space, each)) or each.get("space") in spaces for each in architectures]
        return float(np.mean(found)) if found else 0.0

    @property
    def _fitted_share(self) -> float:
        """The share of fitted ones among the candidates that the space draws."""
        return self._share_fitted(self._drawn)

    @cached_property
    def _drawn(self) -> list[Architecture]:
        rng = np.random.default_rng(0)
        return [sample(self._beliefs.space, rng) for _ in range(DRAWN)]

    @property
    def _first_left(self) -> list[Architecture]:
        """What the space wants to see first, and was not trained yet."""
        completed = map(self._beliefs.parts.completed, first_of(self._beliefs.space))
        return [each for each in completed if each not in self._beliefs.trainings]

    @property
    def _epochs(self) -> float:
        """The epochs of a candidate: their mean where it is searched."""
        choices = {choice.name: choice for choice in self._beliefs.space.choices if choice.is_of_training}
        if "epochs" not in choices:
            return self._recipe.training.epochs
        return float(np.mean([float(option) for option in choices["epochs"].options]))

    def retraining_s(self, count: int) -> float | None:
        """Return the seconds in which ``count`` winners are retrained; None where nothing is known yet."""
        training, retraining = self._recipe.training, self._recipe.retraining
        train, validation = self._items
        seen = train if training.folds == 1 else (train + validation) * (training.folds - 1)
        longer = (train + validation) / max(1.0, training.subset * seen)
        each_s = self._mean_s(self._fitted_winners, retraining.epochs / training.epochs)
        return None if each_s is None else math.ceil(count * retraining.seeds / self._workers) * longer * each_s

    @property
    def _fitted_winners(self) -> float:
        """The share of fitted heads among winners: as among the candidates so far, and else among those to come."""
        candidates = self._beliefs.candidates
        if candidates:
            return sum(row.is_fitted for row in candidates) / len(candidates)
        first = self._first_left
        return self._share_fitted(first) if first else self._fitted_share

    @property
    def _epoch_s(self) -> float | None:
        """The seconds of an epoch of a candidate's training, by those that ended last."""
        seen = self._seconds_of(is_fitted=False)
        return float(np.median(seen[-RECENT:])) if seen else self.guess

    def winners_s(self, count: int) -> float:
        """Return the seconds that ``count`` winners take in all, as far as they are known."""
        return (self.retraining_s(count) or 0.0) + self.finishing_s(count)

    # What fits

    @property
    def is_timed(self) -> bool:
        """True if the whole run must fit into the search time. In a table only the look-ups count."""
        return self._recipe.search_time_s is not None and self._recipe.evaluate != "table"

    @property
    def left_s(self) -> float:
        """The seconds that are left of the search time; infinity without one."""
        time_s = self._recipe.search_time_s
        return math.inf if time_s is None else time_s - self._clock()

    def first_count(self) -> int:
        """Return how many architectures are measured first: fewer than the recipe's if its time is short."""
        initial, known = self._recipe.measuring.initial, len(self._beliefs.measurements)
        fitting = (count for count in range(initial, FEWEST_FIRST, -1) if self.has_time_for_first(count - known))
        return next(fitting, FEWEST_FIRST)

    def next_count(self) -> int:
        """Return how many measurements there should be after the next ones.

        In a search time the next ones are few, until they have taught the pace. Measurements that are kept from earlier
        runs teach none.
        """
        if self.is_timed and not self._seen[MEASURING]:
            return min(len(self._beliefs.measurements) + FEWEST_FIRST, self.first_count())
        return self.first_count()

    def has_time_for_first(self, count: int) -> bool:
        """Return True if ``count`` further first measurements fit into their share of the search time."""
        return not self.is_timed or self.measuring_s(max(0, count)) <= self._first_ends_s - self._clock()

    @property
    def _first_ends_s(self) -> float:
        """The time at which first measurements should end."""
        assert self._recipe.search_time_s is not None
        return self._began_s + FIRST_SHARE * max(0.0, self._recipe.search_time_s - self._began_s)

    def has_time_to_repeat(self) -> bool:
        """Return True if models may get more sessions than the fewest, to narrow their intervals."""
        if not self.is_timed:
            return True
        if not self._beliefs.trainings:
            return self._clock() < self._first_ends_s
        return self.left_s > (0.0 if self._beliefs.retrainings else self.reserve_s)

    def has_time_for_round(self) -> bool:
        """Return True if one more training, what is measured after it, and the winners fit into the time left."""
        if not self.is_timed:
            return True
        measuring_s = self.measuring_s(1) if self._measures_after_rounds else 0.0
        return (self.training_s(1) or 0.0) + measuring_s + self.reserve_s <= self.left_s

    def has_time_to_measure(self, count: int) -> bool:
        """Return True if ``count`` models can be measured before the winners."""
        return not self.is_timed or self.measuring_s(count) + self.reserve_s <= self.left_s

    def rounds_from(self, number: int) -> int:
        """Return how many rounds fit from round ``number`` on, one at least, if measuring must not take most of it."""
        left = 1 if self._beliefs.is_all_measured else self._recipe.rounds - number + 1
        if not self.is_timed:
            return left
        room_s = BETWEEN_SHARE * (self.left_s - self.reserve_s)
        each_s = self._after_round_s
        return max(1, min(left, int(room_s / max(each_s, 1e-9))))

    @property
    def _measures_after_rounds(self) -> bool:
        """True if something is left to measure after a round; in a small space everything is measured at first."""
        beliefs = self._beliefs
        is_small = self._networks is not None and self._networks <= self.first_count()
        return bool(beliefs.measured_metrics) and not is_small and not beliefs.is_all_measured

    @cached_property
    def _networks(self) -> int | None:
        """The number of networks of a small space, however trained; None for any other space."""
        whole = self._beliefs.whole
        return None if whole is None else len(set(map(self._beliefs.parts.of, whole)))

    @property
    def _after_round_s(self) -> float:
        return self.measuring_s(self._recipe.measuring.per_round) if self._measures_after_rounds else 0.0

    def end_of_round_s(self, number: int) -> float:
        """Return the time at which round ``number`` stops training; infinity without a search time.

        The time that measuring and the winners leave is divided equally among the rounds left.
        """
        if self._recipe.search_time_s is None:
            return math.inf
        now_s, rounds = self._clock(), self.rounds_from(number)
        if not self.is_timed:
            return now_s + self.left_s / rounds
        each_s = (self.left_s - self.reserve_s) / rounds - self._after_round_s
        return now_s + max(0.0, each_s)

    @property
    def least_s(self) -> float:
        """The seconds that a run without any training takes at least: one training, measured, and one winner of it."""
        return self.measuring_s(FEWEST_FIRST) + (self.training_s(1) or 0.0) + self.winners_s(1)

    @property
    def reserve_s(self) -> float:
        """The seconds that are kept for winners."""
        return self.winners_s(self._planned_winners(self._recipe.search_time_s or math.inf))

    def _planned_winners(self, time_s: float) -> int:
        most = min(self._recipe.retraining.winners, self._recipe.trials, MOST_WINNERS_PLANNED)
        return self._winners_within(WINNERS_SHARE * time_s, most)

    def _winners_within(self, time_s: float, most: int) -> int:
        """Return how many winners can be made within a time, from one to ``most``."""
        if time_s == math.inf:
            return most
        return next((count for count in range(1, most) if self.winners_s(count + 1) > time_s), most)

    def has_time_for_winners(self, count: int) -> bool:
        """Return True if so many winners fit into the time that is left."""
        return not self.is_timed or self.winners_s(count) <= self.left_s

    def winners_that_fit(self) -> int:
        """Return how many winners the time left has room for, at least one and at most those asked for."""
        wanted = self._recipe.retraining.winners
        return self._winners_within(self.left_s, wanted) if self.is_timed else wanted

    # For people

    def text(self, number: int) -> str:
        """Return what is left to do from round ``number`` on, 0 for the first measurements, and how long it takes."""
        first, between, winners = self._first_part(number), self._between_part(number), self._winners_part()
        other_s = sum(seconds for _, seconds in (*first, *between, *winners))
        parts = [*first, self._training_part(number, other_s), *between, *winners]
        listed = ", ".join(text if seconds is None else f"{text} ({duration_text(seconds)})" for text, seconds in parts)
        if self.is_timed:
            return f"{listed}; {duration_text(max(0.0, self.left_s))} of the search time are left"
        known_s = sum(seconds or 0.0 for _, seconds in parts)
        unknown = any(seconds is None for _, seconds in parts)
        return f"{listed}; about {duration_text(known_s)} in all{', beside the evaluations' * unknown}"

    def _first_part(self, number: int) -> list[tuple[str, float]]:
        beliefs = self._beliefs
        if number > 0 or not beliefs.measured_metrics:
            return []
        most = self.first_count() if self._networks is None else min(self.first_count(), self._networks)
        count = max(0, most - len(beliefs.measurements))
        return [(f"measure {count} model{'s' * (count != 1)}", self.measuring_s(count))]

    def _training_part(self, number: int, other_s: float) -> tuple[str, float | None]:
        recipe, beliefs = self._recipe, self._beliefs
        rounds, trials = self.rounds_from(max(1, number)), recipe.trials - beliefs.trials
        among = f"in {rounds} round{'s' * (rounds != 1)}"
        if recipe.has_time_alone and beliefs.untrained is None:
            return f"evaluate candidates {among}", max(0.0, self.left_s - other_s)
        trials = trials if beliefs.untrained is None else min(trials, beliefs.untrained)
        known_s = self.training_s(trials) if recipe.evaluate == "train" else None
        room_s = max(0.0, self.left_s - other_s)
        if self.is_timed and known_s is not None and known_s > room_s:
            return f"evaluate as many of {trials} candidates as fit, {among}", room_s
        return f"evaluate {trials} candidate{'s' * (trials != 1)} {among}", known_s

    def _between_part(self, number: int) -> list[tuple[str, float]]:
        recipe, rounds = self._recipe, self.rounds_from(max(1, number))
        if not self._measures_after_rounds:
            return []
        count = min(recipe.measuring.per_round, -(-(recipe.trials - self._beliefs.trials) // rounds))
        after = "it" if rounds == 1 else "each"
        return [(f"measure up to {count} after {after}", rounds * self.measuring_s(count))]

    def _winners_part(self) -> list[tuple[str, float]]:
        count = self._planned_winners(self._recipe.search_time_s or math.inf)
        winners = f"{count} winner{'s' * (count != 1)}"
        return [(f"retrain, export, measure and test up to {winners}", self.winners_s(count))]
