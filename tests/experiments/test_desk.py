"""The desk table's runs: choice by validation, the command, resuming after a kill, and one whole cell."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from awkward_fronts import winner
from made_rows import made_run, trained
from test_desk_models import waves
from test_desk_results import cell

import nas
from experiments.desk import __main__ as desk, data_sets, searches
from experiments.desk.data_sets import DataSet
from experiments.desk.results import WITHIN, WORSE, Key, read_cells
from experiments.desk.searches import SearchFailedError, best_by_search, command_of, search

WINE = DataSet("wine", "tables", "tables", "wine", {"target": "kind"})


def rows(number: int, validation: float, wrong: int, latency_ms: float) -> list[Any]:
    choices = {"depth": number}
    return [trained(choices, validation), winner(choices, wrong, latency_ms)]


def test_validation_chooses_where_the_product_lets_the_test_choose() -> None:
    """The winner of the test, which the run calls its best, is not taken; nor is a better one above the limit."""
    lucky, best, fast, slow = rows(1, 0.3, 0, 2.0), rows(2, 0.1, 50, 4.0), rows(3, 0.1, 60, 3.0), rows(4, 0.0, 9, 50.0)
    run = made_run([*lucky, *best, *fast, *slow], limits=["latency_ms <= 10ms"])
    found = best_by_search(run)
    assert found is not None
    assert dict(found.architecture) == {"depth": 3}
    assert dict(run.front.best.architecture) == {"depth": 1}
    assert best_by_search(made_run(rows(4, 0.0, 9, 50.0), limits=["latency_ms <= 10ms"])) is None


def test_the_command_is_that_of_a_new_user(tmp_path: Path) -> None:
    _, *command = command_of(WINE, Key("wine", 1, 0.5, True), 0.0123, tmp_path)
    assert command == [
        *("-m", "nas", "search", "--task", "tables", "--data", "wine", "--set", "data.target=kind"),
        *("--time", "30s", "--limit", "latency_ms<=0.0123ms", "--seed", "1"),
        *("--name", "wine-seed1-0.5min-limit", "--runs", str(tmp_path), "--fresh-measurements"),
    ]
    assert "--limit" not in command_of(WINE, Key("wine", 1, 0.5, False), None, tmp_path)


def test_a_command_that_fails_is_no_cell(tmp_path: Path) -> None:
    unknown = DataSet("nothing", "tables", "tables", "nothing.csv", {"target": "kind"})
    with pytest.raises(SearchFailedError, match=r"ended with status 2; .*nothing-seed0-1min.log says why"):
        search(unknown, Key("nothing", 0, 1, False), None, tmp_path)
    assert "nothing.csv" in (tmp_path / "nothing-seed0-1min.log").read_text()


@pytest.fixture(name="made")
def made_cells(monkeypatch: pytest.MonkeyPatch) -> list[Key]:
    """Let each cell be finished at once, and return the keys of those that were run."""
    ran: list[Key] = []

    def finish(data: DataSet, key: Key, simple: object, folder: Path) -> Any:
        ran.append(key)
        return cell(data.name, key.seed, key.minutes, limit_ms=0.1 if key.limited else None, group=data.group)

    monkeypatch.setattr(desk, "simple_models", lambda *_: SimpleNamespace())
    monkeypatch.setattr(desk, "finished_cell", finish)
    return ran


def arguments(folder: Path, *more: str) -> list[str]:
    return ["--folder", str(folder), "--out", str(folder / "desk.jsonl"), *more]


def test_a_kill_costs_one_cell(made: list[Key], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was finished is kept, the rest is run by the next start, and a third one runs nothing."""
    finish, wanted = desk.finished_cell, arguments(tmp_path, "--only", "breast-cancer", "--minutes", "2", "10")

    def kill(*of: Any) -> Any:
        if len(made) == 2:
            raise KeyboardInterrupt
        return finish(*of)

    monkeypatch.setattr(desk, "finished_cell", kill)
    with pytest.raises(KeyboardInterrupt):
        desk.main(wanted)
    monkeypatch.setattr(desk, "finished_cell", finish)
    assert [each.key for each in read_cells(tmp_path / "desk.jsonl")] == made
    assert desk.main(wanted) == 0
    every = [Key("breast-cancer", 0, minutes, limited) for minutes in (2, 10) for limited in (False, True)]
    assert made == every
    assert desk.main(wanted) == 0
    assert made == every


@pytest.mark.parametrize("failure", [SearchFailedError("it has failed"), nas.CandidateError("run", "it has failed")])
def test_a_search_that_fails_does_not_end_the_others(
    failure: Exception,
    made: list[Key],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finish = desk.finished_cell

    def fail(data: DataSet, key: Key, *of: Any) -> Any:
        if not key.limited:
            raise failure
        return finish(data, key, *of)

    monkeypatch.setattr(desk, "finished_cell", fail)
    assert desk.main(arguments(tmp_path, "--only", "breast-cancer", "--minutes", "2")) == 1
    assert [key.limited for key in made] == [True]
    told = capsys.readouterr()
    assert "it has failed" in told.err
    assert "| breast-cancer | 0 | 2 min | 100 µs |" in told.out


def test_the_table_alone_runs_nothing(made: list[Key], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.main(arguments(tmp_path, "--table")) == 0
    assert (made, capsys.readouterr().out) == ([], "No cell is finished.\n")


def test_photos_have_several_seeds(made: list[Key], tmp_path: Path) -> None:
    """Folders below the folder's photos are found. Weights are there, so none are made."""
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"{data_sets.PARENT}.safetensors").touch()
    desk.main(arguments(tmp_path, "--only", "photos", "--minutes", "2", "--seeds", "2"))
    expected = [
        Key(name, seed, 2, limited) for name in ("cats", "dogs") for seed in (0, 1) for limited in (False, True)
    ]
    assert made == expected


def test_what_is_missing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"photos must lie in folders below .*Make them with"):
        desk.main(arguments(tmp_path, "--only", "photos"))
    with pytest.raises(SystemExit, match=r"--only takes .*photos, .* but got photo\."):
        desk.main(arguments(tmp_path, "--only", "photo"))
    for wrong in (("--photos", "cats=nowhere"), ("--minutes", "0"), ("--minutes", "nan")):
        with pytest.raises(SystemExit):
            desk.main(arguments(tmp_path, *wrong))
    assert "must be NAME=FOLDER" in capsys.readouterr().err


def test_packages_that_are_missing_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_sets, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install aeon"):
        desk.main(arguments(tmp_path, "--only", "series"))


def test_the_help_of_python_is_a_text(tmp_path: Path) -> None:
    assert data_sets.text(data_sets.LIBRARY, tmp_path).arguments == ["--task", "text", "--data", "python"]
    help_pages = data_sets.text(data_sets.HELP, tmp_path / "help")
    assert len(list(Path(help_pages.data).glob("*.txt"))) > 50


@pytest.mark.timeout(900)
def test_a_whole_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search of some seconds beside MiniRocket, on series that are easy to tell apart."""
    data = waves(tmp_path)
    monkeypatch.setattr(data_sets, "series", lambda name: data)
    monkeypatch.setattr(desk, "cells_of", lambda options: [(data, Key("waves", 0, 0.1, False))])
    monkeypatch.setattr(searches, "LOOK_S", 0.1)
    assert desk.main(arguments(tmp_path)) == 0
    (found,) = read_cells(tmp_path / "desk.jsonl")
    assert found.ours is not None
    assert found.simple is not None
    assert found.limit_ms is None
    assert found.simple.error == 0
    assert found.behind == pytest.approx(-found.ours.error)
    assert found.items == 20
    assert found.seconds[0] > 5
    assert 0 < found.ours.latency_ms < 100
    assert found.verdict == (WORSE if found.ours.error > 0.05 else WITHIN)
