"""Watching a folder of runs: each run is read again when its journal has changed, and only while somebody looks."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final
from urllib.parse import quote

from nas.errors import NasError
from nas.results.run import Run
from nas.results.run_folder import read_run, run_folders
from nas.serving.live import summary_of
from nas.storage.file_lock import is_held
from nas.storage.journal import JOURNAL, RECIPE
from nas.storage.writer_lock import WRITER

EVERY_S = 2.0
"""How often runs are looked at, while a page asks for them."""
ASKED_S = 20.0
"""Without a question for so long, nothing is read: reading takes time that a measurement on this machine would miss."""
PATIENCE = 5.0
"""A run is read again at the earliest after this many times what its last reading took."""
MOST_KEPT = 4
"""Runs that are kept whole for their reports."""

Signature = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Seen:
    """A run as it was last seen.

    Attributes:
        name: the name of its folder.
        folder: the folder.
        summary: what a page shows of it; None until it is read, and where it cannot be.
        problem: why it cannot be read, a sentence; empty where it can.
        signature: sizes and times of its files when it was read.
    """

    name: str
    folder: Path
    summary: dict[str, Any] | None = None
    problem: str = ""
    signature: Signature = ()
    held: bool | None = None
    read_at: float = 0.0
    took_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain data for a page."""
        state = "unreadable" if self.problem else "being read" if self.summary is None else self.summary["state"]
        told = {"name": self.name, "link": f"/runs/{segment(self.name)}/", "state": state, "problem": self.problem}
        return {**told, **(self.summary or {})}


@final
@dataclass
class Watch:
    """The runs in a folder, or the one run if the folder is a run's own. Use it from any thread.

    ``gone`` says why the folder cannot be looked at; runs are then those that were seen last.
    """

    folder: Path
    clock: Callable[[], float] = time.monotonic
    gone: str = ""
    _seen: dict[str, Seen] = field(default_factory=dict)
    _runs: OrderedDict[str, tuple[Signature, Run]] = field(default_factory=OrderedDict)
    _asked_at: float = -ASKED_S
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _looking: threading.Lock = field(default_factory=threading.Lock)
    _wanted: threading.Event = field(default_factory=threading.Event)

    def runs(self) -> list[Seen]:
        """Return the runs as they were last seen, the newest first, and see to it that they are looked at."""
        self._ask()
        with self._lock:
            return list(reversed(self._seen.values()))

    def find(self, name: str) -> Seen | None:
        """Return the run of a name; None if there is none now."""
        self._ask()
        with self._lock:
            seen = self._seen.get(name)
        if seen is None or self.gone or not any((seen.folder / each).exists() for each in (RECIPE, JOURNAL)):
            return next((each for each in self._listed() if each.name == name), None)
        return seen

    def whole(self, seen: Seen) -> Run:
        """Return the run with all its rows, read again if it has changed.

        Raises:
            NasError: nothing of it can be read.
        """
        signature = signature_of(seen.folder)
        with self._lock:
            kept = self._runs.get(seen.name)
        if kept is not None and kept[0] == signature:
            return kept[1]
        run = read_run(seen.folder)
        with self._lock:
            self._runs[seen.name] = (signature, run)
            self._runs.move_to_end(seen.name)
            while len(self._runs) > MOST_KEPT:
                self._runs.popitem(last=False)
        return run

    def look(self) -> None:
        """Look at the folder once, and read what has changed."""
        with self._looking:
            listed = self._listed()
            if self.gone:
                return
            with self._lock:
                self._seen = {each.name: self._kept(each) for each in listed}
                pending = list(self._seen.values())
            for each in pending:
                again = self._again(each)
                with self._lock:
                    if each.name in self._seen:
                        self._seen[each.name] = again

    def keep_looking(self, until: threading.Event) -> None:
        """Look again and again until the event is set, but only while somebody asks."""
        while not until.is_set():
            if self.clock() - self._asked_at < ASKED_S:
                self.look()
            self._wanted.clear()
            self._wanted.wait(EVERY_S)

    def wake(self) -> None:
        """Let ``keep_looking`` go on at once, such as to see that it should end."""
        self._wanted.set()

    def _ask(self) -> None:
        is_first = self.clock() - self._asked_at >= ASKED_S
        self._asked_at = self.clock()
        if is_first:
            self._wanted.set()

    def _listed(self) -> list[Seen]:
        """Return the runs that the folder has now, unread, and note if it is gone."""
        if not self.folder.is_dir():
            self.gone = (
                f"{self.folder} is no longer there: it was moved, removed, or its disk is not mounted. Runs are shown "
                "as they were last read. Bring the folder back, and this page goes on."
            )
            return []
        try:
            if any((self.folder / name).exists() for name in (RECIPE, JOURNAL)):
                folders = [self.folder]
            else:
                folders = run_folders(self.folder)
        except OSError as error:
            self.gone = f"{self.folder} cannot be read: the system says {error}. Runs are shown as they were last read."
            return []
        self.gone = ""
        return [self._new(each) for each in folders]

    def _new(self, folder: Path) -> Seen:
        name = folder.resolve().name if folder == self.folder else folder.name
        if folder != self.folder and not folder.resolve().is_relative_to(self.folder.resolve()):
            why = f"{name} is a link to a place outside of {self.folder}, which is not shown. Serve that place itself."
            return Seen(name, folder, problem=why)
        for each in (RECIPE, JOURNAL):
            place = Path(os.path.realpath(folder / each))  # unlike resolve, it takes links in a circle
            if not place.is_relative_to(folder.resolve()):
                why = f"{each} of {name} is a link to a place outside of it, which is not shown."
                return Seen(name, folder, problem=why)
        return Seen(name, folder)

    def _kept(self, listed: Seen) -> Seen:
        """Return what is known of a listed run, unless it is or was a link that leads outside."""
        known = self._seen.get(listed.name)
        return listed if known is None or listed.problem or is_outside(known) else known

    def _again(self, seen: Seen) -> Seen:
        """Return a run as it is now, read again if its files have changed and it is time."""
        if is_outside(seen):
            return seen
        signature, held = signature_of(seen.folder), is_held(seen.folder / WRITER)
        is_same = signature == seen.signature and held == seen.held
        now = self.clock()
        if is_same or (seen.read_at and now - seen.read_at < PATIENCE * seen.took_s):
            return seen
        try:
            summary, problem = summary_of(read_run(seen.folder), held), ""
        except (NasError, OSError) as error:
            summary, problem = None, " ".join(str(error).split())
        after = self.clock()
        return Seen(seen.name, seen.folder, summary, problem, signature or ((0, 0),), held, after, after - now)


def segment(name: str) -> str:
    """Return a name as a part of an address; ``unquote`` with surrogateescape gives it back.

    A name of a file may hold bytes that are no text, which Python keeps as surrogates.
    """
    return quote(name, safe="", errors="surrogateescape")


def is_outside(seen: Seen) -> bool:
    """Return True for a link that leads outside of the folder: it is named, and never read."""
    return bool(seen.problem) and not seen.signature


def signature_of(folder: Path) -> Signature:
    """Return sizes and times of a run's files: what changes with each row that is written.

    A reader may leave an empty file beside the journal, which is no change.
    """
    found = []
    for name in (RECIPE, JOURNAL, f"{JOURNAL}-wal"):
        try:
            status = (folder / name).stat()
        except OSError:
            found.append((0, 0))
        else:
            found.append((status.st_size, status.st_mtime_ns if status.st_size else 0))
    return tuple(found)
