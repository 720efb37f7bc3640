"""Texts that depend on where a run's values come from: from training and measuring, or from a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nas.results.winner import Winner
from nas.values.evaluation import AS_TRAINED, FITTED, OF_SPACE, TUNED_ON, Evaluation
from nas.values.indexed_rows import IndexedRows, last_rows


@dataclass(frozen=True)
class Wording:
    """The texts of the report and the terminal for one source of values.

    Attributes:
        value_source: an adjective for the values of measured metrics.
        search_error_source: the small print below an error that the search sees.
        winner_error_source: the small print below the error that scores a winner.
        front_caption: the caption of a front plot, about its errors.
        bars_caption: a sentence about the error bars of a front plot.
        check_caption: the caption of a plot of predictions against actual values.
        predicted_before: a phrase for predictions that were made before the value was known.
        actual_value: a noun for the value that a prediction is compared with.
        held_out: a name for the architectures that predictors are tested on.
        limit_rule: the rule that decides whether a winner meets a limit.
        conditions_heading: the heading above the conditions of measurements.
        no_doubts: the sentence that replaces an empty list of doubts.
        errors_tile: the title of the tile that counts candidates with an error.
        costs_tile: the title of the tile that counts candidates with measured costs.
        costs_remark: the remark below that count.
        stages: the titles of the stages.
        row_stages: the stages' names in the table of all rows.
    """

    value_source: str
    search_error_source: str
    winner_error_source: str
    front_caption: str
    bars_caption: str
    check_caption: str
    predicted_before: str
    actual_value: str
    held_out: str
    limit_rule: str
    conditions_heading: str
    no_doubts: str
    errors_tile: str
    costs_tile: str
    costs_remark: str
    stages: Mapping[str, str]
    row_stages: Mapping[str, str]


MEASURED = Wording(
    value_source="measured",
    search_error_source="validation",
    winner_error_source="test",
    front_caption="",
    bars_caption="Bars are 95 % intervals of measured values and 90 % bounds of predicted values.",
    check_caption="Horizontal bars are the 90 % bounds of predictions, vertical bars 95 % intervals of measurements.",
    predicted_before="predicted before measuring",
    actual_value="the measured value",
    held_out="held-out measured architectures",
    limit_rule="A limit is met if the upper end of the measured interval is within it.",
    conditions_heading="Measurement conditions",
    no_doubts="No measurement was flagged.",
    errors_tile="candidates trained",
    costs_tile="candidates measured",
    costs_remark="on the target device",
    stages={"measure": "Measured", "check": "Checked", "train": "Trained", "retrain": "Retrained", "winner": "Winners"},
    row_stages={"measure": "measure", "check": "check", "train": "train", "retrain": "retrain", "winner": "winner"},
)
LOOKED_UP = Wording(
    value_source="from the table",
    search_error_source="in the search",
    winner_error_source="final",
    front_caption="All errors are read from the table.",
    bars_caption="Bars are 90 % bounds of predicted values; values from the table have no interval.",
    check_caption="Bars are the 90 % bounds of predictions.",
    predicted_before="predicted before they were looked up",
    actual_value="the table's value",
    held_out="held-out architectures of the table",
    limit_rule="A limit is met if the table's value is within it.",
    conditions_heading="Where values come from",
    no_doubts="A table records no doubts about its values. Ask its authors how they were measured.",
    errors_tile="candidates looked up",
    costs_tile="candidates with costs looked up",
    costs_remark="in the table",
    stages={
        "measure": "Costs looked up",
        "check": "Checked",
        "train": "Errors looked up",
        "retrain": "Retrained",
        "winner": "Winners",
    },
    row_stages={"measure": "costs", "check": "check", "train": "error", "retrain": "retrain", "winner": "winner"},
)


BEGINNINGS = {
    "": "retrained from scratch",
    "supernet": "fine-tuned from the shared weights",
    OF_SPACE: "fine-tuned from the weights that its space gives",
    FITTED: "given a fitted head on the weights that its space gives",
    "winner": "trained further from the winner before it",
    TUNED_ON: "trained by the search and tuned on for one epoch, because no time was left to retrain it",
    AS_TRAINED: "left as the search trained it, because no time was left to retrain it",
}
"""The way in which a winner was trained, by the weights that its training began with."""


def retrained_text(rows: Sequence[Evaluation] | IndexedRows, winners: Iterable[Winner]) -> str:
    """Return how the winners were trained; several ways if they differ. Nothing was trained for a parent."""
    trainings = last_rows(rows, "retrain")
    made = [each.architecture for each in winners if not each.is_parent and each.architecture in trainings]
    starts = [(trainings[each].details.get("start", ""), trainings[each].is_fitted) for each in made]
    found = {FITTED if is_fitted and start == OF_SPACE else start for start, is_fitted in starts}
    return " or ".join(words for start, words in BEGINNINGS.items() if start in found) or "retrained"


def failed_text(count: int) -> str:
    """Return how many of the architectures that were chosen as winners failed."""
    return f"{count} chosen {'architecture' if count == 1 else 'architectures'} failed"


def wording_of(table: str | None) -> Wording:
    """Return the texts for a run that trains and measures, or for one that reads the ``table`` of that name."""
    return MEASURED if table is None else LOOKED_UP
