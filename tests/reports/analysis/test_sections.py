"""All sections together: plain data for every run, however odd, in bounded time and size."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_rows import made_run, many_rows
from report_page import OUTCOMES
from run_record_example import energy_record, example_record

import nas
from nas.reports.analysis.sections import SECTIONS, sections_of
from nas.results.run import Run

OLD_RUNS = Path(__file__).parents[2] / "old_runs"


def plain(*runs: Run) -> dict[str, object]:
    """Return the sections, which must be plain data without NaN."""
    found: dict[str, object] = json.loads(json.dumps(sections_of(runs), allow_nan=False))
    return found


ODD = ("no rows", "no winners", "all failed", "no measurements", "only error", "limits met by none", "no objectives")
"""Outcomes whose sections differ from those of the example; others differ in their winners alone."""


@pytest.mark.parametrize("outcome", [*ODD, "four objectives", "energy", "hostile"])
def test_every_outcome_of_a_run_has_sections(outcome: str) -> None:
    assert set(plain(OUTCOMES[outcome]())) == {"course", "matters", "scaling"}


@pytest.mark.parametrize("name", ["finished", "finished-0.6.0", "interrupted", "interrupted-0.6.0"])
def test_old_runs_have_sections(name: str, tmp_path: Path) -> None:
    assert plain(nas.load_run(shutil.copytree(OLD_RUNS / name, tmp_path / name)))


@pytest.mark.slow
def test_several_runs_are_compared_and_stand_one_after_the_other() -> None:
    found = plain(example_record(), energy_record(), replace(example_record(), name="other"))
    assert {name: found[name]["title"] for name in found} == SECTIONS  # type: ignore[index]
    labels = [each["run"] for each in found["course"]["runs"]]  # type: ignore[index]
    assert labels == ["digits (1)", "digits (2)", "other"]


def test_the_same_rows_give_the_same_sections() -> None:
    assert plain(example_record()) == plain(example_record())


def test_a_thousand_rows_stay_small() -> None:
    """What the sections add to a page grows little with the rows: plots show a few hundred points."""
    assert len(json.dumps(sections_of([made_run(many_rows(1000))]))) < 150_000


@pytest.mark.slow
def test_fifty_thousand_rows_take_seconds_and_stay_small() -> None:
    import time

    run = made_run(many_rows(50_000))
    began = time.process_time()
    text = json.dumps(sections_of([run]))
    assert time.process_time() - began < 40
    assert len(text) < 250_000
