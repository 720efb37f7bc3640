"""A complete description of a run: TOML on disk, checked and frozen in memory."""

from __future__ import annotations

import contextlib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from nas.errors import RecipeError, did_you_mean
from nas.objective import Limit, Objective
from nas.target import Target

DEFAULT_ROUNDS = 3
DEFAULT_INITIAL = 16
MOST_FOR_EACH_INITIAL = 3


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class DataRecipe(_Part):
    """Which data set, and where it lies."""

    name: str = "digits"
    root: str | None = None
    image_size: int | None = Field(default=None, ge=4)
    validation_share: float | None = Field(default=None, gt=0, lt=0.5)


class SpaceRecipe(_Part):
    """Which space; everything but the name is passed to its constructor."""

    model_config = ConfigDict(extra="allow")

    name: str = "mobilenet"

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class MeasuringRecipe(_Part):
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
        """As ``benchmarking.BenchSettings`` takes them."""
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


class TrainingRecipe(_Part):
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


class EarlyStoppingRecipe(_Part):
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


class SupernetRecipe(_Part):
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


class ZeroCostRecipe(_Part):
    """How untrained candidates are scored, on how many images, and how many are trained to tell what a score means.

    The scores are functions of ``zero_cost``; ``macs`` is the multiply-accumulates alone.
    """

    score: Literal["snip", "synflow", "naswot", "macs"] = "snip"
    batch: int = Field(default=64, ge=2)
    check: int = Field(default=8, ge=3)
    least_correlation: float = Field(default=0.5, ge=-1, le=1)


class RetrainingRecipe(_Part):
    """How many winners are retrained, on the training and validation images, and for how long.

    They ``start`` from scratch, or from the weights that candidates shared.
    """

    winners: int = Field(default=4, ge=1)
    epochs: int = Field(default=16, ge=1)
    time_limit_s: float = Field(default=7200.0, gt=0)
    start: Literal["scratch", "supernet"] = "scratch"


class ExecutionRecipe(_Part):
    """Where trainings run. ``workers`` 0 is one for each core, or for each GPU.

    ``ray_address`` is that of a cluster to join. ``gpus_per_worker``, a share of one or a whole number, is by default
    what this machine has for each, and none in a cluster.
    """

    executor: Literal["ray", "inline"] = "ray"
    workers: int = Field(default=0, ge=0)
    threads_per_worker: int = Field(default=1, ge=1)
    gpus_per_worker: float | None = Field(default=None, ge=0)
    ray_address: str | None = None

    @field_validator("gpus_per_worker")
    @classmethod
    def _share_or_whole(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and not value.is_integer():
            raise ValueError(f"a worker takes a share of one GPU or a whole number of them, but got {value:g}.")
        return value


class EnergyRecipe(_Part):
    """The instrument that meters energy, and the carbon intensity of the electricity, which has no default.

    ``meter`` auto is NVML for a GPU's targets, else RAPL, where it can be read. ``command`` is a program with its
    arguments that prints joules used so far, or with ``format`` csv a log of seconds and watts.
    """

    meter: Literal["auto", "none", "rapl", "nvml", "command"] = "auto"
    command: tuple[str, ...] = ()
    format: Literal["joules", "csv"] = "joules"
    rapl_root: str | None = None
    gco2e_per_kwh: float | None = Field(default=None, ge=0)

    @property
    def meter_settings(self) -> dict[str, Any]:
        """As ``energy.meter_from`` takes them."""
        settings: dict[str, Any] = {"kind": self.meter}
        if self.command:
            settings |= {"command": list(self.command), "format": self.format}
        return settings if self.rapl_root is None else {**settings, "root": self.rapl_root}


class TableRecipe(_Part):
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


class Recipe(_Part):
    """Everything that decides what a run does.

    After ``search_time_s``, which may be written like ``"15min"``, no further candidate is trained; what runs then
    ends, and winners are retrained. ``trials`` are the most then, and how many there are depends on the machine.

    ``prior`` is a zero-cost score, on ``zero_cost.batch`` images, that the sampler ``gp`` is to expect errors by.

    Construct it with keywords, from a file by ``read_recipe``, or from a mapping by ``Recipe.from_mapping``.

    Raises:
        RecipeError: an unknown key (with the nearest known one), a wrong type or a value out of range.
    """

    name: str = Field(default="", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$|^$")
    seed: int = Field(default=0, ge=0)
    data: DataRecipe = DataRecipe()
    space: SpaceRecipe = SpaceRecipe()
    target: str = "onnxruntime-cpu"
    objectives: tuple[str, ...] = ("error", "latency_ms")
    limits: tuple[str, ...] = ()
    trials: int = Field(default=40, ge=1)
    rounds: int = Field(default=DEFAULT_ROUNDS, ge=1)
    search_time_s: float | None = Field(default=None, gt=0)
    sampler: Literal["gp", "tpe", "nsga2", "nsga3", "local", "random"] = "gp"
    prior: Literal["none", "snip", "synflow", "naswot", "macs"] = "none"
    evaluate: Literal["train", "supernet", "zero-cost", "table"] = "train"
    predictor: str = "stacked"
    measuring: MeasuringRecipe = MeasuringRecipe()
    energy: EnergyRecipe = EnergyRecipe()
    table: TableRecipe = TableRecipe()
    training: TrainingRecipe = TrainingRecipe()
    early_stopping: EarlyStoppingRecipe = EarlyStoppingRecipe()
    supernet: SupernetRecipe = SupernetRecipe()
    zero_cost: ZeroCostRecipe = ZeroCostRecipe()
    retraining: RetrainingRecipe = RetrainingRecipe()
    execution: ExecutionRecipe = ExecutionRecipe()

    def __init__(self, **values: Any) -> None:
        with _explained():
            super().__init__(**values)

    @field_validator("data", "space", mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("search_time_s", mode="before")
    @classmethod
    def _in_seconds(cls, value: object) -> object:
        return _seconds(value) if isinstance(value, str) else value

    @field_validator("target")
    @classmethod
    def _known_form(cls, value: str) -> str:
        with _told_to_pydantic():
            return str(Target.parse(value))

    @field_validator("objectives")
    @classmethod
    def _one_to_four(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        with _told_to_pydantic():
            names = tuple(str(Objective.parse(text)) for text in value)
        if not 1 <= len(names) <= 4 or len(set(names)) < len(names):
            raise ValueError(f"objectives are one to four different metrics, but got {list(value)}.")
        return names

    @field_validator("limits")
    @classmethod
    def _once_each(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        with _told_to_pydantic():
            limits = [Limit.parse(text) for text in value]
        names = [limit.metric.name for limit in limits]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise ValueError(f"a metric has one limit at most, but {', '.join(sorted(repeated))} has several.")
        return tuple(str(limit) for limit in limits)

    @model_validator(mode="before")
    @classmethod
    def _few_trials_few_rounds(cls, values: Any) -> Any:
        trials = values.get("trials") if isinstance(values, dict) else None
        if isinstance(trials, int) and 0 < trials < DEFAULT_ROUNDS and "rounds" not in values:
            return {**values, "rounds": trials}
        return values

    @model_validator(mode="after")
    def _rounds_have_trials(self) -> Recipe:
        if self.rounds > self.trials:
            raise ValueError(f"rounds must be at most trials ({self.trials}), but got {self.rounds}.")
        return self

    @model_validator(mode="after")
    def _table_where_it_is_used(self) -> Recipe:
        path = self.table.path
        if self.evaluate == "table" and path is None:
            raise ValueError("evaluate = 'table' needs a table, but there is none: set table.path=table.csv.gz.")
        if self.evaluate != "table" and path is not None:
            raise ValueError(
                f"a table is looked up where evaluate = 'table', but it is {self.evaluate!r} and there is table.path "
                f"{path!r}: set evaluate=table, or leave the path out."
            )
        return self

    @model_validator(mode="after")
    def _weights_to_start_from(self) -> Recipe:
        if self.retraining.start == "supernet" and self.evaluate != "supernet":
            raise ValueError(
                'retraining.start "supernet" takes weights that candidates shared, so evaluate must be "supernet", '
                f'but got "{self.evaluate}".'
            )
        return self

    @model_validator(mode="after")
    def _prior_where_something_is_learned(self) -> Recipe:
        if self.prior != "none" and (self.sampler != "gp" or self.evaluate == "table"):
            raise ValueError(
                'a prior is for the sampler "gp" and scores networks on images, which a table has not, but got prior '
                f'"{self.prior}" with sampler "{self.sampler}" and evaluate "{self.evaluate}".'
            )
        return self

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe that ``values`` describe.

        Raises:
            RecipeError: an unknown key (with the nearest known one), a wrong type or a value out of range.
        """
        return cls(**values)

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        """The recipe that ``to_toml`` wrote."""
        return cls.from_mapping(tomllib.loads(text))

    def differences(self, other: Recipe) -> dict[str, tuple[str, str]]:
        """The dotted keys that differ, each with its value here and in ``other``, as TOML or ``not set``."""
        here, there = _flat(self.model_dump(exclude_none=True)), _flat(other.model_dump(exclude_none=True))
        return {
            key: (here.get(key, "not set"), there.get(key, "not set"))
            for key in {**there, **here}
            if here.get(key) != there.get(key)
        }

    @property
    def run_name(self) -> str:
        """The name, or one made of the data set and the space."""
        made = f"{'table' if self.evaluate == 'table' else self.data.name}-{self.space.name}"
        return self.name or "".join(c if c.isalnum() or c in "._-" else "-" for c in made)[:60].strip(".-") or "run"

    @property
    def parsed_objectives(self) -> tuple[Objective, ...]:
        return tuple(Objective.parse(text) for text in self.objectives)

    @property
    def parsed_limits(self) -> tuple[Limit, ...]:
        return tuple(Limit.parse(text) for text in self.limits)

    @property
    def measured_on(self) -> str:
        """Where the values of measured metrics come from: the target, or the table's device."""
        if self.evaluate != "table":
            return self.target
        return "table" if self.table.device is None else f"table:{self.table.device}"

    @property
    def parsed_target(self) -> Target:
        return Target.parse(self.target)

    def to_toml(self) -> str:
        """The whole recipe with every default written out; ``read_recipe`` gives the same one back."""
        return "".join(_toml_lines(self.model_dump(exclude_none=True)))


def read_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe in a TOML file, after ``key=value`` overrides such as ``training.epochs=4``.

    Raises:
        RecipeError: no such file, not TOML, or not a recipe.
    """
    return Recipe.from_mapping(apply_overrides(read_toml(path), overrides))


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises RecipeError when it is missing or malformed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"a recipe is a TOML file, but {path} does not exist.") from None
    except OSError as error:
        raise RecipeError(f"a recipe is a TOML file, but {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"a recipe is a TOML file, but {path} is not: {error}.") from error


def apply_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """``values`` with each ``dotted.key=value`` set; values are TOML, and anything else is taken as text.

    Raises:
        RecipeError: an override without ``=`` or whose key goes through something that is no table.
    """
    result: dict[str, Any] = json.loads(json.dumps(values, default=str))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"--set takes key=value, such as training.epochs=4, but got {override!r}.")
        *tables, last = [part.strip() for part in key.split(".")]
        place = result
        for table in tables:
            inner = place.setdefault(table, {})
            if isinstance(inner, str) and table in ("data", "space"):
                inner = place[table] = {"name": inner}
            if not isinstance(inner, dict):
                raise RecipeError(f"--set {override}: {table!r} is not a table but {inner!r}.")
            place = inner
        place[last] = _toml_value(text.strip())
    return result


_SECONDS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}


def _seconds(text: str) -> float:
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]*)\s*", text)
    if match is None or match[2] not in _SECONDS:
        raise ValueError(f"a time is written like 90s, 15min or 2h, but got {text!r}.")
    return float(match[1]) * _SECONDS[match[2]]


@contextlib.contextmanager
def _told_to_pydantic() -> Iterator[None]:
    """pydantic gathers ValueErrors and adds the key that they are about; any other exception it lets through."""
    try:
        yield
    except RecipeError as error:
        raise ValueError(str(error)) from error


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn pydantic's list of problems into one RecipeError of our own words."""
    try:
        yield
    except ValidationError as error:
        raise RecipeError("\n".join(_explain(problem) for problem in error.errors())) from error


def _explain(problem: Any) -> str:
    """One pydantic problem as a sentence that says the rule and then the value."""
    inner = problem.get("ctx", {}).get("error")
    where = ".".join(str(part) for part in problem["loc"])
    if isinstance(inner, ValueError):
        return f"{where}: {inner}" if where else str(inner)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(problem["loc"][:-1])
        return f"a recipe has no key {where!r}. {did_you_mean(str(problem['loc'][-1]), known)}"
    wanted = {"model_type": "input should be a table of keys", "tuple_type": "input should be a list"}
    rule = wanted.get(problem["type"], problem["msg"][0].lower() + problem["msg"][1:])
    return f"{where}: {rule}, but got {problem['input']!r}."


def _known_keys(location: Iterable[str | int]) -> list[str]:
    model: Any = Recipe
    for part in location:
        model = model.model_fields[part].annotation
    return list(model.model_fields)


def _toml_lines(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """TOML for nested tables of plain values: the standard library reads it but does not write it."""
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    for key, value in values.items():
        if key not in tables:
            yield f"{_toml_key(key)} = {_toml_literal(value)}\n"
    for key, table in tables.items():
        name = f"{prefix}{_toml_key(key)}"
        yield f"\n[{name}]\n"
        yield from _toml_lines(table, f"{name}.")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The literals of nested tables by their dotted keys."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: _toml_literal(value)}
    return flat


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_literal(key)


def _toml_literal(value: Any) -> str:
    if isinstance(value, str):
        # JSON's strings are TOML's, but for the one control character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_literal(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_toml_key(k)} = {_toml_literal(v)}' for k, v in value.items())}}}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    assert isinstance(value, bool | int | float), value
    return json.dumps(value)
