"""The schedule of a run: what is left to do, how long it should take, and what still fits into the search time."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import final

from nas.progress import duration_text
from nas.recipe.recipe import Recipe
from nas.recipe.ways import parent_epochs
from nas.searching.beliefs import Beliefs
from nas.searching.durations import MOST_WINNERS_PLANNED, Durations
from nas.searching.measuring_pace import MEASURING
from nas.space.architecture import Architecture
from nas.values.rank_correlation import FEWEST

FIRST_SHARE = 0.3
"""The share of the search time that first measurements may take."""
LATE_SHARE = 0.1
"""A search may end late by this share of its time, rather than make a poor model or give up a training."""
INEXACT_SHARE = 0.02
"""Prices are right to this share of the time at best, so winners that are late by no more are made."""
WINNERS_SHARE = 0.5
"""The share of the search time for which winners may be retrained, exported, measured and tested, if there are many."""
SHARED_WINNERS_SHARE = 0.3
"""The same where candidates share weights, whose tuning makes the winners too."""
CHECK_SHARE = 0.15
"""The share of the search time for which a few candidates may be trained alone to check shared weights."""
PARENT_SHARE = 0.25
"""The share of the search time for which a parent may be tuned."""
SCORING_SHARE = 0.15
"""The least share of the search time for scoring with shared weights. If winners need more, fewer are made."""
UNKNOWN_EPOCHS = 12
"""The most epochs for which shared weights are tuned in a search time where nobody knows how long one takes."""
SUPERNET_SHARE = 0.3
"""The share of the search time for which weights that candidates share may be tuned, if winners leave as much."""
FEWEST_BETWEEN = 2
"""The fewest candidates that are measured after a round, whatever time is left."""
BETWEEN_SHARE = 0.5
"""The largest share of a round's time for measuring after it. Rounds are left out where it would be more."""
FEWEST_FIRST = 5
LEFT_OVER = 2
"""If at most so many would be left after the first few, and there is time, they are measured with them."""


@final
class Schedule:
    """Decides what fits into the search time of a run, if it has one, and tells what is left to do.

    ``durations`` estimates how long the stages take. ``clock`` returns the seconds that the run has taken. The run had
    taken ``before_s`` of them when it was extended; that time and its winners are of the past.
    """

    def __init__(
        self,
        recipe: Recipe,
        beliefs: Beliefs,
        clock: Callable[[], float],
        durations: Durations,
        before_s: float = 0.0,
    ) -> None:
        self._recipe = recipe
        self._before_s = before_s
        self._beliefs = beliefs
        self._clock = clock
        self.durations = durations
        self.measures_beside = False  # where candidates are measured beside trainings, these pause for the last alone
        self._began_s = 0.0

    def plan_by(self, recipe: Recipe) -> None:
        """Plan by a recipe, of which nothing but the way of evaluating may be another than before."""
        self._recipe = recipe

    def begin(self) -> None:
        """Note that the first measurements begin now, after the target was made ready."""
        self._began_s = self._clock()

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
        runs teach none. One or two that would be left are measured with them, because alone they take twice as long.
        """
        count = self.first_count()
        if self.is_timed and not self.durations.pace.has_seen(MEASURING):
            few = len(self._beliefs.measurements) + FEWEST_FIRST
            whole = min(self._recipe.measuring.initial, self._networks or math.inf)
            return count if count >= whole and whole - few <= LEFT_OVER else min(few, count)
        return count

    def has_time_for_first(self, count: int) -> bool:
        """Return True if ``count`` further first measurements fit into their share of the search time."""
        return not self.is_timed or self.durations.pace.measuring_s(max(0, count)) <= self._first_ends_s - self._clock()

    @property
    def _first_ends_s(self) -> float:
        """The time at which first measurements should end."""
        assert self._recipe.search_time_s is not None
        return self._began_s + FIRST_SHARE * max(0.0, self._recipe.search_time_s - self._began_s - self._preparing_s)

    def parent_epochs(self) -> int:
        """Return the epochs in which a parent is tuned, unless they exceed their share of the time.

        One at least, also where nothing is known of how long it takes.
        """
        epochs, epoch_s, time_s = parent_epochs(self._recipe), self.durations.parent_epoch_s, self._recipe.search_time_s
        if time_s is None or not epoch_s:
            return epochs
        return max(1, min(epochs, int(PARENT_SHARE * time_s / epoch_s)))

    def supernet_epochs(self) -> int:
        """Return the epochs in which shared weights are tuned: those asked for, unless they exceed their share of time.

        They also leave the time that is kept for scoring and for winners. One at least.
        """
        epochs, epoch_s, time_s = (
            self._recipe.supernet.epochs,
            self.durations.supernet_epoch_s,
            self._recipe.search_time_s,
        )
        if time_s is None:
            return epochs
        if not epoch_s:
            return min(epochs, UNKNOWN_EPOCHS)
        return max(1, min(epochs, int(self.sharing_s / epoch_s)))

    @property
    def sharing_s(self) -> float:
        """The seconds in which shared weights may be tuned, such that scoring and winners keep theirs."""
        if not self.is_timed:
            return math.inf
        return max(0.0, min(SUPERNET_SHARE * self._time_s, self.left_s - self._beside_sharing_s))

    @property
    def _beside_sharing_s(self) -> float:
        """The seconds that a run with shared weights takes beside their tuning, with the least time for scoring."""
        durations = self.durations
        first_s = durations.pace.measuring_s(max(0, FEWEST_FIRST - len(self._beliefs.measurements)))
        tuning_s = self.parent_epochs() * durations.parent_epoch_s
        before_s = first_s + durations.starting_s + tuning_s + self._checking_s
        return before_s + SCORING_SHARE * self._time_s + durations.pace.measuring_s(FEWEST_BETWEEN) + self.reserve_s

    @property
    def _preparing_s(self) -> float:
        """The seconds before the first candidate: workers start, a parent is tuned, and shared weights are."""
        durations = self.durations
        tuning_s = self.parent_epochs() * durations.parent_epoch_s
        shared_s = self.supernet_epochs() * durations.supernet_epoch_s + self._checking_s
        return durations.starting_s + tuning_s + shared_s

    def checks(self) -> int:
        """Return how many forms are trained alone to check shared weights: fewer than the recipe's in a short time.

        0 if not even the fewest that have a rank correlation fit into their share of it.
        """
        asked = self._recipe.supernet.check
        fitting = (n for n in range(asked, FEWEST - 1, -1) if self.durations.checks_s(n) <= CHECK_SHARE * self._time_s)
        return asked if not self.is_timed else next(fitting, 0)

    @property
    def _checking_s(self) -> float:
        """The seconds in which shared weights are checked that are yet to be tuned."""
        return self.durations.checks_s(self.checks()) if self.durations.supernet_epoch_s else 0.0

    def has_time_to_repeat(self) -> bool:
        """Return True if models may get more sessions than the fewest, to narrow their intervals."""
        return self.left_to_repeat_s > 0

    @property
    def left_to_repeat_s(self) -> float:
        """The seconds for which that is so; infinity without a search time."""
        if not self.is_timed:
            return math.inf
        if not self._beliefs.trainings:
            return self._first_ends_s - self._clock()
        return self.left_s - (0.0 if self._beliefs.retrainings else self.reserve_s)

    def has_time_for_round(self) -> bool:
        """Return True if one more training, what is measured after it, and the winners fit into the time left."""
        if not self.is_timed:
            return True
        measuring_s = self.durations.pace.measuring_s(1) if self._measures_after_rounds else 0.0
        training_s = self.durations.training_s(1) if self._recipe.evaluate == "train" else 0.0
        return (training_s or 0.0) + measuring_s + self.reserve_s <= self.left_s

    def has_time_to_measure(self, count: int) -> bool:
        """Return True if ``count`` models can be measured before the winners."""
        return not self.is_timed or self.durations.pace.measuring_s(count) + self.reserve_s <= self.left_s

    def count_between(self) -> int:
        """Return how many candidates are measured after a round: as many as winners leave time for, a few at least."""
        most = self._recipe.measuring.per_round
        fitting = (count for count in range(most, FEWEST_BETWEEN, -1) if self.has_time_to_measure(count))
        return next(fitting, min(most, FEWEST_BETWEEN))

    def rounds_from(self, number: int) -> int:
        """Return how many rounds fit from round ``number`` on, one at least, if measuring must not take most of it."""
        left = 1 if self._beliefs.is_all_measured else self._recipe.rounds - number + 1
        if not self.is_timed:
            return left
        room_s = BETWEEN_SHARE * (self.left_s - self.reserve_s)
        return max(1, min(left, int(room_s / max(self._after_round_s, 1e-9))))

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
        return None if whole is None else len(set(map(self._beliefs.parts.on_device, whole)))

    @property
    def _after_round_s(self) -> float:
        return self.durations.pace.measuring_s(self._recipe.measuring.per_round) if self._measures_after_rounds else 0.0

    def _pauses(self, rounds: int) -> int:
        return 1 if self.measures_beside else rounds

    def end_of_round_s(self, number: int) -> float:
        """Return the time at which round ``number`` stops training; infinity without a search time.

        The rounds left share what measuring and winners leave. With shared weights each has a least time for scoring.
        """
        if self._recipe.search_time_s is None:
            return math.inf
        now_s, rounds = self._clock(), self.rounds_from(number)
        if not self.is_timed:
            return now_s + self.left_s / rounds
        each_s = (self.left_s - self.reserve_s - self._pauses(rounds) * self._after_round_s) / rounds
        least_s = SCORING_SHARE * self._time_s if self._recipe.evaluate == "supernet" else 0.0
        return now_s + max(least_s / (number - 1 + rounds), each_s)

    @property
    def least_s(self) -> float:
        """The seconds that a run without any training takes at least: one training, measured, and one winner of it."""
        durations = self.durations
        first_s = durations.pace.measuring_s(FEWEST_FIRST) + self._preparing_s
        return first_s + (durations.training_s(1) or 0.0) + durations.winners_s(1, alone=True)

    @property
    def reserve_s(self) -> float:
        """The seconds that are kept for winners."""
        return self.durations.winners_s(self._planned_winners())

    @property
    def _time_s(self) -> float:
        """The search time of the run, or of the part by which it was extended; infinity without one."""
        time_s = self._recipe.search_time_s
        return math.inf if time_s is None else time_s - self._before_s

    def _planned_winners(self) -> int:
        most = min(self._recipe.retraining.winners, self._recipe.trials, MOST_WINNERS_PLANNED)
        if self._time_s == math.inf:
            return most
        time_s = self._time_s * (SHARED_WINNERS_SHARE if self._recipe.evaluate == "supernet" else WINNERS_SHARE)
        return next((count for count in range(1, most) if self.durations.winners_s(count + 1) > time_s), most)

    def has_time_to_make(
        self,
        architectures: Sequence[Architecture],
        as_trained: Collection[Architecture] = (),
        tuned_on: Collection[Architecture] = (),
        *,
        late: bool = False,
    ) -> bool:
        """Return True if these can become winners in about the time that is left, or ``late`` by a tenth of all of it.

        Without ``late`` they may still be late by ``INEXACT_SHARE``.
        Those in ``as_trained`` are not retrained, and those in ``tuned_on`` are tuned on for one epoch alone.
        """
        if not self.is_timed:
            return True
        over_s = self.may_be_late_s if late else INEXACT_SHARE * self._time_s
        return self.durations.making_s(architectures, as_trained, tuned_on) <= self.left_s + over_s

    @property
    def may_be_late_s(self) -> float:
        """The seconds by which a search may end late rather than give up what it has begun."""
        return LATE_SHARE * self._time_s

    # For people

    def text(self, number: int) -> str:
        """Return what is left to do from round ``number`` on, 0 for the first measurements, and how long it takes."""
        first = [*self._first_part(number), *self._preparing_part()]
        if not self._recipe.trials:
            return ", ".join([*map(_priced, self._first_part(number)), "train none"])
        between, winners = self._between_part(number), self._winners_part()
        other_s = sum(seconds for _, seconds in (*first, *between, *winners))
        parts = [*first, self._training_part(number, other_s), *between, *winners]
        listed = ", ".join(map(_priced, parts))
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
        first = min(count, max(0, self.next_count() - len(beliefs.measurements)))
        goes = (first, count - first)  # the others follow once the first few have taught the pace
        return [(f"measure {count} model{'s' * (count != 1)}", sum(map(self.durations.pace.measuring_s, goes)))]

    def _preparing_part(self) -> list[tuple[str, float]]:
        durations, epochs = self.durations, self.parent_epochs()
        tuning = f"tune the parent for {epochs} epoch{'s' * (epochs != 1)}"
        shared = self.supernet_epochs()
        sharing = f"tune shared weights for {shared} epoch{'s' * (shared != 1)}"
        parts = (
            ("start the workers", durations.starting_s),
            (tuning, epochs * durations.parent_epoch_s),
            (sharing, shared * durations.supernet_epoch_s),
            (f"train {self.checks()} alone, as a check", self._checking_s),
        )
        return [part for part in parts if part[1]]

    def _training_part(self, number: int, other_s: float) -> tuple[str, float | None]:
        recipe, beliefs = self._recipe, self._beliefs
        rounds, trials = self.rounds_from(max(1, number)), recipe.trials - beliefs.trials
        among = f"in {rounds} round{'s' * (rounds != 1)}"
        if recipe.has_time_alone and beliefs.untrained is None:
            return f"evaluate candidates {among}", max(0.0, self.left_s - other_s)
        trials = trials if beliefs.untrained is None else min(trials, beliefs.untrained)
        trials -= self.durations.recorded()
        known_s = self.durations.training_s(trials) if recipe.evaluate == "train" else None
        room_s = max(0.0, self.left_s - other_s)
        if self.is_timed and known_s is not None and known_s > room_s:
            return f"evaluate about {self.fitting(trials, room_s)} of {trials} candidates, as fits, {among}", room_s
        return f"evaluate {trials} candidate{'s' * (trials != 1)} {among}", known_s

    def candidates_in_time(self) -> int | None:
        """Return how many candidates can be trained in the search time, beside all else; None if nobody knows.

        Nothing was measured or trained yet.
        """
        if self.durations.training_s(1) is None:
            return None
        parts = (*self._first_part(0), *self._preparing_part(), *self._between_part(1), *self._winners_part())
        room_s = self.left_s - sum(seconds for _, seconds in parts)
        return 0 if room_s <= 0 else self.fitting(self._recipe.trials, room_s)

    def fitting(self, most: int, room_s: float) -> int:
        """Return how many of at most ``most`` candidates can be trained in a time; one at least."""
        durations = self.durations
        found = bisect.bisect_right(range(1, most + 1), room_s, key=lambda count: durations.training_s(count) or 0.0)
        return max(1, found)

    def _between_part(self, number: int) -> list[tuple[str, float]]:
        recipe, rounds = self._recipe, self.rounds_from(max(1, number))
        if not self._measures_after_rounds:
            return []
        count = min(recipe.measuring.per_round, -(-(recipe.trials - self._beliefs.trials) // rounds))
        when = "meanwhile" if self.measures_beside else "after it" if rounds == 1 else "after each"
        return [(f"measure up to {count} {when}", self._pauses(rounds) * self.durations.pace.measuring_s(count))]

    def _winners_part(self) -> list[tuple[str, float]]:
        count = self._planned_winners()
        winners = f"{count} winner{'s' * (count != 1)}"
        training = "tune on" if self.durations.tunes_on else "retrain"
        return [(f"{training}, export, measure and test up to {winners}", self.durations.winners_s(count))]


def _priced(part: tuple[str, float | None]) -> str:
    """Return a stage with its time, as far as that is known."""
    text, seconds = part
    return text if seconds is None else f"{text} ({duration_text(seconds)})"
