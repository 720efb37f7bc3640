"""A candidate's reports must hold an epoch and an error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from nas.errors import CandidateError
from nas.jobs.execution import Job, Report
from nas.recipe.recipe import Recipe
from nas.searching.evaluating.of_models import Checked, reported


def reporting(*reports: Report) -> Checked:
    return Checked(lambda job: iter(reports))


@pytest.mark.parametrize(
    ("report", "told"),
    [
        ({"epoch": 1, "error": math.nan}, "a report must have a finite error of at least 0, but one has nan."),
        ({"epoch": 1, "error": math.inf}, "a report must have a finite error of at least 0, but one has inf."),
        ({"epoch": 1, "error": -0.1}, "a report must have a finite error of at least 0, but one has -0.1."),
        ({"epoch": 1, "error": "low"}, "a report must have a finite error of at least 0, but one has 'low'."),
        ({"epoch": 1, "accuracy": 0.9}, "a report must have a finite error of at least 0, but one has none."),
        ({"error": 0.1, "done": True}, "a report must have an epoch, but one has ['done', 'error']."),
    ],
)
def test_a_report_without_a_sound_error_ends_its_candidate_alone(report: Report, told: str) -> None:
    """Earlier reports are passed on, and the failure says what was wrong."""
    first = {"epoch": 1, "error": 0.5}
    reports = reporting(first, report)({"id": "a"})
    assert next(iter(reports)) == first
    with pytest.raises(CandidateError) as caught:
        next(iter(reports))
    assert caught.value.kind == "report"
    assert caught.value.reason == told


@pytest.mark.parametrize(
    ("mae", "told"),
    [
        ({}, "a report must have a finite mae of at least 0, but one has none."),
        ({"mae": math.inf}, "a report must have a finite mae of at least 0, but one has inf."),
        ({"mae": -2.0}, "a report must have a finite mae of at least 0, but one has -2.0."),
    ],
)
def test_what_is_minimised_or_limited_must_be_reported(mae: dict[str, float], told: str) -> None:
    """A function of the user's own may give other metrics than those that were asked for."""
    checked = Checked(lambda job: iter([{"epoch": 1, "error": 0.5, **mae}]), ("error", "mae"))
    with pytest.raises(CandidateError) as caught:
        next(iter(checked({"id": "a"})))
    assert caught.value.reason == told


def test_a_training_that_diverged_fails() -> None:
    """A squared error beyond what a journal holds is finite all the same; the row would be damaged."""
    with pytest.raises(CandidateError, match=r"error must be at most 1e\+30, but was 4e\+35: it diverged") as caught:
        next(iter(reporting({"epoch": 1, "error": 4e35})({"id": "a"})))
    assert caught.value.kind == "nan"


def test_the_metrics_of_a_recipe_must_be_reported() -> None:
    """The error always, and each trained objective or limit once."""
    recipe = Recipe(objectives=("mae", "latency_ms"), limits=("noise_error <= 20%", "macs <= 3M"))
    assert reported(recipe) == ("error", "mae", "noise_error")


def test_other_parts_of_a_report_are_passed_on() -> None:
    """Other metrics may have any value."""
    report = {"epoch": 1, "error": 0, "done": True, "loss": 2.5, "calibration": math.nan}
    assert next(iter(reporting(report)({"id": "a"}))) is report


def test_the_work_is_closed_with_its_check() -> None:
    """A stopped work can give back what it has borrowed."""
    closed = []

    def work(job: Job) -> Iterator[dict[str, Any]]:
        try:
            yield {"epoch": 1, "error": 0.5}
        finally:
            closed.append(job["id"])

    reports = Checked(work)({"id": "a"})
    next(iter(reports))
    assert closed == []
    reports.close()  # type: ignore[attr-defined]
    assert closed == ["a"]
