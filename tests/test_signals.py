"""Signals stop the work: the first is never lost, a second one acts at once, and the caller's handlers come back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

import nas.__main__
from nas.signals import SAME_S, Stopped, check, deferred, heed, stopping

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]


def wait_for_the_signal() -> None:
    """Wait until a signal interrupts this, but not for ever."""
    time.sleep(5)
    raise AssertionError("the signal did not come again")


def swallow() -> None:
    """Behave like a library that catches everything."""
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGINT)


def turn_into_another_error() -> None:
    """Behave like a library that wraps every exception in one of its own."""
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException as error:
        raise ValueError("the export has failed") from error


class Deaf:
    """Behave like an object whose deletion is interrupted: Python ignores the exception."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def delete_a_deaf_one() -> None:
    Deaf()


def end_of(work: Callable[[], object]) -> Stopped:
    """Return the exception that ends a block in which this work is done."""
    try:
        with stopping():
            work()
    except Stopped as error:
        return error
    raise AssertionError("no signal ended the block")


class TestTheFirst:
    @pytest.mark.parametrize("number", ALL)
    def test_raises_an_interrupt_with_its_own_status(self, number: signal.Signals) -> None:
        """Each of them is a KeyboardInterrupt, and the exit status tells which one came."""
        found = end_of(lambda: signal.raise_signal(number))
        assert isinstance(found, KeyboardInterrupt)
        assert found.status == 128 + number
        assert str(found) == number.name

    @pytest.mark.parametrize("library", [swallow, delete_a_deaf_one], ids=["that catches it", "in a deletion"])
    def test_comes_again_after_a_library(
        self, library: Callable[[], object], capfd: pytest.CaptureFixture[str]
    ) -> None:
        """It is raised again as soon as the exception is gone, and Python prints nothing about it."""
        end_of(lambda: (library(), wait_for_the_signal()))
        assert capfd.readouterr().err == ""

    def test_comes_again_however_often_it_is_caught(self) -> None:
        """Catching it three times does not help."""
        caught = []

        def work() -> None:
            signal_is_due = True
            while len(caught) < 3:
                try:
                    if signal_is_due:
                        signal_is_due = False
                        signal.raise_signal(signal.SIGTERM)
                    wait_for_the_signal()
                except KeyboardInterrupt as error:
                    caught.append(str(error))
            wait_for_the_signal()

        end_of(work)
        assert caught == ["SIGTERM"] * 3

    def test_is_what_ends_the_block_even_as_another_error(self) -> None:
        """An error that a library made of it does not count as an error of the work."""
        assert isinstance(end_of(turn_into_another_error).__cause__, ValueError)

    def test_is_checked_where_a_failure_would_be_recorded(self) -> None:
        """A caller that takes the library's error for a failure of the candidate does not get to write it down."""
        recorded = []

        def work() -> None:
            try:
                turn_into_another_error()
            except ValueError as error:
                check()
                recorded.append(error)

        end_of(work)
        assert recorded == []

    def test_that_a_library_keeps_is_raised_by_a_check(self) -> None:
        """The exception lives on, so only ``check`` tells that it is not on its way."""
        kept = []

        def work() -> None:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt as error:
                kept.append(error)
            check()

        assert end_of(work) not in kept

    def test_waits_where_an_exception_would_do_harm(self) -> None:
        """A ``deferred`` block ends before it is raised, and handlers that the block has replaced come back."""
        done = []

        def work() -> None:
            with deferred():
                signal.raise_signal(signal.SIGTERM)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                check()
                done.append(True)

        end_of(work)
        assert done

    def test_is_over_once_it_is_heeded(self) -> None:
        """The code that ends the work may write its last rows."""
        written = []

        def work() -> None:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                heed()
                check()
                time.sleep(0.2)
                written.append(True)
                raise

        end_of(work)
        assert written


class TestTheSecond:
    @pytest.mark.parametrize(("pause_s", "waits"), [(SAME_S + 0.05, False), (0.0, True)], ids=["later", "at once"])
    def test_is_raised_where_the_first_had_to_wait(self, pause_s: float, waits: bool) -> None:
        """It does not end the caller's own program. One that comes at once is the first: some programs send two."""
        done = []

        def work() -> None:
            with deferred():
                signal.raise_signal(signal.SIGINT)
                time.sleep(pause_s)
                signal.raise_signal(signal.SIGINT)
                done.append(True)

        end_of(work)
        assert bool(done) == waits

    @pytest.mark.parametrize(
        "busy", ["time.sleep(60)", "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"], ids=["waiting", "in C"]
    )
    def test_ends_a_command_at_once(self, busy: str) -> None:
        """The process ends with the advice, even while its main thread is busy and an exception would have to wait."""
        code = f"""
import hashlib, time
from nas.signals import advising, deferred, stopping
with stopping(ends_process=True), advising("Go on with: nas go"), deferred():
    print("ready", flush=True)
    {busy}
"""
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        time.sleep(SAME_S + 0.1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=10)
        assert process.returncode == 128 + signal.SIGTERM
        assert error == "Stopped at once. All finished work is kept.\nGo on with: nas go\n"


class TestHandlers:
    def test_come_back(self) -> None:
        """After the block, also one that a signal has ended, everything is as before."""
        before = [signal.getsignal(number) for number in ALL], sys.unraisablehook
        within = []

        def work() -> None:
            within.append(signal.getsignal(signal.SIGTERM))
            signal.raise_signal(signal.SIGTERM)

        end_of(work)
        assert callable(within[0])
        assert ([signal.getsignal(number) for number in ALL], sys.unraisablehook) == before

    def test_of_the_caller_stay(self) -> None:
        """A program that handles SIGTERM itself goes on to do so, and an ignored signal stays ignored."""
        heard = []
        before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
        ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with stopping():
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGHUP)
        finally:
            signal.signal(signal.SIGTERM, before)
            signal.signal(signal.SIGHUP, ignored)
        assert heard == [signal.SIGTERM]

    def test_are_left_alone_in_a_thread(self) -> None:
        """Python allows handlers in the main thread only; work in another one goes on without them."""
        found = []

        def work() -> None:
            with stopping(), deferred():
                check()
                found.append(signal.getsignal(signal.SIGTERM))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert found == [signal.SIG_DFL]

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_are_not_those_of_a_fork(self) -> None:
        """A forked process, such as one that loads data, ends at SIGTERM without a word."""
        ear, mouth = os.pipe()
        with stopping():
            child = os.fork()
            if child == 0:
                os.write(mouth, b".")
                time.sleep(30)
                os._exit(0)
            os.read(ear, 1)
            os.kill(child, signal.SIGTERM)
            _, status = os.waitpid(child, 0)
        os.close(ear)
        os.close(mouth)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGTERM

    def test_of_the_outer_block_serve_an_inner_one(self) -> None:
        """A search that a command runs adds nothing of its own."""
        with stopping():
            outer = signal.getsignal(signal.SIGINT)
            with stopping():
                assert signal.getsignal(signal.SIGINT) is outer
            assert signal.getsignal(signal.SIGINT) is outer


def test_before_signals_are_handled_the_command_ends_without_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python raises KeyboardInterrupt where Ctrl-C comes while the command still imports what handles it."""

    def come() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(nas.__main__, "_put_current_folder_last", come)
    with pytest.raises(SystemExit) as ended:
        nas.__main__.run()
    assert ended.value.code == 128 + signal.SIGINT
