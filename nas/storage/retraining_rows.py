"""The rows of a journal about retrainings: further seeds of a winner, and retrainings after a run has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

from nas.space.architecture import Architecture
from nas.values.evaluation import Failure

RETRAINING = "retraining"
"""The detail of a row that numbers the retraining to which it belongs; absent for the run's own winners."""


@final
@dataclass(frozen=True)
class SeedTested:
    """A further training of a winner's network, by another seed, was deployed and tested; or it failed.

    Attributes:
        architecture: the winner's.
        number: which one it is; the winner itself is number 0.
        retraining: the number of the retraining, 0 for the run's own.
        test_error: the deployed model's error on the test split; None if it failed.
        failure: the reason for that.
    """

    kind: ClassVar[str] = "seed"
    architecture: Architecture
    number: int
    retraining: int = 0
    test_error: float | None = None
    failure: Failure | None = None

    def to_json(self) -> dict[str, Any]:
        failure = None if self.failure is None else dict(vars(self.failure))
        return {**vars(self), "architecture": dict(self.architecture), "failure": failure}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SeedTested:
        failure = None if data.get("failure") is None else Failure(**data["failure"])
        whole = Architecture(data["architecture"])
        return cls(whole, data["number"], data["retraining"], data.get("test_error"), failure)


@final
@dataclass(frozen=True)
class RetrainingBegan:
    """A retraining of winners began after the run had ended.

    Attributes:
        number: 1 for the first one.
        asked: what was asked for, as plain data. The same request goes on with it, if it was interrupted.
        architectures: the architectures that are retrained.
        data: the further data that they are trained on, and how many items of these; empty without any.
    """

    kind: ClassVar[str] = "retraining_began"
    number: int
    asked: Mapping[str, Any]
    architectures: tuple[Architecture, ...]
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        architectures = [dict(each) for each in self.architectures]
        return {**vars(self), "asked": dict(self.asked), "architectures": architectures, "data": dict(self.data)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RetrainingBegan:
        architectures = tuple(map(Architecture, data["architectures"]))
        return cls(data["number"], dict(data["asked"]), architectures, dict(data.get("data", {})))


@final
@dataclass(frozen=True)
class RetrainingEnded:
    """A retraining after the run has ended, whatever came of it."""

    kind: ClassVar[str] = "retraining_ended"
    number: int

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RetrainingEnded:
        return cls(data["number"])
