"""The sections of a recipe, each a table of its TOML: what they hold, the defaults, and what is in range."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

DEFAULT_INITIAL = 16
MOST_FOR_EACH_INITIAL = 3


class Section(BaseModel):
    """Frozen, and with no key that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class DataRecipe(Section):
    """Which data set, and where it lies."""

    name: str = "digits"
    root: str | None = None
    image_size: int | None = Field(default=None, ge=4)
    validation_share: float | None = Field(default=None, gt=0, lt=0.5)


class SpaceRecipe(Section):
    """Which space; everything but the name is passed to its constructor."""

    model_config = ConfigDict(extra="allow")

    name: str = "mobilenet"

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class MeasuringRecipe(Section):
    """How many architectures are measured before training and after each round, and how.

    Where a predictor is not good enough for a limit, up to ``most_initial`` are measured before training, which is
    three times ``initial`` where it is not set. A model gets ``rounds`` to ``max_rounds`` rounds, until its interval
    is within ``precision`` of the median. ``reuse`` takes what was measured on the same target before, and learns from
    what was measured on others.
    """

    initial: int = Field(default=DEFAULT_INITIAL, ge=5)
    most_initial: int = Field(default=MOST_FOR_EACH_INITIAL * DEFAULT_INITIAL, ge=5)
    per_round: int = Field(default=6, ge=1)
    rounds: int = Field(default=5, ge=2)
    max_rounds: int = Field(default=15, ge=2)
    precision: float = Field(default=0.01, gt=0)
    seconds_per_round: float = Field(default=0.06, gt=0)
    timeout_s: float = Field(default=60.0, gt=0)
    reuse: bool = True

    @property
    def bench_settings(self) -> dict[str, Any]:
        """As ``latency_rounds.BenchSettings`` takes them."""
        return self.model_dump(include={"rounds", "max_rounds", "precision", "seconds_per_round", "timeout_s"})

    @model_validator(mode="before")
    @classmethod
    def _most_grows_with_initial(cls, values: Any) -> Any:
        initial = values.get("initial") if isinstance(values, dict) else None
        if isinstance(initial, int) and "most_initial" not in values:
            return {**values, "most_initial": MOST_FOR_EACH_INITIAL * max(initial, 5)}
        return values

    @model_validator(mode="after")
    def _rounds_have_room(self) -> MeasuringRecipe:
        if self.rounds > self.max_rounds:
            raise ValueError(f"rounds must be at most max_rounds ({self.max_rounds}), but got {self.rounds}.")
        return self

    @model_validator(mode="after")
    def _most_is_no_less(self) -> MeasuringRecipe:
        if self.most_initial < self.initial:
            raise ValueError(f"most_initial must be at least initial ({self.initial}), but got {self.most_initial}.")
        return self


class TrainingRecipe(Section):
    """How a candidate is trained. ``subset`` is the share of the training images that it sees."""

    epochs: int = Field(default=8, ge=1)
    subset: float = Field(default=1.0, gt=0, le=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    augment: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    time_limit_s: float = Field(default=1800.0, gt=0)


class EarlyStoppingRecipe(Section):
    """Trainings are compared at ``epochs`` divided by powers of ``reduction``; the better share goes on.

    Each is compared with the ``neighbours`` that are nearest to it in cost; the ``keep`` share of these by
    non-dominated rank goes on, and what none of them dominates by more than ``margin`` times what early errors may
    be off, as whole trainings show. Nobody is stopped before ``check`` of them have run to their end. The first
    epoch at which their errors rank them as their last ones do, with a Spearman correlation of
    ``least_correlation``, is the first at which others are. With ``grow_subset`` an epoch up to a rung sees a share
    of the images that is smaller by ``reduction`` than after it, where the last epochs see ``training.subset``.
    """

    enabled: bool = True
    check: int = Field(default=5, ge=3)
    least_correlation: float = Field(default=0.5, ge=-1, le=1)
    reduction: float = Field(default=1.5, ge=1.1)
    keep: float = Field(default=0.25, gt=0, le=1)
    min_peers: int = Field(default=4, ge=1)
    neighbours: int = Field(default=12, ge=1)
    margin: float = Field(default=0.7, ge=0)
    grow_subset: bool = False


class SupernetRecipe(Section):
    """How weights that candidates share are trained, and how far they are relied on.

    As a candidate is, but for so many ``epochs``, with ``per_step`` architectures on each batch. ``check``
    architectures are trained alone too. A candidate's batch statistics are found on ``recalibration_images``.
    """

    epochs: int = Field(default=30, ge=1)
    per_step: int = Field(default=4, ge=2)
    recalibration_images: int = Field(default=512, ge=1)
    check: int = Field(default=6, ge=3)
    least_correlation: float = Field(default=0.5, ge=-1, le=1)
    time_limit_s: float = Field(default=28800.0, gt=0)


class ZeroCostRecipe(Section):
    """How untrained candidates are scored, on how many images, and how many are trained to tell what a score means.

    The scores are functions of ``zero_cost``; ``macs`` is the multiply-accumulates alone.
    """

    score: Literal["snip", "synflow", "naswot", "macs"] = "snip"
    batch: int = Field(default=64, ge=2)
    check: int = Field(default=8, ge=3)
    least_correlation: float = Field(default=0.5, ge=-1, le=1)


class RetrainingRecipe(Section):
    """How many winners are retrained, on the training and validation images, and for how long.

    They ``start`` from scratch, or from the weights that candidates shared.
    """

    winners: int = Field(default=4, ge=1)
    epochs: int = Field(default=16, ge=1)
    time_limit_s: float = Field(default=7200.0, gt=0)
    start: Literal["scratch", "supernet"] = "scratch"


class ExecutionRecipe(Section):
    """Where trainings run. ``workers`` 0 is one for each core, or for each GPU, as far as memory goes.

    ``ray_address`` is that of a cluster which this machine is a node of, such as ``auto``. ``gpus_per_worker``, a share
    of one or a whole number, is by default what this machine has for each, and none in a cluster.
    """

    executor: Literal["ray", "inline"] = "ray"
    workers: int = Field(default=0, ge=0)
    threads_per_worker: int = Field(default=1, ge=1)
    gpus_per_worker: float | None = Field(default=None, ge=0)
    ray_address: str | None = None

    @model_validator(mode="after")
    def _address_of_what_is_used(self) -> ExecutionRecipe:
        if self.executor == "inline" and self.ray_address is not None:
            raise ValueError(
                'ray_address joins a Ray cluster, which executor "inline" does without, but got '
                f"{self.ray_address!r}. Leave it out, or set executor=ray."
            )
        return self

    @field_validator("gpus_per_worker")
    @classmethod
    def _share_or_whole(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and not value.is_integer():
            raise ValueError(f"a worker takes a share of one GPU or a whole number of them, but got {value:g}.")
        return value

    @field_validator("ray_address")
    @classmethod
    def _of_a_node(cls, value: str | None) -> str | None:
        """Ray's client would run the search itself elsewhere, without its journal and the device."""
        if value is not None and value.startswith("ray://"):
            raise ValueError(
                "a search runs on a node of the cluster, and takes the head's address, such as host:6379 or auto, "
                f"but got that of a Ray client, {value!r}. Join the cluster first: ray start --address=host:6379."
            )
        if value is not None and value != "auto" and not re.fullmatch(r"[^\s/]+:[0-9]+", value):
            raise ValueError(f"an address is auto, or a host and a port such as host:6379, but got {value!r}.")
        return value


class EnergyRecipe(Section):
    """The instrument that meters energy, and the carbon intensity of the electricity, which has no default.

    ``meter`` auto is ``command`` where that is given, else NVML for a GPU's targets and RAPL for others, where it can
    be read. ``command`` is a program with its arguments that prints joules used so far, or with ``format`` csv a log of
    seconds and watts.
    """

    meter: Literal["auto", "none", "rapl", "nvml", "command"] = "auto"
    command: tuple[str, ...] = ()
    format: Literal["joules", "csv"] = "joules"
    rapl_root: str | None = None
    gco2e_per_kwh: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _command_where_it_is_used(self) -> EnergyRecipe:
        if self.meter == "command" and not self.command:
            raise ValueError(
                'the meter "command" needs a command: a list, the program first, such as ["my-meter", "--joules"].'
            )
        if self.command and self.meter not in ("auto", "command"):
            raise ValueError(
                f'a command is for the meter "command", but got {list(self.command)} with the meter "{self.meter}". '
                "Leave one of them out."
            )
        return self

    @property
    def meter_settings(self) -> dict[str, Any]:
        """As ``energy.meter_from`` takes them."""
        settings: dict[str, Any] = {"kind": "command" if self.command else self.meter}
        if self.command:
            settings |= {"command": list(self.command), "format": self.format}
        return settings if self.rapl_root is None else {**settings, "root": self.rapl_root}


class TableRecipe(Section):
    """A table that candidates are looked up in instead of being trained and measured, one architecture a row.

    ``accuracy`` and ``test_accuracy`` are columns of per cent: what the search sees and what winners are scored by, the
    same where it is not given. A measured metric is the column ``<metric>_<device>``, without a device ``<metric>``.
    ``training_s`` is the simulated time of a training, ``pause_s`` what a worker really waits for each.
    ``input_shape`` and ``classes`` are those of the task that the table is about.
    """

    path: str | None = None
    accuracy: str | None = None
    test_accuracy: str | None = None
    device: str | None = None
    training_s: float = Field(default=0.0, ge=0)
    pause_s: float = Field(default=0.0, ge=0)
    input_shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = Field(default=10, ge=2)

    @field_validator("input_shape")
    @classmethod
    def _positive(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(value) < 1:
            raise ValueError(f"channels, height and width must be at least 1, but got {list(value)}.")
        return value
