"""The sampler is told how trainings ended, and which objectives are known before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_predictor import Settings
from made_up_beliefs import beliefs_of
from predicted_latency import ALL, fitted, measured
from quick_runs import OneChoice

from nas.recipe.training_sections import EarlyStoppingRecipe
from nas.searching.beliefs import Beliefs
from nas.searching.evaluating.stopping import Stopping
from nas.searching.proposer import Told
from nas.searching.sampler_feedback import known_costs, known_losses, told
from nas.space.architecture import Architecture, Choice
from nas.space.layer import total_macs
from nas.values.evaluation import Evaluation, Failure


def beliefs_after(
    rows: Sequence[Evaluation], objectives: Sequence[str] = ("error", "latency_ms"), limits: Sequence[str] = ()
) -> Beliefs:
    """Return beliefs with a predictor of a microsecond for each 1,000 MACs."""
    beliefs = beliefs_of(*limits, objectives=objectives, rows=rows)
    beliefs.rely_on({"latency_ms": fitted(beliefs, Settings())})
    return beliefs


def told_of(
    rows: Sequence[Evaluation], objectives: Sequence[str] = ("error", "latency_ms"), limits: Sequence[str] = ()
) -> dict[Architecture, Told]:
    beliefs = beliefs_after(rows, objectives, limits)
    return {row.architecture: told(beliefs, row) for row in rows}


def trained(architecture: Architecture, curve: Sequence[float], *, stopped: bool = False) -> Evaluation:
    details = {"curve": list(curve), "epochs": len(curve), "stopped_early": stopped}
    return Evaluation("train", architecture, values={"error": curve[-1]}, details=details)


def test_durations_are_told_of_trainings_that_ran_to_their_end() -> None:
    """The time of a stopped training says nothing about a whole one."""
    rows = [
        replace(row, details={**row.details, "seconds": seconds})
        for row, seconds in ((trained(ALL[0], [0.2, 0.1]), 8.0), (trained(ALL[1], [0.3], stopped=True), 3.0))
    ]
    found = told_of(rows)
    assert [found[architecture].seconds for architecture in ALL[:2]] == [8.0, None]


def test_a_parent_that_was_not_trained_says_nothing_about_trainings() -> None:
    """Neither how long they take, nor how far errors fall after an early epoch."""
    parent = trained(ALL[0], (0.1, 0.1))
    parent = replace(parent, details={**parent.details, "epochs": 0, "seconds": 0.5})
    rows = [parent, trained(ALL[1], (0.6, 0.3)), trained(ALL[2], (0.5,), stopped=True)]
    found = told_of(rows)
    assert found[ALL[0]].seconds is None
    assert found[ALL[0]].losses is not None
    expected = found[ALL[2]].expected
    assert expected is not None
    assert expected[0] == pytest.approx(0.25)


def test_a_parent_that_was_not_trained_does_not_judge_early_errors() -> None:
    """Its one error stands for all epochs, so it would rank itself well."""
    parent = trained(ALL[0], (0.1, 0.1))
    parent = replace(parent, details={**parent.details, "epochs": 0})
    others = [trained(ALL[place], (0.9 - 0.1 * place, 0.5 - 0.1 * place)) for place in (1, 2, 3)]
    judged: list[object] = []
    for rows in ([parent, *others[:2]], others):
        state = SimpleNamespace(
            beliefs=beliefs_after(rows),
            recipe=SimpleNamespace(stopping=EarlyStoppingRecipe(check=3)),
            journal=SimpleNamespace(rows=lambda kind: [], append=judged.append),
            progress=SimpleNamespace(say=lambda text: None),
        )
        stopping = Stopping(state, 2)  # type: ignore[arg-type]
        stopping.record(ALL[4], 1, 0.9)
        stopping.goes_on(ALL[4], 1)
        assert len(judged) == (rows is others)


def test_stopped_trainings_are_expected_to_improve_as_finished_ones_did() -> None:
    """The median ratio from the epoch of the stop to the end applies; costs are the architecture's own."""
    rows = [
        trained(ALL[0], (0.8, 0.4, 0.2)),
        trained(ALL[1], (0.6, 0.5, 0.3)),
        trained(ALL[2], (0.9, 0.5, 0.1)),
        trained(ALL[3], (0.7,), stopped=True),
        trained(ALL[4], (0.7, 0.6), stopped=True),
        Evaluation("train", ALL[5], failure=Failure("nan", "the loss is NaN")),
    ]
    found = told_of(rows)
    first, second = found[ALL[3]].expected, found[ALL[4]].expected
    assert first is not None
    assert second is not None
    assert first[0] == pytest.approx(0.7 * 0.25)
    assert second[0] == pytest.approx(0.6 * 0.5)
    assert first[1:] == known_losses(beliefs_after(rows), ALL[3])
    assert found[ALL[3]].losses is None
    assert found[ALL[3]].stopped
    assert found[ALL[0]].losses is not None
    assert found[ALL[0]].losses[0] == 0.2
    assert found[ALL[5]] == Told(ALL[5], None, {})


class Longer(OneChoice):
    """Only the narrow networks choose how long they are trained."""

    choices = (*OneChoice.choices, Choice("epochs", (2, 3), when=("width", (2, 3)), affects="training"))


def test_curves_of_as_many_epochs_are_compared_also_without_a_choice() -> None:
    """A choice of epochs may depend on another one, and be missing."""
    short, longer, stopped = (Architecture({"width": w, "epochs": e}) for w, e in ((2, 2), (2, 3), (3, 3)))
    free, ended = Architecture({"width": 4}), Architecture({"width": 5})
    rows = [
        *(trained(short, (0.8, 0.1)), trained(longer, (0.8, 0.6, 0.4)), trained(free, (0.8, 0.7, 0.7, 0.6))),
        *(trained(stopped, (0.4,), stopped=True), trained(ended, (0.4,), stopped=True)),
    ]
    beliefs = beliefs_of(space=Longer(), rows=rows)
    assert told(beliefs, rows[3]).expected == (pytest.approx(0.2),)
    assert told(beliefs, rows[4]).expected == (pytest.approx(0.3),)


def test_stopped_trainings_exceed_limits_by_their_expected_error() -> None:
    """A hopeless one does not count as just within a limit."""
    rows = [trained(ALL[0], (0.8, 0.2)), trained(ALL[3], (0.7,), stopped=True)]
    found = told_of(rows, limits=["error <= 10%"])
    assert found[ALL[0]].excesses == {"error": pytest.approx(1.0)}
    assert found[ALL[3]].excesses == {"error": pytest.approx(0.75)}


def test_nothing_is_expected_before_a_training_has_ended() -> None:
    """There is no ratio to expect by."""
    assert told_of([trained(ALL[3], (0.7,), stopped=True)])[ALL[3]] == Told(ALL[3], None, {}, stopped=True)


def test_costs_are_known_beforehand_and_measured_before_predicted() -> None:
    """The error is not known beforehand."""
    beliefs = beliefs_after([measured(ALL[1], 0.5)], ("macs", "error", "latency_ms"))
    costs = known_costs(beliefs)
    assert sorted(costs) == [0, 2]
    macs = costs[0](ALL[:3])
    assert macs.tolist() == [total_macs(beliefs.describer.layers(a)) for a in ALL[:3]]
    assert costs[2](ALL[:3]) == pytest.approx([1e-3 + 1e-6 * macs[0], 0.5, 1e-3 + 1e-6 * macs[2]], rel=0.05)


def test_no_cost_is_known_where_every_objective_would_be() -> None:
    """Otherwise the sampler had nothing to learn."""
    assert known_costs(beliefs_after([], ("macs", "latency_ms"))) == {}
