"""What the server answers: pages, data and files, each for an address, and a sentence for what is not there."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, final
from urllib.parse import parse_qs, unquote, urlsplit

from nas.errors import NasError
from nas.reports.analysis.runs import MOST_RUNS
from nas.reports.comparison import render_comparison
from nas.reports.report import render_report
from nas.results.run import Run
from nas.serving.live import machine_now, workers_told
from nas.serving.pages import files_page, index_page, message_page, policy_of_pages, run_page
from nas.serving.watching import Seen, Watch, is_outside, segment

HTML, JSON, BYTES = "text/html; charset=utf-8", "application/json", "application/octet-stream"
_SEPARATORS = "/\\:\0" if os.name == "nt" else "/\0"


@dataclass(frozen=True)
class Answer:
    """The answer to a request: its status, its type, and a body or the file that is the body."""

    status: HTTPStatus
    kind: str
    body: bytes = b""
    file: Path | None = None
    policy: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@final
class Answers:
    """Answers requests about the runs of a folder. Nothing outside of the runs' folders is ever read."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def answer(self, target: str) -> Answer:
        """Return the answer for the target of a request, such as ``/runs/digits/report``."""
        split = urlsplit(target)
        parts = [unquote(part, errors="surrogateescape") for part in split.path.split("/")]
        if not split.path.startswith("/") or any(_leads_elsewhere(part) for part in parts):
            return _missing("An address names something inside of a run's folder, and this one leads elsewhere.")
        names = [part for part in parts if part]
        match names:
            case []:
                return _page(index_page(self._watch.folder, self._live()))
            case ["live.json"]:
                return _json(self._live())
            case ["compare"]:
                return self._compared(parse_qs(split.query, errors="surrogateescape").get("run", []))
            case ["runs", name, *rest]:
                return self._of_run(name, rest, split.path.endswith("/"))
        return _missing("There is no such page. The first page lists all runs.")

    def _live(self) -> dict[str, Any]:
        runs = self._watch.runs()
        return {
            "folder": str(self._watch.folder),
            "gone": self._watch.gone,
            "runs": [each.to_json() for each in runs],
            "machine": machine_now(),
        }

    def _of_run(self, name: str, rest: Sequence[str], is_folder: bool) -> Answer:
        seen = self._watch.find(name)
        if seen is None:
            gone = self._watch.gone or f"There is no run {name} in {self._watch.folder} (any more)."
            return _missing(gone)
        if not rest and not is_folder:  # so that links of the page lead into the run
            return Answer(HTTPStatus.MOVED_PERMANENTLY, HTML, headers={"Location": f"/runs/{segment(name)}/"})
        match list(rest):
            case []:
                return _page(run_page(seen))
            case ["live.json"]:
                return _json(
                    {
                        **seen.to_json(),
                        "workers": workers_told(seen.folder),
                        "machine": machine_now(),
                        "gone": self._watch.gone,
                    }
                )
            case ["report"] | ["report.html"]:
                return self._report([seen])
        return self._file(seen, rest, is_folder)

    def _report(self, seen: Sequence[Seen]) -> Answer:
        """Return the report of one run or several, made of what their journals hold now."""
        runs: list[Run] = []
        for each in seen:
            try:
                if each.problem:
                    return _unreadable(each.name, each.problem)
                runs.append(self._watch.whole(each))
            except (NasError, OSError) as error:
                return _unreadable(each.name, " ".join(str(error).split()))
        page = render_report(runs[0]) if len(runs) == 1 else render_comparison(runs)
        return Answer(HTTPStatus.OK, HTML, page.encode(errors="replace"))

    def _compared(self, names: Sequence[str]) -> Answer:
        if not names or len(names) > MOST_RUNS:
            return _refused(f"One to {MOST_RUNS} runs are compared on a page, but {len(names)} were named.")
        found = [self._watch.find(name) for name in dict.fromkeys(names)]
        missing = [name for name, each in zip(dict.fromkeys(names), found, strict=True) if each is None]
        if missing:
            return _missing(f"There is no run {missing[0]} in {self._watch.folder} (any more).")
        return self._report([each for each in found if each is not None])

    def _file(self, seen: Seen, rest: Sequence[str], is_folder: bool) -> Answer:
        """Return a file of a run as a download, or a list of a folder's files."""
        if is_outside(seen):
            return _unreadable(seen.name, seen.problem)
        inside = seen.folder.resolve()
        try:
            path = inside.joinpath(*rest).resolve(strict=True)
            mode = path.stat().st_mode
        except (OSError, ValueError, RuntimeError):  # not there, a name that no file can have, links in a circle
            return _missing(f"The run {seen.name} has no such file.")
        if not path.is_relative_to(inside) or any(part.startswith(".") for part in path.relative_to(inside).parts):
            return _missing(f"This path leads outside of the run {seen.name}, where nothing is shown.")
        if stat.S_ISDIR(mode):
            if not is_folder:
                where = "/".join(map(segment, ("runs", seen.name, *rest)))
                return Answer(HTTPStatus.MOVED_PERMANENTLY, HTML, headers={"Location": f"/{where}/"})
            return _page(files_page(seen, rest, listed(path)))
        if not stat.S_ISREG(mode):
            return _missing(f"The run {seen.name} has no such file.")
        name = segment(path.name)
        return Answer(
            HTTPStatus.OK, BYTES, file=path, headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        )


def listed(folder: Path) -> list[tuple[str, bool, int]]:
    """Return the files of a folder by name: each name, whether it is a folder, and its size in bytes."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        try:
            if not entry.name.startswith(".") and not entry.is_symlink():
                found.append((entry.name, entry.is_dir(), entry.stat().st_size))
        except OSError:  # it went away just now
            continue
    return found


def _leads_elsewhere(part: str) -> bool:
    """Return True for a part of an address that is no plain name of a file on every system."""
    return part in (".", "..") or any(character in part for character in _SEPARATORS)


def _page(text: str, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(status, HTML, text.encode(errors="replace"), policy=policy_of_pages())


def _json(value: Any) -> Answer:
    return Answer(HTTPStatus.OK, JSON, json.dumps(value, allow_nan=False).encode())


def _missing(sentence: str) -> Answer:
    return _page(message_page("Not found", sentence), HTTPStatus.NOT_FOUND)


def _refused(sentence: str) -> Answer:
    return _page(message_page("Not possible", sentence), HTTPStatus.BAD_REQUEST)


def _unreadable(name: str, sentence: str) -> Answer:
    return _page(message_page(f"{name} cannot be read", sentence), HTTPStatus.OK)
