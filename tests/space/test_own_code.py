"""A user's code may print, change the folder and call sys.exit; the program around it goes on as before."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

import pytest

from nas.errors import raised_text
from nas.space.own_code import EscapedError, own_code


def test_what_it_prints_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output belongs to results, such as JSON."""
    with own_code():
        print("built")
    print("result")
    assert capsys.readouterr() == ("result\n", "built\n")


def test_the_folder_is_the_same_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after an exception: a run's folder is relative to where the command was typed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()

    def build() -> None:
        os.chdir("weights")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), own_code():
        build()
    assert Path.cwd() == tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder that is in use")
def test_a_folder_that_was_deleted_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code runs all the same."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    ran = []
    with own_code():
        ran.append(True)
    assert ran
    monkeypatch.chdir(tmp_path)


class Stop(BaseException):
    """An exception that no ``except Exception`` catches."""


@pytest.mark.parametrize(("error", "text"), [(SystemExit(0), "SystemExit: 0"), (Stop("now"), "Stop: now")])
def test_what_would_end_the_process_becomes_an_ordinary_exception(error: BaseException, text: str) -> None:
    """Its text names the exception, and the line that raised it."""
    with pytest.raises(EscapedError) as escaped, own_code():
        raise error
    assert raised_text(escaped.value).startswith(f"{text} ({__file__}, line ")


def test_ending_the_process_becomes_an_ordinary_exception() -> None:
    """Otherwise a search would end without a word, with status 0. No ``except Exception`` of the code hides it."""
    leave = os._exit
    with pytest.raises(EscapedError) as escaped, own_code(), own_code(), contextlib.suppress(Exception):
        os._exit(0)
    assert raised_text(escaped.value).startswith(f"ProcessExitError: os._exit(0) would end the search ({__file__}, ")
    assert os._exit is leave


def test_threads_may_end_in_any_order() -> None:
    """A second thread begins inside the first one's code and ends after it: the process can still be ended."""
    leave, begun, first_ended = os._exit, threading.Event(), threading.Event()
    refused: list[str] = []

    def second() -> None:
        try:
            with own_code():
                begun.set()
                assert first_ended.wait(10)
                os._exit(3)
        except EscapedError as error:
            refused.append(str(error))

    thread = threading.Thread(target=second)
    with own_code():
        thread.start()
        assert begun.wait(10)
    first_ended.set()
    thread.join(10)
    assert refused == ["os._exit(3) would end the search"]
    assert os._exit is leave


def test_threads_leave_standard_output_as_it_was() -> None:
    """As those of a pool of boards, which load a user's runtime. The first to begin is the first to end."""
    before, begun, both, first_ended = sys.stdout, threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with own_code():
            begun.set()
            assert both.wait(10)
        first_ended.set()

    def second() -> None:
        assert begun.wait(10)
        with own_code():
            both.set()
            assert first_ended.wait(10)

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sys.stdout is before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_processes_that_the_code_forks_end_as_always() -> None:
    """So do the workers of data loaders and pools."""
    with own_code(), own_code():
        child = os.fork()
        if child == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


class WordlessError(Exception):
    """An exception that has no message, not even where one is asked for."""

    def __str__(self) -> str:
        raise AttributeError("detail")


def test_an_exception_that_cannot_be_printed_is_named() -> None:
    """A user's own class may fail at anything."""
    with pytest.raises(WordlessError) as caught, own_code():
        raise WordlessError
    assert raised_text(caught.value).startswith(f"WordlessError ({__file__}, line ")


def test_ctrl_c_stays_ctrl_c() -> None:
    """The user ends the program, not the code."""
    with pytest.raises(KeyboardInterrupt), own_code():
        raise KeyboardInterrupt
