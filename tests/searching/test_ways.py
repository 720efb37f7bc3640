"""Parts of a parent are tuned alone or share one tuning: by the time, by the check, and after a kill as before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import small_parents
from commands import evaluations_of
from made_schedule import schedule
from quick_runs import BASE, Diary, Stopping, instruments
from tiny_space import TinySpace
from torch import nn

import nas
from nas.errors import CandidateError, RecipeError, SpaceError
from nas.recipe.recipe import Recipe
from nas.recipe.ways import by_way, parent_epochs
from nas.searching.evaluating import handful, ways
from nas.searching.evaluating.ways import choose_way
from nas.searching.schedule import Schedule
from nas.searching.shrinking import shrinking_recipe
from nas.space.parts.device_parts import with_precisions
from nas.space.search_space import SearchSpace, load_space
from nas.space.signature import image_signature
from nas.storage.journal import JournalReader
from nas.storage.journal_rows import WayChosen
from nas.training import supernet_training
from nas.training.supernet_training import SupernetTraining
from nas.values.rank_correlation import RankCorrelation

IN_TIME: Mapping[str, Any] = {"search_time_s": 600.0, "execution": {"executor": "inline"}}


class Sharing(TinySpace):
    """A space whose candidates can share weights, which nothing here makes."""

    def supernet(self) -> Any:
        """Return none."""


class Choosing:
    """A run's state before anything is evaluated, for which the way is chosen."""

    def __init__(self, **keys: Any) -> None:
        self.recipe = shrinking_recipe({**IN_TIME, **keys}, "small_parents:make_digits")
        self.schedule = schedule(**{**IN_TIME, **keys})
        self.durations = self.schedule.durations
        self.news: list[str] = []
        self.progress = SimpleNamespace(say=self.news.append)
        self.chosen: list[str] = []
        self.resolved = SimpleNamespace(space=with_precisions(Sharing(), self.recipe.precisions), function=None)

    def check_bench(self) -> None:
        """There is none."""

    def plan_by(self, recipe: Recipe) -> None:
        self.durations.plan_by(recipe)
        self.schedule.plan_by(recipe)
        self.recipe = recipe

    def go_on_by(self, way: str, reason: str) -> None:
        self.chosen.append(way)


def chosen(monkeypatch: pytest.MonkeyPatch, epoch_s: float | None, shared_s: float = 0.0, **keys: Any) -> Choosing:
    """Choose a way where an epoch of a candidate, and one of shared weights, take some seconds."""
    state: Any = Choosing(**keys)

    def guess(_: Any) -> None:
        state.durations.guess = epoch_s

    monkeypatch.setattr(ways, "guess_epochs", guess)
    monkeypatch.setattr(ways, "usual_layers", lambda _: 0)
    monkeypatch.setattr(ways, "parent_epoch_seconds", lambda *_: 0.0)
    monkeypatch.setattr(ways, "supernet_epoch_seconds", lambda _: shared_s)
    choose_way(state, Path("unused"))
    return state


@pytest.mark.parametrize(
    ("epoch_s", "shared_s", "way", "told"),
    [
        (0.5, 2.0, "train", "each candidate is tuned alone, because 10 min 00 s are enough for about"),
        (20.0, 10.0, "train", "10 min 00 s are enough for about 10 separate trainings"),
        (
            40.0,
            10.0,
            "supernet",
            "candidates share the weights of one tuning, because 10 min 00 s allow no more than about 3 separate",
        ),
        (60.0, 400.0, "train", "10 min 00 s are too short for one tuning that all share, with 1 epoch"),
        (None, 10.0, "train", "nobody knows beforehand how long trainings take where the network that was tried"),
    ],
)
def test_the_time_decides(
    monkeypatch: pytest.MonkeyPatch, epoch_s: float | None, shared_s: float, way: str, told: str
) -> None:
    """Trainings alone where ten fit; one tuning for all where fewer do; alone again where not even that fits."""
    state = chosen(monkeypatch, epoch_s, shared_s)
    assert state.chosen == [way]
    (text,) = state.news
    assert told in text


def test_where_time_is_short_for_both_ways_heads_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """If fewer than ten trainings fit, and what is trained is open, whatever one tuning for all would take."""
    monkeypatch.setattr(ways, "may_fit_heads", lambda state, recipe: True)
    for shared_s in (10.0, 400.0):
        state = chosen(monkeypatch, 60.0, shared_s)
        assert state.chosen == ["heads"]
        assert "and nothing is tuned, because 10 min 00 s allow no more than about" in state.news[0]
    state = chosen(monkeypatch, 1000.0, 10.0)
    assert state.chosen == ["heads"]
    assert "10 min 00 s allow not one separate training" in state.news[0]


def test_a_space_that_cannot_share_is_tuned_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "Sharing", TinySpace)
    state = chosen(monkeypatch, 40.0, 10.0)
    assert state.chosen == ["train"]
    assert "this space has no weights that candidates share" in state.news[0]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"search_time_s": None, "evaluate": "auto"}, "no time limits the search"),
        ({"training": {"search": {"learning_rate": [1e-3, 1e-2]}}}, "candidates differ in how they are tuned"),
        ({"training": {"ema": 0.9, "mixup": 0.2}}, "would leave out training.mixup, training.ema"),
        ({"trials": 3}, "10 min 00 s are enough for all 3 separate trainings"),
    ],
)
def test_some_recipes_leave_one_way_alone(monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], told: str) -> None:
    state = chosen(monkeypatch, 40.0, 10.0, **keys)
    assert state.chosen == ["train"]
    assert told in state.news[0]


def test_precisions_leave_both_ways_open(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, 40.0, 10.0, precisions=["fp32", "int8"]).chosen == ["supernet"]


def test_where_no_training_can_be_timed_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "device_named", lambda name: SimpleNamespace(type="cuda"))
    assert chosen(monkeypatch, None).news[0].endswith("how long trainings take on a GPU")


def test_settings_that_sharing_ignores_leave_heads_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a time for few trainings, where they hinder no head."""
    monkeypatch.setattr(ways, "may_fit_heads", lambda state, recipe: True)
    assert chosen(monkeypatch, 60.0, 10.0, training={"ema": 0.9}).chosen == ["heads"]


def test_the_parent_is_tuned_for_no_more_than_the_usual_epochs_or_those_of_winners() -> None:
    def epochs(of_winners: int) -> int:
        return parent_epochs(Recipe(evaluate="supernet", retraining={"epochs": of_winners, "start": "supernet"}))

    assert [epochs(each) for each in (1, 3, 5, 10)] == [2, 6, 6, 10]


def test_a_way_that_is_named_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for way in ("train", "supernet"):
        assert not chosen(monkeypatch, 40.0, 10.0, evaluate=way).chosen
    assert shrinking_recipe({"search_time_s": 60}, "timm:resnet18").evaluate == "auto"
    assert shrinking_recipe({}, "timm:resnet18").evaluate == "auto"
    assert "supernet" not in shrinking_recipe({}, "timm:resnet18").model_fields_set
    assert "evaluate" not in shrinking_recipe({"trials": 0}, "timm:resnet18").model_fields_set


def test_folders_of_pictures_are_seen_at_lower_resolutions_too() -> None:
    """Unless the recipe says otherwise, or has a teacher, which sees pictures as they are."""

    def sizes(**keys: Any) -> object:
        return shrinking_recipe(keys, "timm:resnet18").space.options.get("sizes")

    assert sizes(data="folder:photos") == sizes(data={"name": "folder:photos", "image_size": 96}) == "lower"
    assert sizes(data="folder:photos", space={"sizes": []}) == []
    assert sizes(data="folder:photos", training={"teacher": "runs/a/winners/b"}) is None
    assert sizes(data="digits") is sizes() is None


def test_winners_of_a_chosen_way_begin_where_it_left_them() -> None:
    left_open = Recipe(evaluate="auto", retraining={"epochs": 5})
    shared, alone = by_way(left_open, "supernet"), by_way(left_open, "train")
    assert (shared.evaluate, shared.retraining.start, shared.retraining.epochs) == ("supernet", "supernet", 3)
    assert (alone.evaluate, alone.retraining.start, alone.retraining.epochs) == ("train", "scratch", 5)
    assert (parent_epochs(shared), parent_epochs(alone)) == (6, 5)
    named = Recipe(evaluate="train")
    assert by_way(named, "supernet") is named
    with pytest.raises(ValueError, match="must be evaluated by one of train, supernet, heads, but got 'table'"):
        by_way(left_open, "table")


def test_a_space_without_a_parent_has_no_way_to_choose(tmp_path: Path) -> None:
    recipe = {**BASE, "space": "mobilenet", "evaluate": "auto"}
    with pytest.raises(RecipeError, match=r'evaluate = "auto" chooses how parts of a parent are evaluated'):
        nas.search(recipe, runs=tmp_path, progress=None)


# Whole runs

KEYS: Mapping[str, Any] = {
    **BASE,
    "rounds": 1,
    "evaluate": "auto",
    "trials": 12,
    "search_time_s": 3600,
    "supernet": {"epochs": 2, "check": 3, "recalibration_images": 64},
    "training": {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3},
}


@pytest.fixture(name="shared")
def _shared(monkeypatch: pytest.MonkeyPatch, latency_by_choices: None) -> None:
    """A run that chooses to share: one training fits, and no head can be fitted."""
    monkeypatch.setattr(Schedule, "candidates_in_time", lambda self: 1)
    monkeypatch.setattr(ways, "may_fit_heads", lambda state, recipe: False)


def space_of(parent: nn.Module) -> SearchSpace:
    return load_space("shrunk", {"parent": parent, "widths": [0.5], "trunks": [0.5]}, image_signature((1, 8, 8), 10))


def ways_in(run: Path) -> list[str]:
    with JournalReader(run) as journal:
        return [row.evaluate for row in journal.rows(WayChosen)]


def agreeing(monkeypatch: pytest.MonkeyPatch, correlation: float) -> None:
    """Let the check find this rank correlation."""
    found = RankCorrelation(correlation, correlation, 3)
    monkeypatch.setattr(handful, "rank_correlation", lambda *_: found)
    monkeypatch.setattr(handful, "_why_blind", lambda *_: "")


@pytest.mark.slow
@pytest.mark.usefixtures("quick_export", "shared")
def test_what_was_chosen_holds_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agreeing(monkeypatch, 0.9)
    parent = small_parents.make_digits()
    space, diary = space_of(parent), Stopping("round 1/1: evaluating by shared weights")
    with pytest.raises(KeyboardInterrupt):
        nas.search(KEYS, space=space, runs=tmp_path, progress=diary, instruments=instruments(space))
    assert any(text.startswith("candidates share the weights of one tuning, because") for text in diary.news)
    diary = Diary()
    nas.resume(tmp_path / "run", space=space, progress=diary, instruments=instruments(space))
    assert not any(" because " in text and "tuning" in text for text in diary.news)
    rows = evaluations_of(tmp_path / "run", "train")
    assert {row.by for row in rows} == {"train", "supernet"}  # the parent is as it came
    starts = [row.details.get("start") for row in evaluations_of(tmp_path / "run", "retrain")]
    assert "supernet" in starts
    assert ways_in(tmp_path / "run") == ["supernet"]
    assert nas.load_run(tmp_path / "run").notes["chosen way of evaluating"].startswith("supernet, because 1 h 00 min")


@pytest.mark.slow
@pytest.mark.usefixtures("quick_export", "shared")
def test_a_check_that_disagrees_turns_to_separate_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainings of the check are the first candidates then, and a run that is stopped stays with it."""
    agreeing(monkeypatch, -0.2)
    space, diary = space_of(small_parents.make_digits()), Stopping("round 1/1: training")
    with pytest.raises(KeyboardInterrupt):
        nas.search(KEYS, space=space, runs=tmp_path, progress=diary, instruments=instruments(space))
    assert any(text.startswith("each candidate is tuned alone from now on, because shared") for text in diary.news)
    checks = evaluations_of(tmp_path / "run", "check")
    nas.resume(tmp_path / "run", space=space, progress=None, instruments=instruments(space))
    rows = evaluations_of(tmp_path / "run", "train")
    assert [row.architecture for row in rows[:3]] == [row.architecture for row in checks]
    assert [row.values["error"] for row in rows[:3]] == [row.values["error"] for row in checks]
    assert len(rows) > 3
    assert {row.by for row in rows} == {"train"}
    assert len({row.architecture for row in rows}) == len(rows)
    assert "supernet" not in [row.details.get("start") for row in evaluations_of(tmp_path / "run", "retrain")]
    assert ways_in(tmp_path / "run") == ["supernet", "train"]
    notes = nas.load_run(tmp_path / "run").notes
    assert "; then train, because shared weights rank" in notes["chosen way of evaluating"]
    assert notes["check of shared weights"]["Spearman"] == pytest.approx(-0.2)
    assert "agreement with training" not in notes  # that is of candidates that were not trained


@pytest.mark.slow
@pytest.mark.usefixtures("quick_export", "shared")
def test_shared_weights_that_cannot_be_tuned_give_way_to_separate_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the recipe asks for shared weights, the run ends there."""
    monkeypatch.setattr(supernet_training._Steps, "_step", lambda *_: float("nan"))
    space, diary = space_of(small_parents.make_digits()), Diary()
    nas.search({**KEYS, "trials": 3}, space=space, runs=tmp_path, progress=diary, instruments=instruments(space))
    said = next(text for text in diary.news if text.startswith("each candidate is tuned alone from now on, because"))
    assert "shared weights cannot be tuned: the supernet's losses must be finite, but one was nan" in said
    assert {row.by for row in evaluations_of(tmp_path / "run", "train")} == {"train"}
    assert ways_in(tmp_path / "run") == ["supernet", "train"]
    named = {**KEYS, "evaluate": "supernet", "name": "named"}
    with pytest.raises(RecipeError, match=r"could not be trained: .* losses must be finite.* Then start a new run"):
        nas.search(named, space=space, runs=tmp_path, progress=None, instruments=instruments(space))


@pytest.mark.slow
@pytest.mark.usefixtures("quick_export", "shared")
def test_what_hinders_sharing_alone_ends_no_open_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that no slices match, a process that was lost, and a first epoch that takes too long."""

    def turned(name: str, parent: nn.Module) -> str:
        space, diary = space_of(parent), Diary()
        keys = {**KEYS, "name": name, "trials": 3}
        nas.search(keys, space=space, runs=tmp_path, progress=diary, instruments=instruments(space))
        assert ways_in(tmp_path / name) == ["supernet", "train"]
        return next(text for text in diary.news if text.startswith("each candidate is tuned alone from now on"))

    parent = small_parents.make_digits()
    with monkeypatch.context() as patch:
        patch.setattr(SupernetTraining, "__call__", raising(SpaceError("its slices match no parameters.")))
        assert "its slices match no parameters" in turned("other", parent)
    with monkeypatch.context() as patch:
        lost = CandidateError("worker", "its process was lost 3 times")
        patch.setattr(SupernetTraining, "__call__", raising(lost))
        assert "its process was lost 3 times" in turned("lost", parent)

    def in_no_time(*given: Any) -> SupernetTraining:
        return SupernetTraining(*given[:-1], most_s=1e-9)

    monkeypatch.setattr("nas.searching.evaluating.proxies.SupernetTraining", in_no_time)
    assert "so there is time for no more than 1" in turned("slow", parent)


def raising(error: Exception) -> Any:
    def raises(*_: Any) -> Any:
        raise error

    return raises


@pytest.mark.slow
@pytest.mark.usefixtures("quick_export", "shared")
def test_however_short_the_time_one_form_is_trained_beside_the_parent(tmp_path: Path) -> None:
    """The parent alone, which costs no training, is no answer."""
    space = space_of(small_parents.make_digits())
    assert isinstance(space, nas.HasParent)
    keys = {**KEYS, "evaluate": "train", "search_time_s": 0.05}
    nas.search(keys, space=space, runs=tmp_path, progress=None, instruments=instruments(space))
    parent, *others = [row.architecture for row in evaluations_of(tmp_path / "run", "train")]
    assert parent == space.parent
    assert len(others) == 1
