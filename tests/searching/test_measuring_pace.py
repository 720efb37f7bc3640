"""How long measuring models and finishing winners should take."""

from __future__ import annotations

import pytest
from made_schedule import schedule, usual_s
from made_up_beliefs import beliefs_of

from nas.recipe.recipe import Recipe
from nas.searching.durations import Durations
from nas.searching.measuring_pace import FINISHING, LAYER_S, MEASURING, STARTUP_S, USUAL_S
from nas.values.metric import SUSTAINED


def test_sustained_latencies_have_their_time() -> None:
    """For winners alone, or for all models where it is an objective or a limit."""
    measuring = {"sustained_s": 100.0}
    plain = schedule(measuring=measuring).durations
    winners = schedule(measuring={**measuring, "sustain_winners": True}).durations
    assert winners.pace.measuring_s(3) == plain.pace.measuring_s(3)
    assert winners.pace.finishing_s(3) == pytest.approx(plain.pace.finishing_s(3) + 300)
    recipe = Recipe.from_mapping({"execution": {"executor": "inline"}, "measuring": measuring})
    limited = Durations(recipe, beliefs_of(objectives=("error", SUSTAINED)), (80, 20))
    assert limited.pace.measuring_s(3) == pytest.approx(plain.pace.measuring_s(3) + 300)
    assert limited.pace.finishing_s(3) == pytest.approx(plain.pace.finishing_s(3) + 300)


def test_networks_of_many_layers_take_longer() -> None:
    """Most of that is exporting them."""
    planned = schedule().durations.pace
    measuring_s, finishing_s = planned.measuring_s(4), planned.finishing_s(4)
    planned.layers = 100
    assert planned.measuring_s(4) - measuring_s == pytest.approx(4 * 100 * LAYER_S)
    assert planned.finishing_s(4) - finishing_s == pytest.approx(4 * 100 * LAYER_S)


def test_each_target_takes_its_own_time() -> None:
    """Candidates are measured on those that are asked for, and winners on all."""
    recipe = Recipe.from_mapping({"target": ["onnxruntime-cpu", "pi/onnxruntime-cpu"]})
    one, both = (
        Durations(recipe, beliefs_of(objectives=("error", "latency_ms", *more))) for more in ((), ("pi/latency_ms",))
    )
    alone = Durations(Recipe(), beliefs_of())
    assert one.pace.measuring_s(4) == pytest.approx(STARTUP_S + usual_s(4))
    assert both.pace.measuring_s(4) == pytest.approx(STARTUP_S + 2 * usual_s(4))
    assert one.pace.finishing_s(2) - alone.pace.finishing_s(2) == pytest.approx(
        USUAL_S[FINISHING][0] + 2 * USUAL_S[FINISHING][1]
    )


def test_sustained_latencies_take_time_on_the_targets_that_have_one() -> None:
    """A limit on one target costs nothing on the other; those of winners are measured on all."""
    keys = {"target": ["onnxruntime-cpu", "pi/onnxruntime-cpu"], "measuring": {"sustained_s": 100.0}}
    objectives = ("error", "latency_ms", "pi/latency_ms")
    plain, one = (
        Durations(Recipe.from_mapping(keys), beliefs_of(objectives=(*objectives, *more)))
        for more in ((), (f"pi/{SUSTAINED}",))
    )
    assert one.pace.measuring_s(3) == pytest.approx(plain.pace.measuring_s(3) + 300)
    assert one.pace.finishing_s(3) == pytest.approx(plain.pace.finishing_s(3) + 300)
    sustaining = Recipe.from_mapping({**keys, "measuring": {"sustained_s": 100.0, "sustain_winners": True}})
    winners = Durations(sustaining, beliefs_of(objectives=objectives))
    assert winners.pace.finishing_s(3) == pytest.approx(plain.pace.finishing_s(3) + 600)


def test_it_follows_the_machine() -> None:
    """A machine that takes twice as long does so with other numbers of models, and with stages not seen yet."""
    planned = schedule()
    before = planned.durations.pace.measuring_s(4), planned.durations.pace.finishing_s(4)
    planned.durations.pace.learn(MEASURING, 10, 2 * (STARTUP_S + usual_s(10)))
    assert planned.durations.pace.measuring_s(4) == pytest.approx(2 * (before[0] - STARTUP_S))
    assert planned.durations.pace.finishing_s(4) == pytest.approx(2 * before[1])
    planned.durations.pace.learn(FINISHING, 4, before[1])
    assert planned.durations.pace.finishing_s(4) < 1.5 * before[1]
    planned.durations.pace.learn(MEASURING, 0, 100.0)
    assert planned.durations.pace.measuring_s(4) == pytest.approx(2 * usual_s(4))


def test_small_models_that_were_measured_quickly_make_no_winner_quicker() -> None:
    """What lies between rounds may be small; winners are large ones too, and they are tested."""
    planned = schedule()
    before = planned.durations.pace.finishing_s(4)
    planned.durations.pace.learn(MEASURING, 16, STARTUP_S + usual_s(16))
    planned.durations.pace.learn(MEASURING, 6, 0.5 * usual_s(6))
    assert planned.durations.pace.finishing_s(4) == pytest.approx(before)
    planned.durations.pace.learn(FINISHING, 4, 0.5 * before)
    assert planned.durations.pace.finishing_s(4) < before


def test_one_measuring_that_waited_for_another_run_is_forgotten() -> None:
    planned = schedule()
    before = planned.durations.pace.finishing_s(4)
    planned.durations.pace.learn(MEASURING, 16, 20 * (STARTUP_S + usual_s(16)))
    for _ in range(3):
        planned.durations.pace.learn(MEASURING, 6, usual_s(6))
    assert planned.durations.pace.finishing_s(4) == pytest.approx(before)
