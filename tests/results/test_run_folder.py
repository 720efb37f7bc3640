"""Run folders are found and read, also where a part of them is damaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from damaged_journals import RECIPE_TEXT, change_row, rows_of_a_run, write_run

import nas
from nas.errors import JournalError, RecipeError
from nas.reports.report import headline, render_report
from nas.results.bundle import GIVEN
from nas.results.run_folder import further_text, read_run, run_folder_of, run_folders
from nas.storage.journal import JOURNAL, RECIPE
from nas.storage.journal_rows import RecipeText

TRAINING = 8
"""The number of a row that is a training."""


@pytest.fixture(name="run")
def whole_run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs" / "whole", rows_of_a_run())


def test_all_folders_with_a_recipe_or_a_journal_are_found(run: Path) -> None:
    """They are sorted by age; a folder that has lost its recipe is not hidden, and other folders are no runs."""
    runs = run.parent
    (runs / "notes").mkdir()
    (runs / "older").mkdir()
    (runs / "older" / RECIPE).write_text(RECIPE_TEXT)
    os.utime(runs / "older" / RECIPE, (1, 1))
    (runs / "dangling").mkdir()
    (runs / "dangling" / RECIPE).symlink_to("nowhere")
    os.utime(runs / "dangling", (2, 2))
    (run / RECIPE).unlink()
    assert [folder.name for folder in run_folders(runs)] == ["older", "dangling", "whole"]
    assert run_folders(runs / "none") == []


def test_the_name_of_a_run_is_enough(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of that name which is no run is in no way, and other folders than ``runs`` can be given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "whole").mkdir()
    assert nas.load_run("whole").run_folder == Path("runs/whole")
    assert run_folder_of(Path("whole"), tmp_path / "runs") == run
    (tmp_path / "whole" / RECIPE).write_text(RECIPE_TEXT)
    assert run_folder_of("whole") == Path("whole")
    (tmp_path / RECIPE).write_text(RECIPE_TEXT)
    with pytest.raises(JournalError, match=r"\.\. must be the folder of a run, but it has no recipe"):
        run_folder_of("..")


def test_the_name_of_no_run_names_the_nearest(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JournalError, match=r"hole must be .* does not exist\. Did you mean runs/whole\?"):
        nas.load_run("hole")
    monkeypatch.chdir(run)
    with pytest.raises(JournalError, match=f"Did you mean {run}"):
        nas.load_run(run.with_name("hole"))
    with pytest.raises(JournalError, match=rf"It holds runs: nas show --runs {run.parent} lists them"):
        nas.load_run(run.parent)
    with pytest.raises(RecipeError, match=r"a run is given by its folder, .*, but got 3"):
        nas.load_run(3)  # type: ignore[arg-type]


def test_a_sound_run_has_no_damages(run: Path) -> None:
    found = nas.load_run(run)
    assert found.damages == ()
    assert found.recipe_text == RECIPE_TEXT
    assert "damaged" not in repr(found)


def test_a_damaged_run_is_read_in_part_with_a_warning(run: Path) -> None:
    """Python's warning, the representation and the report name the row; all other rows are there."""
    whole = nas.load_run(run)
    change_row(run, TRAINING, lambda body: body["values"].update(error=0.001))
    told = rf"journal\.db is damaged: row {TRAINING} is not what was written\."
    with pytest.warns(UserWarning, match=told):
        found = nas.load_run(run)
    assert len(found.rows) == len(whole.rows) - 1
    assert len(found.damages) == 1
    assert found.damages[0] in repr(found)
    assert found.front.to_json() == whole.front.to_json()
    assert headline(found) == headline(whole)
    assert f"row {TRAINING} is not what was written" in render_report(found)
    assert read_run(run).damages == found.damages


def test_a_recipe_with_a_byte_order_mark_is_sound(run: Path) -> None:
    """Windows' editor adds one when somebody has looked at the recipe and saved it."""
    (run / RECIPE).write_text(RECIPE_TEXT, encoding="utf-8-sig")
    found = nas.load_run(run)
    assert (found.recipe.trials, found.recipe_text, found.damages) == (5, RECIPE_TEXT, ())


@pytest.mark.parametrize("content", ["[[[", "trails = 5", None])
def test_the_journal_has_a_copy_of_the_recipe(run: Path, content: str | None) -> None:
    """It takes the place of a recipe that is damaged or gone, which is told."""
    if content is None:
        (run / RECIPE).unlink()
    else:
        (run / RECIPE).write_text(content)
    found = read_run(run)
    assert found.recipe.trials == 5
    assert found.recipe_text == RECIPE_TEXT
    assert found.damages[0].endswith("The journal has a copy, which is shown.")


def test_without_any_recipe_a_run_cannot_be_read(tmp_path: Path) -> None:
    """The message is about the file that a user can mend."""
    run = write_run(tmp_path / "run", [])
    (run / RECIPE).write_text("[[[")
    with pytest.raises(RecipeError, match=r"a recipe is a TOML file, but .*recipe\.toml is not"):
        read_run(run)
    assert (run / JOURNAL).is_file()


def test_a_recipe_that_was_edited_names_nothing(tmp_path: Path) -> None:
    """What a run was made with is what its journal says; a file that differs is told, with the keys that do."""
    text = f'{RECIPE_TEXT}target = "onnxruntime-cpu"\nlimits = ["latency_ms <= 2ms"]\n'
    rows = [RecipeText(text), *rows_of_a_run()[1:]]
    run = write_run(tmp_path / "run", rows)
    (run / RECIPE).write_text(text)
    whole = read_run(run)
    assert whole.damages == ()
    (run / RECIPE).write_text(text.replace("onnxruntime-cpu", "openvino-cpu").replace("2ms", "9ms"))
    found = read_run(run)
    assert (found.target, found.limits, found.recipe_text) == (whole.target, whole.limits, text)
    assert len(found.damages) == 1
    assert 'target was "onnxruntime-cpu' in found.damages[0]
    assert "limits was " in found.damages[0]
    assert "copy the file to another place" in found.damages[0]


def test_a_recipe_may_differ_in_what_changes_no_result(run: Path) -> None:
    """A resumed run may have other keys of [execution], and a file may have other comments."""
    (run / RECIPE).write_text(f"# mine\n{RECIPE_TEXT}\n[execution]\nworkers = 3\n")
    found = read_run(run)
    assert found.damages == ()
    assert found.recipe_text == RECIPE_TEXT


def test_a_copy_of_the_recipe_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Then the file counts."""
    run = write_run(tmp_path / "run", [RecipeText("[[["), *rows_of_a_run()[1:]])
    found = read_run(run)
    assert found.recipe.trials == 5
    assert "journal.db cannot be read: a recipe is written in TOML" in found.damages[0]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"trials": 30}, "nas search --resume runs/whole --trials +30"),
        ({"trials": 0}, "nas search --resume runs/whole --trials +20"),
        ({"search_time_s": "10min"}, "nas search --resume runs/whole --time +10min"),
        (
            {"trials": 5, "space": {"name": GIVEN}},
            "nas.resume('runs/whole', overrides=['trials=+5'], space=…)",
        ),
    ],
)
def test_a_finished_run_is_extended_by_as_much_again(keys: dict[str, Any], text: str) -> None:
    """By what ended it: trials or time. A run that trained none gets some."""
    assert further_text(Path("runs/whole"), nas.Recipe(**keys)) == text
