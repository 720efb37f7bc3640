"""Both comparisons take the rows of a table as the space, with features and a prior."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_rows import CHOICES, model_rows, with_cell, write_models

from experiments import compare_predictors, compare_searchers
from experiments.search_tasks import CostLimit
from experiments.table_options import as_devices, column_on
from experiments.table_prediction import fits, study as prediction_study
from experiments.table_search import study as search_study
from nas.errors import RecipeError
from nas.tables.row_space import RowSpace
from nas.tables.table import read_table


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The made-up table of models."""
    return write_models(tmp_path / "models.csv")


def rows_as_space(models: Path) -> list[str]:
    """Return the options that both commands take."""
    return ["--table", str(models), "--space", "table", "--choices", ",".join(CHOICES), "--features", "mflops"]


def searched(models: Path, *arguments: str) -> list[dict[str, Any]]:
    """Return the runs of a comparison of searchers."""
    search_study.study_of.cache_clear()
    out = models.with_name("out.json")
    task = ["--accuracy", "val_acc", "--score", "test_acc", "--cost", "latency_ms_board", "--seeds", "2"]
    compare_searchers.main([*rows_as_space(models), *task, "--evaluations", "12", "--json", str(out), *arguments])
    runs: list[dict[str, Any]] = json.loads(out.read_text())["runs"]
    return runs


def test_searchers_evaluate_rows(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A combination that the table lacks becomes the nearest row, so no proposal fails."""
    informed = ("--prior", "other_acc", "--cost-known", "predicted:8", "--sources", "phone")
    runs = searched(models, *informed, "--searchers", "gp,tpe,nsga2,local,random")
    for run in runs:
        assert run["failures"] == 0
        assert len(set(run["evaluated"])) == len(run["evaluated"])
    shares = {
        name: np.mean([run["hypervolume_percent"]["12"] for run in runs if run["searcher"] == name])
        for name in ("gp", "random")
    }
    assert shares["gp"] > 97
    assert shares["gp"] > shares["random"]
    assert {run["evaluations_to"]["95"] is not None for run in runs if run["searcher"] == "gp"} == {True}
    (first, *_) = runs
    assert first["prior"]["other_acc"]["candidates"] == 12
    assert 0 < first["prior"]["other_acc"]["spearman"] <= 1
    assert "| gp |" in capsys.readouterr().out


def test_a_prior_is_where_the_search_begins(models: Path) -> None:
    """The first row evaluated is on the front of the prior and the costs."""
    runs = searched(models, "--prior", "other_acc", "--cost-known", "true", "--searchers", "gp")
    rows = model_rows()
    for run in runs:
        first = rows[run["evaluated"][0]]
        better = [
            row
            for row in rows
            if row["other_acc"] > first["other_acc"] and row["latency_ms_board"] < first["latency_ms_board"]  # type: ignore[operator]
        ]
        assert better == []


def test_columns_are_called_as_their_author_likes() -> None:
    """A limit on one takes its whole name."""
    assert CostLimit.parse("item ms, i9-10940x <= 2.5") == CostLimit("item ms, i9-10940x", 2.5)
    with pytest.raises(RecipeError, match=r"written as COLUMN<=NUMBER, such as"):
        CostLimit.parse(" <= 2")


def test_duplicate_rows_are_told_and_searched_once(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first of the rows with the same choices counts."""
    runs = searched(models, "--choices", "family,resolution", "--evaluations", "10", "--searchers", "random,gp")
    assert "20 of 32 rows" in capsys.readouterr().err
    firsts = {place for place, row in enumerate(model_rows()) if row["width"] == 0.25}
    assert all(set(run["evaluated"]) <= firsts for run in runs)


def test_predictors_learn_rows(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every predictor works without layers, and a prior predicts an accuracy."""
    monkeypatch.setattr(fits, "SPEED_S", 0.0)

    def compared(*arguments: str) -> dict[str, float]:
        prediction_study.study_of.cache_clear()
        out = models.with_name("out.json")
        some = ["--samples", "10", "--seeds", "2", "--json", str(out)]
        compare_predictors.main([*rows_as_space(models), *some, *arguments])
        rows = json.loads(out.read_text())["rows"]
        return {row["method"]: row["spearman"] for row in rows}

    found = compared("--targets", "board", "--sources", "phone")
    assert set(found) == {"additive", "gp", "stacked", "transfer", "trees"}
    assert min(found.values()) > 0.9
    with_prior = compared("--metric", "val", "--targets", "acc", "--prior", "other_acc", "--methods", "transfer")
    assert with_prior["transfer"] > 0.9


def test_predictors_see_one_row_of_those_with_the_same_choices(models: Path) -> None:
    """The first of them: neither samples nor rows to predict have another one, and a row without a prior is none."""
    changed = write_models(models, with_cell(0, {"other_acc": ""}))
    options = ["--table", str(changed), "--space", "table", "--choices", "family,resolution", "--prior", "other_acc"]
    options += ["--targets", "board", "--sources", "phone", "--samples", "5", "--methods", "transfer"]
    given = compare_predictors._parser().parse_args(options)
    study = prediction_study.PredictorStudy(compare_predictors._settings(given))
    task = study.task("board")
    narrow = [place for place, row in enumerate(model_rows()) if row["width"] == 0.25]
    assert task.eligible.tolist() == narrow[1:]
    assert len(task.sources[0].values) == len(narrow) - 1
    known = task.given[0].values([study.table.architectures[place] for place in narrow[1:]])
    assert known.tolist() == [model_rows()[place]["other_acc"] for place in narrow[1:]]


def test_devices_are_named_after_the_metric(models: Path) -> None:
    """The metric is the longest beginning that both columns share."""
    table = read_table(models, RowSpace(models, CHOICES))
    assert column_on(table, "latency_ms_board", "phone") == "latency_ms_phone"
    assert column_on(table, "latency_ms_board", "tablet") is None
    assert as_devices(["latency_ms_phone"], ["latency_ms_board"]) == ["phone"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sources", "latency_ms_phone"], "write phone instead of latency_ms_phone"),
        (["--features", "val_acc"], "'val_acc' is in --features and in the columns that are searched"),
        (["--choices", "famly"], "it has none named 'famly'. Did you mean 'family'"),
        (["--option", "channels=8"], "takes --choices and --features, and no --option, but got 'channels=8'"),
        (["--prior", "name"], "column 'name' of .* must hold numbers"),
    ],
)
def test_unfit_columns_are_refused(
    models: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with status 2 before anything is searched."""
    with pytest.raises(SystemExit) as ended:
        searched(models, "--cost-known", "predicted:8", *arguments)
    assert ended.value.code == 2
    import re

    assert re.search(message, " ".join(capsys.readouterr().err.split()))
