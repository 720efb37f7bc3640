"""PriMO among recorded trainings, with a process that proposes as it is told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments import early_stopping_primo
from experiments.early_stopping_primo import Candidates, lost_by_ours, lost_by_primo, main, primo
from experiments.early_stopping_replay import Training
from experiments.searchers.by_name import PRIMO_PYTHON

ARCHITECTURES = [{"width": 8, "depth": 1, "kernel": 3}, {"width": 8, "depth": 0}, {"width": 4, "depth": 1, "kernel": 3}]
TRAININGS = [
    Training((0.9, 0.5, 0.2), 4.0, 1.0),
    Training((0.9, 0.6, 0.4), 2.0, 1.0),
    Training((0.9, 0.8, 0.7), 1.0, 1.0),
]


class Told:
    """In place of NePS: answers with these proposals in turn, and keeps what it is told."""

    asked: tuple[tuple[dict[str, int], int], ...]
    told: list[tuple[str, list[float]]]

    def __init__(self, python: str, seed: int, choices: dict[str, int], *, epochs: int) -> None:
        assert (choices, epochs) == ({"width": 2, "depth": 2, "kernel": 2}, 3)
        self._left = iter(enumerate(self.asked))

    def ask(self) -> dict[str, Any]:
        number, (config, epochs) = next(self._left)
        return {"trial": str(number), "config": config, "epochs": epochs}

    def tell(self, trial: str, losses: list[float]) -> None:
        self.told.append((trial, losses))


@pytest.fixture(name="neps")
def in_place_of_neps(monkeypatch: pytest.MonkeyPatch) -> type[Told]:
    """The first proposal goes on after its first epoch, and the second is whole."""
    first, second = {"width": 0, "depth": 0, "kernel": 0}, {"width": 1, "depth": 1, "kernel": 1}
    monkeypatch.setattr(Told, "asked", ((first, 1), (second, 3), (first, 3), (second, 3)), raising=False)
    monkeypatch.setattr(Told, "told", [], raising=False)
    monkeypatch.setattr(early_stopping_primo, "PrimoProcess", Told)
    return Told


def test_a_proposal_becomes_the_nearest_training_that_is_free() -> None:
    """The same proposal keeps its training; a missing choice is an option like others."""
    candidates = Candidates([*ARCHITECTURES, {**ARCHITECTURES[0], "width": 4, "depth": 0}])
    assert {name: len(found) for name, found in candidates.options.items()} == {"width": 2, "depth": 2, "kernel": 2}
    wanted = {"width": 1, "depth": 1, "kernel": 1}
    assert [candidates.nearest(wanted), candidates.nearest(wanted)] == [1, 1]
    assert candidates.nearest({"width": 0, "depth": 1, "kernel": 1}) == 0
    assert candidates.nearest({"width": 0, "depth": 0, "kernel": 0}) == 2
    assert candidates.nearest({"width": 0, "depth": 0, "kernel": 1}) == 3
    assert candidates.nearest({"width": 1, "depth": 0, "kernel": 1}) is None


def test_paused_trainings_go_on_and_are_paid_once(neps: type[Told]) -> None:
    """PriMO sees the error after the epochs that it asked for, and the logarithm of costs from 0 to 1."""
    steps = list(primo(TRAININGS, ARCHITECTURES, 0, "python", most=5))
    assert steps == [(1, 0, 0), (1, 3, 0), (3, 3, 0)]
    assert neps.told == [("0", [0.9, 1.0]), ("1", [0.4, pytest.approx(0.5)]), ("2", [0.2, 1.0])]


def test_what_is_lost_is_that_of_the_epochs_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that pauses adds nothing; all of them together lose nothing."""
    monkeypatch.setattr(early_stopping_primo, "FEWER", (9.0, 4.5, 1.5, 1.0))
    steps = [(1, 0, 0), (1, 1, 0), (3, 1, 0), (3, 3, 0), (3, 3, 3)]
    nothing, still, some, whole = lost_by_primo(TRAININGS, steps)
    assert nothing == still == 1
    assert 0 < some < 1
    assert whole == 0


def test_the_rule_of_a_search_is_replayed_in_several_orders() -> None:
    """Three trainings show nothing about early errors, so none is stopped."""
    ratios, lost = lost_by_ours(TRAININGS, shuffles=2)
    assert ratios == [1.0] * 3
    assert lost == pytest.approx([0.0] * 3)


def test_the_environment_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it, the message says how to make it."""
    monkeypatch.delenv(PRIMO_PYTHON, raising=False)
    with pytest.raises(SystemExit):
        main([])
    assert "primo/bin/pip install neural-pipeline-search" in " ".join(capsys.readouterr().err.split())


def test_the_command_prints_both(
    neps: type[Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each share of the epochs, and one for the rule of a search."""
    rows = [
        {"architecture": architecture, "curve": training.curve, "macs": training.cost, "seconds": 3.0}
        for architecture, training in zip(ARCHITECTURES, TRAININGS, strict=True)
    ]
    (tmp_path / "set.jsonl").write_text("\n".join(map(json.dumps, [{"settings": {}}, *rows])) + "\n")
    monkeypatch.setattr(early_stopping_primo, "FEWER", (2.0, 3.0))
    monkeypatch.setitem(os.environ, PRIMO_PYTHON, sys.executable)
    assert main(["--set", str(tmp_path / "set.jsonl"), "--seeds", "1", "--shuffles", "1"]) == 0
    *_, half, third, ours = capsys.readouterr().out.splitlines()
    assert half.split("|")[1:3] == [" PriMO ", " 2.00 "]
    assert third.split("|")[1:3] == [" PriMO ", " 3.00 "]
    assert ours.split("|")[1:4] == [" `[early_stopping]` ", " 1.00 ", " 0.00 (0.00 to 0.00) "]
