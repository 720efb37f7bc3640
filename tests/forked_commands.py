"""``nas`` in a process that is forked from one with all imports done, so that the command begins at once.

Starting an interpreter and importing torch takes seconds, and most kills at random moments would hit a start.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from commands import MARK, TESTS, RunningCommand, environment

IMPORTED = [
    "nas.cli.main",
    "nas.cli.search",
    "nas.formats.export",
    "nas.reports.console",
    "nas.reports.progress_display",
    "nas.searching.run",
    "onnxruntime",
    "pandas",
    "predictors.samplers.surrogate_sampler",
    "scipy.stats",
    "sklearn.linear_model",
    "sklearn.tree",
    "torchvision",
]


class ForkedCommand(RunningCommand):
    """The command in a process group of its own, as ``RunningCommand`` has it, but for the start of Python.

    ``prepare`` is called in the process before the command.
    """

    def __init__(self, folder: Path, *arguments: str | Path, prepare: Callable[[], None] | None = None) -> None:
        self._mark = uuid.uuid4().hex
        self._seen = {}
        self._output = folder / f"output-{self._mark}"
        self._output.touch()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        variables = environment(**{MARK: self._mark})
        child = context.Process(
            target=_run_command,
            args=(self._output, self._output, variables, [str(each) for each in arguments], prepare),
        )
        child.start()
        self.process = _Forked(child)  # type: ignore[assignment]


def run_forked(*arguments: str | Path, prepare: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end as ``run_nas`` does, but forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    words = [str(each) for each in arguments]
    with tempfile.TemporaryDirectory() as folder:
        printed, errors = Path(folder) / "stdout", Path(folder) / "stderr"
        child = context.Process(target=_run_command, args=(printed, errors, environment(), words, prepare))
        child.start()
        status = _Forked(child).wait(timeout=280)
        assert status is not None
        return subprocess.CompletedProcess(words, status, printed.read_text(), errors.read_text())


class _Forked:
    """A forked process with the methods of ``subprocess.Popen`` that ``RunningCommand`` and its users need."""

    def __init__(self, child: multiprocessing.process.BaseProcess) -> None:
        assert child.pid is not None
        self._child = child
        self.pid = child.pid

    @property
    def returncode(self) -> int | None:
        return self._child.exitcode

    def poll(self) -> int | None:
        return self._child.exitcode

    def kill(self) -> None:
        self._child.kill()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int | None:
        self._child.join(timeout)
        assert self._child.exitcode is not None, f"the process did not end within {timeout} s"
        return self._child.exitcode


def _run_command(
    output: Path, errors: Path, variables: dict[str, str], arguments: list[str], prepare: Callable[[], None] | None
) -> None:
    """Run the command with these arguments in this process, as a new interpreter would."""
    os.setsid()
    sys.stdout = output.open("w")
    sys.stderr = sys.stdout if errors == output else errors.open("w")
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stderr.fileno(), 2)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(TESTS)
    tempfile.tempdir = None  # another one may have been found for the process that this one is forked from
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["nas", *arguments]
    sys.path.insert(0, str(TESTS))
    if prepare is not None:
        prepare()

    from nas.__main__ import run

    try:
        run()
    finally:
        atexit._run_exitfuncs()  # which a process of multiprocessing leaves out
        sys.stdout.flush()
        sys.stderr.flush()
