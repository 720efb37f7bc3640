"""Scenes in the terminal: they keep to its width, its characters and its colours."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from exported_runs import awkward_runs, whole
from rich.cells import cell_len
from rich.console import Console

from nas.reports.drawing.scenes import PlotRequest, scene_of, terminal_scene
from nas.reports.drawing.terminal import HEIGHT, LEAST_WIDTH, print_scene
from nas.results.run import Run

AWKWARD = sorted(awkward_runs(Path("runs/x")))


class Output(io.StringIO):
    """A text stream of an encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


def drawn(run: Run, width: int = 80, *, encoding: str = "utf-8", colour: bool = False) -> str:
    """Return the drawing of a run's front in a terminal, or in a pipe without ``colour``."""
    stream = Output(encoding)
    system = "truecolor" if colour else None
    console = Console(file=stream, width=width, force_terminal=colour, color_system=system)  # type: ignore[arg-type]
    print_scene(scene_of(run, PlotRequest()), console)
    return stream.getvalue()


@pytest.mark.parametrize("width", [LEAST_WIDTH, 60, 80, 200])
def test_it_keeps_to_the_width(width: int, tmp_path: Path) -> None:
    text = drawn(whole(tmp_path), width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert len(text.splitlines()) >= HEIGHT
    assert "Test error, %" in text
    assert "Latency, µs" in text
    assert text.count("●") >= 2


def test_a_pipe_gets_no_colour_and_a_terminal_does(tmp_path: Path) -> None:
    run = whole(tmp_path)
    assert "\x1b" not in drawn(run)
    coloured = drawn(run, colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == drawn(run).split()


def test_a_terminal_without_unicode_gets_ascii(tmp_path: Path) -> None:
    text = drawn(whole(tmp_path), encoding="ascii")
    assert text.isascii()
    assert "#" in text
    assert "latency <= 0.5 ms" in text


def test_a_narrow_terminal_gets_a_sentence(tmp_path: Path) -> None:
    told = " ".join(drawn(whole(tmp_path), 30).split())
    assert told == "(A plot needs 40 columns, and this terminal has 30.)"


def test_winners_stand_where_their_values_are(tmp_path: Path) -> None:
    """The fastest winner on the front is left of the most accurate one, and below none."""
    lines = drawn(whole(tmp_path)).splitlines()
    places = [(line.index("●"), row) for row, line in enumerate(lines[: HEIGHT + 1]) if "●" in line]
    assert places == sorted(places, key=lambda place: (place[1], place[0]))
    columns = [column for column, _ in places]
    assert columns == sorted(columns)


@pytest.mark.parametrize("what", AWKWARD)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_awkward_runs_are_drawn_too(what: str, encoding: str, tmp_path: Path) -> None:
    scene = terminal_scene(awkward_runs(tmp_path)[what])
    if scene is None:
        assert what in ("empty", "measured alone")
        return
    stream = Output(encoding)
    print_scene(scene, Console(file=stream, width=80, color_system=None))
    text = stream.getvalue()
    assert all(cell_len(line) <= 80 for line in text.splitlines())
    assert encoding == "utf-8" or text.isascii()
    assert "nan" not in text
    assert "inf" not in text
