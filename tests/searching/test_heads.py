"""Parts of a parent get a fitted head where a few of them are better with it than after their tuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import small_parents
import torch
from commands import assert_nothing_twice, evaluations_of
from made_schedule import schedule
from quick_runs import BASE, Stopping, instruments
from torch import nn

import nas
from nas.recipe.recipe import Recipe
from nas.recipe.ways import HEADS, by_way
from nas.searching.evaluating import heads
from nas.searching.measuring_pace import MeasuringPace
from nas.searching.schedule import Schedule
from nas.space.search_space import SearchSpace, load_space, settle
from nas.space.signature import image_signature
from nas.storage.journal import JournalReader
from nas.storage.journal_rows import WayChosen
from nas.tasks.images.images import Images
from nas.training.fitted_heads import from_fitted_head, is_head_alone
from nas.training.inheriting import Inheritance, inheritance_of
from nas.training.settings import training_settings
from nas.training.training import CandidateTraining

pytestmark = pytest.mark.usefixtures("quick_export", "latency_by_choices")
SPOILING = 0.1
"""A learning rate at which an epoch leaves nothing of what the parent knew."""
KEYS: Mapping[str, Any] = {
    **BASE,
    "rounds": 1,
    "evaluate": "auto",
    "trials": 40,
    "training": {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3},
    "retraining": {"epochs": 1, "winners": 2},
}


def space_of(parent: str | nn.Module) -> SearchSpace:
    return load_space("shrunk", {"parent": parent, "widths": [0.5], "trunks": [0.5]}, image_signature((1, 8, 8), 10))


@pytest.fixture(name="trained", scope="module")
def _trained(digits: Images) -> nn.Module:
    """A model that tells most digits apart."""
    module = small_parents.make_digits()
    settings = training_settings(Recipe(training={"epochs": 2, "batch_size": 32, "device": "cpu"}))
    for _ in nas.Trainer(settings).train(module, digits):
        pass
    return module.eval()


def ways_in(run: Path) -> list[str]:
    with JournalReader(run) as journal:
        return [row.evaluate for row in journal.rows(WayChosen)]


def search(runs: Path, parent: str | nn.Module, progress: Any = None, **changes: Any) -> nas.Front:
    space = space_of(parent)
    return nas.search({**KEYS, **changes}, space=space, runs=runs, progress=progress, instruments=instruments(space))


@pytest.mark.slow
def test_where_tuning_spoils_the_features_heads_are_fitted(tmp_path: Path, trained: nn.Module) -> None:
    """A run that is stopped goes on with them, and winners have their heads from all items."""
    spoiling = {**KEYS["training"], "learning_rate": SPOILING}
    diary = Stopping("retraining winners")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, trained, diary, training=spoiling, trials=10)
    run = tmp_path / "run"
    said = next(text for text in diary.news if text.startswith("each candidate gets a head that is fitted"))
    assert "because 2 of them have a mean error" in said
    parent, *others = evaluations_of(run, "train")
    assert parent.details["epochs"] == 0
    assert others
    assert all(row.is_fitted for row in others)
    checks = evaluations_of(run, "check")
    assert len(checks) == 2
    errors = {row.architecture: row.values["error"] for row in others}
    assert all(errors[row.architecture] < row.values["error"] for row in checks if row.architecture in errors)
    front = nas.resume(run, space=space_of(trained), progress=None, instruments=instruments(space_of(trained)))
    assert ways_in(run) == ["train", "heads"]
    assert min(winner.test_error for winner in front if not winner.is_parent) < 0.5
    assert "; then heads, because 2 of them" in nas.load_run(run).notes["chosen way of evaluating"]
    assert_nothing_twice(run)


@pytest.mark.slow
def test_winners_share_the_time_with_the_parent_and_one_head_alone(
    tmp_path: Path, trained: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all are heads, one that is the best by folds may come beside those asked for, and not three."""
    planned: list[int] = []
    finishing_s = MeasuringPace.finishing_s

    def noted(pace: MeasuringPace, count: int) -> float:
        planned.append(count)
        return finishing_s(pace, count)

    monkeypatch.setattr(MeasuringPace, "finishing_s", noted)
    monkeypatch.setattr(
        Schedule, "has_time_to_make", lambda self, those, kept=(), tuned_on=(), late=False: len(those) <= 4
    )
    diary = Stopping("exporting winners")
    spoiling = {**KEYS["training"], "learning_rate": SPOILING}
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, trained, diary, training=spoiling, trials=10)
    assert ways_in(tmp_path / "run") == ["train", "heads"]
    assert not any("is enough for" in text for text in diary.news)
    winners = KEYS["retraining"]["winners"]
    assert winners + 1 in planned  # the parent comes beside them
    assert max(planned) == winners + 2


@pytest.mark.slow
def test_where_tuning_is_better_it_goes_on(tmp_path: Path, trained: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were tuned to compare are the first candidates then, and are not tuned again."""
    monkeypatch.setattr(heads, "_with_heads", lambda state, tuning, those, executor: dict.fromkeys(those, 0.99))
    diary, space = Stopping("round 1/1: training"), space_of(trained)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, trained, diary, trials=10)
    for stop in ("round 1/1: training", "retraining winners"):
        with pytest.raises(KeyboardInterrupt):
            nas.resume(tmp_path / "run", space=space, progress=Stopping(stop), instruments=instruments(space))
    assert any(
        "is tuned alone, because 2 of them have a mean error 99.00 % with a fitted" in text for text in diary.news
    )
    checks, rows = evaluations_of(tmp_path / "run", "check"), evaluations_of(tmp_path / "run", "train")
    assert [row.architecture for row in rows[:2]] == [row.architecture for row in checks]
    assert len({row.architecture for row in rows}) == len(rows)
    assert not any(row.is_fitted for row in rows)
    assert ways_in(tmp_path / "run") == ["train", "train"]
    assert_nothing_twice(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"trials": 9},
        {"training": {**KEYS["training"], "tune": "norms"}},
        {"training": {**KEYS["training"], "mixup": 0.2}},
        {"training": {**KEYS["training"], "fit_head": False}},
        {"evaluate": "train"},
    ],
    ids=[
        "too few trainings",
        "tuned as asked for",
        "blended as asked for",
        "unfitted as asked for",
        "the way is named",
    ],
)
def test_some_searches_compare_nothing(tmp_path: Path, trained: nn.Module, changes: dict[str, Any]) -> None:
    diary = Stopping("round 1/1: training")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, trained, diary, **changes)
    assert not evaluations_of(tmp_path / "run", "check")
    assert "heads" not in ways_in(tmp_path / "run")


@pytest.mark.slow
def test_where_few_trainings_are_left_nothing_is_tuned(
    tmp_path: Path, trained: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent's tuning may show that trainings take longer than was guessed."""
    monkeypatch.setattr(heads, "_trainings", lambda state: 3)
    diary = Stopping("round 1/1: training")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, trained, diary)
    assert any(text.endswith("is left allows no more than about 3 separate trainings") for text in diary.news)
    assert not evaluations_of(tmp_path / "run", "check")
    assert ways_in(tmp_path / "run") == ["train", "heads"]


def test_trainings_beside_each_other_take_less_time() -> None:
    """All of them count, as where the way is chosen."""

    def fitting(workers: int) -> int:
        plan = schedule(search_time_s=600.0, trials=100, execution={"workers": workers})
        plan.durations.guess = 5.0
        state: Any = SimpleNamespace(schedule=plan, durations=plan.durations, recipe=Recipe(trials=100))
        return heads._trainings(state)

    assert 0 < 3 * fitting(1) < fitting(4)


class HeadOfPixels(nn.Module):
    """A network whose outputs are those of a convolution, so that no head can be fitted."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(16, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        found: torch.Tensor = self.head(self.second(self.first(x))).mean(dim=(2, 3))
        return found


@pytest.mark.slow
def test_parts_without_a_head_to_fit_are_tuned_as_before(tmp_path: Path) -> None:
    torch.manual_seed(0)
    diary = Stopping("retraining winners")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, HeadOfPixels(), diary, trials=10)
    assert not evaluations_of(tmp_path / "run", "check")
    parent, *others = evaluations_of(tmp_path / "run", "train")
    assert parent.details["epochs"] == 0
    assert not any(row.is_fitted for row in others)
    assert ways_in(tmp_path / "run") == ["train"]


@pytest.mark.slow
@pytest.mark.parametrize("is_spoilt", [True, False])
def test_a_parent_that_tuning_spoils_keeps_its_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_spoilt: bool
) -> None:
    """It has a fitted head then, and both errors are told."""
    train = nas.Trainer.train

    def reports(trainer: nas.Trainer, *given: Any) -> Iterator[dict[str, Any]]:
        for report in train(trainer, *given):
            yield report if is_spoilt or not report.get("fitted") else {**report, "error": 1.0}

    monkeypatch.setattr(nas.Trainer, "train", reports)
    diary, spoiling = Stopping("round 1/1: training"), {**KEYS["training"], "learning_rate": 50 * SPOILING}
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, "small_parents:make_colours", diary, training=spoiling)
    assert "tuning the parent" in diary.stages
    told = [text for text in diary.news if text.startswith("the parent keeps its features, with a fitted head alone")]
    assert len(told) == is_spoilt
    assert all(" instead of " in text for text in told)


@pytest.mark.slow
def test_a_parent_is_tuned_where_heads_were_chosen_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time was too short for trainings of its parts, and not for its own."""
    train, tuned = nas.Trainer.train, []

    def noted(trainer: nas.Trainer, *given: Any) -> Iterator[dict[str, Any]]:
        tuned.append((trainer.settings.tune, trainer.settings.fit_head))
        return train(trainer, *given)

    monkeypatch.setattr(nas.Trainer, "train", noted)
    diary = Stopping("round 1/1: training")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, "small_parents:make_colours", diary, search_time_s="6s")
    assert ways_in(tmp_path / "run") == ["heads"]
    assert "tuning the parent" in diary.stages
    assert tuned[:2] == [("head", True), ("all", False)]


def test_a_parent_teaches_what_is_tuned_on_pictures_of_its_own_size(trained: nn.Module, digits: Images) -> None:
    """On smaller ones it often is wrong, and a head that is fitted learns from the items alone."""
    options = {"parent": trained, "widths": [0.5], "trunks": [0.5], "sizes": [6]}
    space: Any = load_space("shrunk", options, image_signature((1, 8, 8), 10))
    inheritance = Inheritance(space, inheritance_of(space, trained, digits, {}))
    settings = training_settings(Recipe(training={"epochs": 1, "device": "cpu"}))
    source = nas.DataSource(name="digits")

    def teacher(size: int, **changes: Any) -> nn.Module | None:
        training = CandidateTraining(space, source, settings, inheritance=inheritance)
        part = settle(space, lambda choice: size if choice.name == "image_size" else choice.options[0])
        return training._teacher(part, replace(settings, **changes))

    assert teacher(8) is inheritance.teacher()
    assert teacher(6) is None
    assert teacher(8, **HEADS) is None


def test_what_began_from_a_fitted_head_is_tuned_on_at_a_lower_rate_still(
    trained: nn.Module, digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = space_of(trained)
    inheritance = Inheritance(space, inheritance_of(space, trained, digits, {}))
    settings = training_settings(Recipe(training={"epochs": 2, "device": "cpu", "fit_head": True}))
    rates: list[float] = []

    def noted(trainer: nas.Trainer, *_: object) -> Iterator[dict[str, Any]]:
        rates.append(trainer.settings.learning_rate / settings.learning_rate)
        yield from ()

    monkeypatch.setattr(nas.Trainer, "train", noted)
    part = settle(space, lambda choice: choice.options[0])
    for tuned_on in (False, True):
        training = CandidateTraining(space, nas.DataSource(name="digits"), settings, inheritance=inheritance)
        list(training({"architecture": dict(part), "seed": 0, "tuned_on": tuned_on}))
    assert rates == pytest.approx([0.3, 0.3 * 0.3])


def test_a_rate_is_lower_where_a_head_is_fitted_first(trained: nn.Module, digits: Images) -> None:
    """Not for a head alone, which has none, and not where no head can be fitted."""
    settings = training_settings(Recipe(training={"fit_head": True}))
    assert from_fitted_head(settings, trained, digits).learning_rate == pytest.approx(0.3 * settings.learning_rate)
    without_bias = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))
    behind = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Tanh())
    for module in (without_bias, behind):
        assert from_fitted_head(settings, module, digits) is settings
    for same in (replace(settings, **HEADS), replace(settings, fit_head=False)):
        assert from_fitted_head(same, trained, digits) is same


def test_a_recipe_whose_way_is_heads_fits_them_alone() -> None:
    found = by_way(Recipe(evaluate="auto", training={"augment": True, "mixup": 0.2}), "heads")
    assert found.evaluate == "train"
    assert is_head_alone(training_settings(found))
    assert found.retraining.start == "scratch"
