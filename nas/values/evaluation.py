"""One journal row about one architecture: what was found at one stage, or why it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from nas.space.architecture import Architecture
from nas.values.measurement import Measurement

Stage = Literal["measure", "check", "train", "retrain", "winner"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class PredictedValue:
    """A prediction for one architecture: the mean, and bounds that hold 90 % of the truths.

    ``limit`` alone is a one-sided 95 % bound. ``known`` is False where the architecture is unlike all measured ones.
    """

    mean: float
    lower: float
    upper: float
    limit: float
    known: bool = True


@dataclass(frozen=True)
class Failure:
    """Why an evaluation has no result. ``kind`` as in ``errors.CandidateError``."""

    kind: str
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """An immutable row.

    ``values`` are found at this stage and exact for it: trained (``error``), counted (``params``, ``macs``)
    or modelled (``energy_mj``). What was measured stands in ``measurements`` and what was predicted in
    ``predicted``, so the three never share a name. ``details`` is plain JSON data:

    - measure, train: ``described``, false where nothing was done since not even the layers could be told
    - measure: ``kept``, where the measurements are of an earlier run
    - check: as train; of the handful that is trained alone where candidates are not
    - train: ``epochs``, ``stopped_early``, ``subset`` (share of the training images that the last epoch saw),
      ``subsets`` (that each saw, where they differ), ``curve`` (validation error after each epoch), ``seconds``;
      ``by`` says how the error was found where it was not by training; ``turned_away`` counts what limits turned away
      since the row before, by why, and ``near_limits`` are those of them that were too near to a limit to tell
    - retrain: ``epochs``, ``seconds``, ``folder`` of the bundle relative to the run folder; ``start`` says what it
      began with where that was not scratch
    - winner: ``test_error``, ``test_interval`` (95 % Wilson), ``parity`` (largest output difference), ``folder``,
      ``deployed`` (what was measured, within the folder), ``exported_test_error`` (before it was deployed)
    """

    kind: ClassVar[str] = "evaluation"
    stage: Stage
    architecture: Architecture
    round: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    predicted: Mapping[str, PredictedValue] = field(default_factory=dict)
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage must be one of {STAGES}, but got {self.stage!r}.")

    @property
    def failed(self) -> bool:
        return self.failure is not None

    @property
    def by(self) -> str:
        """How a candidate came by its error: ``train``, ``supernet`` or ``zero-cost``."""
        return str(self.details.get("by", "train"))

    @property
    def reached_full_fidelity(self) -> bool:
        """Whether a training ran to its end; a stopped one is never compared with full ones."""
        return not self.failed and not self.details.get("stopped_early", False)

    def to_json(self) -> dict[str, Any]:
        """Plain data that ``from_json`` takes back."""
        return {
            "stage": self.stage,
            "architecture": dict(self.architecture),
            "id": self.architecture.id,
            "round": self.round,
            "values": dict(self.values),
            "predicted": {name: [p.mean, p.lower, p.upper, p.limit, p.known] for name, p in self.predicted.items()},
            "measurements": {name: m.to_json() for name, m in self.measurements.items()},
            "details": dict(self.details),
            "failure": None if self.failure is None else {"kind": self.failure.kind, "reason": self.failure.reason},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evaluation:
        """The row that ``to_json`` wrote."""
        return cls(
            stage=data["stage"],
            architecture=Architecture(data["architecture"]),
            round=data["round"],
            values=data["values"],
            predicted={name: _predicted_from(bounds) for name, bounds in data["predicted"].items()},
            measurements={name: Measurement.from_json(m) for name, m in data["measurements"].items()},
            details=data["details"],
            failure=None if data["failure"] is None else Failure(**data["failure"]),
        )


def _predicted_from(bounds: Sequence[Any]) -> PredictedValue:
    """A prediction from its row; before version 0.3 the upper bound was the one-sided one too."""
    return PredictedValue(*(bounds if len(bounds) > 3 else (*bounds, bounds[2])))
