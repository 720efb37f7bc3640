"""``nas report`` on one run and on several."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from in_process import printed, refused

from nas.cli.main import main
from nas.storage.journal import JOURNAL

OLD_RUNS = Path(__file__).parents[1] / "old_runs"


@pytest.fixture(name="runs")
def two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Copies of two runs, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("finished", "interrupted"):
        shutil.copytree(OLD_RUNS / f"{name}-0.6.0", tmp_path / name)
    return Path("finished"), Path("interrupted")


def test_one_run_keeps_its_report_in_its_folder(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = printed(capsys, monkeypatch, "report", runs[0])
    assert said.strip() == str(runs[0] / "report.html")
    assert (runs[0] / "report.html").stat().st_size > 1000


def test_several_runs_share_a_page(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named with --out, or comparison.html here; the same folder twice is one run."""
    assert printed(capsys, monkeypatch, "report", *runs).strip() == "comparison.html"
    page = Path("comparison.html").read_text(encoding="utf-8")
    assert "Runs side by side" in page
    assert "What matters" in page
    assert printed(capsys, monkeypatch, "report", *runs, "--out", "both.html").strip() == "both.html"
    again = printed(capsys, monkeypatch, "report", runs[0], f"./{runs[0]}/", "--out", "one.html")
    assert again.strip() == "one.html"
    assert "Runs side by side" not in Path("one.html").read_text(encoding="utf-8")


def test_a_missing_run_is_named(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "none must be the folder of a run" in refused(capsys, monkeypatch, "report", runs[0], "none")
    assert "is a folder" in refused(capsys, monkeypatch, "report", runs[0], "--out", ".")
    for name in ("journal.db", "recipe.toml", "winners/page.html"):  # of any run
        said = refused(capsys, monkeypatch, "report", runs[0], "--out", runs[1] / name)
        assert "--out must not take the place of a file of the run itself" in said
    assert not Path("comparison.html").exists()


def test_too_many_runs_are_refused(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [Path(f"run{number}") for number in range(13)]
    assert "at most 12 runs, but got 13" in refused(capsys, monkeypatch, "report", *many)


def test_damages_of_any_run_are_told(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page has what can be read, and the exit status says that something is missing."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(runs[1] / JOURNAL)) as connection, connection:
        connection.execute("UPDATE rows SET body = '{}' WHERE kind = 'evaluation' AND number % 5 = 0")
    monkeypatch.setattr(sys, "argv", ["nas", "report", *map(str, runs)])
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr()
    assert end.value.code == 1
    assert "is damaged" in output.err
    assert "is damaged" in Path("comparison.html").read_text(encoding="utf-8")
