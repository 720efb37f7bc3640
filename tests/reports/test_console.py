"""The terminal: the front at several widths, measured files, and a target's profile."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from run_record_example import example_record

from nas.errors import CandidateError
from nas.hardware.file_measuring import MeasuredFile
from nas.hardware.target_profile import TargetProfile
from nas.reports.console import print_front, print_measured, print_profile
from nas.results.front import Front
from nas.values.objective import Limit

FOUR = ("error", "latency_ms", "params", "modelled_energy_mj")


def printed(front: Front, width: int, report: Path | None = None) -> str:
    """Return the text that print_front writes to a stream that is no terminal."""
    stream = io.StringIO()
    print_front(front, Console(file=stream, width=width), report)
    return stream.getvalue()


@pytest.mark.parametrize("width", [40, 80, 100, 140, 200])
@pytest.mark.parametrize("objectives", [("error", "latency_ms"), FOUR, ("error",)])
def test_ids_paths_and_values_are_whole_at_every_width(width: int, objectives: tuple[str, ...]) -> None:
    """Nothing is cut or coloured, so that each winner's id, the best one's bundle and accuracies can be copied."""
    front = example_record(objectives).front
    text = printed(front, width)
    assert "\x1b" not in text
    assert "…" not in text
    for winner in front:
        assert winner.architecture.id in text
        assert f"{100 * (1 - winner.test_error):.2f} %" in text
    assert "runs/digits/report.html" in text
    assert f"Best model: runs/digits/{front.best.folder} (others beside it)" in text


@pytest.mark.parametrize("width", [80, 140])
def test_lines_fit_the_width(width: int) -> None:
    """No line is wider than the terminal while paths are short."""
    assert max(map(len, printed(example_record().front, width).splitlines())) <= width


def test_wide_terminals_get_a_table_and_narrow_ones_cards() -> None:
    """The table names a value once in its header, also at 80 columns; each card names it again."""
    front = example_record().front
    for width in (80, 140):
        assert printed(front, width).splitlines()[0].split()[:3] == ["Winner", "Test", "Latency"]
    assert printed(front, 40).count("test accuracy") == len(front)


@pytest.mark.parametrize("width", [80, 140])
def test_measured_and_predicted_values_and_limits_are_named(width: int) -> None:
    """Both values have their labels, and a broken limit names the value that breaks it."""
    text = printed(example_record().front, width)
    assert "predicted" in text
    assert "measured" in text
    assert "Not met: latency" in " ".join(text.split())
    front = example_record(FOUR).front
    assert "modelled" in printed(front, width)


def test_long_paths_are_not_wrapped() -> None:
    """A path longer than the terminal stays on one line."""
    front = replace(example_record().front, run_folder=Path("/data/" + "a" * 120))
    best = front.nearest
    assert str(front.run_folder / best.folder) in printed(front, 80)


def test_markup_in_names_is_text() -> None:
    """Square brackets in a path are not taken for markup."""
    front = replace(example_record().front, run_folder=Path("runs/[bold]x[/bold]"))
    assert "runs/[bold]x[/bold]" in printed(front, 80)


def test_no_winners_say_so() -> None:
    """An empty front is one sentence and the report's path; failures are counted, and the first one is quoted."""
    front = example_record(with_winners=False).front
    text = printed(replace(front, failures=()), 80, Path("out/there.html"))
    assert text.splitlines() == ["No winners.", "Report: out/there.html"]
    assert printed(front, 200).startswith(
        "No winners. 4 evaluations failed (nan 3, measure 1). The first of the kind 'nan' says: the loss became NaN"
    )


def test_measurements_of_files_fit_a_narrow_terminal() -> None:
    """A file has values with intervals and doubts, or a reason; paths are whole and not taken for markup."""
    path = Path("models/[red]" + "x" * 90 + ".onnx")
    (row, *_) = (row for row in example_record().rows if row.measurements and row.stage == "measure")
    flagged = replace(row.measurements["latency_ms"], flags=("the machine stayed busy [b]",))
    seconds = tuple((1000.0,) for _ in flagged.rounds)
    flagged = replace(flagged, walls=seconds)
    stream = io.StringIO()
    found = [
        MeasuredFile(path, {"latency_ms": flagged}, macs=10**6, least_bytes=10**5),
        MeasuredFile(Path("bad.onnx"), CandidateError("measure", "no kernel [for] " + "Conv " * 30)),
    ]
    print_measured(found, Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    assert str(path) in lines
    assert max(len(line) for line in lines if line != str(path)) <= 80
    text = " ".join(stream.getvalue().split())
    for words in (
        "of the measured peak",
        "of the roofline",
        "95 %: ",
        "1000 ms by a stopwatch;",
        "doubt the machine stayed busy [b]",
        "failed no kernel [for] Conv",
    ):
        assert words in text


def test_a_profile_says_why_it_has_no_peaks() -> None:
    """Bytes have a readable unit, and unknown properties are called so."""
    profile = TargetProfile(
        "abc", "t:fp32", {"memory_bytes": 16 * 10**9, "governor": None, "cache_bytes": {"L1": 32000}},
        Path("reference"), 0.25, "2026-01-01", None, None, None, None, "wall", "the machine was busy", "",
        why_no_peaks="no convolution",
    )  # fmt: skip
    stream = io.StringIO()
    print_profile(profile, Console(file=stream, width=80))
    lines = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    for line in ("memory 16 GB", "governor not known", "cache L1 32 kB", "doubt the machine was busy",
                 "peaks not found: no convolution"):  # fmt: skip
        assert line in lines


def test_notes_that_are_not_shown_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """All, the last one alone, and none of the notes are left to the report."""
    front = replace(example_record(FOUR), limits=(Limit.parse("latency_ms <= 1us"),)).front  # none meets it
    monkeypatch.setattr("nas.reports.console.MOST_NOTES", 0)
    found = re.search(r"Notes 1 to (\d+) are in the report and in --json\.", printed(front, 200))
    assert found is not None
    count = int(found[1])
    assert re.search(r" …\n", printed(front, 200)), "a number would lead nowhere"
    monkeypatch.setattr("nas.reports.console.MOST_NOTES", count - 1)
    assert f"Note {count} is in the report and in --json." in printed(front, 200)
    monkeypatch.setattr("nas.reports.console.MOST_NOTES", count)
    assert "in the report and in --json" not in printed(front, 200)
