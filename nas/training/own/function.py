"""A user's own training function: what it must take, and what its settings are."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from nas.errors import RecipeError
from nas.space.plug_ins import load_plug_in, parameters_of
from nas.training.modules import device_named
from nas.training.settings import TrainingSettings

GROUP = "nas.training_functions"
ARCHITECTURE = "architecture"
"""The name of the first parameter of a function that builds its modules itself."""
WAYS = "(module, task, settings), or (architecture, task, settings)"


@final
@dataclass(frozen=True)
class OwnSettings:
    """What a training function learns of one training. Every key of the recipe's ``[training]`` is an attribute.

    Attributes:
        common: the settings of the recipe.
        epochs: the metrics that a function may yield at most, one for each epoch.
        seed: the seed of this training. Python's, numpy's and torch's random numbers begin with it already.
        device: where to train: "cpu" or "cuda".
        is_final: True if a winner is trained, on the training and validation items together.
        folder: an empty folder for files, which is removed afterwards.
        kept_folder: of a winner's training, a folder that is kept until it has ended. If the training is killed, the
            function is called again and finds its files there. None for candidates, and on another machine.
    """

    common: TrainingSettings
    seed: int
    folder: Path
    kept_folder: Path | None = None

    @property
    def epochs(self) -> int:
        return self.common.epochs

    @property
    def device(self) -> str:
        return device_named(self.common.device).type

    @property
    def is_final(self) -> bool:
        return self.common.use_validation

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "common":  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.common, name)


@final
@dataclass(frozen=True)
class TrainingFunction:
    """A training function that was checked.

    Attributes:
        call: the function.
        name: its name, for messages.
        takes_architecture: True if it takes an architecture and builds the module itself.
        yields: True if it yields metrics as it goes, so that a training can be stopped early.
    """

    call: Callable[..., Any]
    name: str
    takes_architecture: bool
    yields: bool

    @property
    def in_words(self) -> str:
        """Return how it trains, for people."""
        takes = "an architecture" if self.takes_architecture else "a module"
        return f"by {self.name}, which takes {takes} and {'yields' if self.yields else 'returns'} metrics"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what a user should know before the search begins."""
        found = []
        if self.takes_architecture:
            found.append(
                f"{self.name} takes architectures, so with its last metrics in the final training (settings.is_final) "
                'it must give "weights", the state_dict of the module that the space builds: without them winners '
                "cannot be exported."
            )
        if not self.yields:
            found.append(f"{self.name} yields no metrics as it goes, so no training is stopped early.")
        return tuple(found)


def training_function(found: object, name: str) -> TrainingFunction:
    """Return ``found`` as a training function.

    Raises:
        RecipeError: it is no function, or takes other arguments.
    """
    rule = f"a training function takes {WAYS}, but {name!r}"
    if not callable(found) or inspect.isclass(found):
        raise RecipeError(f"{rule} is {found!r:.80}.")
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        raise RecipeError(f"{rule} is an async function. Write a plain one.")
    parameters = parameters_of(found)
    if parameters is None:
        raise RecipeError(f"{rule} does not tell what it takes. Wrap it in a function of your own.")
    try:
        inspect.signature(found).bind(*range(3))
    except TypeError:
        raise RecipeError(f"{rule} takes ({', '.join(map(str, parameters.values()))}).") from None
    first = next(iter(parameters), "")
    called = found if inspect.isroutine(found) or isinstance(found, functools.partial) else type(found).__call__
    return TrainingFunction(found, name, first == ARCHITECTURE, inspect.isgeneratorfunction(inspect.unwrap(called)))


def load_training_function(name: str) -> TrainingFunction:
    """Return the training function at ``module:name``. Raises RecipeError if there is none."""
    return training_function(load_plug_in(GROUP, name, "training function"), name)
