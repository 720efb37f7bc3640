"""What was asked of a retraining is recognised when it is asked again."""

from __future__ import annotations

import json

from nas.searching.later_retraining.request import Asked, session_of
from nas.space.architecture import Architecture
from nas.storage.journal_rows import RetrainingBegan, RetrainingEnded


def test_the_same_request_goes_on_whatever_holds_its_values() -> None:
    """A journal has no tuples. Another request, and one that has ended, begin a new one."""
    asked = Asked(ids=("abcd",), epochs=3, training={"betas": (0.9, 0.99)})
    began = RetrainingBegan(1, asked.to_json(), (Architecture({"depth": 1}),))
    read = RetrainingBegan.from_json(json.loads(json.dumps(began.to_json())))
    assert session_of(asked, [read], []) == read
    assert session_of(Asked(ids=("abcd",), epochs=4), [read], []) is None
    assert session_of(asked, [read], [RetrainingEnded(1)]) is None


def test_winners_of_fitted_heads_are_tuned_where_that_is_asked_for() -> None:
    """A head that is fitted again is the same."""
    for tuning in (Asked(epochs=3), Asked(training={"tune": "all"}), Asked(teacher="best")):
        assert tuning.way("heads") == "train"
        assert tuning.way("supernet") == "supernet"
    assert Asked(top=2, teacher="none").way("heads") == "heads"
