import json

import pytest

from nas.tasks.criteria import Classification, NextToken, Regression
from nas.values.error_words import ErrorWords
from nas.values.measurement import Interval
from nas.values.metric import METRICS


def test_classes_are_shown_by_their_accuracy() -> None:
    words = Classification(3).words
    assert (words.title, words.text(0.017)) == ("accuracy", "98.30 %")
    assert words.range_text(Interval(0.01, 0.02)) == "98.00–99.00 %"
    assert words.broken_text(0.088, 0.05) == "accuracy 91.20 % < 95 %"


def test_what_has_no_accuracy_is_shown_by_its_error() -> None:
    words = NextToken(256, (1,) * 256).words
    assert (words.title, words.text(0.4012)) == ("compressed size", "40.12 %")
    assert words.broken_text(0.4, 0.3) == "compressed size 40.00 % > 30 %"


def test_errors_of_values_are_shares_only_where_these_are_standardised() -> None:
    assert Regression((3.0,)).words.text(0.43) == "43.00 %"
    raw = Regression().words
    assert (raw.text(460.12), raw.range_text(Interval(400, 500))) == ("460.1", "400–500")
    assert raw.broken_text(460, 300) == "squared error 460 > 300"


def test_an_error_itself_has_the_name_and_the_unit_of_its_task() -> None:
    """Also where its accuracy is shown elsewhere."""
    assert (Classification(3).words.error_title, Classification(3).words.error_text(0.017)) == ("Error", "1.70 %")
    raw = Regression().words
    assert (raw.error_title, raw.error_text(3.2)) == ("Squared error", "3.2")


def test_words_survive_the_journal() -> None:
    words = ErrorWords(noun="rows", error="loss", accuracy="", is_share=False)
    assert ErrorWords.from_json(json.loads(json.dumps(words.to_json()))) == words
    assert ErrorWords.from_json(None) == ErrorWords()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("balanced_error", 0.0345, "3.45 %"),
        ("mae", 43.2149, "43.21"),
        ("bits_per_byte", 2.1234, "2.123 bits"),
        ("error", 460.12, "460.1"),
    ],
)
def test_trained_metrics_have_their_units(name: str, value: float, text: str) -> None:
    assert METRICS[name].format(value) == text
