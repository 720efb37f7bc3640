"""Marks of models that learned nothing, or less than nothing: near chance, and worse than a constant answer."""

from __future__ import annotations

from nas.values.error_words import ErrorWords
from nas.values.measurement import Interval

NEAR, WORSE = "near chance", "worse than a constant answer"


def chance_mark(error: float, interval: Interval, chance_error: float | None) -> str:
    """Return the mark of a model by its test error; empty for one that is better than every constant answer.

    ``chance_error`` is the error of the best constant answer to the same items, such as the most frequent class or the
    mean. A model is worse than that if its error is above it, and near chance if the 95 % ``interval`` reaches it.
    """
    if chance_error is None or interval.upper < chance_error:
        return ""
    return WORSE if error > chance_error else NEAR


def chance_text(error: float, interval: Interval, chance_error: float | None, words: ErrorWords) -> str:
    """Return the sentence about a marked model, the same for all models near chance; empty for any other."""
    mark = chance_mark(error, interval, chance_error)
    if not mark or chance_error is None:
        return ""
    if interval.is_point:  # of a table, which knows no test
        own, constant = words.text(error), words.text(chance_error)
        return f"{mark.capitalize()}: the {words.title} is {own}, and that of {words.constant} is {constant}."
    if mark == WORSE:
        return (
            f"Worse than a constant answer: the test {words.title} is {words.text(error)}, but that of "
            f"{words.constant} is {words.text(chance_error)}."
        )
    return (
        f"Near chance: the interval of the test {words.title} reaches that of {words.constant}, "
        f"{words.text(chance_error)}."
    )
