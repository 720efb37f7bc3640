"""The shapes of rows as JSON: which keys a row of each kind must have, and which values they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from nas.values.metric import LARGEST_VALUE

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]


def _plausible(sample: float) -> float:
    if 0 < sample < 1e-12:
        raise ValueError("a sample should be 0, or at least 1e-12")
    return sample


Sample = Annotated[float, Field(ge=0, le=1e18), AfterValidator(_plausible)]
Value = Annotated[float, Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE)]
Loss = Annotated[float, Field(ge=0, le=LARGEST_VALUE)]
Text = Annotated[str, Field(min_length=1)]
Choices = Annotated[dict[str, bool | int | float | str], Field(min_length=1)]


class _Shape(BaseModel):
    """Plain data without conversions: a text is no number, and neither infinity nor NaN is one. Further keys pass.

    Defaults come from factories: pydantic would copy a default list or dict deeply, for each row, and take twice as
    long.
    """

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Failure(_Shape):
    model_config = ConfigDict(extra="forbid")
    kind: str
    reason: str


class _Conditions(_Shape):
    executed_operators: dict[str, Count] = Field(default_factory=dict)
    executed_precision: str | None = None
    input_shape: list[Count] | list[list[Count]] | None = None
    batch: Count | None = None
    threads: Count | None = None
    table: str | None = None
    column: str | None = None
    peak_macs_per_s: Value | None = None
    bandwidth_bytes_per_s: Value | None = None


class _Measurement(_Shape):
    metric: Text
    target: str
    rounds: list[list[Sample]]
    conditions: _Conditions
    flags: list[str]
    drifts: list[Annotated[float, Field(gt=0, le=1e6)]] = Field(default_factory=list)
    walls: list[list[Sample]] = Field(default_factory=list)
    unseen: Annotated[float, Field(ge=0, le=100)] = 0.0
    reference_doubt: Annotated[float, Field(ge=0, le=100)] = 0.0


class _LayerTime(_Shape):
    name: str
    kind: str
    ms: Annotated[float, Field(ge=0, le=1e12)]


class _LayerTimes(_Shape):
    layers: list[_LayerTime] = Field(default_factory=list)
    others: Count = 0
    others_ms: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    reason: str = ""


Bounds = Annotated[list[float], Field(min_length=3, max_length=3)]
"""A value with the ends of its interval."""


class _Elsewhere(_Shape):
    target: str
    deployed: str
    test_error: Bounds


class _Details(_Shape):
    epochs: Count | None = None
    stopped_early: bool = False
    subset: float | None = None
    subsets: list[float] = Field(default_factory=list)
    curve: list[Value] = Field(default_factory=list)
    seconds: Seconds = 0.0
    by: str = ""
    folder: str = ""
    start: str = ""
    deployed: str = ""
    kept: bool = False
    described: bool = True
    test_error: Loss | None = None
    test_interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    parity: float | None = None
    exported_test_error: Loss | None = None
    exported_interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    trained_as: str = ""
    fp32: dict[str, _Measurement] = Field(default_factory=dict)
    scores: dict[str, Bounds] = Field(default_factory=dict)
    noise: dict[str, Bounds] = Field(default_factory=dict)
    retraining: Count = 0
    teacher: str = ""
    items: Count | None = None
    resumed: Count = 0
    seed_errors: list[Loss] = Field(default_factory=list)
    failed_seeds: Count = 0
    chance_error: float | None = None
    layer_times: _LayerTimes | None = None
    elsewhere: dict[str, _Elsewhere] = Field(default_factory=dict)


class _Evaluation(_Shape):
    stage: Literal["measure", "check", "train", "retrain", "winner"]
    architecture: Choices
    round: Count
    values: dict[str, Value]
    predicted: dict[str, Annotated[list[float | bool], Field(min_length=4, max_length=5)]]
    measurements: dict[str, _Measurement]
    details: _Details
    failure: _Failure | None

    @model_validator(mode="after")
    def _has_its_result(self) -> Self:
        if self.failure is None and self.stage == "train" and "error" not in self.values:
            raise ValueError("a training must have an error")
        if self.failure is None and self.stage == "winner":
            if self.details.test_error is None or self.details.test_interval is None:
                raise ValueError("a winner must have a test error and its interval")
            if self.details.test_interval[0] > self.details.test_interval[1]:
                raise ValueError("the interval of a test error must have its lower bound first")
        return self


class _Fit(_Shape):
    round: Count
    metric: Text
    samples: Count
    mape: float | None
    spearman: float | None
    kendall: float | None
    within_5_percent: float | None
    within_10_percent: float | None
    coverage: float | None
    width: float | None
    verdict: list[str] = Field(default_factory=list)
    grounds: list[str] = Field(default_factory=list)
    widened: Annotated[float, Field(ge=1)] = 1.0


class _Recipe(_Shape):
    text: str


class _Began(_Shape):
    space: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, Any]
    data_set: dict[str, Any] | None = None
    table: dict[str, Any] | None = None


class _Ended(_Shape):
    reason: str | None


class _RungsJudged(_Shape):
    trainings: Count
    correlations: dict[str, float | None]
    stops_after: list[int] | None
    epochs: int | None = None


class _Agreement(_Shape):
    evaluated: str
    architectures: Count
    verdict: str
    spearman: float | None = None
    kendall: float | None = None
    spearman_of_macs: float | None = None


class _WayChosen(_Shape):
    evaluate: Literal["train", "supernet", "heads"]
    reason: str


class _Supernet(_Shape):
    epochs: Count
    seconds: Seconds
    loss: float | None
    sha256: str


class _TurnedAway(_Shape):
    round: Count
    counts: dict[str, Count]
    near_limits: list[Choices]


class _Round(_Shape):
    round: int
    turned_away: dict[str, Count] = Field(default_factory=dict)


class _Cost(_Shape):
    wall_s: Value
    device_s: Value
    joules: Value | None
    meter: str
    of: str = "search"


class _Bench(_Shape):
    fingerprint: str
    targets: dict[str, str] = Field(default_factory=dict)


class _Baseline(_Shape):
    name: Text
    in_words: str
    scores: dict[str, Annotated[list[float], Field(min_length=3, max_length=3)]]
    measurements: dict[str, _Measurement]
    unmeasured: str
    failure: str

    @model_validator(mode="after")
    def _has_an_error(self) -> Self:
        if not self.failure and "error" not in self.scores:
            raise ValueError("a baseline must have an error")
        return self


class _Seed(_Shape):
    architecture: Choices
    number: Annotated[int, Field(ge=1, le=1000)]
    retraining: Count
    test_error: Loss | None
    failure: _Failure | None

    @model_validator(mode="after")
    def _has_an_error(self) -> Self:
        if (self.failure is None) == (self.test_error is None):
            raise ValueError("a further seed must have a test error or a failure")
        return self


class _RetrainingBegan(_Shape):
    number: Annotated[int, Field(ge=1, le=2**31)]
    asked: dict[str, Any]
    architectures: Annotated[list[Choices], Field(min_length=1)]
    data: dict[str, Any] = Field(default_factory=dict)


class _RetrainingEnded(_Shape):
    number: Annotated[int, Field(ge=1, le=2**31)]


SHAPES: Mapping[str, type[BaseModel]] = {
    "evaluation": _Evaluation,
    "fit": _Fit,
    "recipe": _Recipe,
    "began": _Began,
    "ended": _Ended,
    "early_stopping": _RungsJudged,
    "agreement": _Agreement,
    "way": _WayChosen,
    "supernet": _Supernet,
    "turned_away": _TurnedAway,
    "trained": _Round,
    "round": _Round,
    "cost": _Cost,
    "bench": _Bench,
    "baseline": _Baseline,
    "seed": _Seed,
    "retraining_began": _RetrainingBegan,
    "retraining_ended": _RetrainingEnded,
}
"""The shape of each kind of row."""


def why_unfit(kind: str, body: Any) -> str | None:
    """Return why ``body`` is no row of its kind, with the key and the value; None if it is one."""
    try:
        SHAPES[kind].model_validate(body)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "missing":
            return f"it lacks {where!r}"
        rule = problem["msg"].removeprefix("Value error, ")
        return f"{where}: {rule}, but got {_brief(problem['input'])}" if where else rule
    return None


def is_measurement(body: Any) -> bool:
    """Return True if ``body`` is a measurement as JSON."""
    try:
        _Measurement.model_validate(body)
    except ValidationError:
        return False
    return True


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
