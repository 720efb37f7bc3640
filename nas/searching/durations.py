"""How long the stages of a run take: by guesses at first, and then by what was seen of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import final

import numpy as np

from nas.errors import CandidateError
from nas.hardware.machine import default_workers
from nas.recipe.recipe import Recipe
from nas.searching.beliefs import Beliefs
from nas.searching.measuring_pace import MeasuringPace
from nas.searching.selection import choose_winners
from nas.space.architecture import Architecture, Option
from nas.space.parts.parents import first_of
from nas.space.parts.start_weights import origin_of
from nas.space.search_space import sample
from nas.training.fitted_heads import is_head_alone
from nas.training.optimizing import HEAD
from nas.training.settings import training_settings
from nas.values.evaluation import OF_ALL, Evaluation

MOST_WINNERS_PLANNED = 100
WORKERS_S = 5.0
"""Seconds in which Ray and its workers start."""
AGAIN_S = 4.0
"""Seconds in which workers that have ended begin again for winners: each imports torch and loads the data."""
BRIEF_S = 10.0
"""Seconds of training up to which workers are not worth their start."""
FITTING_EPOCHS = 0.6
"""Epochs that take as long as fitting a head, roughly: a pass over the items without gradients, and the regression."""
OWN_FIT_S = 3.0
"""Seconds in which a module fits itself; a guess until one has."""
PART = "space"
"""The choice by which joined spaces are told apart."""
DRAWN = 64
"""Architectures by which the share of fitted heads in a space is known."""
RECENT = 20
"""The number of trainings that tell how long an epoch takes at present."""


@final
class Durations:
    """Estimates how long the stages of a run take.

    ``items`` are the numbers of training and of validation items.

    Attributes:
        pace: how long measuring and finishing take.
        guess: the seconds of an epoch of a candidate's training, to be believed until one has ended.
        guess_macs: the multiply-accumulates of the network that the guess is of.
        growth: the power of its multiply-accumulates with which the time of a candidate grows; 0 until it is known.
        parent_epoch_s: the seconds of an epoch of a parent that is yet to be tuned; 0 where there is none.
        supernet_epoch_s: the seconds of an epoch of shared weights that are yet to be tuned; 0 where there are none.
        starting_s: the seconds in which workers start that have not started yet.
        again_s: the seconds in which workers begin again for the winners; 0 where nothing but this process trains.
        own_fits: the parts of joined spaces whose candidates fit themselves; None is a space that is not joined.
        recorded: returns the number of trainings that only wait for being proposed again.
        may_tune_on: True if a winner may keep the weights of the search, and be tuned on from them.
    """

    def __init__(self, recipe: Recipe, beliefs: Beliefs, items: tuple[int, int] = (1, 0)) -> None:
        self.plan_by(recipe)
        self._beliefs = beliefs
        self._items = items
        self.pace = MeasuringPace(recipe, beliefs)
        execution = recipe.execution
        self._workers = 1 if execution.executor == "inline" else execution.workers
        self._workers = self._workers or default_workers(execution.threads_per_worker)
        self._front: tuple[int, list[Evaluation]] = (-1, [])
        self._epochs_seen: tuple[int, dict[bool, list[float]]] = (0, {True: [], False: []})
        self._fitted_parts: tuple[int, set[Option | None]] = (-1, set())
        self.own_fits: set[Option | None] = set()
        self.may_tune_on = False
        self.recorded: Callable[[], int] = lambda: 0
        self.guess: float | None = None
        self.guess_macs, self.growth = 0.0, 0.0
        self._macs_seen: dict[bool, list[float]] = {True: [], False: []}
        self.parent_epoch_s = 0.0
        self.supernet_epoch_s = 0.0
        self.again_s = 0.0 if execution.executor == "inline" else AGAIN_S
        self.starting_s = WORKERS_S if execution.executor != "inline" and execution.ray_address is None else 0.0

    def plan_by(self, recipe: Recipe) -> None:
        """Estimate by a recipe, of which nothing but the way of evaluating may be another than before."""
        self._recipe, self._settings = recipe, training_settings(recipe)

    def begin(self, *, needs_again: bool) -> None:
        """Note that workers have started; ``needs_again`` if they begin again for the winners."""
        self.starting_s = 0.0
        self.again_s = self.again_s if needs_again else 0.0

    # How long stages take

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

    def checks_s(self, count: int) -> float:
        """Return the seconds in which ``count`` candidates are trained alone to check shared weights; 0 if unknown."""
        return math.ceil(count / self._workers) * (self._candidate_s(is_fitted=False) or 0.0)

    def candidate_s(self, architecture: Architecture) -> float:
        """Return the seconds in which a candidate is trained; 0 where nothing is known yet, or none is trained.

        A parent is evaluated as it is, in one pass over the validation items.
        """
        if self._recipe.evaluate != "train" or architecture == self._beliefs.parent:
            return 0.0
        is_head = is_head_alone(self._settings.of(self._beliefs.space, architecture))
        is_fitted = is_head or self._is_fitted(architecture)
        seconds = self._candidate_s(is_fitted=is_fitted) or 0.0
        if is_fitted and not is_head:  # what fits itself is not slow for its size
            return seconds
        return seconds * self._relative_time(architecture, is_fitted=is_fitted)

    def _relative_time(self, architecture: Architecture, *, is_fitted: bool) -> float:
        """Return how many times longer a candidate takes than the usual one, by its multiply-accumulates."""
        self._seconds_of(is_fitted=is_fitted)  # which also learns the usual ones
        seen = self._macs_seen[is_fitted] or self._macs_seen[False]
        usual = float(np.median(seen[-RECENT:])) if seen else self.guess_macs
        try:
            macs = self._beliefs.counted(architecture).get("macs", 0.0) if self.growth and usual else 0.0
        except CandidateError:  # it cannot be built, and becomes a failed row where it is proposed
            return 1.0
        return (macs / usual) ** self.growth if macs else 1.0

    def _mean_s(self, fitted_share: float, longer: float = 1.0, fits_longer: float = 1.0) -> float | None:
        """Return the mean seconds of a training where this share is fitted, ``fits_longer``, and others take epochs."""
        fitted = self._candidate_s(is_fitted=True) if fitted_share > 0 else 0.0
        stepped = self._candidate_s(is_fitted=False) if fitted_share < 1 else 0.0
        if fitted is None or stepped is None:
            return None
        return fitted_share * fits_longer * fitted + (1 - fitted_share) * longer * stepped

    def _candidate_s(self, *, is_fitted: bool) -> float | None:
        """Return the seconds of one training: in epochs, or in the one pass in which a head is fitted."""
        if is_fitted and (seen := self._seconds_of(is_fitted=True)):
            return float(np.median(seen[-RECENT:]))
        epoch_s = self._epoch_s
        if is_fitted and self.own_fits:
            return OWN_FIT_S
        if epoch_s is None:
            return None
        return FITTING_EPOCHS * epoch_s if is_fitted else self._epochs * epoch_s

    def _seconds_of(self, *, is_fitted: bool) -> list[float]:
        """Return the seconds of an epoch in trainings that have ended, of one of both ways; fitting is one epoch."""
        known, seen = self._epochs_seen
        rows = self._beliefs.rows
        for row in rows[known:]:
            if row.stage in ("train", "check") and row.by == "train" and _was_timed(row):
                seen[row.is_fitted].append(float(row.details["seconds"]) / row.details["epochs"])
                self._macs_seen[row.is_fitted].append(row.values.get("macs", 0.0))
        self._epochs_seen = len(rows), seen
        return seen[is_fitted]

    def _is_fitted(self, architecture: Architecture) -> bool:
        """Return True for a candidate that is fitted in one pass over the items: a head, or one that fits itself."""
        is_head = is_head_alone(self._settings.of(self._beliefs.space, architecture))
        return is_head or architecture.get(PART) in self._parts_seen

    @property
    def _parts_seen(self) -> set[Option | None]:
        """The parts of the space whose candidates fit themselves, as was noted or seen."""
        known, parts = self._fitted_parts
        rows = self._beliefs.trainings
        if known != len(rows):
            of, space = self._settings.of, self._beliefs.space
            fitted = [row.architecture for row in rows.values() if row.is_fitted]
            parts = {each.get(PART) for each in fitted if not is_head_alone(of(space, each))}
            self._fitted_parts = len(rows), parts
        return parts | self.own_fits

    def _share_fitted(self, architectures: Sequence[Architecture]) -> float:
        """Return the share of candidates that are fitted in one pass; 0 for none."""
        return float(np.mean([self._is_fitted(each) for each in architectures])) if architectures else 0.0

    @property
    def are_brief(self) -> bool:
        """True if all trainings that are left take so few seconds that workers are not worth their start."""
        recipe, beliefs = self._recipe, self._beliefs
        count = recipe.trials - beliefs.trials
        count = (count if beliefs.untrained is None else min(count, beliefs.untrained)) - self.recorded()
        winners = min(recipe.retraining.winners, recipe.trials, MOST_WINNERS_PLANNED)
        parent_s = recipe.retraining.epochs * self.parent_epoch_s
        parts_s = self.training_s(count), self._retraining_work_s(winners), parent_s
        total_s = sum(math.inf if seconds is None else seconds for seconds in parts_s)
        return self._workers * total_s <= BRIEF_S

    @property
    def least_candidate_s(self) -> float:
        """The seconds of the quickest candidate of some of the space; 0 where nothing is known, or trained."""
        if self._recipe.evaluate != "train":
            return 0.0
        others = (each for each in (*self._drawn, *self._first_left) if each != self._beliefs.parent)
        return min(map(self.candidate_s, others), default=0.0)

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
        completed = map(self._beliefs.candidate, first_of(self._beliefs.space))
        return [each for each in completed if each not in self._beliefs.trainings]

    @property
    def _epochs(self) -> float:
        """The epochs of a candidate: their mean where it is searched."""
        choices = {choice.name: choice for choice in self._beliefs.space.choices if choice.is_of_training}
        if "epochs" not in choices:
            return self._recipe.training.epochs
        return float(np.mean([float(option) for option in choices["epochs"].options]))

    def retraining_s(self, count: int) -> float | None:
        """Return the seconds in which ``count`` winners are retrained; None where nothing is known yet.

        They are those that would be chosen now, as far as there are candidates.
        """
        work_s = self._retraining_work_s(count)
        return work_s if not count or work_s is None else self.again_s + work_s

    def _retraining_work_s(self, count: int) -> float | None:
        """Return the same without the seconds in which workers begin again."""
        training, retraining = self._recipe.training, self._recipe.retraining
        prices = [self._as_winner_s(row) for row in self._likely_winners]
        if prices:
            count, each_s = min(count, len(self._beliefs.candidates)), float(np.mean(prices))
        else:
            more = self._more_items(training.subset)
            longer = (1 if self.tunes_on else retraining.epochs) / training.epochs * more
            # What fits itself may take all items at once, whatever share of them the others see.
            mean_s = self._mean_s(self._fitted_at_first, longer, 1.0 if self.own_fits else more)
            if mean_s is None:
                return None
            each_s = mean_s
        return math.ceil(count * retraining.seeds / self._workers) * each_s

    @cached_property
    def tunes_on(self) -> bool:
        """True if winners are planned to be tuned on for an epoch, rather than retrained."""
        return all(map(self._is_tuned_on, self._drawn))

    def _is_tuned_on(self, architecture: Architecture) -> bool:
        """Return True for a candidate that begins with weights trained on other data and saw all training items.

        Retraining it would take many times as long as tuning it on for an epoch, and gives little more
        (``TUNED_ON_RATE``); the time is worth more in candidates.
        """
        training = self._recipe.training
        may = self.may_tune_on and training.subset == 1 and training.folds == 1
        return may and bool(origin_of(self._beliefs.space, architecture))

    def making_s(
        self,
        architectures: Sequence[Architecture],
        as_trained: Collection[Architecture] = (),
        tuned_on: Collection[Architecture] = (),
    ) -> float:
        """Return the seconds in which these become winners: retrained, as far as they were not, and finished.

        Those in ``as_trained`` keep the weights that they have, and those in ``tuned_on`` are tuned on for an epoch.
        A parent stays as it came.
        """
        beliefs = self._beliefs
        new = [each for each in architectures if each not in beliefs.retrainings and each not in as_trained]
        rows = {beliefs.candidate(each).trained: beliefs.trainings.get(each) for each in new}
        rows = {trained: row for trained, row in rows.items() if row is None or not row.is_as_it_came}
        timed = [row for row in rows.values() if row is not None and self._tells_training(row)]
        usual_s = self._retraining_work_s(1) or 0.0
        further = {beliefs.candidate(each).trained for each in tuned_on}
        paid = [
            self._tuned_on_s(row) if beliefs.candidate(row.architecture).trained in further else self._retrained_s(row)
            for row in timed
        ]
        prices = [*paid, *[usual_s] * (len(rows) - len(timed))]
        seeds = self._recipe.retraining.seeds
        in_turns_s = max(sum(prices) * seeds / self._workers, max(prices, default=0.0))
        return (self.again_s + in_turns_s if rows else 0.0) + self.pace.finishing_s(len(architectures))

    def _more_items(self, subset: float) -> float:
        """Return the items of a winner's epoch as a multiple of those of a candidate that sees this share of them."""
        folds = self._recipe.training.folds
        train, validation = self._items
        seen = train if folds == 1 else (train + validation) * (folds - 1)
        return (train + validation) / max(1.0, subset * seen)

    def _tells_training(self, row: Evaluation) -> bool:
        """Return True if a candidate's row tells how long its training took; a score tells nothing of that."""
        return self._recipe.evaluate == "train" and _was_timed(row)

    def _retrained_s(self, row: Evaluation) -> float:
        """Return the seconds in which a candidate would be retrained, on all items and for a winner's epochs."""
        more = self._more_items(float(row.details.get("subset", self._recipe.training.subset)))
        if row.is_fitted:
            return float(row.details["seconds"]) * (1.0 if row.details.get(OF_ALL) else more)
        epochs = float(row.architecture.get("epochs", self._recipe.training.epochs))
        longer = self._recipe.retraining.epochs / self._recipe.training.epochs
        epoch_s = float(row.details["seconds"]) / float(row.details["epochs"])
        return epoch_s * epochs * longer * more

    def _as_winner_s(self, row: Evaluation) -> float:
        """Return the seconds that are kept for the last training of a candidate that may win."""
        if row.details.get(OF_ALL):  # it is fitted to all items already
            return 0.0
        is_tuned_on = row.is_in_epochs and self._is_tuned_on(row.architecture)
        return self._tuned_on_s(row) if is_tuned_on else self._retrained_s(row)

    def _tuned_on_s(self, row: Evaluation) -> float:
        """Return the seconds in which a candidate would be tuned on for an epoch, on all items."""
        epoch_s = float(row.details["seconds"]) / float(row.details["epochs"])
        return epoch_s * self._more_items(float(row.details.get("subset", self._recipe.training.subset)))

    @property
    def _likely_winners(self) -> list[Evaluation]:
        """The candidates that would be winners if the search ended now; none where that cannot be known."""
        beliefs = self._beliefs
        known, rows = self._front
        if known != len(beliefs.rows):
            most = min(self._recipe.retraining.winners, self._recipe.trials, MOST_WINNERS_PLANNED)
            chosen = choose_winners(beliefs, most) if beliefs.knows_costs else []
            rows = [beliefs.trainings[each] for each in chosen if each in beliefs.trainings]
            rows = list(filter(self._tells_training, rows))
            self._front = len(beliefs.rows), rows
        return rows

    @property
    def _fitted_at_first(self) -> float:
        """The share of fitted heads among those that come first, or among all where none do."""
        first = self._first_left
        return self._share_fitted(first) if first else self._fitted_share

    @property
    def _epoch_s(self) -> float | None:
        """The seconds of an epoch of a candidate's training, by those that ended last."""
        seen = self._seconds_of(is_fitted=False)
        return float(np.median(seen[-RECENT:])) if seen else self.guess

    def winners_s(self, count: int, *, alone: bool = False) -> float:
        """Return the seconds that ``count`` winners take, as far as is known; with those made beside them, or alone."""
        return (self.retraining_s(count) or 0.0) + self.pace.finishing_s(count + (0 if alone else self._beside))

    @property
    def _beside(self) -> int:
        """The winners that are made beside those asked for: a parent, and where all are heads the best one by folds."""
        return sum([self._beliefs.parent is not None, self._recipe.training.tune == HEAD])


def _was_timed(row: Evaluation) -> bool:
    """Return True if a row tells how long its epochs took."""
    return bool(row.details.get("seconds") and row.details.get("epochs"))
