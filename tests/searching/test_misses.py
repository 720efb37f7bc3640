"""What is said where candidates within the limits learned nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from made_up_beliefs import beliefs_of
from tiny_space import TinySpace

from nas.searching.winners.misses import say_only_chance
from nas.space.search_space import enumerate_space
from nas.tasks.images.images import Images
from nas.values.error_words import OF_IMAGES
from nas.values.evaluation import Evaluation

IN_ORDER = sorted(enumerate_space(TinySpace()), key=lambda each: beliefs_of(space=TinySpace()).counted(each)["params"])


def said(digits: Images, errors: tuple[float, float], *limits: str) -> list[str]:
    """Return what is said of the smallest and of the largest candidate, with these errors."""
    rows = [
        Evaluation("train", each, 1, values={"error": error, **beliefs_of(space=TinySpace()).counted(each)})
        for each, error in zip((IN_ORDER[0], IN_ORDER[-1]), errors, strict=True)
    ]
    news: list[str] = []
    resolved = SimpleNamespace(task=digits, backend=SimpleNamespace(words=OF_IMAGES, task=None))
    beliefs = beliefs_of(*limits, space=TinySpace(), rows=rows)
    state: Any = SimpleNamespace(beliefs=beliefs, resolved=resolved, progress=SimpleNamespace(say=news.append))
    say_only_chance(state)
    return news


def test_limits_that_only_guessing_meets_are_told(digits: Images) -> None:
    """The parent, which breaks the limit, is far better; ten classes are guessed with an error of 89 % or so."""
    params = beliefs_of(space=TinySpace()).counted(IN_ORDER[0])["params"]
    (text,) = said(digits, (0.9, 0.05), f"params <= {params:.0f}")
    assert f"no candidate that meets params <= {params:.0f}" in text
    assert "the best of 1 has the" in text
    assert "accuracy 10.00 % on validation items" in text
    assert "Raise a limit, or give the search more time." in text


@pytest.mark.parametrize("errors", [(0.5, 0.9), (0.9, 0.05)])
def test_nothing_is_told_of_what_learned_or_where_nothing_is_limited(
    digits: Images, errors: tuple[float, float]
) -> None:
    assert not said(digits, errors)
    assert not said(digits, errors, "params <= 100M")
