"""The sections of a recipe. Each is a table in TOML: its keys, their defaults and their ranges.

The string below a key describes it; the documentation shows these strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from nas.recipe.amounts import checked_number, checked_option, checked_switch, checked_text, seconds_of

AUTO = "auto"
"""The name of a space in a recipe that leaves it to the task."""
MOST_SEED = 2**32 - 1
"""The largest seed that NumPy, torch and scikit-learn all take."""
DEFAULT_INITIAL = 16
MOST_FOR_EACH_INITIAL = 3
MOST_INITIAL = 2000
"""Choosing representatives takes time and memory that grow with the square of their number."""
AROUND_A_ROUND_S = 2.0
"""What a request to the measuring process takes beside the sampling, at most: opening the model and warming it up."""
BENCH_SETTINGS = {"rounds", "max_rounds", "precision", "seconds_per_round", "timeout_s", "cooling_s", "sustained_s"}
Score = Literal["snip", "synflow", "naswot", "macs"]
"""The zero-cost scores: functions of ``nas.training.zero_cost``, and ``macs``, the multiply-accumulates alone."""


@dataclass(frozen=True)
class OwnOption:
    """The option of ``nas search`` that sets a key, beside ``--set``; a field has it in ``Annotated``."""

    flag: str
    """Its name, such as ``--data``."""
    metavar: str = "NAME"
    """What the help calls its value."""
    repeats: bool = False
    """True for a key of one value that also takes a list."""


class Section(BaseModel):
    """A frozen table of keys. An unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Yield the keys that differ from their defaults, so that a recipe prints in a line or two."""
        for name, value in super().__repr_args__():
            field = type(self).model_fields.get(name or "")
            if field is None or value != field.get_default(call_default_factory=True, validated_data={}):
                yield name, value

    @field_validator("*", mode="before")
    @classmethod
    def _as_it_is_meant(cls, value: object, info: ValidationInfo) -> object:
        """Refuse what pydantic would convert, such as ``true`` for 1; read ``15min`` where seconds are meant."""
        assert info.field_name is not None
        annotation = cls.model_fields[info.field_name].annotation
        kinds = {annotation, *get_args(annotation)}
        if bool in kinds:
            return checked_switch(value)
        if not kinds & {int, float}:
            return checked_text(value)
        if info.field_name.endswith("_s") and isinstance(value, str):
            value = seconds_of(value)
        return checked_number(value, most=MOST_SEED if info.field_name == "seed" else None)


class PlugIn(Section):
    """A plug-in by its name. All other keys are options that go to its constructor."""

    model_config = ConfigDict(extra="allow")

    name: str
    """The name of an entry point, or ``module:Name``."""

    @model_validator(mode="after")
    def _options_can_be_written(self) -> Self:
        for key, value in self.options.items():
            try:
                checked_option([key, value])
            except ValueError as error:
                raise ValueError(f"{key!r} {error}") from error
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The options."""
        return dict(self.model_extra or {})


class SpaceRecipe(PlugIn):
    """The search space."""

    name: Annotated[str, OwnOption("--space")] = AUTO
    """A search space, or ``my_module:MySpace`` for your own class; ``auto`` suits the task. ``nas list`` shows all."""


class SamplerRecipe(PlugIn):
    """The sampler, which proposes what to train next."""

    name: Annotated[str, OwnOption("--sampler")] = "gp"
    """The sampler that proposes candidates, or ``my_module:MySampler`` for your own. ``nas list`` shows all."""


class PredictorRecipe(PlugIn):
    """The predictor of measured metrics."""

    name: str = "stacked"
    """The name of a predictor, or ``module:function``. ``nas list`` shows the installed ones."""


class DataRecipe(PlugIn):
    """The data, and what is learned from them. Further keys are options of the task."""

    name: Annotated[str, OwnOption("--data")] = "digits"
    """A data set, ``folder:PATH`` for images of your own, one folder a class, or a table. ``nas list`` shows all."""
    task: Annotated[str, OwnOption("--task")] = "images"
    """The kind of task, or ``my_module:MyTask`` for your own class. ``nas list`` shows all."""
    root: str | None = None
    """The folder in which known data sets lie, or are downloaded to."""
    image_size: int | None = Field(default=None, ge=4)
    """The height and width in pixels. Images are cut to their central square, then scaled."""
    validation_share: float | None = Field(default=None, gt=0, lt=0.5)
    """The share of the training items that becomes the validation split."""

    @property
    def task_options(self) -> dict[str, Any]:
        """The options of the task: the further keys, and those of images that are set."""
        images = {"root": self.root, "image_size": self.image_size}
        return {**self.options, **{key: value for key, value in images.items() if value is not None}}

    @model_validator(mode="before")
    @classmethod
    def _default_name_is_of_images(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("task", "images") != "images" and "name" not in values:
            return {**values, "name": ""}
        return values

    @model_validator(mode="after")
    def _images_have_a_name(self) -> Self:
        if self.task == "images" and not self.name:
            raise ValueError("name must be that of data, such as digits or folder:PATH, but got an empty one")
        return self


class MeasuringRecipe(Section):
    """How many architectures are measured, and how precisely."""

    initial: int = Field(default=DEFAULT_INITIAL, ge=5, le=MOST_INITIAL)
    """Architectures that are measured before training. With fewer than 40 trials the default is lower."""
    most_initial: int = Field(default=MOST_FOR_EACH_INITIAL * DEFAULT_INITIAL, ge=5)
    """The most measured first when a predictor is not good enough for a limit: 3 × ``initial``, or less if small."""
    per_round: int = Field(default=6, ge=1)
    """The most architectures that are measured after each round."""
    rounds: int = Field(default=5, ge=2)
    """The fewest sessions in which a model is measured, each in a fresh process."""
    max_rounds: int = Field(default=15, ge=2, le=1000)
    """The most sessions in which a model is measured, however wide its interval."""
    precision: float = Field(default=0.01, gt=0)
    """Measure until half of the 95 % confidence interval is at most this share of the median latency."""
    seconds_per_round: float = Field(default=0.06, gt=0)
    """How long a model runs in one session, in seconds."""
    timeout_s: float = Field(default=60.0, gt=0)
    """The time limit for one request to the measuring process, in seconds."""
    cooling_s: float = Field(default=60.0, ge=0, le=3600)
    """The longest wait until a device with a thermometer has cooled down, in seconds, before a session of measuring."""
    sustained_s: float = Field(default=180.0, gt=0, le=86400)
    """How long a model runs at most for its sustained latency, in seconds. It ends earlier where all is steady."""
    sustain_winners: bool = False
    """Measure winners' sustained latency too, where it is neither an objective nor a limit."""
    reuse: bool = True
    """Take earlier measurements on the same target, and learn from those on other targets."""

    @property
    def bench_settings(self) -> dict[str, Any]:
        """The keys that ``latency_rounds.BenchSettings`` takes."""
        return self.model_dump(include=BENCH_SETTINGS)

    @model_validator(mode="before")
    @classmethod
    def _most_grows_with_initial(cls, values: Any) -> Any:
        initial = values.get("initial") if isinstance(values, dict) else None
        if type(initial) is int and "most_initial" not in values:
            return {**values, "most_initial": MOST_FOR_EACH_INITIAL * max(initial, 5)}
        return values

    @model_validator(mode="after")
    def _rounds_have_room(self) -> MeasuringRecipe:
        if self.rounds > self.max_rounds:
            raise ValueError(f"rounds must be at most max_rounds ({self.max_rounds}), but got {self.rounds}.")
        return self

    @model_validator(mode="after")
    def _rounds_end_in_time(self) -> MeasuringRecipe:
        if self.timeout_s < self.seconds_per_round + AROUND_A_ROUND_S:
            raise ValueError(
                f"timeout_s must leave {AROUND_A_ROUND_S:g} s beside seconds_per_round ({self.seconds_per_round:g}), "
                f"or every model counts as hung, but got {self.timeout_s:g}. Raise it, or lower seconds_per_round."
            )
        return self

    @model_validator(mode="after")
    def _most_is_no_less(self) -> MeasuringRecipe:
        if self.most_initial < self.initial:
            raise ValueError(f"most_initial must be at least initial ({self.initial}), but got {self.most_initial}.")
        return self


class SupernetRecipe(Section):
    """How weights that candidates share are trained, and how they are checked."""

    epochs: int = Field(default=30, ge=1)
    """Epochs of the supernet's training, with the batches and the learning rate of ``[training]``."""
    per_step: int = Field(default=4, ge=2)
    """Architectures that are trained on each batch."""
    recalibration_images: int = Field(default=512, ge=1)
    """Training items on which the batch statistics of a candidate are computed; for forms of a parent 128 at most."""
    check: int = Field(default=6, ge=3)
    """Architectures that are also trained alone, to check the shared weights."""
    least_correlation: float = Field(default=0.5, ge=-1, le=1)
    """The Spearman correlation with separate trainings below which a warning is given."""
    time_limit_s: float = Field(default=28800.0, gt=0)
    """The time limit of the supernet's training, in seconds."""


class ZeroCostRecipe(Section):
    """How untrained candidates are scored, and how the scores are checked."""

    score: Score = "snip"
    """The zero-cost score."""
    batch: int = Field(default=64, ge=2)
    """Training items on which a score is computed."""
    check: int = Field(default=8, ge=3)
    """Architectures that are trained to learn which error a score stands for."""
    least_correlation: float = Field(default=0.5, ge=-1, le=1)
    """The Spearman correlation with trainings below which a warning is given."""


class ExecutionRecipe(Section):
    """Where trainings run. These keys change no result, so a resumed run may change them."""

    executor: Annotated[Literal["auto", "ray", "inline"], OwnOption("--executor")] = "auto"
    """``ray`` trains in parallel worker processes, ``inline`` one after the other in this process.

    ``auto`` is inline if all trainings together should take seconds, and ray otherwise."""
    workers: int = Field(default=0, ge=0)
    """Trainings side by side; 0 is one for each core, or for each GPU, as far as memory allows."""
    threads_per_worker: int = Field(default=1, ge=1)
    """Threads of each training."""
    gpus_per_worker: float | None = Field(default=None, ge=0)
    """GPUs of each training: a share of one, or a whole number. By default they share this machine's GPUs."""
    first_look_limit_s: float = Field(default=60.0, gt=0, le=86_400)
    """The time limit for the code of a space of your own to import, and to build an architecture once, in seconds."""
    ray_address: Annotated[str | None, OwnOption("--ray-address", "ADDRESS")] = None
    """The Ray cluster that this machine has joined: ``auto``, or the head's address such as ``host:6379``."""
    track: Annotated[tuple[str, ...], OwnOption("--track")] = ()
    """Exports that follow the run, such as ``tensorboard`` or ``mlflow``, each with its place after a colon or not."""

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
        """Refuse the address of a Ray client, which would run the search away from its journal and the device."""
        if value is not None and value.startswith("ray://"):
            raise ValueError(
                "a search runs on a node of the cluster, and takes the head's address, such as host:6379 or auto, "
                f"but got that of a Ray client, {value!r}. Join the cluster first: ray start --address=host:6379."
            )
        if value is None or value == "auto":
            return value
        found = re.fullmatch(r"[^\s/]+:([0-9]{1,5})", value, re.ASCII)
        if found is None or not 0 < int(found[1]) < 2**16:
            raise ValueError(f"an address is auto, or a host and a port such as host:6379, but got {value!r}.")
        return value


class EnergyRecipe(Section):
    """The energy meter, and the carbon intensity of the electricity."""

    meter: Literal["auto", "none", "rapl", "nvml", "command"] = "auto"
    """The meter; ``auto`` is the command if there is one, else NVML for GPUs and RAPL for processors."""
    command: tuple[str, ...] = ()
    """A program and its arguments that prints the joules used so far, or a log of power."""
    format: Literal["joules", "csv"] = "joules"
    """The output of the command: joules, or lines of seconds and watts."""
    rapl_root: str | None = None
    """The folder of RAPL's counters, if it is not ``/sys/class/powercap``."""
    gco2e_per_kwh: float | None = Field(default=None, ge=0)
    """The carbon intensity of your electricity, in grams of CO2 equivalent for a kilowatt-hour. It has no default."""

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
        """The settings that ``meter_from`` takes."""
        settings: dict[str, Any] = {"kind": "command" if self.command else self.meter}
        if self.command:
            settings |= {"command": list(self.command), "format": self.format}
        return settings if self.rapl_root is None else {**settings, "root": self.rapl_root}


class TableRecipe(Section):
    """A table, one architecture a row, in which candidates are looked up instead of being trained and measured."""

    path: str | None = None
    """The CSV file, plain or gzip."""
    accuracy: str | None = None
    """The column of accuracies, in per cent, that the search sees."""
    test_accuracy: str | None = None
    """The column of accuracies that scores winners; by default the same."""
    device: str | None = None
    """The device: a measured metric is the column ``<metric>_<device>``, or ``<metric>`` without a device."""
    prior: tuple[str, ...] = ()
    """Columns of numbers that rank accuracies beforehand, higher for better, such as accuracies on other data."""
    training_s: float = Field(default=0.0, ge=0, le=1e9)
    """The simulated time of a training, in seconds. It is added up, but not waited for."""
    pause_s: float = Field(default=0.0, ge=0, le=86400)
    """How long a worker waits at each look-up, in seconds."""
    input_shape: tuple[int, int, int] = (3, 32, 32)
    """Channels, height and width of the images that the table is about."""
    classes: int = Field(default=10, ge=2)
    """The number of classes that the table is about."""

    @field_validator("prior", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("input_shape")
    @classmethod
    def _positive(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(value) < 1:
            raise ValueError(f"channels, height and width must be at least 1, but got {list(value)}.")
        return value
