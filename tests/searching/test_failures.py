"""Ten failures in a row end a run, with what they have in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tiny_space import TinySpace

from nas.errors import RepeatedFailureError
from nas.searching.failures import FAILURES_IN_A_ROW, NOT_DESCRIBED, RepeatedFailures
from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space
from nas.values.evaluation import Evaluation, Failure, Stage

TEN = tuple(enumerate_space(TinySpace()))[:FAILURES_IN_A_ROW]


def failed(architecture: Architecture, kind: str = "nan", stage: Stage = "train") -> Evaluation:
    return Evaluation(stage, architecture, failure=Failure(kind, "it went wrong"))


def unbuildable(architecture: Architecture) -> Evaluation:
    return Evaluation("train", architecture, failure=Failure("build", "no such width"), details=NOT_DESCRIBED)


@pytest.mark.parametrize("kind", ["nan", "build"])
def test_an_architecture_that_can_be_described_does_not_interrupt_failures_to_train(kind: str) -> None:
    """Ten failed trainings in a row are ten, though the layers of each were described before."""
    failures = RepeatedFailures()
    for architecture in TEN:
        failures.check()
        failures.forget_unbuildable()
        failures.add(failed(architecture, kind))
    with pytest.raises(RepeatedFailureError):
        failures.check()


def test_an_architecture_that_can_be_built_interrupts_failures_to_build() -> None:
    """Ten that cannot be built end a run, unless one in between could be built."""
    failures = RepeatedFailures()
    for architecture in TEN[:-1]:
        failures.add(unbuildable(architecture))
    failures.forget_unbuildable()
    failures.add(unbuildable(TEN[-1]))
    failures.check()
    for architecture in TEN[1:]:
        failures.add(unbuildable(architecture))
    with pytest.raises(RepeatedFailureError):
        failures.check()


@pytest.mark.parametrize("succeeded", [lambda a: Evaluation("train", a), lambda a: Evaluation("measure", a)])
def test_a_success_interrupts_failures(succeeded: Callable[[Architecture], Evaluation]) -> None:
    """Nine failures before a success and nine after it end no run."""
    failures = RepeatedFailures()
    for _ in range(2):
        for architecture in TEN[1:]:
            failures.add(failed(architecture))
        failures.check()
        failures.add(succeeded(TEN[0]))


def test_winners_are_counted_apart() -> None:
    """A retraining that works does not hide that ten winners in a row failed."""
    failures = RepeatedFailures()
    for architecture in TEN:
        failures.check()
        failures.add(Evaluation("retrain", architecture))
        failures.add(failed(architecture, "export", "winner"))
    with pytest.raises(RepeatedFailureError, match="10 retrained winners in a row failed, so the run stops"):
        failures.check()


def test_a_winner_is_not_blamed_for_the_evaluations_before_it() -> None:
    """A run that goes on after ten failed look-ups at its end must not stop at its first winner."""
    failures = RepeatedFailures()
    for architecture in TEN:
        failures.add(failed(architecture, stage="measure"))
    with pytest.raises(RepeatedFailureError):
        failures.check()
    failures.add(Evaluation("winner", TEN[0]))
    failures.check()


def test_the_message_names_reason_kinds_and_shared_choices() -> None:
    """A reader sees where to look."""
    failures = RepeatedFailures()
    narrow = [Architecture({"width": 4, "depth": n}) for n in range(FAILURES_IN_A_ROW)]
    for number, architecture in enumerate(narrow):
        failures.add(failed(architecture, "nan" if number else "timeout"))
    with pytest.raises(RepeatedFailureError) as ended:
        failures.check()
    assert str(ended.value) == (
        "10 evaluations in a row failed, so the run stops. 10 of them say: it went wrong. "
        "Kinds of failure: nan 9, timeout 1. All of them have width=4. Mend that, then start a new run."
    )


def test_combinations_that_build_refuses_need_a_canonical_form() -> None:
    """The message names the method that maps them to others; other failures have nothing to do with it."""
    failures = RepeatedFailures()
    for architecture in TEN:
        failures.add(unbuildable(architecture))
    with pytest.raises(RepeatedFailureError, match=r"on purpose, give the space a method canonical that maps them"):
        failures.check()
    failures = RepeatedFailures()
    for architecture in TEN:
        failures.add(failed(architecture))
    with pytest.raises(RepeatedFailureError) as ended:
        failures.check()
    assert "canonical" not in str(ended.value)
