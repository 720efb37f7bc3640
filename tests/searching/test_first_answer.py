"""A search without trainings measures models, and answers with what is known of them beforehand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from quick_runs import Diary, OneChoice, resume, search
from torch import nn

import nas
from nas.errors import RecipeError
from nas.recipe.recipe import Recipe
from nas.results.first_answer import unbeaten
from nas.results.run_folder import load_run
from nas.searching.state import RunState
from nas.space.architecture import Architecture, Choice

END_ROUND = RunState.end_round
pytestmark = pytest.mark.usefixtures("quick_export")


class Many:
    """A hundred networks, of which the wider ones are more accurate."""

    choices = (Choice("width", tuple(range(2, 12))), Choice("depth", tuple(range(1, 11))))
    known_names = ("published",)

    def build(self, architecture: Architecture) -> nn.Module:
        width, depth = int(architecture["width"]), int(architecture["depth"])
        layers = [nn.Conv2d(1 if n == 0 else width, width, 3, padding=1) for n in range(depth)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))

    def known(self, architecture: Architecture) -> Mapping[str, float]:
        return {"published": float(architecture["width"]) + float(architecture["depth"]) / 10}


def stop_at_the_end(state: RunState, number: int) -> None:
    if number == state.last_round:
        raise KeyboardInterrupt
    END_ROUND(state, number)


class Published(OneChoice):
    """Six networks, of which a published accuracy is known; the third is worse than the second and not cheaper."""

    known_names = ("published",)
    accuracies: Mapping[int, float] = {2: 50, 3: 70, 4: 60, 5: 80, 6: 90, 8: 90}

    def known(self, architecture: Architecture) -> Mapping[str, float]:
        return {"published": self.accuracies[int(architecture["width"])]}


class Distant(Published):
    """Their weights cannot be had now."""

    def check_start(self) -> None:
        raise RecipeError("the weights are not on this machine")


def test_without_trainings_no_weights_are_needed(tmp_path: Path) -> None:
    """A first answer can be had behind a wall; with trainings, the search is refused before anything is done."""
    with pytest.raises(RecipeError, match="not on this machine"):
        search(tmp_path, Distant(), trials=2, rounds=1)
    search(tmp_path, Distant(), trials=0, rounds=1)
    assert load_run(tmp_path / "run").front.first is not None


def test_models_are_measured_and_none_is_trained(tmp_path: Path) -> None:
    """Marked are those for which no model with a higher published accuracy is as cheap."""
    diary = Diary()
    front = search(tmp_path, Published(), trials=0, rounds=1, progress=diary)
    assert len(front) == 0
    assert front.first is not None
    assert {row.stage for row in load_run(tmp_path / "run").rows} == {"measure"}
    assert len(front.first.models) == 6
    marked = {int(each.architecture["width"]) for each in front.first.models if each.on_front}
    cheaper = {int(each.architecture["width"]): each.measurements["latency_ms"].median for each in front.first.models}
    known = Published.accuracies
    assert marked == {
        width
        for width in known
        if not any(known[other] > known[width] and cheaper[other] <= cheaper[width] for other in known)
    }
    assert not any("training" in stage for stage in diary.stages)
    assert any(text.startswith("plan: ") and text.endswith("train none") for text in diary.news)
    text = str(front)
    assert "First answer: 6 models measured, none trained." in text
    assert "accuracy on your data is not known before training." in " ".join(text.split())
    assert all(each.architecture.id in text for each in front.first.models)


def test_limits_are_checked_and_the_run_is_over(tmp_path: Path) -> None:
    """What does not meet them is shown and never marked; a resumed run measures nothing more."""
    front = search(tmp_path, Published(), trials=0, rounds=1, limits=["params<=600"])
    assert front.first is not None
    assert {each.meets for each in front.first.models} == {True, False}
    assert not any(each.on_front and not each.meets for each in front.first.models)
    rows = load_run(tmp_path / "run").rows
    again = resume(tmp_path / "run", space=Published())
    assert str(again) == str(front)
    assert load_run(tmp_path / "run").rows == rows
    assert load_run(tmp_path / "run").is_over
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "First answer: 6 models measured, none trained" in report


def test_a_space_that_knows_nothing_says_so(tmp_path: Path) -> None:
    front = search(tmp_path, OneChoice(), trials=0, rounds=1)
    assert "Nothing is known of their accuracy before training." in str(front)


def test_programs_get_it_as_plain_data(tmp_path: Path) -> None:
    front = search(tmp_path, Published(), trials=0, rounds=1)
    found = json.loads(json.dumps(front.to_json()))["first_answer"]
    assert {each["known"]["published"] for each in found} == set(Published.accuracies.values())
    assert all(each["measurements"]["latency_ms"] for each in found)


def test_models_of_which_the_same_is_known_do_not_beat_each_other() -> None:
    """One model at several resolutions is as accurate as published at one of them only."""
    costs = np.array([[1.0], [2.0], [3.0], [4.0]])
    assert unbeaten(costs, np.array([70.0, 70.0, 60.0, 80.0])).tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"evaluate": "zero-cost"}, 'so evaluate must be "train", but got "zero-cost"'),
        ({"objectives": ["error", "macs"]}, "an objective or a limit must be measured, such as latency_ms"),
        ({"trials": -1}, "trials"),
    ],
)
def test_what_makes_no_sense_without_trainings_is_refused(keys: Mapping[str, object], message: str) -> None:
    with pytest.raises(nas.RecipeError, match=message):
        Recipe.from_mapping({"data": "digits", "trials": 0, **keys})


def test_it_needs_few_measurements() -> None:
    """The answer should take a minute or two."""
    recipe = Recipe.from_mapping({"data": "digits", "trials": 0})
    assert (recipe.rounds, recipe.measuring.initial) == (1, 8)


def test_limits_that_need_training_are_not_said_to_hold(tmp_path: Path) -> None:
    front = search(tmp_path, Published(), trials=0, rounds=1, limits=["error<=1%"])
    assert front.first is not None
    assert front.first.limits == ()
    assert "error" not in front.first.title


@pytest.mark.slow
def test_a_resumed_run_measures_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The passes that a killed run made are known by their rows."""
    monkeypatch.setattr(RunState, "end_round", stop_at_the_end)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, Many(), trials=0, rounds=1, measuring={"initial": 6})
    monkeypatch.setattr(RunState, "end_round", END_ROUND)
    before = load_run(tmp_path / "run").rows
    assert {row.round for row in before} > {0}
    resume(tmp_path / "run", space=Many())
    assert [row.architecture for row in load_run(tmp_path / "run").rows] == [row.architecture for row in before]


def test_a_page_says_what_comes_next(tmp_path: Path) -> None:
    """It is no failure, and no plot is empty."""
    front = search(tmp_path, Published(), trials=0, rounds=1)
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "the same command without --trials 0" in report
    assert "ended without a winner" not in report
    assert "Nothing has been evaluated" not in report
    assert "First answer: 6 models" in front._repr_html_()
