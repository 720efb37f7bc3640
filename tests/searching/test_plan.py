"""The plan is told at the start and before each round, and what has no time is left out and said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import evaluations_of
from quick_runs import BASE, Diary, OneChoice, instruments, search, trained
from safetensors.torch import load, load_file
from torch import nn

import nas
from nas.errors import CandidateError
from nas.results.bundled.card import CARD
from nas.searching.beliefs import Beliefs
from nas.searching.durations import Durations
from nas.searching.plan import is_brief
from nas.searching.schedule import Schedule
from nas.searching.state import RunState
from nas.searching.trained_weights import TrainedWeights
from nas.searching.winners.bundles import BundleMaker
from nas.space.architecture import Architecture

pytestmark = pytest.mark.usefixtures("quick_export")


def told(diary: Diary, beginning: str) -> list[str]:
    return [text for text in diary.news if text.startswith(beginning)]


@pytest.mark.slow
def test_the_plan_comes_first_and_what_is_left_before_each_round(tmp_path: Path) -> None:
    """Every stage has its number and its time."""
    diary = Diary()
    search(tmp_path, progress=diary)
    (plan,) = told(diary, "plan: ")
    assert diary.news.index(plan) < min(diary.news.index(text) for text in told(diary, "left: "))
    for words in (
        "measure 6 models (",
        "evaluate 6 candidates in 2 rounds (",
        "measure up to 2 after each (",
        "2 winners (",
    ):
        assert words in plan
    assert [("in 2 rounds" in text, "in 1 round " in text) for text in told(diary, "left: ")] == [
        (True, False),
        (False, True),
    ]


def test_without_measured_metrics_nothing_is_planned_to_be_measured(tmp_path: Path) -> None:
    diary = Diary()
    search(tmp_path, OneChoice(), objectives=["error", "macs"], trials=2, rounds=1, progress=diary)
    (plan,) = told(diary, "plan: ")
    assert plan.startswith("plan: evaluate 2 candidates in 1 round (")
    assert "measure up to" not in plan


@pytest.mark.slow
def test_rounds_without_time_do_not_begin_and_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The winners are made all the same."""
    monkeypatch.setattr(Schedule, "has_time_for_round", lambda self: False)
    diary = Diary()
    front = search(tmp_path, search_time_s=60, trials=9, rounds=3, progress=diary)
    assert {row.round for row in evaluations_of(tmp_path / "run", "train")} == {1}
    assert len(told(diary, "rounds 2 to 3 do not begin: ")) == 1
    assert not any("round 2" in name for name in diary.stages)
    assert len(front) >= 1


def test_a_search_without_time_for_training_trains_one_and_says_so(tmp_path: Path) -> None:
    """No stage is limited to no time."""
    diary = Diary()
    assert len(search(tmp_path, search_time_s=0.001, trials=200, progress=diary)) == 1
    assert len(trained(tmp_path / "run")) == 1
    assert len(told(diary, "no search time is left for training; one candidate is trained")) == 1
    (short,) = told(diary, "the search time (")
    assert "too short for one candidate and its retraining, so this run takes longer, about " in short
    assert "training.epochs = 2, retraining.epochs = 1" in short


@pytest.mark.slow
def test_a_search_with_time_for_training_does_not_say_so(tmp_path: Path) -> None:
    diary = Diary()
    search(tmp_path, search_time_s=600, trials=2, progress=diary)
    assert told(diary, "the search time (") == []


@pytest.mark.slow
def test_winners_that_have_no_time_are_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Schedule, "has_time_to_make", lambda self, architectures, kept=(), tuned_on=(), late=False: False
    )
    diary = Diary()
    front = search(tmp_path, retraining={"epochs": 1, "winners": 4}, progress=diary)
    assert len(front) == 1
    (text,) = (text for text in diary.news if "is enough for" in text)
    assert re.match("the search time that is left, .*, is enough for 1 of [2-4] winners", text)


@pytest.mark.slow
def test_time_that_is_left_after_the_first_winner_makes_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An estimate that was too high must not leave half of the time unused."""

    def fits(
        schedule: Schedule,
        architectures: Sequence[Architecture],
        kept: object = (),
        tuned_on: object = (),
        *,
        late: bool = False,
    ) -> bool:
        return bool(evaluations_of(tmp_path / "run", "winner")) or len(architectures) == 1

    monkeypatch.setattr(Schedule, "has_time_to_make", fits)
    diary = Diary()
    front = search(tmp_path, retraining={"epochs": 1, "winners": 4}, progress=diary)
    assert len(told(diary, "the search time that is left")) == 1
    assert len(front) >= 2


class Wanting(OneChoice):
    """A space that wants to see two of its networks first."""

    first = (Architecture({"width": 2}), Architecture({"width": 8}))


def test_the_first_front_is_told_as_soon_as_it_is_there(tmp_path: Path) -> None:
    """It is told once."""
    diary = Diary()
    search(tmp_path, Wanting(), trials=6, rounds=2, progress=diary)
    (text,) = told(diary, "first front on ")
    assert 1 <= text.count("error ") <= 2
    assert text.count(" at ") == text.count("error ")


def test_winners_that_take_too_long_give_way_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best candidate may need more time than there is; the next best is then made in its place."""

    def fits(
        schedule: Schedule,
        architectures: Sequence[Architecture],
        kept: object = (),
        tuned_on: object = (),
        *,
        late: bool = False,
    ) -> bool:
        return all(int(each["width"]) <= 4 for each in architectures)

    monkeypatch.setattr(Schedule, "has_time_to_make", fits)
    front = search(tmp_path, OneChoice(), trials=6, rounds=1, search_time_s=600)
    assert front.winners
    assert all(int(winner.architecture["width"]) <= 4 for winner in front)


def test_without_time_for_any_winner_the_quickest_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Schedule, "has_time_to_make", lambda self, architectures, kept=(), tuned_on=(), late=False: False
    )
    monkeypatch.setattr(
        Durations,
        "making_s",
        lambda self, architectures, kept=(), tuned_on=(): sum(int(a["width"]) for a in architectures),
    )
    front = search(tmp_path, OneChoice(), trials=6, rounds=1, search_time_s=600)
    assert [int(winner.architecture["width"]) for winner in front] == [2]


def test_the_best_that_is_late_by_little_is_made_before_the_quickest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that overran must not end a search with its poorest model."""
    monkeypatch.setattr(
        Schedule, "has_time_to_make", lambda self, a, kept=(), tuned_on=(), late=False: late and int(a[0]["width"]) <= 6
    )
    monkeypatch.setattr(
        Durations,
        "making_s",
        lambda self, architectures, kept=(), tuned_on=(): sum(int(a["width"]) for a in architectures),
    )
    front = search(tmp_path, OneChoice(), trials=6, rounds=1, search_time_s=600)
    (winner,) = front
    trained = {row.architecture: row.values["error"] for row in evaluations_of(tmp_path / "run", "train")}
    narrow = {each: error for each, error in trained.items() if int(each["width"]) <= 6}
    assert trained[winner.architecture] == min(narrow.values())
    assert int(winner.architecture["width"]) > 2


@pytest.mark.slow
@pytest.mark.parametrize("space", [None, "own"])
def test_only_short_trainings_of_known_code_run_in_this_process(
    tmp_path: Path, space: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code of one's own may hang or crash, which a process of its own survives."""
    values = {**BASE, "space": "mobilenet", "execution": {}, "trials": 2, "rounds": 1}
    given = OneChoice() if space else None
    recipe = nas.Recipe.from_mapping({key: value for key, value in values.items() if not (given and key == "space")})
    found: list[tuple[bool, bool]] = []
    tools = replace(instruments(OneChoice()), looks_apart=True)

    def stop(state: RunState, folder: Path) -> None:
        for guess in (0.01, 10.0):
            state.durations.guess = guess
            found.append((state.durations.are_brief, is_brief(state)))
        raise KeyboardInterrupt

    monkeypatch.setattr("nas.searching.run.tell_plan", stop)
    with pytest.raises(KeyboardInterrupt):
        nas.search(recipe, space=given, runs=tmp_path, progress=None, instruments=tools)
    assert found == [(True, given is None), (False, False)]


def test_another_is_made_where_the_quickest_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without time for any, a failure must not leave a run without a winner."""
    monkeypatch.setattr(
        Schedule, "has_time_to_make", lambda self, architectures, kept=(), tuned_on=(), late=False: False
    )
    monkeypatch.setattr(
        Durations,
        "making_s",
        lambda self, architectures, kept=(), tuned_on=(): sum(int(a["width"]) for a in architectures),
    )
    export = BundleMaker.export

    def failing(maker: BundleMaker, architecture: Architecture) -> float:
        if architecture["width"] == 2:
            raise CandidateError("export", "no")
        return export(maker, architecture)

    monkeypatch.setattr(BundleMaker, "export", failing)
    front = search(tmp_path, OneChoice(), trials=6, rounds=1, search_time_s=600)
    assert [int(winner.architecture["width"]) for winner in front] == [3]


def test_the_quickest_within_the_limits_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of candidates that all take too long, one that meets the limits is better than the quickest of all."""
    monkeypatch.setattr(
        Schedule, "has_time_to_make", lambda self, a, kept=(), tuned_on=(), late=False: int(a[0]["width"]) > 4
    )
    monkeypatch.setattr(
        Durations, "making_s", lambda self, architectures, kept=(), tuned_on=(): -int(architectures[0]["width"])
    )
    meets = Beliefs.surely_meets
    monkeypatch.setattr(Beliefs, "surely_meets", lambda self, each: meets(self, each) and int(each["width"]) <= 4)
    front = search(tmp_path, OneChoice(), trials=6, rounds=1, search_time_s=600, limits=["params<=100k"])
    assert [int(winner.architecture["width"]) for winner in front] == [4]


def test_without_time_to_retrain_the_best_stay_as_the_search_trained_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good model that was trained must not give way to a poor one that is retrained quickly."""
    monkeypatch.setattr(
        Schedule, "has_time_to_make", lambda self, a, kept=(), tuned_on=(), late=False: set(a) <= set(kept)
    )
    diary = Diary()
    front = search(tmp_path, OneChoice(), trials=6, rounds=1, search_time_s=600, progress=diary)
    (best, *_), run = front.winners, tmp_path / "run"
    errors = {row.architecture: row.values["error"] for row in evaluations_of(run, "train")}
    assert min(errors, key=lambda each: errors[each]) in {winner.architecture for winner in front}
    rows = evaluations_of(run, "retrain")
    assert {row.details["start"] for row in rows} == {"search"}
    assert {row.details["epochs"] for row in rows} == {2}  # those of the search, not of retraining
    assert len(told(diary, f"no time is left to retrain {len(rows)} of {len(rows)} winners")) == 1
    assert best.bundle is not None
    assert (
        "as the search trained it, on 20 % of the training items alone" in (best.bundle / "model_card.md").read_text()
    )
    assert "left as the search trained it" in (run / "report.html").read_text()
    assert not (run / "trained").exists()


def test_with_little_time_to_retrain_the_best_are_tuned_on_for_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So they learn from the validation items too, which a simple model beside them does."""
    monkeypatch.setattr(
        Schedule,
        "has_time_to_make",
        lambda self, a, kept=(), tuned_on=(), late=False: set(a) - set(kept) <= set(tuned_on) and len(tuned_on) <= 1,
    )
    diary = Diary()
    front = search(tmp_path, OneChoice(), trials=6, rounds=1, search_time_s=600, progress=diary,
                   retraining={"epochs": 4, "winners": 3})  # fmt: skip
    rows = {row.architecture: row for row in evaluations_of(tmp_path / "run", "retrain")}
    errors = {row.architecture: row.values["error"] for row in evaluations_of(tmp_path / "run", "train")}
    best = min(rows, key=lambda each: errors[each])
    assert rows[best].details["start"] == "tuned on"
    assert rows[best].details["epochs"] == 3  # two of the search, and one
    assert {row.details["start"] for each, row in rows.items() if each != best} == {"search"}
    (said,) = told(diary, f"no time is left to retrain {len(rows)} of {len(rows)} winners")
    assert f"tuned on for one epoch: {best.id}; left as the search trained them: " in said
    bundle = next(winner.bundle for winner in front if winner.architecture == best)
    assert bundle is not None
    assert "so it was tuned on for one epoch on the training and validation items" in (bundle / CARD).read_text()
    assert "tuned on for one epoch" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.slow
def test_fewer_winners_are_made_so_that_the_best_can_be_tuned_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its epoch takes as long as finishing two of them, and there is time for three in all."""

    def fits(
        schedule: Schedule,
        architectures: Sequence[Architecture],
        kept: Sequence[Architecture] = (),
        tuned_on: Sequence[Architecture] = (),
        *,
        late: bool = False,
    ) -> bool:
        retrained = set(architectures) - {*kept, *tuned_on}
        return len(architectures) + 2 * len(tuned_on) + 9 * len(retrained) <= 3

    monkeypatch.setattr(Schedule, "has_time_to_make", fits)
    diary = Diary()
    search(tmp_path, OneChoice(), trials=6, rounds=1, search_time_s=600, progress=diary,
           retraining={"epochs": 4, "winners": 4})  # fmt: skip
    assert evaluations_of(tmp_path / "run", "retrain")[0].details["start"] == "tuned on"
    assert any("is enough for 1 of" in text for text in diary.news)


def test_tuning_on_begins_with_the_weights_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes a share of the learning rate; at a rate of nearly nothing the weights stay."""
    monkeypatch.setattr(
        Schedule,
        "has_time_to_make",
        lambda self, a, kept=(), tuned_on=(), late=False: set(a) - set(kept) <= set(tuned_on),
    )
    seen: list[bytes] = []
    put = TrainedWeights.put
    monkeypatch.setattr(TrainedWeights, "put", lambda self, at, weights: (seen.append(weights), put(self, at, weights)))
    monkeypatch.setattr("nas.training.settings.TUNED_ON_RATE", 1e-9)
    front = search(tmp_path, OneChoice(), trials=2, rounds=1, search_time_s=600, retraining={"epochs": 4, "winners": 1})
    bundle = front.winners[0].bundle
    assert bundle is not None
    found = load_file(bundle / "model.safetensors")
    assert any(
        all(torch.allclose(found[name], tensor, atol=1e-6) for name, tensor in load(weights).items())
        for weights in seen
        if load(weights).keys() == found.keys()
        and all(load(weights)[name].shape == found[name].shape for name in found)
    )


@pytest.mark.slow
def test_weights_of_an_earlier_part_of_a_run_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was stopped may go on without a time. A card tells the share of the items that its model has seen."""
    monkeypatch.setattr(
        Schedule, "has_time_to_make", lambda self, a, kept=(), tuned_on=(), late=False: set(a) <= set(kept)
    )
    front = search(tmp_path, OneChoice(), trials=6, rounds=1, search_time_s=600, training={"epochs": 2, "subset": 0.5})
    bundle = front.winners[0].bundle
    assert bundle is not None
    assert "trained it, on 50 % of the training items alone" in (bundle / "model_card.md").read_text()
    (tmp_path / "run" / "trained").mkdir()
    (tmp_path / "run" / "trained" / "0.safetensors").touch()
    monkeypatch.undo()
    tools = instruments(OneChoice())
    nas.resume(tmp_path / "run", space=OneChoice(), overrides=["trials=+1"], instruments=tools, progress=None)
    assert not (tmp_path / "run" / "trained").exists()


def test_the_best_is_retrained_if_there_is_time_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Schedule, "has_time_to_make", lambda self, a, kept=(), tuned_on=(), late=False: len(set(a) - set(kept)) <= 1
    )
    search(tmp_path, OneChoice(), trials=6, rounds=1, search_time_s=600, retraining={"epochs": 2, "winners": 3})
    errors = {row.architecture: row.values["error"] for row in evaluations_of(tmp_path / "run", "train")}
    rows = {row.architecture: row for row in evaluations_of(tmp_path / "run", "retrain")}
    assert len(rows) >= 2
    retrained = [each for each, row in rows.items() if row.details.get("start") != "search"]
    assert retrained == [min(rows, key=lambda each: errors[each])]
    assert rows[retrained[0]].details["epochs"] == 2


class HalfBroken(OneChoice):
    """A space that wants to see first what cannot be built."""

    first = (Architecture({"width": 5}), Architecture({"width": 2}))

    def build(self, architecture: Architecture) -> nn.Module:
        if architecture["width"] == 5:
            raise ValueError("no such width")
        return super().build(architecture)


def test_what_is_wanted_first_and_cannot_be_built_is_left_out(tmp_path: Path) -> None:
    front = search(tmp_path, HalfBroken(), trials=3, rounds=1)
    assert len(front) >= 1
    assert int(trained(tmp_path / "run")[0]["width"]) == 2
