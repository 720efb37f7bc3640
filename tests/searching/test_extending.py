"""A run goes on beyond its end: more trials, more time, other limits or more winners, from all that it found."""

from __future__ import annotations

import gzip
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from commands import evaluations_of
from table_space import DEVICE, Chain, latency_ms, write_table

import nas
from nas.errors import JournalError, RecipeError
from nas.recipe.recipe import TRIALS_IN_TIME, read_recipe
from nas.searching.state import RunState
from nas.storage.journal import RECIPE, Journal, JournalReader
from nas.storage.journal_rows import RecipeText

HERE = nas.Instruments(looks_apart=False)


def recipe(table: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "run",
        "evaluate": "table",
        "trials": 20,
        "rounds": 2,
        "predictor": "quick_predictor:fit_quick",
        "measuring": {"initial": 8, "per_round": 3},
        "retraining": {"winners": 2},
        "execution": {"executor": "inline"},
        "table": {
            "path": str(table),
            "accuracy": "val_acc",
            "test_accuracy": "test_acc",
            "device": DEVICE,
            "input_shape": [1, 8, 8],
        },
        **changes,
    }


@pytest.fixture(name="finished", scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of 20 trials."""
    folder = tmp_path_factory.mktemp("runs")
    found = recipe(write_table(folder / "t.csv.gz"))
    return nas.search(found, space=Chain(), runs=folder, progress=None, instruments=HERE).run_folder


@pytest.fixture(name="run")
def copied_run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may add to."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def go_on(run: Path, *overrides: str, progress: nas.NullProgress | None = None) -> nas.Front:
    return nas.resume(run, space=Chain(), overrides=overrides, progress=progress, instruments=HERE)


def trained(run: Path) -> list[str]:
    return [row.architecture.id for row in evaluations_of(run, "train")]


def test_more_trials_train_others_in_rounds_of_their_own(run: Path) -> None:
    """Nothing is evaluated twice, what was found stays, and the run is over again."""
    before, rows = nas.load_run(run), nas.load_run(run).rows
    front = go_on(run, "trials=+15")
    after = nas.load_run(run)
    assert after.rows[: len(rows)] == rows
    assert len(trained(run)) == len({*trained(run)}) == 35
    later = evaluations_of(run, "train")[20:]
    assert [sum(row.round == number for row in later) for number in (4, 5, 6)] == [5, 5, 5]
    assert after.is_over
    assert {winner.architecture for winner in before.front} <= {winner.architecture for winner in front}
    assert read_recipe(run / RECIPE).trials == 35
    assert after.recipe.trials == 35


@pytest.mark.slow
def test_a_run_that_is_extended_and_interrupted_goes_on_to_the_same_rows(run: Path, tmp_path: Path) -> None:
    """Its recipe is in the journal, so resuming needs no options again."""

    class Stop(nas.NullProgress):
        left = 7

        def advance(self, count: int = 1, best: str | None = None) -> None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    whole = Path(shutil.copytree(run, tmp_path / "whole" / "run"))
    go_on(whole, "trials=+15")
    with pytest.raises(KeyboardInterrupt):
        go_on(run, "trials=+15", progress=Stop())
    assert not nas.load_run(run).is_over
    go_on(run)
    assert nas.load_run(run).is_over
    assert len(trained(run)) == len({*trained(run)}) == 35


@pytest.mark.slow
def test_a_run_can_be_extended_again_and_again(run: Path) -> None:
    """Its rounds count on, also beyond its trials, and each part has no more of them than a search of its size."""
    for _ in range(4):
        go_on(run, "trials=+1")
    assert len(evaluations_of(run, "train")) == 24
    for limit in (6, 5, 4):
        go_on(run, f'limits=["latency_ms <= {limit}ms"]')
    before = nas.load_run(run).recipe.rounds
    go_on(run, "trials=+2")
    found = nas.load_run(run)
    assert len(evaluations_of(run, "train")) == 26
    assert found.recipe.rounds == before + 2  # the round of the winners, and one for two trials
    assert found.is_over


@pytest.mark.slow
def test_a_run_in_time_does_not_get_more_and_more_rounds(run: Path) -> None:
    rounds = []
    for _ in range(3):
        go_on(run, "search_time_s=+1s")
        rounds.append(nas.load_run(run).recipe.rounds)
    assert rounds[2] - rounds[1] == rounds[1] - rounds[0]


def stopped_run(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, has_ended: bool) -> Path:
    """Return the folder of a run that was stopped where a round ends: after that was written, or before."""
    end = RunState.end_round

    def stop(self: RunState, ended: int) -> None:
        if ended < number or has_ended:
            end(self, ended)
        if ended == number:
            raise KeyboardInterrupt

    found = recipe(write_table(folder / "t.csv.gz"))
    with monkeypatch.context() as patch:
        patch.setattr(RunState, "end_round", stop)
        with pytest.raises(KeyboardInterrupt):
            nas.search(found, space=Chain(), runs=folder, progress=None, instruments=HERE)
    return folder / "run"


@pytest.mark.slow
def test_a_run_that_was_stopped_after_its_trainings_trains_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no end of its last round yet, whose measuring may take minutes."""
    run = stopped_run(tmp_path, monkeypatch, 2, has_ended=False)
    assert len(evaluations_of(run, "train")) == 20
    go_on(run, "trials=+5")
    assert len(evaluations_of(run, "train")) == 25


@pytest.mark.slow
def test_more_trials_are_added_to_those_that_were_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stopped_run(tmp_path, monkeypatch, 1, has_ended=True)
    assert len(evaluations_of(run, "train")) == 10
    go_on(run, "trials=+5")
    assert len(evaluations_of(run, "train")) == 25


def test_a_refused_extension_changes_nothing(run: Path) -> None:
    """The table has changed, so new values would not compare with those of the run."""
    table = Path(str(nas.load_run(run).recipe.table.path))
    content, kept = table.read_bytes(), (run / RECIPE).read_bytes()
    try:
        lines = gzip.decompress(content).splitlines()
        table.write_bytes(gzip.compress(b"\n".join(lines[:-1])))
        with pytest.raises(JournalError):
            go_on(run, "trials=+5")
    finally:
        table.write_bytes(content)
    assert nas.load_run(run).is_over
    assert (run / RECIPE).read_bytes() == kept


def test_a_run_without_trainings_is_extended_by_trials(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("trials = 0\n")
    with Journal.start(tmp_path / "run", nas.Recipe(trials=0).to_toml(), clock=time.time) as journal:
        journal.append(RecipeText(nas.Recipe(trials=0).to_toml()))
    with pytest.raises(RecipeError, match=r"this run trained nothing.*--trials \+20"):
        nas.resume(tmp_path / "run", overrides=['limits=["latency_ms <= 1ms"]'], progress=None)


@pytest.mark.slow
def test_the_best_new_candidates_become_winners_beside_the_old_ones(run: Path) -> None:
    """Old winners that are still on the front do not take the places of new ones."""
    front = go_on(run, "trials=+60")
    best = min(evaluations_of(run, "train"), key=lambda row: row.values["error"])
    assert best.architecture in {winner.architecture for winner in front}
    assert len(front) > 2


def test_other_limits_make_other_winners_and_train_nothing(run: Path) -> None:
    """Candidates are those of the run; its limits are the new ones from now on."""
    before = {winner.architecture for winner in nas.load_run(run).front}
    front = go_on(run, 'limits=["latency_ms <= 1ms"]')
    assert len(trained(run)) == 20
    new = [winner for winner in front if winner.architecture not in before]
    assert new
    assert all(latency_ms(winner.architecture) <= 1 for winner in new)
    assert [str(limit) for limit in nas.load_run(run).limits] == ["latency_ms <= 1ms"]


@pytest.mark.slow
def test_more_winners_are_made_of_what_is_there(run: Path) -> None:
    assert len(nas.load_run(run).front) == 2
    assert len(go_on(run, "retraining.winners=5")) == 5
    assert len(trained(run)) == 20


@pytest.mark.slow
def test_more_time_ends_trials_and_more_trials_end_the_time(run: Path) -> None:
    """The one that is given decides; a time is added to what the run took."""
    go_on(run, "search_time_s=+2s")
    timed = read_recipe(run / RECIPE)
    assert timed.trials == TRIALS_IN_TIME
    assert timed.search_time_s is not None
    assert timed.search_time_s > 2
    with JournalReader(run) as journal:
        spent_s = journal.rows(RecipeText)[-1].spent_s
    assert spent_s == pytest.approx(timed.search_time_s - 2)
    count = len(trained(run))
    assert count > 20
    go_on(run, "trials=+1")
    assert read_recipe(run / RECIPE).search_time_s is None
    assert len(trained(run)) in (count, count + 1)  # the space may have no further one


def test_a_run_that_is_over_says_how_to_go_on(run: Path) -> None:
    told: list[str] = []

    class Told(nas.NullProgress):
        def say(self, message: str) -> None:
            told.append(message)

    go_on(run, progress=Told())
    assert told[-1] == (
        f"this run is over. To go on with it: nas.resume({str(run)!r}, overrides=['trials=+20'], space=…)"
    )
    solved = nas.solve(run, ["latency_ms <= 1.5ms"], progress=None)
    assert "overrides=['trials=+20', 'limits=" in solved.improvements[-1]


@pytest.mark.slow
def test_a_kill_between_journal_and_recipe_is_mended(run: Path) -> None:
    """The journal has the recipe first, so the file gets it when the run goes on."""
    before = (run / RECIPE).read_text()
    go_on(run, "trials=+5")
    after = (run / RECIPE).read_text()
    (run / RECIPE).write_text(before)
    go_on(run)
    assert (run / RECIPE).read_text() == after
    with JournalReader(run) as journal:
        assert [row.text for row in journal.rows(RecipeText)] == [before, after]


def test_a_recipe_that_somebody_changed_is_not_taken_for_an_extension(run: Path) -> None:
    text = (run / RECIPE).read_text()
    (run / RECIPE).write_text(text.replace("seed = 0", "seed = 1"))
    with pytest.raises(JournalError, match="seed was 0 and is 1 now"):
        go_on(run, "trials=+5")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trials=20", r"more trials than the 20 that it has trained, but got 20. Write --trials \+20"),
        ("trials=+0", r"more trials than the 20 that it has trained, but got \+0"),
        ("trials=+many", r"--trials takes a number, such as 60, or \+20 for 20 more, but got '\+many'"),
        ("search_time_s=+5", "a time needs a unit: write 5s"),
        ("search_time_s=0.000001s", r"more time than the .+ that it took, but got 0.000001s"),
        ('limits=["energy_mj <= 1mJ"]', "knows nothing of energy_mj. nas solve measures that"),
        ("seed=3", r"It may get --trials \+N, --time \+TIME, --limit, .+ but got seed=3"),
        ("retraining.epochs=3", "but got retraining.epochs=3"),
    ],
)
def test_what_extends_no_run_is_refused_and_changes_nothing(run: Path, override: str, message: str) -> None:
    before = (run / RECIPE).read_bytes(), nas.load_run(run).rows
    with pytest.raises(RecipeError, match=message):
        go_on(run, override)
    assert ((run / RECIPE).read_bytes(), nas.load_run(run).rows) == before
