"""Contract of exports, checked for every registered one and for two of a user's own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from exported_runs import awkward_runs, whole

from nas.errors import RecipeError
from nas.results.exports.export import GROUP, FileExport, TrackedExport, load_export
from nas.results.exports.exporting import content_of, export
from nas.results.exports.tracked import RunFacts
from nas.results.exports.tracking import check_trackers
from nas.space.plug_ins import plug_in_names
from nas.storage.output_files import OF_THE_RUN

NAMES = [*plug_in_names(GROUP), "made_exports:IdList", "made_exports:RowList"]
TRACKED = [name for name in NAMES if isinstance(load_export(name), TrackedExport)]
AWKWARD = ("empty", "unfinished", "damaged", "four objectives", "measured alone", "no choices")


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, with stores of exports at their own places."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture(name="name", params=NAMES)
def installed_name(request: pytest.FixtureRequest) -> str:
    """The name of each export whose package is installed."""
    try:
        load_export(request.param).check()
    except RecipeError as error:
        pytest.skip(str(error))
    return str(request.param)


def path_of(place: str) -> Path:
    """Return the path of a place, which may be the URI of a SQLite file."""
    return Path(place.removeprefix("sqlite:///"))


def test_it_lies_in_the_run_folder_or_at_the_place_that_is_named(name: str, tmp_path: Path) -> None:
    """It may be written again, nothing else is written, and the run's own files stay as they are."""
    run = whole(tmp_path / "run")
    run.run_folder.mkdir()
    (run.run_folder / "journal.db").write_text("rows")
    told = export(run, name)
    assert path_of(told.place).parent == run.run_folder
    assert {path.name for path in run.run_folder.iterdir()} == {"journal.db", path_of(told.place).name}
    assert (run.run_folder / "journal.db").read_text() == "rows"
    other = tmp_path / "elsewhere" / path_of(told.place).name
    if name in plug_in_names(GROUP):
        other.parent.mkdir()
    else:
        shutil.copytree(run.run_folder, other.parent)
    for _ in range(2):
        assert path_of(export(run, name, other).place) == other
    assert other.exists()
    assert not any(Path.cwd().iterdir())


@pytest.mark.parametrize("what", AWKWARD)
def test_awkward_runs_are_exported_and_told(what: str, name: str, tmp_path: Path) -> None:
    """The notes say what is damaged, not finished or empty."""
    run = awkward_runs(tmp_path / "run")[what]
    run.run_folder.mkdir()
    told = export(run, name)
    assert path_of(told.place).exists()
    assert set(run.damages_in_short) <= set(told.notes)
    assert any("not finished" in note for note in told.notes) == (not run.is_over)
    assert any("no architectures" in note for note in told.notes) == (not run.rows)


@pytest.mark.parametrize("own", OF_THE_RUN)
def test_a_place_that_cannot_be_written_is_refused_in_a_sentence(own: str, name: str, tmp_path: Path) -> None:
    """Neither a file of the run itself nor a folder under a file is written."""
    if name not in plug_in_names(GROUP):
        pytest.skip("it checks no places")
    run = whole(tmp_path / "run")
    run.run_folder.mkdir()
    (run.run_folder / own).write_text("rows")
    for place in (run.run_folder / own, run.run_folder / own / "below", run.run_folder / "winners" / "a"):
        with pytest.raises(RecipeError) as refusal:
            export(run, name, place)
        assert len(str(refusal.value).splitlines()) == 1
    assert (run.run_folder / own).read_text() == "rows"


def test_only_a_file_goes_to_standard_output(name: str, tmp_path: Path) -> None:
    """It is the content that the file would have."""
    run = whole(tmp_path)
    if isinstance(load_export(name), FileExport):
        assert content_of(run, name) == Path(export(run, name).place).read_bytes()
    else:
        with pytest.raises(RecipeError, match="can go to standard output"):
            content_of(run, name)


def test_trackers_are_exports_that_can_follow(name: str) -> None:
    if name in TRACKED:
        check_trackers([name])
    else:
        with pytest.raises(RecipeError, match="a tracker is an export that can follow a run"):
            check_trackers([name])


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACKED, indirect=True)
def test_a_tracker_goes_on_with_a_run(name: str, tmp_path: Path) -> None:
    """A process that begins again tells all rows; those that were told before do no harm."""
    run = whole(tmp_path)
    made = load_export(name)
    assert isinstance(made, TrackedExport)
    for rows in (run.rows[:20], run.rows):
        tracker = made.follow(tmp_path, str(tmp_path / "place"))
        tracker.begin(RunFacts.of(run))
        tracker.add(rows[:10])
        tracker.add(rows[10:])
        tracker.end("FINISHED")
    assert (tmp_path / "place").exists()
    made.add_all(replace(run, is_over=False), str(tmp_path / "place"))
