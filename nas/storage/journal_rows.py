"""The rows of a journal beside evaluations: one kind, one shape, one dataclass.

``upgraded`` turns rows that version 0.5.0 wrote into these, so that old runs still open and resume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol, Self, TypeVar, final

from nas.space.architecture import Architecture
from nas.storage.retraining_rows import (
    RetrainingBegan as RetrainingBegan,
    RetrainingEnded as RetrainingEnded,
    SeedTested as SeedTested,
)
from nas.storage.row_json import UnfitRowError
from nas.values.evaluation import Evaluation
from nas.values.held_out import HeldOutError
from nas.values.measurement import Measurement


class Row(Protocol):
    """A row of the journal. ``kind`` names its shape."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Return plain data that ``from_json`` takes back."""
        ...

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the row that ``to_json`` wrote."""
        ...


class _Note:
    """Reads and writes a dataclass whose fields are plain data."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{each.name: data[each.name] for each in fields(cls) if each.name in data})  # type: ignore[arg-type]


@final
@dataclass(frozen=True)
class RecipeText(_Note):
    """The recipe that the run began with, as TOML; or, in a later row, the one with which it was extended.

    Then the first ``rows`` evaluations were there already, ``round`` was the last round that had ended, and the run had
    taken ``spent_s`` seconds. Version 0.8 did not note these.
    """

    kind: ClassVar[str] = "recipe"
    text: str
    rows: int = 0
    round: int = 0
    spent_s: float = 0.0


WORDS = "words"
"""The key of ``Began.data_set`` that holds the words for the task's error."""
WARNINGS = "warnings"
"""The key of ``Began.data_set`` that holds the reasons, found in the data, to doubt results."""


@final
@dataclass(frozen=True)
class Began(_Note):
    """The circumstances under which the run began. It has a data set, or a table of looked-up values."""

    kind: ClassVar[str] = "began"
    space: Mapping[str, Any]
    machine: Mapping[str, Any]
    versions: Mapping[str, Any]
    data_set: Mapping[str, Any] | None = None
    table: Mapping[str, Any] | None = None


@final
@dataclass(frozen=True)
class Ended(_Note):
    """The reason why the run stopped early. Resuming it adds a row with None."""

    kind: ClassVar[str] = "ended"
    reason: str | None


@final
@dataclass(frozen=True)
class RungsJudged(_Note):
    """The rank correlation of early errors with the last ones, and the epochs after which trainings may be stopped.

    ``correlations`` are Spearman's with the last errors, by epoch. ``epochs`` are those of the trainings that were
    compared, where candidates differ in them.
    """

    kind: ClassVar[str] = "early_stopping"
    trainings: int
    correlations: Mapping[str, float]
    stops_after: list[int] | None
    epochs: int | None = None


@final
@dataclass(frozen=True)
class Agreement(_Note):
    """The rank agreement between another way of evaluating and separate training.

    ``evaluated`` names the way, such as "by shared weights". Correlations are None where there were too few.
    """

    kind: ClassVar[str] = "agreement"
    evaluated: str
    architectures: int
    verdict: str
    spearman: float | None = None
    kendall: float | None = None
    spearman_of_macs: float | None = None


@final
@dataclass(frozen=True)
class WayChosen(_Note):
    """The way in which candidates are evaluated from here on, and why, where the recipe leaves it open."""

    kind: ClassVar[str] = "way"
    evaluate: str
    reason: str


@final
@dataclass(frozen=True)
class SupernetTrained(_Note):
    """The shared weights are trained. ``loss`` is that of the largest architecture; ``sha256`` is of the file."""

    kind: ClassVar[str] = "supernet"
    epochs: int
    seconds: float
    loss: float
    sha256: str


@final
@dataclass(frozen=True)
class Fit:
    """The held-out error of one metric's predictor after a round.

    ``verdict`` holds a sentence for each reason why the predictor was not good enough for the limits, and ``grounds``
    what its predictions rest on, where that had to be decided. ``widened`` is the factor by which its bounds were
    widened, because too many values that were measured later lay above them.
    """

    kind: ClassVar[str] = "fit"
    round: int
    metric: str
    held_out: HeldOutError
    verdict: tuple[str, ...] = ()
    grounds: tuple[str, ...] = ()
    widened: float = 1.0

    @property
    def samples(self) -> int:
        """The number of measured architectures that the predictor was fitted to."""
        return self.held_out.samples

    def to_json(self) -> dict[str, Any]:
        data = {"round": self.round, "metric": self.metric, **self.held_out.to_json(), "verdict": list(self.verdict)}
        more = {"grounds": list(self.grounds)} if self.grounds else {}
        return {**data, **more, **({"widened": self.widened} if self.widened != 1 else {})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fit:
        held_out = HeldOutError.from_json(data)
        verdict, grounds = (tuple(data.get(key, ())) for key in ("verdict", "grounds"))
        return cls(data["round"], data["metric"], held_out, verdict, grounds, data.get("widened", 1.0))


@final
@dataclass(frozen=True)
class TurnedAway:
    """Proposals that limits turned away in a round, since the previous row of this kind.

    ``counts`` holds their number by reason. ``near_limits`` are the proposals whose predicted mean meets the limits,
    but whose confidence bound does not.
    """

    kind: ClassVar[str] = "turned_away"
    round: int
    counts: Mapping[str, int] = field(default_factory=dict)
    near_limits: tuple[Architecture, ...] = ()

    def to_json(self) -> dict[str, Any]:
        near_limits = [dict(architecture) for architecture in self.near_limits]
        return {"round": self.round, "counts": dict(self.counts), "near_limits": near_limits}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TurnedAway:
        near_limits = tuple(Architecture(each) for each in data["near_limits"])
        return cls(data["round"], dict(data["counts"]), near_limits)


@final
@dataclass(frozen=True)
class TrainingsEnded(_Note):
    """The trainings of a round have ended."""

    kind: ClassVar[str] = "trained"
    round: int


@final
@dataclass(frozen=True)
class RoundEnded:
    """A round has ended, its measurements included. Round 0 comes before training, and the last one ends the run.

    ``turned_away`` holds the round's counts in runs of version 0.5.0; newer ones have rows of ``TurnedAway``.
    """

    kind: ClassVar[str] = "round"
    round: int
    turned_away: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        return {"round": self.round}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RoundEnded:
        return cls(data["round"], dict(data.get("turned_away", {})))


@final
@dataclass(frozen=True)
class Cost(_Note):
    """Time and energy since the last row of this kind.

    ``of`` is ``search`` or ``winners``. ``joules`` is None where no meter reads them; ``meter`` names it, or says why.
    """

    kind: ClassVar[str] = "cost"
    wall_s: float
    device_s: float
    joules: float | None
    meter: str
    of: str = "search"


@final
@dataclass(frozen=True)
class BenchUsed(_Note):
    """The fingerprint of the target that the run was measured on.

    A run on several targets has one of all of them, and ``targets`` has that of each by its name. Version 0.8 did not
    note these.
    """

    kind: ClassVar[str] = "bench"
    fingerprint: str
    targets: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint, **({"targets": dict(self.targets)} if self.targets else {})}


@final
@dataclass(frozen=True)
class BaselineTested:
    """A model of another kind than the winners, fitted to the same items, tested and measured like them.

    ``scores`` holds for each metric its value on the test split and the bounds of its 95 % interval, ``error`` among
    them. ``unmeasured`` says why measurements are missing, and ``failure`` why there is no score either.
    """

    kind: ClassVar[str] = "baseline"
    name: str
    in_words: str
    scores: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    unmeasured: str = ""
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        scores = {name: list(score) for name, score in self.scores.items()}
        measured = {name: each.to_json() for name, each in self.measurements.items()}
        return {**vars(self), "scores": scores, "measurements": measured}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BaselineTested:
        scores = {name: (value, low, high) for name, (value, low, high) in data["scores"].items()}
        measured = {name: Measurement.from_json(each) for name, each in data["measurements"].items()}
        return cls(data["name"], data["in_words"], scores, measured, data["unmeasured"], data["failure"])


OLD_KINDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("began", "ended", "early_stopping", "agreement", "supernet"), ("note",)),
    "turned_away": ("evaluation", "trained"),
}
"""For each kind: the kinds in which version 0.5.0 stored it."""


def upgraded(kind: str, body: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Convert a stored row to pairs of a kind and a body in today's format. Rows of today are returned unchanged.

    Version 0.5.0 had five shapes in the kind ``note``, and kept what limits turned away in the rows of trainings.
    """
    if kind == "note":
        return list(_from_note(body))
    inside = body.get("details", {}) if kind == "evaluation" and body.get("stage") == "train" else body
    if kind in ("evaluation", "trained") and ("turned_away" in inside or "near_limits" in inside):
        counts, near_limits = inside.get("turned_away", {}), inside.get("near_limits", [])
        turned_away = {"round": body["round"], "counts": counts, "near_limits": near_limits}
        return [(TurnedAway.kind, turned_away), (kind, body)]
    return [(kind, body)]


def _from_note(body: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    if "versions" in body:
        began = {"data_set": body.get("data set"), "table": body.get("table")}
        return [(Began.kind, {**began, **{key: body[key] for key in ("space", "machine", "versions")}})]
    if "ended by" in body:
        return [(Ended.kind, {"reason": body["ended by"]})]
    if "early_stopping" in body:
        return [(RungsJudged.kind, _from_judged(body["early_stopping"]))]
    if "agreement with training" in body:
        return [(Agreement.kind, _from_agreement(body["agreement with training"]))]
    if "supernet" in body:
        supernet = dict(body["supernet"])
        return [(SupernetTrained.kind, {**supernet, "loss": supernet.get("loss of the largest")})]
    return []


def _from_judged(old: Mapping[str, Any]) -> dict[str, Any]:
    start = "Spearman after epoch "
    correlations = {key.removeprefix(start): value for key, value in old.items() if key.startswith(start)}
    return {"trainings": old["trainings"], "correlations": correlations, "stops_after": old["stops after"]}


def _from_agreement(old: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "spearman": "Spearman",
        "kendall": "Kendall",
        "spearman_of_macs": "Spearman of multiply-accumulates alone",
    }
    same = {key: old[key] for key in ("evaluated", "architectures", "verdict")}
    return {**same, **{new: old.get(name) for new, name in names.items()}}


R = TypeVar("R", bound=Row)


def parse(row: type[R], kind: str, body: Mapping[str, Any]) -> list[R]:
    """Return the rows of the class ``row`` that a stored row of any version stands for.

    Raises:
        UnfitRowError: ``body`` lacks a key, or has a value that the key cannot have.
    """
    from nas.storage.row_shapes import why_unfit

    try:
        bodies = upgraded(kind, body)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnfitRowError(f"it has not the shape of version 0.5.0 ({type(error).__name__}: {error})") from error
    for found, each in bodies:
        if found == row.kind and (reason := why_unfit(found, each)):
            raise UnfitRowError(reason)
    try:
        return [row.from_json(each) for found, each in bodies if found == row.kind]
    except ValueError as error:  # samples that are not positive, and the like
        raise UnfitRowError(str(error)) from error


KNOWN: tuple[type[Row], ...] = (
    *(RecipeText, Evaluation, Fit, TurnedAway, TrainingsEnded, RoundEnded, Began, Ended, RungsJudged, Agreement),
    *(WayChosen, SupernetTrained, Cost, BenchUsed, BaselineTested, SeedTested, RetrainingBegan, RetrainingEnded),
)
"""All classes of rows."""
