"""How long stages should take, and what fits into a search time. The clock and what was seen are given."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from made_schedule import ARCHITECTURES, Clock, schedule, trained, usual_s
from made_up_beliefs import beliefs_of
from parted_space import Parted
from predicted_latency import measured
from tiny_space import TinySpace

from nas.recipe.recipe import Recipe
from nas.searching.durations import AGAIN_S, Durations
from nas.searching.measuring_pace import MEASURING, STARTUP_S
from nas.searching.schedule import Schedule
from nas.space.architecture import Architecture, Choice
from nas.values.evaluation import Evaluation


class TestEstimates:
    def test_of_trainings_follow_from_those_seen(self) -> None:
        """Winners train twice as many epochs on a quarter more images."""
        planned = schedule(trained(4.0), trained(8.0))
        assert planned.durations.training_s(3) == pytest.approx(3 * 6.0)
        assert planned.durations.retraining_s(1) == pytest.approx(2 * 1.25 * planned.durations.training_s(1))

    def test_of_winners_do_not_grow_with_folds(self) -> None:
        """A candidate in four folds trains on three times all images in an epoch, and a winner on all once."""
        planned = schedule(trained(6.0), training={"folds": 4})
        assert planned.durations.training_s(1) == pytest.approx(6.0)
        assert planned.durations.retraining_s(1) == pytest.approx(2 * 6.0 / 3)

    def test_of_trainings_are_unknown_at_first(self) -> None:
        """Until a guess is given."""
        planned = schedule()
        assert planned.durations.training_s(1) is None
        assert planned.durations.retraining_s(1) is None
        planned.durations.guess = 0.5
        assert planned.durations.training_s(2) == pytest.approx(2 * 8 * 0.5)

    def test_of_the_shortest_run_add_up(self) -> None:
        """Five models are measured, one candidate is trained, and one winner is made."""
        planned = schedule(trained(4.0))
        durations = planned.durations
        parts_s = durations.pace.measuring_s(5), 4.0, 2 * 1.25 * 4.0, durations.pace.finishing_s(1)
        assert planned.least_s == pytest.approx(sum(parts_s))


class Tuned(TinySpace):
    """A space in which candidates fit a head alone, or tune all; the first of all fits its head."""

    first = (Architecture({"width": 4, "depth": 0, "tune": "head", "augment": False}),)
    choices = (
        *TinySpace.choices,
        Choice("tune", ("head", "all"), affects="training"),
        Choice("augment", (False,), when=("tune", ("head",)), affects="training"),
    )


class Begun(Tuned):
    """The same, and training begins from weights that were trained on other data."""

    def start(self, architecture: Architecture, module: torch.nn.Module) -> None:
        """Load none: nothing is trained here."""


def tuned(architecture: Architecture, seconds: float) -> Evaluation:
    passed = {"epochs": 1, "fitted": True} if architecture["tune"] == "head" else {"epochs": 8}
    return Evaluation("train", architecture, 1, values={"error": 0.5}, details={"seconds": seconds, **passed})


HEAD = Architecture({"width": 8, "depth": 0, "tune": "head", "augment": False})
WHOLE = Architecture({"width": 8, "depth": 0, "tune": "all"})


class TestHeads:
    """Heads that are fitted in one pass, beside candidates that are tuned in epochs."""

    @staticmethod
    def schedule(*rows: Evaluation, objectives: tuple[str, ...] = ("error", "latency_ms")) -> Schedule:
        recipe = Recipe.from_mapping({"execution": {"executor": "inline"}})
        beliefs = beliefs_of(objectives=objectives, rows=rows, space=Tuned())
        return Schedule(recipe, beliefs, Clock(), Durations(recipe, beliefs, (80, 20)))

    def test_a_head_is_priced_as_a_head(self) -> None:
        """By a guess, and then by those that were seen, which tell nothing of epochs."""
        planned = self.schedule()
        planned.durations.guess = 1.0
        assert planned.durations.candidate_s(WHOLE) == 8.0
        assert planned.durations.candidate_s(HEAD) < 1.0
        assert planned.durations.training_s(1) == planned.durations.candidate_s(HEAD)  # the space names it first
        seen = self.schedule(tuned(HEAD, 3.0), tuned(WHOLE, 40.0))
        assert (seen.durations.candidate_s(HEAD), seen.durations.candidate_s(WHOLE)) == (3.0, 40.0)
        assert 3.0 < (seen.durations.training_s(11) or 0.0) / 11 < 40.0

    def test_modules_that_fit_themselves_are_known_by_those_seen(self) -> None:
        """No setting says so, and no epoch was seen; a plan that was asked before is asked again."""
        rows = [Evaluation("train", a, 1, values={"error": 0.5}, details={"seconds": 2.0, "epochs": 1, "fitted": True})
                for a in ARCHITECTURES[:3]]  # fmt: skip
        recipe = Recipe.from_mapping({"execution": {"executor": "inline"}})
        beliefs = beliefs_of(objectives=("error", "latency_ms"))
        planned = Schedule(recipe, beliefs, Clock(), Durations(recipe, beliefs, (80, 20)))
        assert planned.durations.training_s(2) is None
        beliefs.add(*rows)
        assert planned.durations.training_s(2) == pytest.approx(4.0)
        assert planned.durations.retraining_s(1) == pytest.approx(1.25 * 2.0)

    def test_candidates_that_are_not_trained_take_no_time_of_a_training(self) -> None:
        """A score takes milliseconds, whatever the few trainings took that check it."""
        check = Evaluation("check", WHOLE, 1, values={"error": 0.5}, details={"seconds": 40.0, "epochs": 8})
        recipe = Recipe.from_mapping({"execution": {"executor": "inline"}, "evaluate": "zero-cost"})
        planned = Durations(recipe, beliefs_of(rows=[check], space=Tuned()), (80, 20))
        assert planned.candidate_s(WHOLE) == 0.0
        assert planned.retraining_s(1) is not None

    def test_scores_do_not_price_winners(self) -> None:
        """A score takes milliseconds, and the retraining of a winner minutes."""
        details = {"seconds": 80.0, "epochs": 8}, {"seconds": 0.05, "epochs": 1, "by": "zero-cost"}
        check = Evaluation("check", ARCHITECTURES[1], 1, values={"error": 0.5}, details=details[0])
        score = Evaluation("train", ARCHITECTURES[0], 1, values={"error": 0.5}, details=details[1])
        recipe = Recipe.from_mapping({"execution": {"executor": "inline"}, "evaluate": "zero-cost"})
        planned = Durations(recipe, beliefs_of(objectives=("error", "macs"), rows=[check, score]), (80, 20))
        assert planned.retraining_s(1) == pytest.approx(2 * 1.25 * 80)
        assert planned.making_s(ARCHITECTURES[:1]) > 2 * 80

    def test_small_networks_take_less_time_where_that_was_seen(self) -> None:
        """By their multiply-accumulates: what is too slow at a high resolution may still fit at a low one."""
        beliefs = beliefs_of(objectives=("error", "latency_ms"))
        macs = {each: beliefs.counted(each)["macs"] for each in ARCHITECTURES}
        in_order = sorted(ARCHITECTURES, key=lambda each: macs[each])
        small, middle, large = in_order[0], in_order[7], in_order[-1]
        planned = schedule().durations
        planned.guess, planned.guess_macs = 2.0, macs[middle]
        assert planned.candidate_s(small) == planned.candidate_s(large) == planned.candidate_s(middle)
        usual_s = planned.candidate_s(middle)
        planned.growth = 0.5
        assert planned.candidate_s(middle) == pytest.approx(usual_s)
        assert planned.candidate_s(small) == pytest.approx(usual_s * (macs[small] / macs[middle]) ** 0.5)
        assert planned.candidate_s(large) == pytest.approx(usual_s * (macs[large] / macs[middle]) ** 0.5)
        assert planned.least_candidate_s == pytest.approx(planned.candidate_s(small))

    def test_large_heads_take_longer_than_small_ones(self) -> None:
        """One pass over the items grows with the network, whether heads were seen before or only guessed."""
        head, large = HEAD, Architecture({**HEAD, "width": 16, "depth": 2})
        beliefs = beliefs_of(space=Tuned())
        macs = [beliefs.counted(each)["macs"] for each in (head, large)]
        seen = tuned(head, 3.0)
        for rows in ([], [replace(seen, values={**seen.values, "macs": macs[0]})]):
            planned = self.schedule(*rows).durations
            planned.guess, planned.guess_macs, planned.growth = 1.0, macs[0], 1.0
            assert planned.candidate_s(large) == pytest.approx(planned.candidate_s(head) * macs[1] / macs[0])
            assert macs[1] > 1.5 * macs[0]

    def test_a_parent_is_no_training_and_prices_none(self) -> None:
        """It takes one pass. What is planned for others, and the least of them, is the price of a training."""
        recipe = Recipe.from_mapping({"execution": {"executor": "inline"}})
        planned = Durations(recipe, beliefs_of(objectives=("error", "latency_ms"), space=Parted()), (80, 20))
        planned.guess = 1.0
        assert planned.candidate_s(Parted.parent) == 0.0
        assert planned.training_s(1) == planned.least_candidate_s == 8.0

    def test_a_parent_stays_as_it_came_and_takes_no_training(self) -> None:
        came = Evaluation("train", ARCHITECTURES[0], 1, values={"error": 0.5}, details={"seconds": 0.1, "epochs": 0})
        a_training = replace(came, architecture=ARCHITECTURES[1], details={"seconds": 40.0, "epochs": 8})
        recipe = Recipe.from_mapping({"execution": {"executor": "inline"}})
        beliefs = beliefs_of(objectives=("error", "latency_ms"), rows=[came, a_training])
        planned = Durations(recipe, beliefs, (80, 20))
        alone, both = planned.making_s(ARCHITECTURES[1:2]), planned.making_s(ARCHITECTURES[:2])
        assert both - alone == pytest.approx(planned.pace.finishing_s(2) - planned.pace.finishing_s(1))

    def test_what_saw_all_items_takes_no_longer_as_a_winner(self) -> None:
        """N-grams take all items at once, whatever share of them the others see."""
        details = {"seconds": 6.0, "epochs": 1, "fitted": True, "subset": 1.0}
        row = Evaluation("train", ARCHITECTURES[0], 1, values={"error": 0.5}, details=details)
        recipe = Recipe.from_mapping({"execution": {"executor": "inline"}, "training": {"subset": 0.1}})
        planned = Durations(recipe, beliefs_of(objectives=("error", "macs"), rows=[row]), (80, 20))
        assert planned.retraining_s(1) == pytest.approx(1.25 * 6.0)

    def test_winners_are_those_that_would_be_chosen_now(self) -> None:
        """Heads are fitted again, on a quarter more items; other winners train twice as many epochs."""
        head, whole = tuned(HEAD, 3.0), tuned(WHOLE, 40.0)
        for better, worse, expected in ((head, whole, 3.0), (whole, head, 2 * 40.0)):
            rows = replace(better, values={"error": 0.1}), replace(worse, values={"error": 0.9})
            planned = self.schedule(*rows, measured(HEAD, 1.0), measured(WHOLE, 1.0), objectives=("error", "macs"))
            assert planned.durations.retraining_s(1) == pytest.approx(1.25 * expected)
        assert planned.durations.making_s([HEAD]) < planned.durations.making_s([WHOLE]) < 1.25 * 80 + 20

    def test_tuning_on_is_an_epoch_on_all_items(self) -> None:
        """Of eight epochs in 40 s; what keeps its weights costs no training."""
        planned = self.schedule(tuned(WHOLE, 40.0), objectives=("error", "macs")).durations
        left = planned.making_s([WHOLE], as_trained=[WHOLE])
        assert planned.making_s([WHOLE], tuned_on=[WHOLE]) - left == pytest.approx(1.25 * 40 / 8)
        assert planned.making_s([WHOLE]) - left == pytest.approx(2 * 1.25 * 40)

    @pytest.mark.parametrize("subset", [1.0, 0.5])
    def test_what_was_tuned_from_trained_weights_is_tuned_on_as_a_winner(self, subset: float) -> None:
        """For an epoch; the time of retraining is worth more in candidates. But not if it saw a share of the items."""
        recipe = Recipe.from_mapping({"execution": {"executor": "inline"}, "training": {"subset": subset}})
        beliefs = beliefs_of(objectives=("error", "macs"), rows=[tuned(WHOLE, 40.0)], space=Begun())
        planned = Schedule(recipe, beliefs, Clock(), Durations(recipe, beliefs, (80, 20)))
        retrained_s = planned.durations.retraining_s(1)
        assert "retrain, export" in planned.text(1)
        planned = Schedule(recipe, beliefs, Clock(), Durations(recipe, beliefs, (80, 20)))
        planned.durations.may_tune_on = True
        if subset < 1:
            assert planned.durations.retraining_s(1) == retrained_s
            return
        assert planned.durations.retraining_s(1) == pytest.approx(1.25 * 40 / 8)
        assert "tune on, export" in planned.text(1)
        assert planned.durations.making_s([WHOLE]) > 2 * 1.25 * 40  # where it is retrained, that is its price

    def test_workers_that_begin_again_for_winners_take_time(self) -> None:
        """Unless nothing is trained, or all of it in this process."""
        planned = self.schedule(tuned(WHOLE, 40.0), objectives=("error", "macs")).durations
        made, left = planned.making_s([WHOLE]), planned.making_s([WHOLE], as_trained=[WHOLE])
        assert planned.again_s == 0.0
        planned.again_s = AGAIN_S
        assert planned.making_s([WHOLE]) == pytest.approx(made + AGAIN_S)
        assert planned.making_s([WHOLE], as_trained=[WHOLE]) == left
        assert planned.retraining_s(1) == pytest.approx(2 * 1.25 * 40 + AGAIN_S)

    def test_one_candidate_is_one_winner(self) -> None:
        """More are not planned for before there are more."""
        planned = self.schedule(tuned(WHOLE, 40.0), objectives=("error", "macs"))
        assert planned.durations.retraining_s(4) == planned.durations.retraining_s(1) == pytest.approx(1.25 * 80)

    def test_a_space_whose_networks_are_all_measured_first_needs_no_time_after_rounds(self) -> None:
        """There are fifteen networks, and twice as many candidates."""
        planned = self.schedule()
        assert "after" not in planned.text(0)
        assert "measure 15 models" in planned.text(0)


class TestWithoutASearchTime:
    def test_everything_fits(self) -> None:
        planned = schedule(trials=40)
        assert planned.first_count() == 16
        assert planned.left_s == planned.end_of_round_s(1) == math.inf
        assert planned.rounds_from(1) == 3
        assert planned.has_time_to_make(ARCHITECTURES)
        assert planned.has_time_for_round()
        assert planned.has_time_for_first(100)
        assert planned.has_time_to_measure(100)

    def test_the_plan_has_all_stages(self) -> None:
        """With how many, and how long each should take."""
        planned = schedule(trials=8)
        planned.durations.guess = 0.1
        text = planned.text(0)
        stages = (
            "measure 8 models (12 s)",
            "8 candidates in 1 round",
            "up to 6 after it",
            "up to 4 winners",
            " in all",
        )
        assert all(words in text for words in stages)


class TestInASearchTime:
    def test_less_is_measured_first(self) -> None:
        """At least five, which a predictor needs."""
        assert schedule(search_time_s=3600).first_count() == 16
        assert 5 < schedule(search_time_s=45).first_count() < 16
        assert schedule(search_time_s=1).first_count() == 5

    def test_a_few_are_measured_before_the_others_to_learn_the_pace(self) -> None:
        """A slow machine measures no more than these."""
        planned = schedule(search_time_s=60)
        assert planned.next_count() == 5
        planned.durations.pace.learn(MEASURING, 5, 6 * (STARTUP_S + usual_s(5)))
        assert planned.next_count() == 5
        quick = schedule(search_time_s=60)
        quick.durations.pace.learn(MEASURING, 5, STARTUP_S + usual_s(5))
        assert quick.next_count() == 16
        assert schedule().next_count() == 16

    def test_one_or_two_that_would_be_left_are_measured_with_the_first_few(self) -> None:
        """Alone they take twice as long: each start of measuring has its own export and its own references."""

        for widths, expected in ((6, 16), (7, 16), (8, 5)):
            space = TinySpace()
            space.choices = (Choice("width", tuple(range(4, 4 + widths))), Choice("depth", (0,)))
            recipe = Recipe.from_mapping({"search_time_s": 3600.0, "execution": {"executor": "inline"}})
            beliefs = beliefs_of(objectives=("error", "latency_ms"), space=space)
            assert Schedule(recipe, beliefs, Clock(), Durations(recipe, beliefs, (80, 20))).next_count() == expected

    def test_less_time_never_means_more_before_the_pace_is_known(self) -> None:
        """Where the time allows seven of sixteen by a guess, five come first."""
        planned = [schedule(search_time_s=half / 2) for half in range(2, 200)]
        assert {each.first_count() for each in planned} > {6, 7, 8}
        counts = [each.next_count() for each in planned]
        assert counts == sorted(counts)
        assert set(counts) == {5}

    def test_the_pace_is_learned_anew_when_a_load_goes_away(self) -> None:
        """Two quick measurings outweigh any number of slow ones; the newest trainings tell how long an epoch takes."""
        planned, usual = schedule(search_time_s=3600), usual_s(5)
        planned.durations.pace.learn(MEASURING, 5, 8 * (STARTUP_S + usual))
        for _ in range(6):
            planned.durations.pace.learn(MEASURING, 5, 8 * usual)
        assert planned.durations.pace.measuring_s(5) == pytest.approx(8 * usual)
        for _ in range(2):
            planned.durations.pace.learn(MEASURING, 5, usual)
        assert planned.durations.pace.measuring_s(5) == pytest.approx(2.75 * usual)
        slow, quick = ([trained(seconds)] * 20 for seconds in (9.0, 1.0))
        assert schedule(*slow, *quick).durations.training_s(1) == schedule(*quick).durations.training_s(1)

    def test_measurements_that_are_kept_are_followed_by_others(self) -> None:
        """They take no time, so nothing is learned of the pace, and a second run would end with five."""
        kept = [measured(architecture, 1.0) for architecture in ARCHITECTURES[:15]]
        for known, expected in ((0, 5), (5, 10), (10, 16), (15, 16)):
            planned = schedule(*kept[:known], search_time_s=3600)
            planned.durations.pace.learn(MEASURING, 0, 0.1)
            assert planned.next_count() == expected

    def test_intervals_are_narrowed_as_long_as_there_is_time(self) -> None:
        """First in the share of first measurements, then before the winners' time, and last up to the end."""
        clock = Clock()
        first, rounds = schedule(search_time_s=100, clock=clock), schedule(trained(1.0), search_time_s=100, clock=clock)
        last = Evaluation("retrain", ARCHITECTURES[0])
        winners = schedule(trained(1.0), last, search_time_s=100, clock=clock)
        assert [each.has_time_to_repeat() for each in (first, rounds, winners)] == [True, True, True]
        clock.now_s = 31
        assert [each.has_time_to_repeat() for each in (first, rounds, winners)] == [False, True, True]
        clock.now_s = 99
        assert [each.has_time_to_repeat() for each in (first, rounds, winners)] == [False, False, True]
        clock.now_s = 101
        assert not winners.has_time_to_repeat()
        assert schedule(clock=clock).has_time_to_repeat()

    def test_a_round_without_time_does_not_begin(self) -> None:
        """What the winners need is kept for them."""
        clock = Clock()
        planned = schedule(trained(2.0), search_time_s=100, clock=clock)
        assert planned.has_time_for_round()
        clock.now_s = 100 - planned.reserve_s
        assert not planned.has_time_for_round()
        assert not planned.has_time_to_measure(1)

    def test_an_extended_run_keeps_winners_a_share_of_the_time_that_was_added(self) -> None:
        """A run of an hour goes on for three minutes: half of an hour would leave none of them for training."""
        clock = Clock()
        clock.now_s = 3600
        keys: dict[str, Any] = {"search_time_s": 3600 + 180, "clock": clock, "retraining": {"winners": 20}}
        planned = schedule(trained(10.0), before_s=3600, **keys)
        assert planned.reserve_s <= 90
        assert planned.has_time_for_round()
        assert not schedule(trained(10.0), **keys).has_time_for_round()

    def test_a_plan_promises_no_more_trainings_than_fit(self) -> None:
        """Of 40 trainings of ten seconds each, a search of a minute does some."""
        planned = schedule(trained(10.0), trials=40, search_time_s=60)
        assert "evaluate about 2 of 14 candidates, as fits, in 3 rounds" in planned.text(1)
        assert "evaluate 9 candidates" in schedule(trained(0.01), trials=10, search_time_s=600).text(1)

    def test_rounds_end_before_the_time_of_the_winners(self) -> None:
        """The last one, and what is measured after it."""
        planned = schedule(trained(2.0), search_time_s=60, measuring={"initial": 5})
        assert planned.rounds_from(1) < 3
        end_s = planned.end_of_round_s(1)
        assert 0 < end_s <= 60 - planned.reserve_s - planned.durations.pace.measuring_s(6) + 1e-9
        longer = schedule(trained(2.0), search_time_s=1000, measuring={"initial": 5})
        assert longer.rounds_from(1) == 3
        assert longer.end_of_round_s(1) < longer.end_of_round_s(3) / 2

    def test_winners_are_made_as_long_as_they_fit(self) -> None:
        """What was retrained before is only finished. Some seconds that are missing are no reason to make fewer."""
        clock, chosen = Clock(), ARCHITECTURES[:1]
        planned = schedule(trained(10.0), search_time_s=1000, clock=clock)
        assert planned.has_time_to_make(chosen)
        takes_s = planned.durations.making_s(chosen)
        clock.now_s = 1000 - takes_s + 19
        assert planned.has_time_to_make(chosen)
        clock.now_s = 1000 - takes_s + 21
        assert not planned.has_time_to_make(chosen)
        retrained = schedule(trained(10.0), Evaluation("retrain", chosen[0]), search_time_s=1000, clock=clock)
        assert retrained.has_time_to_make(chosen)

    def test_a_table_needs_no_time_for_winners(self) -> None:
        """Its search time is divided among the rounds alone."""
        planned = schedule(search_time_s=90, evaluate="table", table={"path": "t.csv"})
        assert planned.end_of_round_s(1) == pytest.approx(30)
        assert planned.first_count() == 16
        assert planned.has_time_to_make(ARCHITECTURES)
