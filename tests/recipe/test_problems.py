"""What is no recipe is refused in the project's own words."""

from __future__ import annotations

import re
from typing import Any

import pytest

import nas
from nas.errors import RecipeError


@pytest.mark.parametrize("value", [3, None, ["digits"], {3: 4}])
def test_what_is_no_recipe_is_refused(value: Any) -> None:
    """In a search from Python, where pydantic would not understand it."""
    for make in (nas.Recipe.from_mapping, nas.search):
        with pytest.raises(RecipeError, match=rf"a mapping of keys such as .*, but got {re.escape(repr(value))}\."):
            make(value)
