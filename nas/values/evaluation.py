"""An evaluation: the journal's row about one architecture at one stage, with its values or its failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from sys import intern
from typing import Any, ClassVar, Literal, get_args

from nas.space.architecture import REPR_WIDTH, Architecture, choices_within
from nas.values.measurement import Measurement
from nas.values.metric import METRICS, on_target

AS_TRAINED, TUNED_ON, OF_SPACE = "search", "tuned on", "space"
"""The detail ``start`` of a winner that was left as the search trained it, of one that was tuned on from there for an
epoch on all items, and of one whose retraining began with the weights that its space gives, such as pretrained ones."""
FOR_ANY = "for any"
"""The detail of a measurement that names the choices of training on which it does not depend."""
TRAINED_AS = "trained_as"
"""The detail of a candidate, or of a retraining, that names the architecture whose training it shares."""
FITTED = "fitted"
"""The detail of a training, or of its report, of a simple model that was fitted in one pass over the items."""
BY_FOLDS = "by_folds"
"""The detail of the same: its ``error`` on items that are left out, by folds over all training and validation items,
the ``standard_error`` of that, and its ``log_loss`` there if it gives probabilities."""
VALIDATED = "standard_error_on_validation"
"""What folds would find as the standard error if they tested as many items as the validation split has."""
OF_ALL = "of_all"
"""The detail of the same: true if the weights that are kept of it are those of a fit to all of these items."""
PARENT = "parent"
"""The detail of a winner that is the model from which the others are made."""
TESTED_PER_VALIDATED = "tested_per_validated"
"""The detail of a winner that is the number of test items for each validation item."""
TRIED = "tried"
"""The detail of a winner that is the number of candidates among which it may be the luckiest."""
KEPT = "kept"
"""The detail that marks a row of measurements that earlier commands kept, instead of new ones."""
ELSEWHERE = "elsewhere"
"""The detail of a winner that tells of its further targets by their names."""
Stage = Literal["measure", "check", "train", "retrain", "winner"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class PredictedValue:
    """A prediction for one architecture: the mean, and bounds that contain 90 % of the true values.

    ``limit`` is a one-sided upper bound of 95 %. ``known`` is False if the architecture is unlike all measured ones.
    """

    mean: float
    lower: float
    upper: float
    limit: float
    known: bool = True

    def to_json(self) -> dict[str, float | bool]:
        """Return plain data for programs."""
        return asdict(self)


@dataclass(frozen=True)
class Failure:
    """The reason why an evaluation has no result. ``kind`` is that of ``CandidateError``."""

    kind: str
    reason: str


@dataclass(frozen=True, repr=False)
class Evaluation:
    """An immutable row about one architecture at one stage.

    ``values`` are exact: trained (``error`` and the task's other metrics), counted (``params``, ``macs``) or modelled
    (``modelled_energy_mj``).
    Measured values stand in ``measurements`` and predictions in ``predicted``, so that the three are never mixed.
    ``details`` is plain JSON data, by stage:

    - measure, train: ``described`` is false if the architecture could not even be built.
    - measure: ``kept`` is true if the measurements come from an earlier run; ``for any`` names the choices of training
      on which they do not depend.
    - train, retrain: ``trained_as``, the id of the architecture whose training this one shares; it is counted once.
    - train: ``epochs``; ``stopped_early``; ``subset``, the share of the training items in the last epoch;
      ``subsets``, the share in each epoch if it varied; ``curve``, the error, or what is minimised in its place, after
      each epoch; ``seconds``;
      ``by``, the way of evaluating if it was not training; ``prior``, what was known of it beforehand, by name;
      of a simple model ``fitted``, ``by_folds`` and ``of_all``.
    - check: the same, for the handful that is trained alone to check another way of evaluating; ``by_precision``, its
      metrics in other precisions, or under ``failure`` the kind and the reason.
    - retrain: ``epochs``; ``seconds``; ``folder``, the bundle relative to the run folder; ``start``, the weights that
      it began from if not from scratch: ``supernet``, ``winner``, ``space`` for those that its space gives,
      ``search`` if they stayed as the search trained them, or ``tuned on`` if one more epoch on all items followed;
      ``teacher``, the model that it learned from too; ``resumed``, the epoch after
      which it last went on; ``retraining``, the number of a retraining after the run had ended, and ``items``, the
      number of items that it was trained on.
    - winner: ``test_error``; ``test_interval``, 95 %; ``scores``, other metrics on the test split with both ends of
      their intervals; ``noise``, the same for the error under each corruption; ``parity``, the
      largest difference of outputs;
      ``folder``; ``deployed``, the measured file within the folder; ``exported_test_error``, before deploying;
      ``chance_error``, the test error of the best constant answer; ``confusion``, the ``names`` of at most 100 classes
      and the ``counts`` of test items by true and given class; ``layer_times``, the latency by layer as
      ``LayerTimes.to_json`` tells it. With further targets, ``elsewhere`` has of each its ``target``, the ``deployed``
      file that runs there, and that one's ``test_error`` with both ends of its 95 % interval. Where the precision is a
      choice: ``fp32``, the measurements of the same weights in fp32, and ``exported_interval``, 95 %, of
      ``exported_test_error``. With several seeds: ``seed_errors``, the test error of each, its own first, and
      ``failed_seeds``, the number of those that failed. ``tested_per_validated``, test items for each validation item.
      ``epochs``, ``start``, ``teacher``, ``items`` and ``retraining`` are those of its training.
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

    def __repr__(self) -> str:
        parts = [] if self.failure is None else [f"failed: {self.failure.kind}, {self.failure.reason[:REPR_WIDTH]}"]
        values = {"error": self.details["test_error"]} if "test_error" in self.details else {}
        values |= self.values
        values |= {name: found.median for name, found in self.measurements.items()}
        parts += [f"{name} {METRICS[name].format(v)}" for name, v in values.items() if name in METRICS]
        parts += [f"{name} predicted {METRICS[name].format(p.mean)}" for name, p in self.predicted.items()
                  if name in METRICS]  # fmt: skip
        choices = choices_within(self.architecture, REPR_WIDTH)
        listed = f": {', '.join(parts)}" if parts else ""
        return f"Evaluation {self.stage} {self.architecture.id}, round {self.round}{listed}; {choices}"

    @property
    def failed(self) -> bool:
        """True if there is no result."""
        return self.failure is not None

    @property
    def is_shared(self) -> bool:
        """True if it shares the training of another architecture, from which it differs in its deployment only."""
        return bool(self.details.get(TRAINED_AS))

    @property
    def by(self) -> str:
        """How the error was found: ``train``, ``supernet``, ``zero-cost`` or ``table``."""
        return str(self.details.get("by", "train"))

    @property
    def reached_full_fidelity(self) -> bool:
        """True if a training ran to its end. A stopped one is never compared with whole ones."""
        return not self.failed and not self.details.get("stopped_early", False)

    @property
    def is_in_epochs(self) -> bool:
        """True for a training in epochs, which has a learning curve; others are simple models, and parents."""
        return not (self.is_fitted or self.is_as_it_came)

    @property
    def is_fitted(self) -> bool:
        """True for a simple model, such as a regression on fixed features: it was fitted in one pass over the items."""
        return not self.failed and bool(self.details.get(FITTED, False))

    @property
    def is_as_it_came(self) -> bool:
        """True for a parent that was evaluated without training: it has no learning curve, and no time of training."""
        return not self.failed and self.details.get("epochs") == 0

    def to_json(self) -> dict[str, Any]:
        """Return plain data that ``from_json`` takes back."""
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
        """Return the row that ``to_json`` wrote.

        The names in all rows are the same objects: a hundred thousand rows have millions of them.
        """
        return cls(
            stage=data["stage"],
            architecture=Architecture({intern(name): option for name, option in data["architecture"].items()}),
            round=data["round"],
            values={intern(name): value for name, value in data["values"].items()},
            predicted={name: PredictedValue(*bounds) for name, bounds in data["predicted"].items()},
            measurements={name: Measurement.from_json(m) for name, m in data["measurements"].items()},
            details={intern(name): detail for name, detail in data["details"].items()},
            failure=None if data["failure"] is None else Failure(**data["failure"]),
        )


def errors_elsewhere(told: Mapping[str, Any]) -> dict[str, Sequence[float]]:
    """Return the test errors of the files for further targets, with their bounds, as the metrics ``pi/error``.

    ``told`` are the details of a winner, or what its bundle tells.
    """
    return {on_target(on, "error"): found["test_error"] for on, found in told.get(ELSEWHERE, {}).items()}
