"""Searches whose candidates are trained by a user's own function."""

from __future__ import annotations

import threading
from pathlib import Path

import own_trainings
import pytest
from commands import SHORT, UNMEASURED, RunningCommand, assert_nothing_twice, evaluations_of
from forked_commands import run_forked
from quick_runs import Diary, OneChoice, Stopping, resume, search

import nas
from nas.errors import RecipeError, RepeatedFailureError
from nas.recipe.recipe import Recipe

pytestmark = pytest.mark.usefixtures("quick_export")

LONGER = {"training": {"epochs": 4, "subset": 0.3}, "retraining": {"epochs": 3, "winners": 2}}


def test_its_errors_are_those_of_candidates_and_its_weights_those_of_winners(tmp_path: Path) -> None:
    """Rows are like those of the project's own trainer, and winners are tested, exported and loaded as ever."""
    front = search(tmp_path, OneChoice(), train=own_trainings.plain, **LONGER)
    rows = evaluations_of(tmp_path / "run", "train")
    assert len(rows) == 6
    assert all(len(row.details["curve"]) == 4 and "loss" in row.details["metrics"] for row in rows)
    assert nas.load_run(tmp_path / "run").recipe.training.function == "given"
    assert front.best.test_error < 0.4
    assert sum(each.numel() for each in front.best.load(OneChoice()).parameters()) > 0


def test_it_may_take_architectures_and_give_weights(tmp_path: Path) -> None:
    """The user is told beforehand what winners need."""
    diary = Diary()

    def train(architecture: nas.Architecture, task: object, settings: object) -> dict[str, object]:
        module = OneChoice().build(architecture)
        return {"error": 1 / architecture["width"], "weights": module.state_dict()}

    front = search(tmp_path, OneChoice(), train=train, progress=diary)
    assert len(front) > 0
    told = [text for text in diary.news if text.startswith("note: ")]
    assert len(told) == 2
    assert "without them winners cannot be exported" in told[0]
    assert "no training is stopped early" in told[1]


def test_one_that_cannot_be_sent_trains_here(tmp_path: Path) -> None:
    """A message says so before anything is measured, in the place of an error of Ray's after it."""
    diary, lock = Diary(), threading.Lock()

    def train(module: object, task: object, settings: object) -> dict[str, float]:
        with lock:
            return {"error": 0.5}

    front = search(
        tmp_path, OneChoice(), train=train, progress=diary, trials=2, rounds=1, execution={"executor": "ray"}
    )
    assert len(front) > 0
    (told,) = (text for text in diary.news if "cannot be sent to other processes" in text)
    assert told.startswith("the space or the training function cannot be sent to other processes, so trainings run one")
    assert "cannot pickle '_thread.lock' object" in told
    assert nas.load_run(tmp_path / "run").recipe.execution.executor == "inline"


def test_without_weights_winners_fail_and_say_what_is_missing(tmp_path: Path) -> None:
    front = search(tmp_path, OneChoice(), train=own_trainings.without_weights)
    assert len(front) == 0
    failures = [row.failure for row in evaluations_of(tmp_path / "run", "retrain")]
    assert failures
    assert all(failure is not None and 'must hold "weights"' in failure.reason for failure in failures)
    assert not any(row.failed for row in evaluations_of(tmp_path / "run", "train"))


def test_it_is_stopped_early(tmp_path: Path) -> None:
    """Hopeless trainings are, once the first errors rank as the last ones do."""

    def train(module: object, task: object, settings: object) -> object:
        width = next(module.parameters()).shape[0]  # type: ignore[attr-defined]
        for epoch in range(settings.epochs):  # type: ignore[attr-defined]
            yield {"error": 1 / (width + epoch)}

    stopping = {"check": 3, "min_peers": 1, "margin": 0.0, "keep": 0.1}
    search(
        tmp_path,
        OneChoice(),
        train=train,
        objectives=["error"],
        early_stopping=stopping,
        trials=6,
        rounds=1,
        training={"epochs": 6, "subset": 0.1},
    )
    rows = evaluations_of(tmp_path / "run", "train")
    assert [row for row in rows if row.details["stopped_early"]]


def test_a_training_that_ends_early_is_compared_with_others(tmp_path: Path) -> None:
    """Its last error stands for the epochs that it left out."""
    search(tmp_path, OneChoice(), train=own_trainings.ends_early, **LONGER)
    rows = evaluations_of(tmp_path / "run", "train")
    assert {tuple(row.details["curve"]) for row in rows} == {(0.4,) * 4}


def test_failed_trainings_are_rows_and_the_search_goes_on(tmp_path: Path) -> None:
    def train(module: object, task: object, settings: object) -> object:
        width = next(module.parameters()).shape[0]  # type: ignore[attr-defined]
        if width == 3:
            raise ValueError("three is no width")
        yield {"error": float("nan") if width == 4 else 0.5}

    search(tmp_path, OneChoice(), train=train)
    failures = {row.failure.kind for row in evaluations_of(tmp_path / "run", "train") if row.failure is not None}
    assert failures == {"exception", "nan"}
    assert len(evaluations_of(tmp_path / "run", "train")) == 6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e35])
def test_notes_that_no_journal_can_hold_are_left_out(tmp_path: Path, value: float) -> None:
    """A loss of NaN beside a sound error ends nothing, and a huge metric damages no journal."""

    def train(module: object, task: object, settings: object) -> object:
        yield {"error": 0.5, "loss": value, "mse": value, "steps": 3}

    search(tmp_path, OneChoice(), train=train)
    run = nas.load_run(tmp_path / "run")
    assert not run.damages
    trained = [row for row in run.rows if row.stage == "train"]
    assert len(trained) == 6
    assert all(row.details["metrics"] == {"steps": 3} and "mse" not in row.values for row in trained)


def test_a_function_that_never_works_ends_the_search_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(RepeatedFailureError, match="yields_accuracy must give the metric"):
        search(tmp_path, train=own_trainings.yields_accuracy, trials=12)


def test_a_run_with_a_given_function_needs_it_again(tmp_path: Path) -> None:
    search(tmp_path, OneChoice(), train=own_trainings.quick)
    with pytest.raises(RecipeError, match="made with a training function; pass it again as train="):
        resume(tmp_path / "run", OneChoice())
    assert len(resume(tmp_path / "run", OneChoice(), train=own_trainings.quick)) > 0


def test_a_run_goes_on_with_the_training_that_it_began_with(tmp_path: Path) -> None:
    """Rows of another training would not compare with those that are there."""
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, OneChoice(), progress=Stopping("retraining winners"))
    with pytest.raises(RecipeError, match=r"which is by the trainer of this project\. Leave train=… out"):
        resume(tmp_path / "run", OneChoice(), train=own_trainings.quick)
    assert len(resume(tmp_path / "run", OneChoice())) > 0


def test_it_also_checks_scores_of_untrained_networks(tmp_path: Path) -> None:
    """The handful of architectures that teaches which error a score stands for is trained by it."""
    search(tmp_path, train=own_trainings.plain, evaluate="zero-cost", zero_cost={"check": 3, "batch": 8}, trials=3)
    checked = evaluations_of(tmp_path / "run", "check")
    assert len(checked) == 3
    assert not any(row.failed for row in checked)


def test_metrics_that_are_asked_for_must_be_given(tmp_path: Path) -> None:
    """The failure names the one that is missing."""
    asked = {"objectives": ["error", "top5_error"], "trials": 12}
    with pytest.raises(RepeatedFailureError, match="must have a finite top5_error of at least 0, but one has none"):
        search(tmp_path, train=own_trainings.quick, **asked)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"training": {"function": "own:train", "teacher": "other:make"}}, "training.teacher teaches in the trainer"),
        ({"evaluate": "supernet"}, 'evaluate must be "train" or "zero-cost", but got "supernet" with \'own:train\''),
        ({"early_stopping": {"grow_subset": True}}, "which a function of your own gets once"),
    ],
)
def test_what_it_cannot_do_is_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(RecipeError) as refused:
        Recipe.from_mapping({"training": {"function": "own:train"}, **changes})
    assert text in str(refused.value)


OWN = (*SHORT, *UNMEASURED, "--space", "tiny_space:TinySpace", "--executor", "inline", "--trials", "5")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_and_resumed_it_repeats_no_finished_training(tmp_path: Path) -> None:
    """Killed by kill -9 in the middle of a training. Each finished one is one row, from the first or the second run."""
    run = tmp_path / "run"
    options = ("--train", "own_trainings:plain", "--set", "training.subset=1.0", "--set", "training.epochs=6")
    command = RunningCommand(tmp_path, "search", *OWN, *options, "--runs", tmp_path, "--name", "run")
    assert command.wait_until(lambda: len(trained(run)) >= 2, seconds=200)
    command.kill()
    finished_before = trained(run)
    assert 2 <= len(finished_before) < 5
    done = run_forked("search", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert trained(run)[: len(finished_before)] == finished_before
    assert len(set(trained(run))) == len(trained(run)) == 5
    assert_nothing_twice(run)


def trained(run: Path) -> list[str]:
    return [row.architecture.id for row in evaluations_of(run, "train")] if (run / "journal.db").exists() else []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_workers_of_ray_survive_a_function_that_ends_its_process(tmp_path: Path) -> None:
    """Each such training becomes a failed row after a second try."""
    options = ("--train", "own_trainings:ends_the_process", "--set", "execution.workers=2")
    arguments = [*OWN, *options, "--executor", "ray", "--trials", "2", "--runs", tmp_path, "--name", "run"]
    run_forked("search", *arguments)
    reasons = [row.failure.reason for row in evaluations_of(tmp_path / "run", "train") if row.failure is not None]
    assert len(reasons) == 2
    assert all("process died in each of 2 tries" in reason for reason in reasons)
