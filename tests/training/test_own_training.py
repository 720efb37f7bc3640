"""Training by a user's own function: what it may give, and what it cannot break."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import own_trainings
import pytest
import torch
from quick_training import DIGITS, SETTINGS
from safetensors.torch import load
from tiny_space import TinySpace

from nas.errors import CandidateError, DataError, RecipeError
from nas.space.architecture import Architecture
from nas.space.tracing import build_checked
from nas.tasks.corruptions import Robustness
from nas.training.modules import error_of
from nas.training.own.function import load_training_function, training_function
from nas.training.own.work import OwnTraining

SMALL = Architecture({"width": 8, "depth": 0})
JOB = {"id": SMALL.id, "architecture": dict(SMALL), "seed": 3}


def work(function: Callable[..., Any], **changes: Any) -> OwnTraining:
    settings = dataclasses.replace(SETTINGS, **{"subset": 0.3, **changes})
    return OwnTraining(TinySpace(), DIGITS, settings, training_function(function, function.__name__))


def reports(function: Callable[..., Any], **changes: Any) -> list[dict[str, Any]]:
    return list(work(function, **changes)(JOB))


def final(function: Callable[..., Any]) -> dict[str, Any]:
    return reports(function, keep_weights=True, use_validation=True)[-1]


class TestATraining:
    def test_yields_errors_as_it_goes_and_learns(self) -> None:
        """Reports have what those of the project's own trainer have; other metrics stand beside the error."""
        found = reports(own_trainings.plain, epochs=4)
        assert [report["epoch"] for report in found] == [1, 2, 3, 4]
        assert [report.get("done", False) for report in found] == [False, False, False, True]
        assert found[-1]["error"] < 0.35
        assert set(found[0]["metrics"]) == {"loss"}
        assert {report["subset"] for report in found} == {0.3}

    def test_repeats_with_the_same_seed(self) -> None:
        """Even the shuffling of torch's DataLoader."""
        first, second = (reports(own_trainings.plain)[-1]["error"] for _ in range(2))
        assert first == second

    def test_gives_the_weights_of_the_module(self) -> None:
        """They have the error that was reported."""
        report = final(own_trainings.plain)
        task = DIGITS.load()
        module = build_checked(TinySpace(), SMALL, task.signature)
        module.load_state_dict(load(report["weights"]))
        assert error_of(module, task.validation, task) == report["error"]

    def test_may_take_an_architecture_and_return_metrics_with_weights(self) -> None:
        (report,) = reports(own_trainings.from_architecture, keep_weights=True)
        assert (report["epoch"], report["done"]) == (SETTINGS.epochs, True)
        assert set(load(report["weights"])) == set(TinySpace().build(SMALL).state_dict())

    def test_trains_on_the_validation_items_at_last(self) -> None:
        """The function is told so."""
        seen = {}

        def look(module: Any, task: Any, settings: Any) -> dict[str, float]:
            seen[settings.is_final] = len(task.train), settings.learning_rate, settings.folder.is_dir()
            return {"error": 0.5}

        task = DIGITS.load()
        reports(look, subset=1.0)
        reports(look, subset=1.0, use_validation=True)
        both = len(task.train) + len(task.validation)
        assert seen == {False: (len(task.train), 1e-2, True), True: (both, 1e-2, True)}

    def test_may_give_all_metrics_of_the_task(self) -> None:
        """Also the error under noise, of which the task that it is given knows as much as the search does."""
        (report,) = reports(own_trainings.scores_all, epochs=1, robustness=Robustness(("blur",), (0.5,), 0))
        assert {"error", "balanced_error", "noise_error"} <= report.keys()

    def test_may_end_before_all_epochs(self) -> None:
        first, last = reports(own_trainings.ends_early, epochs=5)
        assert (first["epoch"], last["epoch"], last["done"], last["error"]) == (1, 5, True, 0.4)

    def test_may_return_its_last_metrics(self) -> None:
        """They take the place of those that it yielded last, and are no epoch more."""
        found = reports(own_trainings.returns_the_last, epochs=3)
        assert [(report["epoch"], report["error"]) for report in found] == [(1, 0.9), (2, 0.45), (3, 0.05)]

    def test_is_ended_between_reports(self) -> None:
        """An error at that moment is told, and disturbs nobody."""
        running = work(own_trainings.refuses_to_close, epochs=5)(JOB)
        assert next(running)["epoch"] == 1
        running.close()  # type: ignore[attr-defined]

    def test_by_an_object_that_is_called_or_a_partial_one(self) -> None:
        found = training_function(own_trainings.Callable3(), "it")
        assert (found.yields, found.takes_architecture) == (True, False)
        assert training_function(functools.partial(own_trainings.quick), "it").yields

        @functools.wraps(own_trainings.quick)
        def timed(*given: Any) -> Any:
            return own_trainings.quick(*given)

        assert training_function(timed, "it").yields


def test_a_metric_whose_name_is_no_text_is_refused_as_any_other() -> None:
    """The message names it."""

    def train(module: object, task: object, settings: object) -> dict[Any, Any]:
        return {"error": 0.1, 1: "x"}

    with pytest.raises(CandidateError, match="must give numbers, but '1' is 'x'"):
        list(work(train)(JOB))


def test_what_a_function_leaves_alone_is_not_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting torch's determinism alone imports its compiler, for two seconds; logging forgets what it worked out."""
    for module, name in ((torch, "use_deterministic_algorithms"), (logging, "disable")):
        monkeypatch.setattr(module, name, lambda *_, name=name, **__: pytest.fail(f"{name} was called"))
    assert len(reports(own_trainings.plain, epochs=4)) == 4


FAULTS = {
    own_trainings.yields_nothing: ("report", "must yield metrics, such as"),
    own_trainings.returns_nothing: ("report", "must return metrics, such as"),
    own_trainings.yields_none: ("report", 'must give the metric "error", of which lower is better, but gave none'),
    own_trainings.yields_a_number: ("report", "must give metrics as a dict"),
    own_trainings.yields_nan: ("nan", "the error must be finite, but yields_nan gave nan"),
    own_trainings.yields_per_cent: ("report", "must give an error from 0 to 1: a share, not per cent, but gave 35"),
    own_trainings.yields_accuracy: ("report", "but gave 'accuracy'"),
    own_trainings.yields_too_many: (
        "report",
        "must give at most 1,000 metrics beside the error, but gave 1,001. Give",
    ),
    own_trainings.yields_text: ("report", "must give numbers, but 'f1' is 'good'"),
    own_trainings.yields_for_ever: ("report", "at most settings.epochs times (2), but did so once more"),
    own_trainings.raises: ("exception", "raises raised ValueError"),
    own_trainings.exits: ("exception", "exits raised SystemExit: bye"),
    own_trainings.leaves: ("exception", "leaves raised ProcessExitError: os._exit(0) would end the search"),
}


class TestAFault:
    @pytest.mark.parametrize("function", FAULTS, ids=lambda function: function.__name__)
    def test_fails_the_candidate_and_says_why(self, function: Callable[..., Any]) -> None:
        kind, text = FAULTS[function]
        with pytest.raises(CandidateError) as failed:
            reports(function)
        assert failed.value.kind == kind
        assert text in failed.value.reason

    # The time may be over within a callback of the collector's, where nothing can be raised. It is over again later.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("function", [own_trainings.sleeps_for_ever, own_trainings.counts_for_ever])
    def test_that_never_ends_is_ended_in_time(self, function: Callable[..., Any]) -> None:
        began = time.monotonic()
        with pytest.raises(CandidateError, match=r"must take at most 0.2 s, but .*_for_ever took more"):
            reports(function, time_limit_s=0.2)
        assert time.monotonic() - began < 20

    @pytest.mark.parametrize(
        ("function", "text"),
        [
            (own_trainings.without_weights, 'its last metrics must hold "weights", the state_dict'),
            (own_trainings.of_another_module, 'must give "weights" of the module that the space builds'),
            (own_trainings.breaks_weights, "trained weights must be finite"),
        ],
    )
    def test_of_weights_fails_the_winner(self, function: Callable[..., Any], text: str) -> None:
        with pytest.raises(CandidateError) as failed:
            final(function)
        assert text in failed.value.reason

    def test_of_using_the_test_split_ends_the_search(self) -> None:
        """It would spoil every result."""
        with pytest.raises(DataError, match=r"training may not use it: take task\.validation"):
            reports(own_trainings.reads_the_test)


def state() -> list[Any]:
    """Return what ``change_everything`` changes."""
    return [
        *(os.getcwd(), dict(os.environ), [*sys.path], sys.stderr, [*warnings.filters], [*logging.root.handlers]),
        *(logging.root.manager.disable, torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()),
        *(torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        *(torch.is_anomaly_enabled(), torch.backends.cudnn.benchmark, np.geterr(), torch.get_rng_state().tolist()),
    ]


def test_the_process_stays_as_it_was_between_reports(capsys: pytest.CaptureFixture[str]) -> None:
    """While the function goes on, its own changes hold for it. Prints go to standard error."""
    DIGITS.load()  # scikit-learn sets environment variables when it is imported
    before = state()
    found = []
    for report in work(own_trainings.changes_everything, epochs=3)(JOB):
        assert state() == before
        torch.rand(5)
        before = state()
        found.append(report["error"])
    assert state() == before
    assert found == [0.0, 0.0, 0.0]
    assert capsys.readouterr() == ("", "printed by the user's code\n")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (3, "is 3"),
        (dict, "is <class 'dict'>"),
        (lambda module: None, r"takes \(module\)"),
        (lambda module, task, settings, more: None, r"takes \(module, task, settings, more\)"),
    ],
)
def test_what_is_no_training_function_is_refused(found: object, text: str) -> None:
    with pytest.raises(RecipeError, match=rf"a training function takes \(module, task, settings\), or .* {text}"):
        training_function(found, "it")


def test_an_async_function_is_refused() -> None:
    async def train(module: Any, task: Any, settings: Any) -> None: ...

    with pytest.raises(RecipeError, match="is an async function"):
        training_function(train, "it")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own_trainings:plane", "Did you mean 'plain'?"),
        ("no_module:train", "names the module 'no_module'"),
        ("train", "unknown training function 'train'"),
        ("own_trainings.py:plain", "own_trainings:plain"),
    ],
)
def test_a_name_of_no_function_is_refused(name: str, text: str) -> None:
    with pytest.raises(RecipeError) as refused:
        load_training_function(name)
    assert text in str(refused.value)
