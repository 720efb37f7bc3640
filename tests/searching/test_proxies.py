"""Whole runs that evaluate candidates by shared weights or scores train few networks, and none twice."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import quick_runs
from commands import assert_nothing_twice, evaluations_of, rows_of
from forked_commands import run_forked
from quick_runs import Diary, Stopping
from quick_training import SETTINGS
from safetensors.torch import load, load_file
from sharing_space import SharingSpace, TinySupernet
from tiny_space import TinySpace

import nas
from nas.errors import CandidateError, RecipeError
from nas.jobs.execution import InlineExecutor, JobSource, Work
from nas.progress import PlainProgress
from nas.results.front import REPORT_NAME, Front
from nas.searching.evaluating import proxies
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.storage.journal import read_rows
from nas.storage.journal_rows import Agreement
from nas.storage.run_files import SUPERNET_WEIGHTS as SUPERNET
from nas.tasks.data_source import DataSource
from nas.training.settings import training_seed
from nas.training.supernet_training import SupernetTraining
from nas.training.training import CandidateTraining
from nas.training.zero_cost import ZeroCostEvaluation

BASE: Mapping[str, Any] = {
    "objectives": ["error", "macs"],
    "sampler": "random",
    "trials": 4,
    "rounds": 2,
    "measuring": {"initial": 5, "per_round": 1},
    "training": {"epochs": 2, "subset": 0.2, "learning_rate": 1e-2},
    "supernet": {"epochs": 3, "check": 3},
    "zero_cost": {"check": 3},
    "retraining": {"epochs": 1, "winners": 1},
}


pytestmark = pytest.mark.usefixtures("quick_export")


def search(runs: Path, space: SearchSpace | None = None, progress: Any = None, **changes: Any) -> Front:
    return quick_runs.search(runs, space or SharingSpace(), progress=progress, **{**BASE, **changes})


def resume(run: Path, progress: Any = None) -> Front:
    return quick_runs.resume(run, SharingSpace(), progress)


def stopped(go_on: Callable[[], Front], progress: Stopping) -> Stopping:
    """Return the progress of a run that it stopped."""
    with pytest.raises(KeyboardInterrupt):
        go_on()
    return progress


def search_without_winners(runs: Path, **changes: Any) -> Stopping:
    """Run until all candidates are evaluated, because exporting winners takes seconds."""
    progress = Stopping("retraining winners")
    return stopped(lambda: search(runs, progress=progress, **changes), progress)


def resume_without_winners(run: Path) -> Stopping:
    progress = Stopping("retraining winners")
    return stopped(lambda: resume(run, progress), progress)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "words"), [("supernet", "shared weights"), ("zero-cost", "zero-cost score")])
def test_candidates_are_not_trained_but_a_handful_and_the_winners_are(tmp_path: Path, way: str, words: str) -> None:
    """Rows and report say so, and the agreement of both ways is reported and recorded."""
    diary = Diary()
    front = search(tmp_path, evaluate=way, progress=diary)
    run = tmp_path / "run"
    rows = evaluations_of(run, "train")
    assert len(rows) == 4
    assert {(row.by, row.details["epochs"], len(row.details["curve"])) for row in rows} == {(way, 1, 1)}
    assert all(0 <= row.values["error"] <= 1 and row.reached_full_fidelity for row in rows)
    assert [row.details["epochs"] for row in evaluations_of(run, "check")] == [2, 2, 2]
    assert len(front) == 1
    (agreement,) = read_rows(run, Agreement)
    assert agreement.architectures == 3
    assert any(f"Spearman {agreement.spearman:.2f}" in text and words in text for text in diary.news)
    assert (run / SUPERNET).exists() == (way == "supernet")
    page = (run / REPORT_NAME).read_text()
    assert f"Candidates were not trained, but evaluated by {words}" in page
    assert "retrained from scratch" in page
    assert_nothing_twice(run)


@pytest.mark.slow
def test_ray_workers_find_the_same_errors(tmp_path: Path) -> None:
    """Errors do not depend on the process. Shared weights have to be sent there; zero-cost scores need nothing."""
    changes = {"space": "sharing_space:SharingSpace", "evaluate": "supernet", "execution": {"workers": 2}}
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(nas.Recipe.from_mapping({**quick_runs.BASE, **BASE, **changes}).to_toml())
    done = run_forked("search", recipe, "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    search_without_winners(tmp_path / "here", evaluate="supernet")
    for stage in ("check", "train"):
        found, here = (
            {row.architecture: row.values["error"] for row in evaluations_of(run, stage)}
            for run in (tmp_path / "run", tmp_path / "here" / "run")
        )
        assert found == pytest.approx(here, abs=1e-6)


@pytest.mark.parametrize(
    ("way", "stop_before"),
    [
        ("supernet", "training a few architectures alone, as a check"),
        pytest.param("supernet", "round 2/2: {}", marks=pytest.mark.slow),
        pytest.param("supernet", "retraining winners", marks=pytest.mark.slow),
        pytest.param("zero-cost", "training a few architectures alone, as a check", marks=pytest.mark.slow),
        ("zero-cost", "round 2/2: {}"),
    ],
)
def test_a_resumed_run_repeats_nothing(tmp_path: Path, way: str, stop_before: str) -> None:
    """Neither the supernet nor the handful is trained again, and the values are those of an uninterrupted run."""
    doing = {"supernet": "evaluating by shared weights", "zero-cost": "scoring untrained"}[way]
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "a", evaluate=way, progress=Stopping(stop_before.format(doing)))
    run = tmp_path / "a" / "run"
    before = rows_of(run)
    diary = resume_without_winners(run)
    assert rows_of(run)[: len(before)] == before
    assert "training the supernet" not in diary.stages
    assert ("training a few architectures alone, as a check" in diary.stages) == stop_before.startswith("training")
    search_without_winners(tmp_path / "b", evaluate=way)
    for stage in ("check", "train"):
        found, whole = ({r.architecture: r.values for r in evaluations_of(tmp_path / x / "run", stage)} for x in "ab")
        assert found == whole
    assert_nothing_twice(run)


@pytest.mark.slow
def test_a_damaged_supernet_is_trained_again(tmp_path: Path) -> None:
    """A message says so, and no candidate is evaluated by it."""
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, evaluate="supernet", progress=Stopping("round 2/2: evaluating by shared weights"))
    path = tmp_path / "run" / SUPERNET
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"oops")
    diary = resume_without_winners(tmp_path / "run")
    assert path.read_bytes() == whole
    assert any("has changed since it was written, so the supernet is trained again" in text for text in diary.news)


@pytest.mark.slow
def test_an_interrupted_supernet_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are those of an uninterrupted training, and the checkpoint is removed."""
    monkeypatch.setattr("nas.training.supernet_training.CHECKPOINT_EVERY_S", 0.0)

    class Interrupted(Diary):
        def advance(self, count: int = 1, best: str | None = None) -> None:
            if self.stages[-1] == "training the supernet":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "a", evaluate="supernet", progress=Interrupted())
    run = tmp_path / "a" / "run"
    assert (run / "supernet.checkpoint.safetensors").exists()
    epochs: list[int] = []
    weights = TinySupernet.weights
    monkeypatch.setattr(TinySupernet, "weights", lambda self, a: epochs.append(1) or weights(self, a))
    resume_without_winners(run)
    resumed = len(epochs)
    search_without_winners(tmp_path / "b", evaluate="supernet")
    assert resumed < len(epochs) - resumed
    assert (run / SUPERNET).read_bytes() == (tmp_path / "b" / "run" / SUPERNET).read_bytes()
    assert not (run / "supernet.checkpoint.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("has_tries_left", [True, False], ids=["first", "last"])
def test_a_lost_supernet_goes_on_from_its_newest_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_tries_left: bool
) -> None:
    """However often its process dies, no epoch is lost, and the weights are those of an undisturbed training."""
    monkeypatch.setattr("nas.training.supernet_training.CHECKPOINT_EVERY_S", 0.0)
    run_whole, epochs = InlineExecutor.run, []

    def run(self: InlineExecutor, work: Work, source: JobSource, *, time_limit_s: float) -> None:
        if not isinstance(work, SupernetTraining):
            run_whole(self, work, source, time_limit_s=time_limit_s)
            return
        job = source.next_job()
        assert job is not None
        for report in work(job):
            epochs.append(report["epoch"])
            if report.get("done"):
                source.on_end(job, report)
                return
            source.on_report(job, report)
            # The process is lost after each checkpoint.
            if has_tries_left:
                source.on_restart(job)
            source.on_failure(job, CandidateError("worker", "the worker's process died in each of 2 tries"))

    monkeypatch.setattr(InlineExecutor, "run", run)
    diary = search_without_winners(tmp_path / "a", evaluate="supernet")
    assert epochs == [1, 2, 3]
    assert sum("goes on from the last checkpoint" in text for text in diary.news) == 2
    monkeypatch.setattr(InlineExecutor, "run", run_whole)
    search_without_winners(tmp_path / "b", evaluate="supernet")
    assert (tmp_path / "a" / "run" / SUPERNET).read_bytes() == (tmp_path / "b" / "run" / SUPERNET).read_bytes()


@pytest.mark.slow
def test_winners_may_start_from_the_shared_weights(tmp_path: Path) -> None:
    """Their weights stay nearer to these than those of a training from scratch, and the report says so."""
    retraining = {"epochs": 1, "winners": 1, "start": "supernet"}
    (winner,) = search(tmp_path / "a", evaluate="supernet", retraining=retraining)
    work = CandidateTraining(SharingSpace(), DataSource(), replace(SETTINGS, epochs=1, keep_weights=True))
    fine_tuned = load_file(tmp_path / "a" / "run" / winner.folder / "model.safetensors")
    seed = training_seed(nas.Recipe(), winner.architecture)
    *_, scratch = work({"architecture": dict(winner.architecture), "seed": seed})
    shared = TinySupernet()
    shared.load_state_dict(load_file(tmp_path / "a" / "run" / SUPERNET), strict=False)
    begun_with = shared.weights(winner.architecture)
    for name, weight in load(scratch["weights"]).items():
        if name in begun_with and weight.ndim > 1:
            nearer, farther = ((w - begun_with[name]).norm() for w in (fine_tuned[name], weight))
            assert nearer < farther
    assert evaluations_of(tmp_path / "a" / "run", "retrain")[0].details["start"] == "supernet"
    assert "fine-tuned from the shared weights" in (tmp_path / "a" / "run" / REPORT_NAME).read_text()


def test_a_space_without_shared_weights_is_refused_before_work_begins(tmp_path: Path) -> None:
    """The message has its name and what to do, and nothing is left on disk."""
    with pytest.raises(RecipeError, match=r"'given' has no method supernet\(\)\. Write one, choose another space"):
        search(tmp_path, TinySpace(), evaluate="supernet")
    assert not list(tmp_path.iterdir())


def test_a_supernet_that_cannot_be_trained_ends_the_run(tmp_path: Path) -> None:
    """The message says what to change in the recipe."""
    with pytest.raises(
        RecipeError, match=r"supernet could not be trained: .*must take at most 1e-09 s.*Raise supernet"
    ):
        search(tmp_path, evaluate="supernet", supernet={"epochs": 3, "time_limit_s": 1e-9})
    with pytest.raises(RecipeError, match=r"must be finite, but one was nan.*a lower training.learning_rate"):
        search(tmp_path, name="other", evaluate="supernet", training={**BASE["training"], "learning_rate": 1e9})


def test_scores_are_a_prior_of_the_sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates are scored before the first training, and each of them once in all rounds."""
    scored: list[Architecture] = []
    trained_at_first_score: list[int] = []
    score, train = ZeroCostEvaluation._score, CandidateTraining.__call__
    trainings: list[Any] = []

    def scoring(self: ZeroCostEvaluation, architecture: Architecture, data: Any) -> float:
        trained_at_first_score.append(len(trainings))
        scored.append(architecture)
        return score(self, architecture, data)

    def training(self: CandidateTraining, job: Any) -> Any:
        trainings.append(job)
        return train(self, job)

    monkeypatch.setattr(ZeroCostEvaluation, "_score", scoring)
    monkeypatch.setattr(CandidateTraining, "__call__", training)
    search_without_winners(tmp_path, sampler="gp", prior="macs")
    assert len(trainings) == 4
    assert trained_at_first_score[0] == 0
    assert len(set(scored)) == len(scored) > 4


def test_too_little_time_for_tuning_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed just then would otherwise go on with a tuning that it had given up."""
    monkeypatch.setattr(proxies, "is_too_short", lambda state, epochs: epochs < 3)
    report = {"epoch": 1, "epochs": 1, "seconds": 90.0, "loss": 1.0, "checkpoint": b"checkpoint", "weights": b"weights"}
    training = proxies._OneTraining(SimpleNamespace(), tmp_path)  # type: ignore[arg-type]
    for told in (training.on_report, training.on_end):
        with pytest.raises(proxies.UntrainableError, match=r"first epoch took 1 min 30 s, .* no more than 1 epoch"):
            told({"id": proxies.JOB}, report)
    assert list(tmp_path.iterdir()) == []


def test_a_shortened_tuning_counts_the_epochs_that_it_gets(tmp_path: Path) -> None:
    """In the first session, and where a killed one goes on: planned were twelve."""
    lines = io.StringIO()
    state = SimpleNamespace(progress=PlainProgress(lines, clock=lambda: 0.0))
    state.progress.stage(proxies.STAGE, 12)
    training = proxies._OneTraining(state, tmp_path)  # type: ignore[arg-type]
    for epoch, told in ((1, {"epochs": 3}), (2, {}), (3, {})):
        training._advance({"epoch": epoch, "seconds": 90.0, "loss": 1.0, **told})
    state.progress.close()
    assert lines.getvalue().splitlines() == [
        "training the supernet: 12 to do.",
        "shared weights are tuned for 3 epochs, because the first took 1 min 30 s",
        "training the supernet: 1 of 12 done in 0.0 s, best loss 1.000.",
        "training the supernet: 2 to do.",
        "training the supernet: 2 of 2 done in 0.0 s, best loss 1.000.",
    ]
