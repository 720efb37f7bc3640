"""Virtual environments for runtimes whose packages clash with ours: creating them, and starting Python in them."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from nas.errors import TargetError
from nas.storage.file_lock import waiting_for
from nas.storage.home import home
from nas.storage.scratch import for_children
from nas.values.target import Target

MARKER = "installed.json"
"""This file is written last. A folder without it is an incomplete installation and counts as none."""
TOLD_STEPS = ("Collecting", "Downloading", "Installing")
"""Lines of pip's output that begin with one of these are shown as progress."""
TAIL_LINES = 15
START = """
import importlib.util, runpy, sys
folder, *paths = sys.argv[1:]
sys.path += [path for path in paths if path not in sys.path]
spec = importlib.util.spec_from_file_location("nas", folder + "/__init__.py", submodule_search_locations=[folder])
nas = sys.modules["nas"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(nas)
runpy.run_module("nas.hardware.runtimes.worker", run_name="__main__", alter_sys=True)
"""
"""Imports this package from its own folder, without the packages next to it, which may clash."""


@dataclass(frozen=True)
class Environment:
    """Packages that clash with ours and so live in a virtual environment of their own, called ``name``.

    ``platforms`` lists where the packages exist, as pairs of an operating system and a processor type in the words of
    Python's ``platform``. None means everywhere.
    """

    name: str
    requirements: tuple[str, ...]
    platforms: frozenset[tuple[str, str]] | None = None


def folder_of(environment: Environment) -> Path:
    """Return the folder of an installed ``environment``."""
    return home() / "environments" / environment.name


def interpreter_of(environment: Environment | None) -> Path | None:
    """Return the Python of ``environment``, or None if it is not completely installed. No environment means ours."""
    return Path(sys.executable) if environment is None else _installed(environment)


def worker_command(interpreter: Path) -> list[str]:
    """Return the command that starts ``nas.hardware.runtimes.worker`` with a Python from ``interpreter_of``.

    The current folder is not on the worker's path (``-P``): a file there such as json.py would hide a module of Python.
    In this environment the folders of this process's path come last, where a user's own runtime may lie.
    In a foreign environment the worker imports this copy of ``nas`` and the packages installed there. ``PYTHONPATH``
    and the user's packages are ignored, so requests name a runtime by its ``module:Class``.
    """
    package = str(Path(__file__).parents[2])
    if interpreter == Path(sys.executable):
        return [sys.executable, "-P", "-c", START, package, *(path for path in sys.path if path)]
    return [str(interpreter), "-I", "-c", START, package]


def worker_environment() -> dict[str, str]:
    """Return the environment of a worker: its temporary files lie in our folder.

    An empty part of ``PYTHONPATH`` would mean the current folder, so it is left out.
    """
    found = for_children(os.environ)
    if "PYTHONPATH" in found:
        found["PYTHONPATH"] = os.pathsep.join(path for path in found["PYTHONPATH"].split(os.pathsep) if path)
    return found


def requirement_in(environment: Environment, package: str) -> str:
    """Return what ``environment`` has or requires of a package, such as ``ai-edge-litert==2.3.0``."""
    installed = _record_of(environment).get("packages", ())
    of_it = re.compile(re.escape(package) + r"(?=[=<>~!]|$)", re.IGNORECASE)
    return next((each for each in (*installed, *environment.requirements) if of_it.match(each)), package)


def why_missing(environment: Environment, target: Target) -> str | None:
    """Return why ``target`` lacks its ``environment`` and what to do about it, or None when it is installed."""
    here = platform.system(), platform.machine()
    if environment.platforms is not None and here not in environment.platforms:
        known = ", ".join(sorted(" ".join(pair) for pair in environment.platforms))
        return (
            f"{target.runtime} has packages for {known} only, but {target} was requested on {' '.join(here)}; "
            "choose another runtime."
        )
    if _installed(environment) is None:
        return (
            f"{target} needs an environment of its own, but it is not in {folder_of(environment)}; "
            f"run: nas target install {target.runtime}."
        )
    return None


def install(environment: Environment, say: Callable[[str], None]) -> Path:
    """Install ``environment`` with pip and return its Python. An environment that is already installed is left alone.

    An older or incomplete installation is replaced. If another process is installing it, this one waits. ``say`` gets
    progress messages.

    Raises:
        TargetError: Python cannot create environments here, pip cannot install a requirement, or the disk is full.
    """
    folder = folder_of(environment)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock_path = folder.parent / f".{environment.name}.lock"
        with waiting_for(lock_path, tell=lambda: say("waiting for another installation to end")) as lock:
            return _installed(environment) or _install(environment, folder, lock, say)
    except OSError as error:
        raise TargetError(
            f"the environment {environment.name} must fit into {folder}, but: {error}; "
            "make room, or set NAS_HOME to another folder."
        ) from error


def _install(environment: Environment, folder: Path, lock: IO[str], say: Callable[[str], None]) -> Path:
    # the marker goes first, so that a folder that is half deleted does not count as installed
    with contextlib.suppress(NotADirectoryError, IsADirectoryError):  # no environment at all, which is removed below
        (folder / MARKER).unlink(missing_ok=True)
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)
    say(f"creating the environment {environment.name} in {folder}")
    try:
        venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt").create(folder)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise TargetError(
            "an environment needs Python's modules venv and ensurepip, but they failed: "
            f"{_tail(str(error.stdout or error).splitlines())} Install the python3-venv of your system."
        ) from error
    interpreter = _interpreter_in(folder)
    try:
        _pip(interpreter, ["install", "--no-input", "--progress-bar=off", "--", *environment.requirements], lock, say)
        packages = _pip(interpreter, ["freeze"], lock, lambda line: None)
    except TargetError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    record = {
        "requirements": list(environment.requirements),
        "python": platform.python_version(),
        "packages": packages,
    }
    aside = folder / f".{MARKER}"
    aside.write_text(json.dumps(record, indent=2) + "\n")
    os.replace(aside, folder / MARKER)
    say(f"installed {environment.name}")
    return interpreter


def _installed(environment: Environment) -> Path | None:
    """Return the environment's Python if it is completely installed with exactly these requirements.

    A damaged one counts as not installed. Installing replaces it.
    """
    interpreter = _interpreter_in(folder_of(environment))
    # the link dangles when the Python that made it is gone
    is_there = os.access(interpreter, os.X_OK) and interpreter.is_file()
    return interpreter if is_there and _record_of(environment) else None


def _record_of(environment: Environment) -> dict[str, Any]:
    """Return what was written of an installation with exactly the requirements of ``environment``; empty if none is."""
    try:
        record = json.loads((folder_of(environment) / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_its = isinstance(record, dict) and record.get("requirements") == list(environment.requirements)
    return record if is_its else {}


def _interpreter_in(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def _pip(interpreter: Path, arguments: list[str], lock: IO[str], say: Callable[[str], None]) -> list[str]:
    """Run pip and return its lines of output. Raises TargetError with the last lines when it fails."""
    # -m, because pip's own script breaks when the folder moves; -I, because PYTHONPATH must not satisfy a requirement
    command = [str(interpreter), "-I", "-m", "pip", "--disable-pip-version-check", *arguments]
    process = subprocess.Popen(  # noqa: S603 a runtime's declared requirements, without a shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # pip holds the lock too: if this process is killed, pip continues to write for a while
        pass_fds=() if os.name == "nt" else (lock.fileno(),),
    )
    lines: list[str] = []
    try:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                lines.append(line.rstrip())
                if line.startswith(TOLD_STEPS):
                    say(re.split(r" \(from |: ", line.strip())[0])
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if code != 0:
        raise TargetError(f"pip must succeed, but ended with exit code {code}: {_tail(lines)}")
    return lines


def _tail(lines: list[str]) -> str:
    return "\n".join(lines[-TAIL_LINES:])
