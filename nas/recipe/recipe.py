"""The recipe: a complete description of a run, TOML on disk, checked and frozen in memory."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from nas.errors import RecipeError
from nas.recipe.contradictions import check_function, check_gpus, check_table
from nas.recipe.problems import checked_keys, explained, told_to_pydantic
from nas.recipe.sections import (
    MOST_SEED,
    DataRecipe,
    EnergyRecipe,
    ExecutionRecipe,
    MeasuringRecipe,
    OwnOption,
    PredictorRecipe,
    SamplerRecipe,
    Score,
    Section,
    SpaceRecipe,
    SupernetRecipe,
    TableRecipe,
    ZeroCostRecipe,
)
from nas.recipe.small_searches import DEFAULT_ROUNDS, check_measures_alone, with_small_defaults
from nas.recipe.targets import check_targets, of_named_target, with_further_targets
from nas.recipe.toml_text import NAMED, apply_overrides, flat_literals, read_toml, toml_lines, used_values
from nas.recipe.training_sections import (
    EarlyStoppingRecipe,
    RetrainingRecipe,
    RobustnessRecipe,
    TrainingRecipe,
    check_folds,
    check_retraining,
)
from nas.values.metric import on_target
from nas.values.objective import Limit, Objective, with_units
from nas.values.target import Target, checked_precisions, named_targets

TRIALS_IN_TIME = 10_000
"""Effectively unlimited: the budget of a recipe that gives a time alone, so that the time ends the search."""
Evaluate = Literal["auto", "train", "supernet", "zero-cost", "table"]
Keys = Mapping[str, Any]
"""The keys of a section, as in TOML."""


class Recipe(Section):
    """Everything that decides what a run does.

    Construct it with keywords, from a file with ``nas.read_recipe``, or from a mapping with ``Recipe.from_mapping``.

    Raises:
        RecipeError: an unknown key (with the nearest known one), a wrong type, or a value out of range.

    Example::

        recipe = nas.Recipe(data="digits", limits=["latency_ms <= 1ms"], trials=12, training={"epochs": 4})
    """

    name: Annotated[str, OwnOption("--name")] = Field(default="", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$|^$")
    """The name of the run's folder. Without one, each run gets a new folder."""
    seed: Annotated[int, OwnOption("--seed", "N")] = Field(default=0, ge=0, le=MOST_SEED)
    """The seed of everything random. The same seed gives the same results."""
    data: DataRecipe = DataRecipe()
    """The data set: a name, or a table of keys."""
    space: SpaceRecipe = SpaceRecipe()
    """The search space: a name, or a table with its options."""
    target: Annotated[str, OwnOption("--target", "TARGET", repeats=True)] = "onnxruntime-cpu"
    """What to measure on, such as ``onnxruntime-cpu:int8:threads=2``. ``nas target list`` shows all runtimes."""
    further_targets: tuple[str, ...] = ()
    """Targets beside the first, whose metrics have their name before them: ``pi/latency_ms``."""
    precisions: Annotated[tuple[str, ...], OwnOption("--precision")] = ()
    """Precisions to choose from, such as int8 or int8-dynamic, with fp32. One training gives a candidate for each."""
    objectives: Annotated[tuple[str, ...], OwnOption("--objective", "METRIC")] = ("error", "latency_ms")
    """One to four metrics to minimise. ``nas list`` shows all."""
    limits: Annotated[tuple[str, ...], OwnOption("--limit", "LIMIT")] = ()
    """Upper bounds such as ``latency_ms<=2ms``, at most one for each metric."""
    trials: Annotated[int, OwnOption("--trials", "N")] = Field(default=40, ge=0)
    """The number of candidates to train; 0 trains none. With ``search_time_s`` alone, the time ends the search."""
    rounds: int = Field(default=DEFAULT_ROUNDS, ge=1)
    """Rounds of training, each followed by measuring. With fewer than 15 trials the default is one for five."""
    search_time_s: Annotated[float | None, OwnOption("--time", "TIME")] = Field(default=None, gt=0)
    """The time, such as ``15min``, after which no further candidate is trained."""
    sampler: SamplerRecipe = SamplerRecipe()
    """The sampler that proposes candidates: a name, or a table with its options."""
    prior: Literal["none", Score] = "none"
    """A zero-cost score from which the sampler expects errors, on ``zero_cost.batch`` items."""
    evaluate: Annotated[Evaluate, OwnOption("--evaluate")] = "train"
    """How a candidate gets its error: by training, shared weights, a zero-cost score, or a table. For parts of a parent
    ``auto`` chooses training, fitted heads or shared weights."""
    predictor: PredictorRecipe = PredictorRecipe()
    """The predictor of measured metrics: a name, or a table with its options."""
    measuring: MeasuringRecipe = MeasuringRecipe()
    """How many architectures are measured, and how precisely."""
    energy: EnergyRecipe = EnergyRecipe()
    """The energy meter."""
    table: TableRecipe = TableRecipe()
    """The table, with ``evaluate = "table"``."""
    training: TrainingRecipe = TrainingRecipe()
    """How a candidate is trained."""
    early_stopping: EarlyStoppingRecipe = EarlyStoppingRecipe()
    """Which trainings are stopped early."""
    supernet: SupernetRecipe = SupernetRecipe()
    """Shared weights, with ``evaluate = "supernet"``."""
    zero_cost: ZeroCostRecipe = ZeroCostRecipe()
    """Scores, with ``evaluate = "zero-cost"`` or a ``prior``."""
    retraining: RetrainingRecipe = RetrainingRecipe()
    """How winners are retrained."""
    robustness: RobustnessRecipe = RobustnessRecipe()
    """The noise of ``noise_error``, and under which winners are tested."""
    execution: ExecutionRecipe = ExecutionRecipe()
    """Where trainings run."""

    if TYPE_CHECKING:  # a test compares these names with the keys above

        def __init__(
            self,
            *,
            name: str = ...,
            seed: int = ...,
            data: str | DataRecipe | Keys = ...,
            space: str | SpaceRecipe | Keys = ...,
            target: str | Sequence[str] = ...,
            further_targets: Sequence[str] = ...,
            precisions: Sequence[str] = ...,
            objectives: Sequence[str] = ...,
            limits: Sequence[str] = ...,
            trials: int = ...,
            rounds: int = ...,
            search_time_s: float | str | None = ...,
            sampler: str | SamplerRecipe | Keys = ...,
            prior: Literal["none", Score] = ...,
            evaluate: Evaluate = ...,
            predictor: str | PredictorRecipe | Keys = ...,
            measuring: MeasuringRecipe | Keys = ...,
            energy: EnergyRecipe | Keys = ...,
            table: TableRecipe | Keys = ...,
            training: TrainingRecipe | Keys = ...,
            early_stopping: EarlyStoppingRecipe | Keys = ...,
            supernet: SupernetRecipe | Keys = ...,
            zero_cost: ZeroCostRecipe | Keys = ...,
            retraining: RetrainingRecipe | Keys = ...,
            robustness: RobustnessRecipe | Keys = ...,
            execution: ExecutionRecipe | Keys = ...,
        ) -> None: ...

    else:

        def __init__(self, **values: Any) -> None:
            with explained(Recipe):
                super().__init__(**values)

    @field_validator(*NAMED, mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _several_targets(cls, values: Any) -> Any:
        """Take a list of targets apart: the first one, and the further ones."""
        return with_further_targets(values) if isinstance(values, dict) else values

    @field_validator("target")
    @classmethod
    def _known_form(cls, value: str) -> str:
        with told_to_pydantic():
            return str(Target.parse(value))

    @field_validator("further_targets")
    @classmethod
    def _known_forms(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        with told_to_pydantic():
            further = tuple(map(Target.parse, value))
            if "target" in info.data:
                named_targets([Target.parse(info.data["target"]), *further])
        return tuple(map(str, further))

    @field_validator("precisions")
    @classmethod
    def _known_precisions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        with told_to_pydantic():
            return checked_precisions(value)

    @field_validator("objectives")
    @classmethod
    def _one_to_four(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        with told_to_pydantic():
            names = tuple(str(of_named_target(Objective.parse(text), info.data)) for text in value)
        if not 1 <= len(names) <= 4 or len(set(names)) < len(names):
            raise ValueError(f"objectives are one to four different metrics, but got {list(value)}.")
        return names

    @field_validator("limits")
    @classmethod
    def _once_each(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        with told_to_pydantic():
            limits = [of_named_target(Limit.parse(text), info.data) for text in value]
        names = [limit.metric.name for limit in limits]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise ValueError(f"a metric has one limit at most, but {', '.join(sorted(repeated))} has several.")
        return tuple(str(limit) for limit in limits)

    @model_validator(mode="before")
    @classmethod
    def _defaults_go_with_trials(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if values.get("search_time_s") is not None:
            values = {"trials": TRIALS_IN_TIME, **values}
        return with_small_defaults(values)

    @model_validator(mode="after")
    def _nothing_is_trained(self) -> Recipe:
        if self.trials == 0:
            check_measures_alone(self.evaluate, self.parsed_objectives, self.parsed_limits)
        return self

    @model_validator(mode="after")
    def _targets_that_are_measured(self) -> Recipe:
        check_targets(self.named_targets.values(), self.precisions, self.evaluate)
        return self

    @model_validator(mode="after")
    def _keys_that_go_together(self) -> Recipe:
        check_table(self.table, self.evaluate, self.space.name)
        check_gpus(self.training.device, self.execution, self.evaluate)
        check_function(self.training, self.early_stopping, self.evaluate)
        return self

    @model_validator(mode="after")
    def _winners_can_be_retrained(self) -> Recipe:
        check_retraining(self.retraining, self.training, self.evaluate)
        check_folds(self.training, self.evaluate, self.precisions)
        return self

    @model_validator(mode="after")
    def _prior_of_networks(self) -> Recipe:
        if self.prior != "none" and self.evaluate == "table":
            raise ValueError(f'prior must be "none" with evaluate "table", which has no data, but got "{self.prior}".')
        return self

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe that ``values`` describe.

        Raises:
            RecipeError: an unknown key (with the nearest known one), a wrong type or a value out of range.
        """
        return cls(**checked_keys(values))

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        """Return the recipe that ``to_toml`` wrote, also with an older version.

        Raises:
            RecipeError: the text is not TOML, or no recipe.
        """
        try:
            values = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"a recipe is written in TOML, but this one is not: {error}.") from error
        return cls.from_mapping(_with_units(values))

    def differences(self, other: Recipe) -> dict[str, tuple[str, str]]:
        """Return the dotted keys that differ, each with its value here and in ``other``, as TOML or ``not set``.

        Limits that differ only in their spelling, such as 2ms and 2000us, do not differ.
        """
        here, there = (flat_literals(each.model_dump(exclude_none=True)) for each in (self, other))
        return {
            key: (here.get(key, "not set"), there.get(key, "not set"))
            for key in {**there, **here}
            if here.get(key) != there.get(key) and not (key == "limits" and self.parsed_limits == other.parsed_limits)
        }

    @property
    def run_name(self) -> str:
        """The name, or else a name made of the data, or the task where they have no name, and the space."""
        made = f"{'table' if self.evaluate == 'table' else self.data.name or self.data.task}-{self.space.name}"
        return self.name or "".join(c if c.isalnum() or c in "._-" else "-" for c in made)[:60].strip(".-") or "run"

    @property
    def has_time_alone(self) -> bool:
        """True if the time alone ends the search, and no number of candidates."""
        return self.search_time_s is not None and self.trials >= TRIALS_IN_TIME

    @property
    def parsed_objectives(self) -> tuple[Objective, ...]:
        return tuple(Objective.parse(text) for text in self.objectives)

    @property
    def stopping(self) -> EarlyStoppingRecipe:
        """The early stopping; none where several objectives are trained, for a training has one curve."""
        several = sum(objective.metric.source == "trained" for objective in self.parsed_objectives) > 1
        return self.early_stopping.model_copy(update={"enabled": False}) if several else self.early_stopping

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

    @property
    def measured_on_all(self) -> str:
        """All targets in all precisions, or the table's device, for people."""
        if self.evaluate == "table":
            return self.measured_on
        return " and ".join(map(str, self.measured_targets.values()))

    @property
    def named_targets(self) -> dict[str, Target]:
        """All targets by the names that stand before their metrics; that of the first one is empty."""
        return named_targets([self.parsed_target, *map(Target.parse, self.further_targets)])

    @property
    def targets(self) -> dict[str, Target]:
        """The target of each precision to choose from, by its name; none where the target alone says it."""
        return {name: replace(self.parsed_target, precision=name) for name in self.precisions}

    @property
    def measured_targets(self) -> dict[str, Target]:
        """Each target in each precision, by the precision. A further target's name stands before it: ``pi/int8``."""
        return {
            on_target(name, precision): replace(target, precision=precision)
            for name, target in self.named_targets.items()
            for precision in self.precisions or (target.precision,)
        }

    def to_toml(self) -> str:
        """Return the recipe as TOML, with every default that has a use written out. ``read_recipe`` reads it back.

        Keys that are not set, and have no default, are comments.
        """
        return "".join(toml_lines(used_values(self.model_dump(), Recipe().model_dump())))


def read_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Return the recipe in a TOML file, after ``key=value`` overrides such as ``training.epochs=4``.

    Raises:
        RecipeError: no such file, not TOML, or not a recipe.
    """
    return Recipe.from_mapping(apply_overrides(read_toml(path), overrides))


def read_recorded_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Return the recipe in a run's folder. Limits that older versions wrote have no units, and get their metric's.

    Whoever goes on in one process leaves the run's cluster, so its address is dropped with ``executor=inline``.

    Raises:
        RecipeError: no such file, not TOML, or not a recipe.
    """
    values, changed = _with_units(read_toml(path)), apply_overrides({}, overrides).get("execution", {})
    execution = values.get("execution")
    if changed.get("executor") == "inline" and isinstance(execution, dict):
        values["execution"] = {key: value for key, value in execution.items() if key != "ray_address"}
    return Recipe.from_mapping(apply_overrides(values, overrides))


def _with_units(values: Mapping[str, Any]) -> dict[str, Any]:
    limits = values.get("limits")
    if not isinstance(limits, list):
        return dict(values)
    return {**values, "limits": [with_units(limit) if isinstance(limit, str) else limit for limit in limits]}
