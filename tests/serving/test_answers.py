"""What the server answers: all runs, each run, its report and files; and a sentence for everything else."""

from __future__ import annotations

import html
import json
import os
import sys
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import pytest
from served_runs import HOSTILE, looked, runs_folder, text_of

from nas.reports.report import render_report
from nas.results.run_folder import read_run
from nas.serving.answers import Answers


@pytest.fixture(name="runs")
def folder_of_runs(tmp_path: Path) -> Path:
    return runs_folder(tmp_path)


@pytest.fixture(name="answers")
def answers_about(runs: Path) -> Answers:
    return looked(runs)[1]


def live(answers: Answers, target: str = "/live.json") -> dict[str, object]:
    answer = answers.answer(target)
    assert (answer.status, answer.kind) == (HTTPStatus.OK, "application/json")
    found: dict[str, object] = json.loads(answer.body)
    return found


def test_all_runs_are_listed_with_what_can_be_shown_of_each(answers: Answers) -> None:
    states = {each["name"]: (each["state"], each["problem"]) for each in live(answers)["runs"]}  # type: ignore[attr-defined]
    assert states["finished"] == ("finished", "")
    assert states[HOSTILE][0] in ("stopped", "not finished")
    assert "has no journal.db" in states["empty"][1]
    assert "must be a journal" in states["corrupt"][1]
    assert "newer version of nas" in states["newer"][1]
    page = text_of(answers.answer("/"))
    for name, (_, problem) in states.items():
        assert html.escape(name).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
        assert not problem or problem.split(",")[0][-20:] in html.unescape(page)


def test_hostile_names_are_text(answers: Answers) -> None:
    for target in ("/", f"/runs/{quote(HOSTILE, safe='')}/", "/runs/%3Cscript%3E/", "/%3Cscript%3Ealert(1)"):
        page = text_of(answers.answer(target))
        assert "<img" not in page
        assert "<script>alert" not in page


def test_a_run_has_a_page_and_data_for_it(answers: Answers) -> None:
    assert answers.answer("/runs/finished").headers["Location"] == "/runs/finished/"
    assert "Hypervolume" in text_of(answers.answer("/runs/finished/"))
    found = live(answers, "/runs/finished/live.json")
    assert found["state"] == "finished"
    assert found["evaluations"] == found["whole"] + found["stopped"] + found["failed"]  # type: ignore[operator]
    assert found["growth"]["share"][-1] == 1.0  # type: ignore[index]


def test_the_report_is_that_of_the_command(answers: Answers, runs: Path) -> None:
    assert text_of(answers.answer("/runs/finished/report")) == render_report(read_run(runs / "finished"))


@pytest.mark.parametrize(
    ("name", "words"), [("corrupt", "must be a journal"), ("newer", "newer version"), ("empty", "journal.db")]
)
def test_a_run_that_cannot_be_read_has_a_sentence(answers: Answers, name: str, words: str) -> None:
    for target in (f"/runs/{name}/", f"/runs/{name}/report"):
        page = html.unescape(text_of(answers.answer(target)))
        assert words in page
        assert "Traceback" not in page


def test_files_of_a_bundle_are_downloads(answers: Answers, runs: Path) -> None:
    (bundle,) = sorted((runs / "finished" / "winners").iterdir())[:1]
    assert bundle.name in text_of(answers.answer("/runs/finished/winners/"))
    assert answers.answer("/runs/finished/winners").headers["Location"] == "/runs/finished/winners/"
    answer = answers.answer(f"/runs/finished/winners/{bundle.name}/model.safetensors")
    assert (answer.status, answer.kind, answer.file) == (
        HTTPStatus.OK,
        "application/octet-stream",
        (bundle / "model.safetensors").resolve(),
    )
    assert answer.headers["Content-Disposition"].startswith("attachment")


OUTSIDE = (
    "/runs/finished/../../secret.txt",
    "/runs/finished/%2e%2e/%2e%2e/secret.txt",
    "/runs/finished/..%2f..%2fsecret.txt",
    "/runs/finished/%2e%2e%2f%2e%2e%2fsecret.txt",
    "/runs/../secret.txt",
    "/runs/%2e%2e/",
    "/runs/../../",
    "/../secret.txt",
    "//secret.txt",
    "/runs/finished//../../../secret.txt",
    "/runs/finished/out.txt",
    "/runs/finished/folder/secret.txt",
    "/runs/finished/.writer",
    "/runs/finished/.git/config",
    "/runs/finished/a%00b",
    "/runs/finished/circle",
    "/runs/finished/" + "a" * 5000,
    "secret.txt",
    "http://127.0.0.1/secret.txt",
    "/runs/outside/secret.txt",
    "/runs/none/",
    "/secret.txt",
)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("target", OUTSIDE)
def test_nothing_outside_of_a_run_is_shown(runs: Path, target: str) -> None:
    (runs / "finished" / "out.txt").symlink_to(runs.parent / "secret.txt")
    (runs / "finished" / "folder").symlink_to(runs.parent)
    (runs / "finished" / "circle").symlink_to(runs / "finished" / "circle")
    (runs / "outside").symlink_to(runs.parent)
    (runs.parent / "recipe.toml").write_text("", encoding="utf-8")
    answer = looked(runs)[1].answer(target)
    assert answer.file is None
    assert "the secret" not in text_of(answer)
    assert answer.status == HTTPStatus.NOT_FOUND or "outside" in text_of(answer)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_run_that_is_a_link_to_another_place_is_named_and_not_read(runs: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (runs / "finished").rename(elsewhere)
    (runs / "linked").symlink_to(elsewhere)
    _, answers = looked(runs)
    (found,) = [each for each in live(answers)["runs"] if each["name"] == "linked"]  # type: ignore[attr-defined]
    assert "is a link to a place outside" in found["problem"]
    assert "is a link to a place outside" in text_of(answers.answer("/runs/linked/report"))


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("name", ["recipe.toml", "journal.db"])
def test_a_file_that_is_a_link_to_another_place_is_not_read(runs: Path, tmp_path: Path, name: str) -> None:
    (runs / "finished" / name).rename(tmp_path / "elsewhere")
    (runs / "finished" / name).symlink_to(tmp_path / "elsewhere")
    _, answers = looked(runs)
    for target in ("/", "/runs/finished/", "/runs/finished/report"):
        assert f"{name} of finished is a link to a place outside of it" in text_of(answers.answer(target))


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are texts there")
def test_names_that_are_no_text_hide_nothing(runs: Path) -> None:
    """A folder and a file whose names are not UTF-8 are listed, and their links lead to them."""
    (runs / "finished").rename(runs / os.fsdecode(b"a\xff b"))
    (runs / os.fsdecode(b"a\xff b") / os.fsdecode(b"\xfe.txt")).write_text("found", encoding="utf-8")
    _, answers = looked(runs)
    assert 'href="/runs/a%FF%20b/"' in text_of(answers.answer("/"))
    assert "/runs/a%FF%20b/" in [each["link"] for each in live(answers)["runs"]]  # type: ignore[attr-defined]
    assert answers.answer("/runs/a%FF%20b").headers["Location"] == "/runs/a%FF%20b/"
    for target in ("/runs/a%FF%20b/", "/runs/a%FF%20b/report", "/compare?run=a%FF%20b"):
        assert answers.answer(target).status == HTTPStatus.OK
    assert answers.answer("/runs/a%FF%20b/winners/").status == HTTPStatus.OK
    answer = answers.answer("/runs/a%FF%20b/%FE.txt")
    assert answer.file is not None
    assert answer.headers["Content-Disposition"].endswith("''%FE.txt")


@pytest.mark.skipif(os.name == "nt", reason="a pipe has no name there")
def test_a_pipe_is_no_file(runs: Path) -> None:
    os.mkfifo(runs / "finished" / "pipe")
    assert looked(runs)[1].answer("/runs/finished/pipe").status == HTTPStatus.NOT_FOUND


def test_several_runs_are_compared_on_one_page(answers: Answers) -> None:
    both = f"/compare?run=finished&run={quote(HOSTILE)}"
    assert answers.answer(both).status == HTTPStatus.OK
    assert "There is no run nobody" in text_of(answers.answer("/compare?run=finished&run=nobody"))
    assert answers.answer("/compare").status == HTTPStatus.BAD_REQUEST
    assert "cannot be read" in text_of(answers.answer("/compare?run=finished&run=corrupt"))


def test_a_folder_that_moves_away_and_comes_back(runs: Path) -> None:
    """Runs are shown as they were last read, with a sentence, and the page goes on once the folder is back."""
    watch, answers = looked(runs)
    away = runs.with_name("away")
    runs.rename(away)
    watch.look()
    found = live(answers)
    assert "is no longer there" in str(found["gone"])
    assert len(found["runs"]) == 5  # type: ignore[arg-type]
    assert "is no longer there" in text_of(answers.answer("/"))
    assert answers.answer("/runs/finished/report").status == HTTPStatus.NOT_FOUND
    assert "is no longer there" in text_of(answers.answer("/runs/finished/report"))
    away.rename(runs)
    watch.look()
    assert live(answers)["gone"] == ""
    assert answers.answer("/runs/finished/report").status == HTTPStatus.OK


def test_a_run_that_is_removed_is_gone_and_no_other(runs: Path) -> None:
    watch, answers = looked(runs)
    (runs / "finished").rename(runs.parent / "trash")
    assert "There is no run finished" in text_of(answers.answer("/runs/finished/"))
    watch.look()
    assert [each["name"] for each in live(answers)["runs"]].count("finished") == 0  # type: ignore[attr-defined]


def test_the_folder_of_one_run_can_be_served(runs: Path) -> None:
    answers = looked(runs / "finished")[1]
    assert [each["name"] for each in live(answers)["runs"]] == ["finished"]  # type: ignore[attr-defined]
    assert answers.answer("/runs/finished/report").status == HTTPStatus.OK


def test_a_folder_without_runs_says_how_to_begin(tmp_path: Path) -> None:
    assert "Begin one with: nas search" in text_of(looked(tmp_path)[1].answer("/"))
