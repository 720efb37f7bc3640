"""Winners are retrained by several seeds, from teachers, after interruptions, and later beside the old ones."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import assert_nothing_twice, evaluations_of, rows_of
from fake_bench import FakeBench, FakeClock
from fault_spaces import Faulty
from quick_runs import BASE, EXPORT, Diary, instruments, resume, search, write_any_model
from safetensors.torch import load_file

import nas
from nas.errors import JournalError, RecipeError
from nas.hardware.bench import Outcome
from nas.jobs.execution import Job, Report
from nas.results.bundled.card import CARD
from nas.searching.winners.retraining_jobs import RetrainingJobs
from nas.storage.journal import read_rows
from nas.storage.journal_rows import RetrainingBegan, RetrainingEnded, SeedTested
from nas.tasks.images.images import Images
from nas.tasks.images.splits import Split
from nas.values.evaluation import Evaluation

pytestmark = pytest.mark.usefixtures("quick_export")


QUICK: Mapping[str, Any] = {"trials": 2, "rounds": 1, "objectives": ["error", "macs"]}
"""Changes with which nothing is measured before the winners, and nothing is predicted."""


@pytest.fixture(name="ended", scope="module")
def ended_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended, with two winners of two seeds each. Tests work on copies."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EXPORT, write_any_model)
        search(runs, **{**QUICK, "trials": 4, "retraining": {"epochs": 2, "winners": 2, "seeds": 2}})
    return runs / "run"


@pytest.fixture(name="run")
def copied_run(ended: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ended, tmp_path / "run"))


def retrain(run: Path, progress: Any = None, space: Any = None, **asked: Any) -> nas.Front:
    space = space or Faulty()
    return nas.retrain(run, space=space, progress=progress, instruments=instruments(space), **asked)


def weights(run: Path, row: Evaluation) -> Mapping[str, torch.Tensor]:
    return load_file(run / row.details["folder"] / "model.safetensors")


def equal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class StopAfter:
    """Ctrl-C once a retraining has reported an epoch; ``stopped`` names the job."""

    def __init__(self, patch: pytest.MonkeyPatch, epoch: int) -> None:
        self._epoch = epoch
        self.stopped = ""
        before = RetrainingJobs.on_report

        def on_report(jobs: RetrainingJobs, job: Job, report: Report) -> bool:
            goes_on = before(jobs, job, report)
            if report["epoch"] == self._epoch and not self.stopped:
                self.stopped = str(job["id"])
                raise KeyboardInterrupt
            return goes_on

        patch.setattr(RetrainingJobs, "on_report", on_report)


# The run's own winners


@pytest.mark.slow
def test_each_seed_is_trained_deployed_and_tested_once(run: Path) -> None:
    """The winner's own model is the first seed; the row of a further one has the deployed model's test error."""
    front = nas.load_run(run).front
    tested = read_rows(run, SeedTested)
    assert len(front) == 2
    assert {(row.architecture, row.number) for row in tested} == {(winner.architecture, 1) for winner in front}
    for winner in front:
        (other,) = [row.test_error for row in tested if row.architecture == winner.architecture]
        assert winner.seeds is not None
        assert winner.seeds.errors == (winner.test_error, other)
        assert winner.seeds.text(winner.words) in (run / "report.html").read_text()
    first = load_file(run / front[0].folder / "model.safetensors")
    (further,) = [path for path in (run / "seeds" / "0").iterdir() if path.name.startswith(front[0].architecture.id)]
    assert not equal(first, load_file(further))
    assert not (run / "checkpoints").exists()
    before = rows_of(run)
    resume(run)
    assert rows_of(run) == before


@pytest.mark.slow
def test_an_interrupted_retraining_goes_on_after_the_last_epoch(tmp_path: Path) -> None:
    """It loses at most one epoch, and its winners are those of an undisturbed run, bit by bit."""
    quick = {**QUICK, "retraining": {"epochs": 3, "winners": 1, "seeds": 2}}
    search(tmp_path / "undisturbed", **quick)
    with pytest.MonkeyPatch.context() as patch:
        stop = StopAfter(patch, epoch=2)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / "stopped", **quick)
    run = tmp_path / "stopped" / "run"
    (kept,) = (run / "checkpoints" / "0").glob("*.safetensors")
    assert kept.name == f"{stop.stopped}.safetensors"
    diary = Diary()
    resume(run, progress=diary)
    (row,) = evaluations_of(run, "retrain")
    assert row.details["resumed"] == 2
    assert any("goes on after epoch 2 of 3" in text for text in diary.news)
    (other,) = evaluations_of(tmp_path / "undisturbed" / "run", "retrain")
    assert equal(weights(run, row), weights(tmp_path / "undisturbed" / "run", other))
    assert {**row.details, "seconds": 0} == {**other.details, "seconds": 0, "resumed": 2}
    assert not (run / "checkpoints").exists()
    assert_nothing_twice(run)
    (winner,), (same,) = nas.load_run(run).front, nas.load_run(tmp_path / "undisturbed" / "run").front
    assert winner.test_error == same.test_error
    assert winner.seeds == same.seeds


@pytest.mark.slow
def test_the_best_winner_teaches_the_others(tmp_path: Path) -> None:
    """It is trained first and alone; the search chose it, not the test split."""
    retraining = {"epochs": 1, "winners": 3, "teacher": "best", "seeds": 2}
    front = search(tmp_path, **{**QUICK, "trials": 6, "retraining": retraining})
    rows = evaluations_of(tmp_path / "run", "retrain")
    errors = {row.architecture: row.values["error"] for row in evaluations_of(tmp_path / "run", "train")}
    best = min((row.architecture for row in rows), key=lambda architecture: errors[architecture])
    assert rows[0].architecture == best
    assert "teacher" not in rows[0].details
    assert len(rows) == len(front) > 1
    assert all(row.details["teacher"].startswith(best.id) for row in rows[1:])
    winners = {row.architecture: row.details for row in evaluations_of(tmp_path / "run", "winner")}
    assert all(winners[row.architecture].get("teacher") == row.details.get("teacher") for row in rows)
    assert len(read_rows(tmp_path / "run", SeedTested)) == len(rows)


@pytest.mark.slow
def test_a_seed_that_fails_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its winner keeps its own model, and says how many seeds failed."""
    from nas.searching.winners.further_seeds import FurtherSeeds

    error = FurtherSeeds._error
    calls = []

    def fail_first(seeds: FurtherSeeds, *arguments: Any) -> float:
        calls.append(arguments)
        if len(calls) == 1:
            raise nas.CandidateError("nan", "outputs of a model must be finite")
        return error(seeds, *arguments)

    monkeypatch.setattr(FurtherSeeds, "_error", fail_first)
    (winner,) = search(tmp_path, **{**QUICK, "retraining": {"epochs": 1, "winners": 1, "seeds": 3}})
    assert winner.seeds is not None
    assert (len(winner.seeds.errors), winner.seeds.failed) == (2, 1)
    (failed,) = [row for row in read_rows(tmp_path / "run", SeedTested) if row.failure is not None]
    assert failed.failure is not None
    assert failed.failure.kind == "nan"


@pytest.mark.parametrize(
    ("retraining", "message"),
    [
        ({"seeds": 0}, r"retraining\.seeds"),
        ({"training": {"epochs": 3}}, r"training has no epochs, but got 3: set retraining\.epochs"),
        ({"training": {"emma": 0.9}}, r"training must name keys of \[training\], but got 'emma'.*ema"),
        ({"training": {"ema": 2}}, r"training\.ema is 2: .*less than 1"),
        ({"training": 3}, r"training must be a table"),
        ({"training": {"optimizer": "addam"}}, r"training\.optimizer must be one of timm's, but got 'addam'"),
        ({"teacher": "runs/none"}, r"retraining\.teacher is the folder of a winner"),
    ],
)
def test_what_retraining_cannot_do_is_refused_before_the_search(
    tmp_path: Path, retraining: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        search(tmp_path, retraining=retraining)
    assert not (tmp_path / "run").exists()


def test_choices_of_candidates_are_not_overruled() -> None:
    with pytest.raises(RecipeError, match=r"each winner keeps its own, but retraining\.training sets it to 0\.9"):
        nas.Recipe.from_mapping({"training": {"search": {"ema": [0.0, 0.9]}}, "retraining": {"training": {"ema": 0.9}}})
    with pytest.raises(RecipeError, match=r"retraining\.teacher teaches in the trainer of this project"):
        nas.Recipe.from_mapping({"training": {"function": "m:f"}, "retraining": {"teacher": "best"}})


# Afterwards


@pytest.mark.slow
def test_winners_are_retrained_later_beside_the_old_ones(run: Path) -> None:
    """The front has the new models; the old rows and bundles are as they were, and the record tells of both."""
    before, old = rows_of(run), nas.load_run(run).front
    diary = Diary()
    front = retrain(run, progress=diary, top=1, epochs=3, seeds=1, training={"ema": 0.9})
    assert rows_of(run)[: len(before)] == before
    (winner,) = [each for each in front if each.retraining]
    assert winner.architecture == old[0].architecture
    assert winner.folder == f"retrained/1/{winner.architecture.id}"
    assert winner.bundle is not None
    assert (winner.bundle / "model.onnx").exists()
    assert [each.folder for each in winner.earlier] == [old[0].folder]
    assert (run / old[0].folder / "model.onnx").exists()
    assert winner.predicted == old[0].predicted
    assert {each.architecture for each in front} == {each.architecture for each in old}
    (row,) = [row for row in evaluations_of(run, "retrain") if row.details.get("retraining")]
    assert row.details["epochs"] == 3
    assert (run / "report.html").read_text().count(winner.folder) >= 1
    assert nas.load_run(run).front.to_json() == front.to_json()
    assert "epochs 3, seeds 1, ema 0.9" in nas.load_run(run).notes["retrained afterwards"]["number 1"]
    again = retrain(run, ids=[winner.architecture.id[:6]], epochs=1, seeds=1, start="winner")
    (winner,) = [each for each in again if each.retraining]
    assert winner.retraining == 2
    assert len(winner.earlier) == 2
    module = winner.load()
    assert equal(module.state_dict(), load_file(run / winner.folder / "model.safetensors"))


@pytest.mark.slow
def test_a_search_time_that_is_over_shortens_no_later_measurements(tmp_path: Path) -> None:
    """Once it is over, the search itself takes the fewest sessions; later models get as many as without a time."""
    clock, found = FakeClock(), []
    passed_s = [0.0]

    class Bench(FakeBench):
        def measure(self, *arguments: Any) -> list[Outcome]:
            if len(passed_s) > 1:
                passed_s.append(5000.0)
                found.append(self.in_time())
            return super().measure(*arguments)

    bench = Bench(Faulty())
    tools = replace(instruments(Faulty()), bench=bench, stopwatch=lambda: clock() + sum(passed_s))
    recipe = {**BASE, **QUICK, "objectives": ["error", "latency_ms"], "search_time_s": 5000}
    nas.search(recipe, space=Faulty(), runs=tmp_path, progress=None, instruments=tools)
    passed_s.append(5000.0)
    assert not bench.in_time()
    front = nas.retrain(tmp_path / "run", top=1, epochs=1, space=Faulty(), progress=None, instruments=tools)
    assert any(winner.retraining for winner in front)
    assert found == [True]


@pytest.mark.slow
def test_an_interrupted_retraining_goes_on_with_the_same_request(run: Path) -> None:
    """Another request begins another one, and leaves it as it is."""
    with pytest.MonkeyPatch.context() as patch:
        StopAfter(patch, epoch=2)
        with pytest.raises(KeyboardInterrupt) as stopped:
            retrain(run, top=1, epochs=3, seeds=1)
    assert stopped.value.__notes__ == ["To go on, call nas.retrain with the same arguments again."]
    assert "not finished" in nas.load_run(run).notes["retrained afterwards"]["number 1"]
    other = retrain(run, top=1, epochs=1, seeds=1)
    assert {each.retraining for each in other} == {0, 2}
    diary = Diary()
    front = retrain(run, progress=diary, top=1, epochs=3, seeds=1)
    assert "going on with retraining 1, which was interrupted" in diary.news
    assert any("goes on after epoch 2 of 3" in text for text in diary.news)
    assert [row.number for row in read_rows(run, RetrainingBegan)] == [1, 2]
    assert [row.number for row in read_rows(run, RetrainingEnded)] == [2, 1]
    assert {each.retraining for each in front} == {0, 1}
    assert not (run / "checkpoints").exists()


@pytest.mark.slow
def test_the_best_winner_teaches_later_too(run: Path) -> None:
    """If it is not among those that are retrained, its model of the run teaches."""
    errors = {row.architecture: row.values["error"] for row in evaluations_of(run, "train")}
    best, other = sorted((each.architecture for each in nas.load_run(run).front), key=lambda each: errors[each])
    retrain(run, ids=[other.id], epochs=1, seeds=1, teacher="best")
    (row,) = [row for row in evaluations_of(run, "retrain") if row.details.get("retraining")]
    assert row.details["teacher"].startswith(best.id)


@pytest.mark.slow
def test_a_candidate_without_a_model_becomes_a_winner(run: Path) -> None:
    """Any candidate whose training ran to its end may be asked for by its id."""
    winners = {each.architecture for each in nas.load_run(run).front}
    trained = [row.architecture for row in evaluations_of(run, "train")]
    candidate = next(each for each in trained if each not in winners)
    front = retrain(run, ids=[candidate.id], epochs=1, seeds=1)
    assert {each.architecture for each in front} == {*winners, candidate}


def test_a_retraining_that_fails_leaves_the_winner(run: Path) -> None:
    """Its row gives the reason."""
    before = nas.load_run(run).front.to_json()

    def fail_in_training(module: torch.nn.Module, inputs: Any) -> None:
        if module.training:
            raise RuntimeError("no luck")

    class Failing(Faulty):
        def build(self, architecture: Any) -> torch.nn.Module:
            module = super().build(architecture)
            module.register_forward_pre_hook(fail_in_training)
            return module

    front = retrain(run, space=Failing(), epochs=1, seeds=1)
    assert [each.folder for each in front] == [each["bundle"] for each in before["winners"]]
    rows = [row for row in evaluations_of(run, "retrain") if row.details.get("retraining")]
    assert all(row.failure is not None and "no luck" in row.failure.reason for row in rows)
    assert len(rows) == 2


def test_further_data_are_trained_on_without_test_items(run: Path, digits: Images) -> None:
    """Items of the run's test split are left out, and so are those that are in training already."""
    images = np.concatenate([digits.test.images[:50], digits.train.images[:20], 255 - digits.train.images[:30]])
    labels = np.concatenate([digits.test.labels[:50], digits.train.labels[:20], digits.train.labels[:30]])
    more = replace(digits, name="more", train=Split(images, labels), validation=digits.validation, test=digits.test)
    diary = Diary()
    retrain(run, progress=diary, top=1, epochs=1, seeds=1, more_data=more)
    (told,) = [text for text in diary.news if text.startswith("further data: ")]
    assert told == (
        f"further data: 30 further images to train on, {50 + len(digits.test)} left out because the test has them, "
        f"{20 + len(digits.validation)} left out because they are in training already"
    )
    (row,) = [row for row in evaluations_of(run, "winner") if row.details.get("retraining")]
    assert row.details["items"] == len(digits.train) + len(digits.validation) + 30
    (began,) = read_rows(run, RetrainingBegan)
    assert began.data["added"] == 30
    assert began.data["name"] == "more"
    card = (run / row.details["folder"] / CARD).read_text(encoding="utf-8")
    assert "It was also trained on 30 further items of more." in card


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"ids": ["nothing"]}, r"this run has none of 'nothing'\. The report lists all candidates"),
        ({"ids": ["12345678"], "top": 1}, r"by their number or by their ids, but got top 1 with ids 12345678"),
        ({"top": 0}, r"top must be at least 1, but got 0"),
        ({"epochs": 0}, r"retraining\.epochs.*0"),
        ({"seeds": 101}, r"retraining\.seeds.*101"),
        ({"training": {"emma": 1}}, r"got 'emma'"),
        ({"start": "anywhere"}, r"start must be scratch, supernet or winner, but got 'anywhere'"),
        ({"start": "supernet"}, r'evaluate must be "supernet"'),
        ({"teacher": "runs/none"}, r"retraining\.teacher is the folder of a winner"),
        ({"overrides": ["training.epochs=3"]}, r"execution"),
    ],
    ids=str,
)
def test_bad_requests_are_refused_and_leave_the_run(run: Path, asked: dict[str, Any], message: str) -> None:
    before = rows_of(run)
    with pytest.raises((RecipeError, JournalError), match=message):
        retrain(run, **asked)
    assert rows_of(run) == before


def test_other_data_are_refused(run: Path, digits: Images) -> None:
    """Those of other classes, and those that add nothing."""
    other = replace(digits, classes=tuple("abcdefghij"))
    with pytest.raises(nas.DataError, match=r"further data must have the answers of digits"):
        retrain(run, top=1, more_data=other)
    with pytest.raises(nas.DataError, match=r"further data must have items of their own, but all 1797 images"):
        retrain(run, top=1, more_data=digits)


def test_a_run_that_is_not_finished_is_finished_first(tmp_path: Path) -> None:
    """The message has the command."""
    with pytest.MonkeyPatch.context() as patch:
        StopAfter(patch, epoch=1)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path, **{**QUICK, "retraining": {"epochs": 2, "winners": 1}})
    with pytest.raises(JournalError, match=r"is not finished\. Finish it first: nas\.resume\(.*, space=…\)"):
        retrain(tmp_path / "run")
