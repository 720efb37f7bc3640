"""What reports call the things that they show: a run measures and trains, or it looks all of that up in a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """The words and sentences that depend on where a run's values come from."""

    found: str
    """Said of the value of a measured metric."""
    seen_accuracy: str
    """The accuracy that the search sees."""
    seen_error: str
    """Where an error that the search sees comes from; ``scored`` likewise of a winner's."""
    scored: str
    errors: str
    """What a plot's errors are, and what they are in one over the course of the search."""
    errors_in_order: str
    found_bars: str
    """What bars beside found and predicted values are; ``predicted_and_found`` likewise in the plot of both."""
    predicted_and_found: str
    found_before: str
    """That predictions were made before values were found; ``found_unit`` is what they are compared with."""
    found_unit: str
    known: str
    """The architectures that predictors learn from."""
    inside: str
    """How winners lie within predicted bounds."""
    limit_rule: str
    conditions: str
    """The heading of the conditions of measurements."""
    no_doubts: str
    evaluated_tile: str
    """The titles of the figures of candidates with an error, and of those with costs; and a remark on the latter."""
    costs_tile: str
    costs_remark: str
    stages: Mapping[str, str]
    """The funnel's steps."""
    rows: Mapping[str, str]
    """The names of stages in the table of all rows."""


MEASURED = Wording(
    found="measured",
    seen_accuracy="validation accuracy",
    seen_error="validation",
    scored="test",
    errors="Winners: error on the test split. Candidates: error on the validation split.",
    errors_in_order="Error on the validation split by order of training; winners, on the test split, at the right.",
    found_bars="Bars are 95 % intervals of what was measured, and 90 % bounds of what was predicted.",
    predicted_and_found="What was predicted, with 90 % bounds, and what was measured, with 95 % intervals.",
    found_before="predicted before measuring",
    found_unit="what was measured",
    known="measured architectures",
    inside="were measured within",
    limit_rule="A limit is met where the upper end of the measured interval is within it.",
    conditions="Conditions of measuring",
    no_doubts="None was flagged.",
    evaluated_tile="candidates trained",
    costs_tile="candidates measured",
    costs_remark="on the target",
    stages={"measure": "Measured", "check": "Checked", "train": "Trained", "retrain": "Retrained", "winner": "Winners"},
    rows={"measure": "measure", "check": "check", "train": "train", "retrain": "retrain", "winner": "winner"},
)
LOOKED_UP = Wording(
    found="from the table",
    seen_accuracy="accuracy in the search",
    seen_error="in the search",
    scored="of winners",
    errors="Errors are read from the table: of winners by the column that scores them, of candidates by the column "
    "that the search sees.",
    errors_in_order="Error in the order of the search; winners, by the column that scores them, at the right.",
    found_bars="Bars are 90 % bounds of what was predicted; values of the table have no interval.",
    predicted_and_found="What was predicted, with 90 % bounds, and what the table says.",
    found_before="predicted before they were looked up",
    found_unit="what the table says",
    known="architectures of the table",
    inside="have a value within",
    limit_rule="A limit is met where the value of the table is within it.",
    conditions="Where values come from",
    no_doubts="A table tells none: how its values were found is for those to say who made it.",
    evaluated_tile="candidates looked up",
    costs_tile="measured metrics looked up",
    costs_remark="architectures",
    stages={
        "measure": "Costs looked up",
        "check": "Checked",
        "train": "Errors looked up",
        "retrain": "Retrained",
        "winner": "Winners",
    },
    rows={"measure": "costs", "check": "check", "train": "error", "retrain": "retrain", "winner": "winner"},
)


def wording_of(table: str | None) -> Wording:
    """The words for a run that measures, or for one in the ``table`` of that name."""
    return MEASURED if table is None else LOOKED_UP
