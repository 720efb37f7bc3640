"""Options of plug-ins are what a recipe file can hold."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from nas.recipe.amounts import checked_option

GOOD = [True, 3, 0.5, "text", [1, ["a"]], {"a": {"b": (1, 2)}}, float("inf")]


@pytest.mark.parametrize("value", GOOD)
def test_what_toml_holds_is_returned(value: object) -> None:
    """At any depth."""
    assert checked_option(value) == value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "must be text, a number, true or false, or a list or a table of these, but got None"),
        ([[None]], "but got None"),
        ({"a": {1, 2}}, "but got an object of the class set"),
        (np.int64(3), "but got an object of the class int64"),
        (datetime.date(2026, 1, 1), "but got an object of the class date"),
        ({3: 4}, "must be a table whose keys are texts"),
        ({"a": "\0"}, "must be text in UTF-8 without NUL"),
    ],
)
def test_anything_else_is_refused(value: object, says: str) -> None:
    """Writing the recipe would fail, or lose it."""
    with pytest.raises(ValueError, match=says):
        checked_option(value)
