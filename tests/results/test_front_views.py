"""A front as text, HTML, a data frame and a plot, and as a sequence of winners."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from awkward_fronts import AWKWARD_FRONTS
from rich.console import Console
from run_record_example import example_record

from nas.errors import RecipeError
from nas.reports.console import print_front
from nas.results.front import Front


@pytest.fixture(name="front")
def example_front() -> Front:
    return example_record().front


def test_a_front_prints_a_line_a_winner(front: Front) -> None:
    """The first line sums it up; medians have their intervals."""
    first, header, *lines = repr(front).splitlines()[: 2 + len(front)]
    assert first.startswith(f"Front of {front.run_folder}: {len(front)} winners, {sum(front.on_front)} on the front")
    assert header.split()[0] == "winner"
    assert len(lines) == len(front)
    for number, (line, winner) in enumerate(zip(lines, front, strict=True)):
        assert line.split()[:2] == [str(number), winner.architecture.id]
        assert line.split()[2] == ("yes" if front.on_front[number] else "no")
        assert "ms (" in line
        assert ("differs in" in line) == (winner != front.best_or_none)
    beside = f"choices beside {front.best.architecture.id}" if front.best_or_none else ""
    assert repr(front).splitlines()[1].endswith(beside)


def test_a_front_tells_on_how_many_items_errors_were_found(front: Front) -> None:
    """In plain data and below the table; nothing where the run does not say it."""
    assert front.to_json()["items"] == {}
    items = {"training": 1000, "validation": 1234, "test": 5678}
    noted = {f"{split} {front.words.noun}": count for split, count in items.items()}
    run = replace(example_record(), notes={"data set": noted})
    assert run.front.to_json()["items"] == items
    lines = io.StringIO()
    print_front(run.front, Console(file=lines, width=100))
    assert all(number in lines.getvalue() for number in ("1,234", "5,678"))


def test_a_front_indexes_and_slices(front: Front) -> None:
    assert front[0] is front.winners[0]
    assert front[-1] is front.winners[-1]
    two = front[:2]
    assert isinstance(two, Front)
    assert (two.winners, two.standings, two.limits) == (front.winners[:2], front.standings[:2], front.limits)
    with pytest.raises(IndexError):
        front[len(front)]


def test_a_part_of_a_front_names_the_winners_that_it_leaves_out() -> None:
    """A sentence about winners that cannot be told apart has two names at least."""
    front = AWKWARD_FRONTS["equal winners"].front
    one, other = (winner.architecture.id for winner in front)
    assert f"{one} and {other} cannot be told apart: in " in repr(front)
    assert f"{one} cannot be told apart from {other}: in " in repr(front[:1])


def test_a_winner_prints_on_one_line(front: Front) -> None:
    """With its accuracy, what was measured, and its choices."""
    winner = front[0]
    assert repr(winner).startswith(
        f"Winner {winner.architecture.id}: {100 * (1 - winner.test_error):.2f} % test accuracy, "
    )
    assert " ms" in repr(winner)
    assert repr(winner).endswith(winner.short)
    assert "\n" not in repr(winner)


def test_an_empty_front_prints_too(front: Front) -> None:
    empty = front[:0]
    assert len(empty) == 0
    assert "0 winners" in repr(empty)
    assert empty.to_dataframe().empty
    assert empty.plot().scene.is_empty


def test_html_is_escaped(front: Front) -> None:
    """A run's folder, a choice and an option may hold anything."""
    found = replace(front, run_folder=Path("<script>alert(1)</script>"))._repr_html_()
    assert "<script>" not in found
    assert "&lt;script&gt;" in found
    assert found.count("<tr>") == len(front) + 1


def test_a_data_frame_has_a_row_a_winner(front: Front) -> None:
    frame = front.to_dataframe()
    assert list(frame["id"]) == [winner.architecture.id for winner in front]
    assert list(frame["test_error"]) == [winner.test_error for winner in front]
    for name, measurement in front[0].measurements.items():
        assert frame[name][0] == measurement.median
        assert frame[f"{name}_lower"][0] == measurement.interval.lower
    assert {f"choice.{name}" for name in front[0].architecture} <= set(frame)
    assert list(frame["meets_limits"]) == [winner.meets(front.limits) for winner in front]


def test_a_plot_has_a_point_a_winner_with_its_intervals(front: Front) -> None:
    plot = front.plot()
    x, y = plot.scene.x, plot.scene.y
    marks = [mark for series in plot.scene.series if series.line == "none" for mark in series.marks]
    expected = {(winner.value("latency_ms") * x.factor, 100 * winner.test_error) for winner in front}
    assert {(mark.x, mark.y) for mark in marks} == expected
    assert all(mark.x_bounds and mark.y_bounds for mark in marks)
    assert y.label == "Test error, %"
    assert repr(plot).startswith("Plot of Test error and latency of ")


@pytest.mark.slow
def test_a_plot_shows_itself_and_is_saved(front: Front, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot = front.plot()
    assert plot._repr_svg_().startswith("<?xml")
    assert plot.save(tmp_path / "front.svg").read_text(encoding="utf-8") == plot._repr_svg_()
    assert front[:0].plot()._repr_svg_() is None
    with pytest.raises(RecipeError, match="there is nothing to plot"):
        front[:0].plot().save(tmp_path / "front.svg")
    with pytest.raises(RecipeError, match="a picture ends in"):
        plot.save(tmp_path / "front.gif")


def test_a_plot_of_an_unknown_metric_names_the_nearest(front: Front) -> None:
    assert not front.plot("params").scene.is_empty
    with pytest.raises(ValueError, match=r"metric must name a cost, but got 'latency'\. Did you mean 'latency_ms'"):
        front.plot("latency")
    with pytest.raises(ValueError, match="no winner has a value of energy_mj"):
        front.plot("energy_mj")
