"""A search of the rows of a table: any sampler, a prior that is recorded and told, and no layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from model_rows import CHOICES, model_rows, with_cell, write_models

import nas
from nas.errors import RecipeError
from nas.reports.report import render_report

NAMES = {"family", "width", "resolution"}


def recipe(path: Path, **changes: Any) -> dict[str, Any]:
    """Return a recipe as plain keys, as TOML gives them."""
    table = {"path": str(path), "accuracy": "val_acc", "test_accuracy": "test_acc", "device": "board"}
    return {
        "evaluate": "table",
        "space": {"name": "table", "choices": list(CHOICES), "features": ["mflops"]},
        "table": {**table, "prior": "other_acc"},
        "measuring": {"initial": 8, "per_round": 2},
        "trials": 10,
        "rounds": 2,
        "execution": {"executor": "inline"},
        **changes,
    }


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The made-up table of models."""
    return write_models(tmp_path / "models.csv")


@pytest.fixture(name="finished", scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run with a limit."""
    folder = tmp_path_factory.mktemp("runs")
    keys = recipe(write_models(folder / "models.csv"), limits=["latency_ms <= 6ms"])
    return nas.search(keys, runs=folder, progress=None).run_folder


def test_a_prior_guides_the_search_and_is_told(models: Path, tmp_path: Path) -> None:
    """Winners are rows; how well the prior ranked is in the journal, the report and the messages."""
    told: list[str] = []

    class Told(nas.NullProgress):
        def say(self, message: str) -> None:
            told.append(message)

    front = nas.search(recipe(models, limits=["latency_ms <= 6ms"]), runs=tmp_path, progress=Told())
    assert front.winners
    by_choices = {tuple(row[name] for name in CHOICES): row for row in model_rows()}
    for winner in front:
        row = by_choices[tuple(winner.architecture[name] for name in CHOICES)]
        assert winner.measurements["latency_ms"].median == row["latency_ms_board"] <= 6  # type: ignore[operator]
        assert winner.test_error == pytest.approx(1 - row["test_acc"] / 100)  # type: ignore[operator]
        assert "params" not in winner.values
    run = nas.load_run(front.run_folder)
    trained = [row for row in run.rows if row.stage == "train"]
    assert len(trained) == 10
    for row in trained:
        assert row.details["prior"] == {
            "other_acc": by_choices[tuple(row.architecture[n] for n in CHOICES)]["other_acc"]
        }
    note = run.notes["how priors rank candidates"]["other_acc"]
    assert note["candidates"] == 10
    assert 0 < note["Kendall"] < note["Spearman"] <= 1
    sentence = "The prior other_acc ranks the 10 candidates evaluated so far with a Spearman correlation of "
    sentence += f"{note['Spearman']:.2f}"
    assert any(message.startswith(sentence) for message in told)
    assert sentence in render_report(run)


def test_a_prior_where_few_rows_meet_the_limits(models: Path, tmp_path: Path) -> None:
    """The search ends once none is left, though it has hardly begun."""
    front = nas.search(recipe(models, limits=["latency_ms <= 3.1ms"]), runs=tmp_path, progress=None)
    trained = [row for row in nas.load_run(front.run_folder).rows if row.stage == "train"]
    assert front.winners
    assert len(trained) < 5


@pytest.mark.parametrize("sampler", ["gp", "local", "tpe", "nsga2", "random"])
def test_every_sampler_finds_rows(sampler: str, models: Path, tmp_path: Path) -> None:
    """What they propose beside the table is the nearest row, so nothing fails."""
    keys = recipe(models, sampler=sampler)
    del keys["table"]["prior"]
    front = nas.search(keys, runs=tmp_path, progress=None)
    trained = [row for row in nas.load_run(front.run_folder).rows if row.stage == "train"]
    assert len({row.architecture for row in trained}) == 10
    assert not any(row.failed for row in trained)


@pytest.mark.slow
def test_a_space_object_is_searched_too(models: Path, tmp_path: Path) -> None:
    """The recipe then needs no columns of choices."""
    keys = recipe(models)
    del keys["space"]
    front = nas.search(keys, space=nas.RowSpace(models, ["name"]), runs=tmp_path, progress=None)
    assert all(set(winner.architecture) == {"name"} for winner in front)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ["error", "params"]}, r"on params count layers, which rows of a table do not have"),
        ({"space": {"name": "table", "choices": ["famly"]}}, r"none named 'famly'. Did you mean 'family'"),
        (
            {"space": {"name": "table", "choices": ["family"], "features": ["val_acc"]}},
            r"'val_acc' is in what is searched",
        ),
        (
            {"space": {"name": "table", "choices": ["family", "val_acc"]}},
            r"'val_acc' is in what is searched and in space.choices",
        ),
        ({"evaluate": "train", "table": {}}, r"the space 'table' is rows to look up, so evaluate must be 'table'"),
        ({"sampler": "random"}, r'a prior needs a sampler that learns from it, but got prior "other_acc"'),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    changes: dict[str, Any], message: str, models: Path, tmp_path: Path
) -> None:
    """The message says the rule, the value and what to do."""
    with pytest.raises(RecipeError, match=message):
        nas.search(recipe(models, **changes), runs=tmp_path / "runs", progress=None)
    assert not (tmp_path / "runs").exists()


def test_a_prior_that_is_searched_is_refused(models: Path, tmp_path: Path) -> None:
    """It would tell the answer."""
    keys = recipe(models)
    keys["table"]["prior"] = ["val_acc"]
    with pytest.raises(RecipeError, match=r"has one use, but 'val_acc' is in table.prior and in what is searched"):
        nas.search(keys, runs=tmp_path, progress=None)


def test_a_further_search_drops_limits_that_were_dropped(finished: Path) -> None:
    """Its command names the recipe, which still has them."""
    freed = nas.solve(finished, [], progress=None).improvements[-1]
    assert "--limit" not in freed
    assert "--set 'limits=[]'" in freed
    assert "--set" not in nas.solve(finished, ["latency_ms <= 7ms"], progress=None).improvements[-1]


def test_what_rows_do_not_have_is_told_where_a_run_is_solved(finished: Path) -> None:
    """Nothing exceeds a limit that cannot be checked."""
    solved = nas.solve(finished, [], objectives=["error", "params"], progress=None)
    assert (solved.points, solved.nearest) == ((), None)
    assert solved.unmet == ("No candidate has a value of params, which is an objective.",)
    limited = nas.solve(finished, ["params <= 1k"], progress=None)
    (sentence,) = limited.unmet
    assert sentence.startswith("No candidate has a value of params, so parameters ≤ 1")


def test_rows_without_a_prior_are_told(models: Path, tmp_path: Path) -> None:
    """Nothing is expected of them."""
    told: list[str] = []

    class Told(nas.NullProgress):
        def say(self, message: str) -> None:
            told.append(message)

    path = write_models(models, with_cell(0, {"other_acc": ""}))
    nas.search(recipe(path, trials=5), runs=tmp_path, progress=Told())
    assert f"1 of 32 rows of {path} have no other_acc, so nothing is expected of them." in told
