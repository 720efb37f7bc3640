"""Files that a user asks for take no file of a run or a bundle, and no device, pipe or link, from its place."""

from __future__ import annotations

import os
import select
import stat
import threading
from pathlib import Path

import pytest

from nas.errors import RecipeError
from nas.storage.journal import JOURNAL
from nas.storage.output_files import FOLDERS_OF_THE_RUN, OF_THE_RUN, check_file, write_out
from nas.storage.run_files import ABOUT

CONTENT = b"new"


@pytest.fixture(name="run")
def folder_of_a_run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    for name in OF_THE_RUN:
        (run / name).write_text("old")
    return run


@pytest.mark.parametrize("name", [*OF_THE_RUN, *(f"{folder}/1/model.onnx" for folder in FOLDERS_OF_THE_RUN)])
def test_a_file_of_any_run_is_refused(run: Path, name: str, tmp_path: Path) -> None:
    """Also by a link, and whoever writes."""
    link = tmp_path / "link"
    link.symlink_to(run / name)
    for path in (run / name, link):
        with pytest.raises(RecipeError, match=r"must not take the place of a file of the run itself, but got"):
            check_file(path, "--report")
        with pytest.raises(RecipeError, match="must not take the place"):
            write_out(path, CONTENT)
    assert not (run / name).exists() or (run / name).read_text() == "old"


def test_pages_and_tables_in_a_run_s_folder_may_be_written(run: Path) -> None:
    for name in ("report.html", "tables/journal.db"):
        check_file(run / name)
        write_out(run / name, CONTENT)
        assert (run / name).read_bytes() == CONTENT


def test_a_bundle_that_was_copied_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "phone" / "deployed").mkdir(parents=True)
    (tmp_path / "phone" / ABOUT).write_text('{"target": "onnxruntime-cpu", "deployed": "model.onnx", "choices": {}}')
    with pytest.raises(RecipeError, match=r"must not change a bundle, but .*model\.tflite lies in that of"):
        write_out(tmp_path / "phone" / "deployed" / "model.tflite", CONTENT)


def test_a_file_of_a_user_s_is_no_bundle(tmp_path: Path) -> None:
    """Whatever its name is: a search below it writes its report."""
    for text in ("{}", "[1]", "no JSON"):
        (tmp_path / ABOUT).write_text(text)
        write_out(tmp_path / "runs" / "digits" / "report.html", CONTENT)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, Path()):
        with pytest.raises(RecipeError, match=r"--out takes the name of a file, but .* is a folder"):
            check_file(path)


def test_a_link_stays_one(tmp_path: Path) -> None:
    """The file that it names is written, also where there is none yet."""
    for name in ("there", "not-yet"):
        place, link = tmp_path / name, tmp_path / f"link-{name}"
        link.symlink_to(place)
        if name == "there":
            place.write_text("old")
        write_out(link, CONTENT)
        assert link.is_symlink()
        assert place.read_bytes() == CONTENT


def test_a_pipe_stays_one(tmp_path: Path) -> None:
    """Its reader gets the content; without a reader there is a sentence, and nobody waits."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(RecipeError, match=r"a pipe needs a program that reads it, but .*pipe has none"):
        write_out(pipe, CONTENT)
    long = CONTENT * 100_000
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    found: list[bytes] = []

    def read() -> None:
        written = select.poll()
        written.register(reader, select.POLLIN)
        written.poll(10_000)  # before somebody writes, a pipe is at its end
        with os.fdopen(reader, "rb") as stream:
            found.append(stream.read())

    thread = threading.Thread(target=read)
    thread.start()
    write_out(pipe, long)
    thread.join(10)
    assert found == [long]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_stays_one(tmp_path: Path) -> None:
    """Root could replace it by a file, such as /dev/null, and then every program of the machine would suffer."""
    pty = pytest.importorskip("pty")
    reader, terminal = pty.openpty()
    device, link = Path(os.ttyname(terminal)), tmp_path / "link"
    link.symlink_to(device)
    for path in (device, link):
        check_file(path)
        write_out(path, CONTENT)
        assert os.read(reader, 100) == CONTENT
        assert stat.S_ISCHR(path.stat().st_mode)
    assert link.is_symlink()
    os.close(reader)
    os.close(terminal)


def test_the_journal_alone_makes_a_folder_that_of_a_run(tmp_path: Path) -> None:
    """A user's own recipe.toml makes none of the current folder."""
    (tmp_path / "recipe.toml").write_text("")
    write_out(tmp_path / "winners" / "page.html", CONTENT)
    (tmp_path / JOURNAL).write_text("")
    with pytest.raises(RecipeError, match="must not take the place"):
        write_out(tmp_path / "winners" / "page.html", CONTENT)
