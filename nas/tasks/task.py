"""Tasks: what models learn. The data in three splits, the loss and the metrics, and how inputs are prepared."""

from __future__ import annotations

import abc
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, final

import numpy as np
import torch

from nas.errors import DataError
from nas.space.signature import Signature
from nas.storage.journal_rows import WORDS
from nas.tasks.batches import Examples, Items, Joined, Tensors, items_at
from nas.tasks.criteria import Criterion
from nas.tasks.deployed.inputs import Arrays, Named
from nas.tasks.splitting import share_of
from nas.values.error_words import ErrorWords

READINGS = "read as"
"""The title of ``Task.readings`` among the facts of a run."""
FINGERPRINTED = 64
"""Items of each split that the fingerprint of a plain data set looks at."""


class Preparation(Protocol):
    """The way from what people have, such as files, to a model's inputs, in training and in a bundle alike.

    Bundles carry a copy of the module in which its class is written. That module may import nothing but what a device
    has, such as numpy, and has a function ``preparation_of`` that takes an ``architecture.json``. ``PACKAGES`` of that
    module names what it needs beside numpy, for pip.
    """

    def to_json(self) -> dict[str, Any]:
        """Return the preparation as plain data, for the module's ``preparation_of``, and in words under "in_words"."""
        ...

    def items(self, path: Path) -> Named:
        """Yield the name and the raw arrays of each item in a file or folder, or the reason why it cannot be used."""
        ...

    def read(self, inputs: Any) -> Arrays:
        """Return raw items from files or arrays. Raises InputError, which says which one cannot be used and why."""
        ...

    def prepared(self, raw: Arrays) -> Arrays:
        """Return raw items as the model's inputs: the same numbers, bit for bit, as in training."""
        ...


@final
@dataclass(frozen=True)
class Baseline:
    """A well-known model that a search should beat.

    Attributes:
        name: its name, for people.
        in_words: how it is fitted, in a few words.
        fit: fits it to the training and validation items, and returns it as an ONNX file for a number of items in a
            batch. The file takes the inputs of the task's models, by the same names, and gives the same output.
    """

    name: str
    in_words: str
    fit: Callable[[int], bytes] = field(repr=False)


class Task(abc.ABC):
    """What models learn. The test split scores winners, once; nothing else may use it.

    A task of your own sets the first five attributes and gives the two properties. All else has a default.

    Attributes:
        name: its name, for people.
        train: the items to train on: a torch data set of pairs of an input, or a tuple of them, and a target.
        validation: the items that compare candidates.
        test: the items that score winners.
        noun: what an item is called, in the plural.
        default_space: the space that is searched when none is named.
    """

    name: str
    train: Examples
    validation: Examples
    test: Examples
    noun: ClassVar[str] = "items"
    default_space: ClassVar[str | None] = None

    @property
    @abc.abstractmethod
    def signature(self) -> Signature:
        """The inputs and the output of models that learn this task."""

    @property
    @abc.abstractmethod
    def criterion(self) -> Criterion:
        """The loss and the metrics."""

    @property
    def simple_spaces(self) -> tuple[str, ...]:
        """The names of spaces of strong simple models, which are searched beside the default space."""
        return ()

    # From items to inputs

    def augmented(self, raw: Tensors, generator: torch.Generator) -> Tensors:
        """Return a training batch, changed at random in ways that keep its targets. By default nothing changes."""
        return raw

    @property
    def takes_strength(self) -> bool:
        """True if batches can also be augmented more or less strongly, by ``augmented_more``."""
        return False

    def augmented_more(self, raw: Tensors, generator: torch.Generator, strength: float) -> Tensors:
        """Return a training batch, changed at random on top of ``augmented``, by a ``strength`` of 0 to 1."""
        raise DataError(f"{type(self).__name__} says that it takes a strength, but has no method augmented_more.")

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The names of what may spoil an item without changing its target, for the error under noise."""
        return ()

    def corrupted(self, raw: Tensors, name: str, strength: float, generator: torch.Generator) -> Tensors:
        """Return a batch of raw items under the corruption called ``name``, by a ``strength`` above 0 and up to 1."""
        raise DataError(f"{type(self).__name__} lists the corruption {name!r}, but has no method corrupted.")

    def inputs_of(self, raw: Tensors) -> Tensors:
        """Return raw items, on any device, as the model's inputs. By default they are that already."""
        return raw

    @property
    def preparation(self) -> Preparation | None:
        """The way from a user's files to inputs, which bundles carry; None if a bundle takes prepared arrays only."""
        return None

    def prepared_for(self, wishes: Mapping[str, Any]) -> Task:
        """Return the same items in the same splits and order, prepared as an architecture wishes; see ``HasInputs``.

        By default there is one preparation only, and any wish is an error.
        """
        self.check_wishes(wishes)
        return self

    def check_wishes(self, wishes: Mapping[str, Any]) -> None:
        """Check that items can be prepared as an architecture wishes; it is called before a search begins.

        Raises:
            DataError: they cannot.
        """
        if wishes and type(self).prepared_for is Task.prepared_for:
            raise DataError(
                f"the task {type(self).__name__} prepares inputs in one way only, but the space asks for "
                f"{', '.join(wishes)}. Give the task a method prepared_for, or choose another space."
            )

    @property
    def why_closed(self) -> str:
        """The reason why items of other data cannot be added to these; empty if they can."""
        return ""

    @property
    def why_one_fold(self) -> str:
        """The reason why items cannot be divided into folds for cross-validation; empty if they can."""
        return ""

    @property
    def raw_form(self) -> dict[str, Any]:
        """What other data must have too, by title, so that their raw items can be mixed with these."""
        return {"models": str(self.signature), "answers": self.answers}

    @property
    def answers(self) -> dict[str, Any]:
        """How outputs become answers, as plain data for bundles, such as the names of classes."""
        return {"kind": self.criterion.kind}

    # What is known of the data

    @property
    def in_words(self) -> str:
        """What there is to learn, in a few words."""
        return f"{self.criterion.kind} of {', '.join(map(str, self.signature.inputs))}"

    @property
    def facts(self) -> dict[str, Any]:
        """What reports show of the data, by title."""
        return {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what makes results doubtful."""
        return ()

    @property
    def readings(self) -> Sequence[str]:
        """Sentences about how the data were read where that was guessed, and the options that change it."""
        return ()

    @property
    def overview(self) -> Sequence[str]:
        """Lines that show each part of the data, such as the columns of a table, for a dry run."""
        return ()

    @property
    def memory_bytes(self) -> int:
        """The memory that the data take in each process."""
        return 0

    @property
    def files(self) -> tuple[Path, ...]:
        """The files and folders that the task reads after it was loaded, which other machines of a cluster are sent.

        A task that arrives elsewhere finds them at other places: all its ``Path`` objects lead there.
        """
        return ()

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that differ when the data do. By default a few items of each split decide."""
        return _fingerprint(self)

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """Models of another kind that winners should beat; they are fitted, tested and measured beside them."""
        return ()

    @property
    def training_defaults(self) -> dict[str, dict[str, Any]]:
        """Keys of a recipe's sections, such as "training", that suit these data where the recipe does not give them."""
        return {}

    # Parts of it

    def part(self, share: float) -> Examples:
        """Return a share of the training items, of each class if classes are known; the half contains the quarter."""
        return share_of(self.train, share)

    def to_fit(self, share: float, with_validation: bool) -> Examples:
        """Return the items to train on: a share of the training items, and the validation items if asked for."""
        part = self.part(share)
        return Joined((part, self.validation)) if with_validation else part

    def sample(self, count: int, seed: int = 0) -> Items:
        """Return random training items, ``count`` or all if there are fewer."""
        rng = np.random.default_rng(seed)
        return items_at(self.train, rng.permutation(len(self.train))[:count])

    def input_arrays(self, examples: Examples, places: slice) -> Arrays:
        """Return the model's inputs for some items in order, as arrays: what a deployed model is given."""
        return self.prepared(items_at(examples, places).raw)

    def prepared(self, raw: Tensors) -> Arrays:
        """Return raw items as arrays of the model's inputs, by the preparation that bundles carry if there is one."""
        if self.preparation is None:
            return tuple(each.numpy() for each in self.inputs_of(raw))
        return self.preparation.prepared(tuple(each.numpy() for each in raw))


def _fingerprint(task: Task) -> str:
    digest = hashlib.sha256(json.dumps([task.name, task.signature.to_json()]).encode())
    for examples in (task.train, task.validation, task.test):
        digest.update(str(len(examples)).encode())
        places = np.unique(np.linspace(0, len(examples) - 1, FINGERPRINTED).astype(np.int64))
        batch = items_at(examples, places)
        for each in (*batch.raw, batch.targets):
            digest.update(np.ascontiguousarray(each.numpy()).tobytes())
    return digest.hexdigest()[:12]


def words_of(task: Task) -> ErrorWords:
    """Return the words for a task's error: its criterion's, with the noun of its items."""
    # Nobody knows if the error of a user's own criterion is a share.
    constant = "always giving the best constant answer"
    own = ErrorWords(error="error", accuracy="", constant=constant, is_share=False)
    words: ErrorWords = getattr(task.criterion, "words", own)
    return replace(words, noun=task.noun)


def metrics_of(task: Task) -> tuple[str, ...]:
    """Return the names of the trained metrics that a task has; ``error`` is the first."""
    found: tuple[str, ...] = getattr(task.criterion, "metrics", ("error",))
    return (*found, "noise_error") if task.corruptions else found


def facts_of(task: Task) -> dict[str, Any]:
    """Return what a run records and reports show of a task's data."""
    return {
        "name": task.name,
        "fingerprint": task.fingerprint,
        "signature": task.signature.to_json(),
        WORDS: words_of(task).to_json(),
        **task.facts,
        **({READINGS: " ".join(task.readings)} if task.readings else {}),
        f"training {task.noun}": len(task.train),
        f"validation {task.noun}": len(task.validation),
        f"test {task.noun}": len(task.test),
    }
