"""Every class of rows survives JSON, and rows of version 0.5.0 become rows of today."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Mapping
from typing import Any

import pytest

from nas.space.architecture import Architecture
from nas.storage import journal_rows
from nas.storage.journal_rows import (
    KNOWN,
    Agreement,
    BaselineTested,
    Began,
    BenchUsed,
    Cost,
    Ended,
    Fit,
    RecipeText,
    RoundEnded,
    Row,
    RungsJudged,
    SupernetTrained,
    TrainingsEnded,
    TurnedAway,
    WayChosen,
    parse,
    upgraded,
)
from nas.storage.retraining_rows import RetrainingBegan, RetrainingEnded, SeedTested
from nas.values.evaluation import Evaluation, Failure, PredictedValue
from nas.values.held_out import HeldOutError
from nas.values.measurement import Measurement

NARROW, WIDE = Architecture({"width": 2, "part": "plain"}), Architecture({"width": 8, "part": "é"})
HELD_OUT = HeldOutError(8, 0.2, 0.9, 0.8, 0.1, 0.3, 0.9, 0.4)
ROWS: tuple[Row, ...] = (
    RecipeText('name = "run"\n# "é"\n'),
    Began({"name": "mobilenet"}, {"processor": "x86"}, {"nas": "0.6.0"}, data_set={"name": "digits", "classes": 10}),
    Began({"name": "nasbench201"}, {"processor": "x86"}, {"nas": "0.6.0"}, table={"path": "t.csv"}),
    Ended("nothing meets latency_ms <= 1"),
    Ended(None),
    RungsJudged(4, {"1": 0.5, "3": 1.0}, [1, 3]),
    RungsJudged(4, {"1": -0.5}, None),
    Agreement("by shared weights", 6, "at least 0.5", 0.9, 0.8, 0.7),
    Agreement("by zero-cost scores", 0, "errors could not be checked"),
    SupernetTrained(30, 12.5, 0.25, "ab12"),
    WayChosen("supernet", "one tuning serves all"),
    Fit(2, "latency_ms", HELD_OUT, ("The latency predictor is not good enough.",)),
    Fit(0, "energy_mj", HELD_OUT),
    TurnedAway(1, {"latency_ms <= 1": 3, "latency_ms <= 1: too near to tell": 2}, (NARROW, WIDE)),
    TurnedAway(2),
    TrainingsEnded(1),
    RoundEnded(0),
    Cost(1.5, 0.5, 20.0, "RAPL", "winners"),
    Cost(1.5, 0.5, None, "no meter"),
    BenchUsed("onnxruntime-cpu 1a2b"),
    BaselineTested(
        "HistGradientBoosting",
        "scikit-learn's defaults",
        {"error": (0.1, 0.05, 0.2)},
        {"latency_ms": Measurement("latency_ms", "cpu", ((1.0, 1.1), (0.9,)))},
    ),
    BaselineTested("HistGradientBoosting", "scikit-learn's defaults", failure="ValueError: too few rows"),
    SeedTested(NARROW, 1, test_error=0.1),
    SeedTested(WIDE, 2, 1, failure=Failure("export", "the exporter gave up")),
    RetrainingBegan(1, {"ids": ["1a2b"], "epochs": 60}, (NARROW, WIDE), {"name": "folder:more", "items": 40}),
    RetrainingEnded(1),
    Evaluation(
        "train",
        NARROW,
        1,
        values={"error": 0.1, "macs": 608.0},
        predicted={"latency_ms": PredictedValue(1.0, 0.9, 1.1, 1.08, known=False)},
        details={"curve": [0.5, 0.1], "epochs": 2, "stopped_early": False},
    ),
    Evaluation("measure", WIDE, measurements={"latency_ms": Measurement("latency_ms", "cpu", ((1.0, 1.1), (0.9,)))}),
    Evaluation("winner", WIDE, 3, failure=Failure("export", "the exporter gave up")),
    Evaluation(
        "winner",
        NARROW,
        3,
        details={
            "test_error": 0.1,
            "test_interval": [0.05, 0.2],
            "layer_times": {"layers": [{"name": "stem", "kind": "Conv", "ms": 0.25}], "others": 2, "others_ms": 0.5},
        },
    ),
)


def named(row: Row) -> str:
    return type(row).__name__


def through_json(data: Mapping[str, Any]) -> dict[str, Any]:
    back: dict[str, Any] = json.loads(json.dumps(data, allow_nan=False))
    return back


class TestClasses:
    @pytest.mark.parametrize("row", ROWS, ids=named)
    def test_survive_json(self, row: Row) -> None:
        """A row that was written as JSON is read as an equal row of the same class, and is never changed."""
        written = through_json(row.to_json())
        before = json.dumps(written)
        assert parse(type(row), row.kind, written) == [row]
        assert json.dumps(written) == before

    def test_are_all_known_and_each_has_a_kind_of_its_own(self) -> None:
        """The list of classes lacks none of the module's, and this test has an example of each."""
        written_here = {
            each
            for _, each in inspect.getmembers(journal_rows, inspect.isclass)
            if dataclasses.is_dataclass(each) and hasattr(each, "kind")
        }
        assert written_here == set(KNOWN) == {type(row) for row in ROWS}
        assert len({each.kind for each in KNOWN}) == len(KNOWN)

    @pytest.mark.parametrize("row", ROWS, ids=named)
    def test_are_read_from_their_own_kind_alone(self, row: Row) -> None:
        """No class takes a row of another class for its own."""
        written = through_json(row.to_json())
        assert [each for each in KNOWN if parse(each, row.kind, written)] == [type(row)]

    def test_ignore_fields_of_later_versions(self) -> None:
        """A field that this version does not know does not keep a row from being read."""
        assert parse(RoundEnded, "round", {"round": 2, "turned_away": {}}) == [RoundEnded(2)]
        assert parse(Cost, "cost", {"wall_s": 1, "device_s": 2, "joules": None, "meter": "none"}) == [
            Cost(1, 2, None, "none", of="search")
        ]

    def test_turn_figures_that_json_lacks_into_null(self) -> None:
        """A correlation that does not exist and an infinite width are null in JSON, and NaN when read again."""
        strange = dataclasses.replace(HELD_OUT, spearman=math.nan, kendall=math.nan, width=math.inf)
        written = through_json(Fit(0, "latency_ms", strange).to_json())
        assert (written["spearman"], written["kendall"], written["width"]) == (None, None, None)
        (fit,) = parse(Fit, "fit", written)
        assert all(math.isnan(value) for value in (fit.held_out.spearman, fit.held_out.kendall, fit.held_out.width))
        assert fit.held_out.mape == HELD_OUT.mape

    def test_read_fits_of_version_0_5_0(self) -> None:
        """Figures that JSON cannot hold are NaN, and later fields have their defaults."""
        figures = dict.fromkeys(("spearman", "kendall", "within_5_percent", "coverage", "width"))
        old = {"round": 0, "metric": "latency_ms", "samples": 9, "mape": 0.1, "within_10_percent": 0.7, **figures}
        (fit,) = parse(Fit, "fit", old)
        assert (fit.samples, fit.held_out.mape, fit.held_out.within_10_percent, fit.verdict) == (9, 0.1, 0.7, ())
        assert all(math.isnan(getattr(fit.held_out, name)) for name in figures)


MACHINE = {"processor": "x86", "system": "Linux"}
VERSIONS = {"python": "3.11.7", "nas": "0.5.0"}
SPACE = {"name": "given", "assignments": 60, "choices": "18967cc9dc33"}
DATA = {"name": "digits", "fingerprint": "48fbfc582d7f", "training images": 1076}
TABLE = {"path": "t.csv", "fingerprint": "ab"}

OLD_NOTES: Mapping[str, tuple[Mapping[str, Any], Row]] = {
    "circumstances of a run with images": (
        {"data set": DATA, "space": SPACE, "machine": MACHINE, "versions": VERSIONS},
        Began(SPACE, MACHINE, VERSIONS, data_set=DATA),
    ),
    "circumstances of a run in a table": (
        {"table": TABLE, "space": SPACE, "machine": MACHINE, "versions": VERSIONS},
        Began(SPACE, MACHINE, VERSIONS, table=TABLE),
    ),
    "end": ({"ended by": "nothing meets latency_ms <= 1"}, Ended("nothing meets latency_ms <= 1")),
    "end of an end": ({"ended by": None}, Ended(None)),
    "early stopping": (
        {
            "early_stopping": {
                "Spearman after epoch 1": 0.5,
                "Spearman after epoch 12": 0.75,
                "trainings": 3,
                "stops after": [1, 12],
            }
        },
        RungsJudged(3, {"1": 0.5, "12": 0.75}, [1, 12]),
    ),
    "no early stopping": (
        {"early_stopping": {"Spearman after epoch 1": -0.5, "trainings": 5, "stops after": None}},
        RungsJudged(5, {"1": -0.5}, None),
    ),
    "agreement": (
        {
            "agreement with training": {
                "evaluated": "by shared weights",
                "architectures": 6,
                "Spearman": 0.9,
                "Kendall": 0.8,
                "Spearman of multiply-accumulates alone": 0.7,
                "verdict": "at least 0.5",
            }
        },
        Agreement("by shared weights", 6, "at least 0.5", 0.9, 0.8, 0.7),
    ),
    "agreement of too few": (
        {"agreement with training": {"evaluated": "by guessing", "architectures": 0, "verdict": "not checked"}},
        Agreement("by guessing", 0, "not checked"),
    ),
    "supernet": (
        {"supernet": {"epochs": 30, "seconds": 12.5, "loss of the largest": 0.25, "sha256": "ab12"}},
        SupernetTrained(30, 12.5, 0.25, "ab12"),
    ),
}
COUNTS = {"latency_ms <= 1.3: too near to tell": 3, "latency_ms <= 1.3": 30}
TRAINED: Mapping[str, Any] = Evaluation("train", NARROW, 2, values={"error": 0.8}, details={"epochs": 4}).to_json()
"""The row of a training. Its shape has not changed since version 0.5.0, but for what limits turned away."""


def with_details(**details: Any) -> dict[str, Any]:
    return {**TRAINED, "details": {**TRAINED["details"], **details}}


class TestVersion050:
    """Rows that version 0.5.0 wrote."""

    @pytest.mark.parametrize("shape", OLD_NOTES)
    def test_notes_become_rows_of_their_own_class(self, shape: str) -> None:
        """Each shape of the old kind ``note`` is one row of one class of today."""
        body, row = OLD_NOTES[shape]
        assert parse(type(row), "note", body) == [row]
        assert [each for each in KNOWN if parse(each, "note", body)] == [type(row)]
        assert [kind for kind, _ in upgraded("note", body)] == [row.kind]

    def test_notes_of_unknown_shape_are_passed_over(self) -> None:
        """An unknown note keeps no run from being read."""
        assert upgraded("note", {"written by": "somebody else"}) == []

    @pytest.mark.parametrize(
        ("details", "expected"),
        [
            ({"turned_away": COUNTS}, TurnedAway(2, COUNTS)),
            (
                {"turned_away": COUNTS, "near_limits": [dict(NARROW), dict(WIDE)]},
                TurnedAway(2, COUNTS, (NARROW, WIDE)),
            ),
            ({"near_limits": [dict(WIDE)]}, TurnedAway(2, {}, (WIDE,))),
        ],
        ids=["counts", "both", "near limits"],
    )
    @pytest.mark.parametrize("kind", ["evaluation", "trained"])
    def test_trainings_hold_what_limits_turned_away(
        self, kind: str, details: dict[str, Any], expected: TurnedAway
    ) -> None:
        """The row that held it stays a row of its own class, and what was turned away comes before it."""
        body = with_details(**details) if kind == "evaluation" else {"round": 2, **details}
        assert [found for found, _ in upgraded(kind, body)] == ["turned_away", kind]
        assert parse(TurnedAway, kind, body) == [expected]
        if kind == "evaluation":
            assert parse(Evaluation, kind, body) == [Evaluation.from_json(body)]
        else:
            assert parse(TrainingsEnded, kind, body) == [TrainingsEnded(2)]

    @pytest.mark.parametrize(
        ("kind", "body", "row"),
        [
            ("recipe", {"text": "trials = 5\n"}, RecipeText("trials = 5\n")),
            ("fit", {"round": 0, "metric": "latency_ms", **HELD_OUT.to_json(), "verdict": ["Too wide."]},
             Fit(0, "latency_ms", HELD_OUT, ("Too wide.",))),
            ("round", {"round": 1, "turned_away": COUNTS}, RoundEnded(1)),
            ("trained", {"round": 1}, TrainingsEnded(1)),
            ("cost", {"of": "winners", "wall_s": 1.0, "device_s": 0.5, "joules": None, "meter": "no meter"},
             Cost(1.0, 0.5, None, "no meter", "winners")),
            ("bench", {"fingerprint": "ab"}, BenchUsed("ab")),
            ("evaluation", TRAINED, Evaluation.from_json(TRAINED)),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )  # fmt: skip
    def test_other_rows_stay_as_they_are(self, kind: str, body: dict[str, Any], row: Row) -> None:
        """A round's counts are dropped, because the rows of its trainings have them too."""
        assert upgraded(kind, body) == [(kind, body)]
        assert parse(type(row), kind, body) == [row]
        assert parse(TurnedAway, kind, body) == []
