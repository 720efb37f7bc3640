"""A table in three splits, of which one column is predicted from the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch

from nas.errors import DataError
from nas.space.signature import Signature, TensorType
from nas.tasks.batches import IntArray, Tensors, items_at
from nas.tasks.criteria import Classification, Criterion, Kind, Regression
from nas.tasks.dependence import NONE
from nas.tasks.deployed.inputs import Array
from nas.tasks.deployed.tabular import UNKNOWN, TabularPreparation
from nas.tasks.doubts import copy_warnings, few_groups_warnings, group_warnings
from nas.tasks.splitting import TEST_SEED, TEST_SHARE, usual_validation_share
from nas.tasks.tabular import boosting
from nas.tasks.tabular.columns import RawColumns, Scaling, learned_preparation, raw_arrays, raw_columns
from nas.tasks.tabular.corrupting import MISSING, NOISE, corrupted_rows
from nas.tasks.tabular.depending import groups_of_rows
from nas.tasks.tabular.overview import overview_of, roles_of
from nas.tasks.tabular.pairing import with_test
from nas.tasks.tabular.reading import Frame, check_has, checked_frame
from nas.tasks.tabular.recognising import Recognised
from nas.tasks.tabular.rows import TableRows
from nas.tasks.tabular.splitting import check_columns, check_options, group_numbers, moments_in, split_rows
from nas.tasks.tabular.suspicions import (
    class_warnings,
    id_warnings,
    keys_of_rows,
    leak_warnings,
    order_warnings,
    share_warnings,
    unknown_warnings,
)
from nas.tasks.tabular.targets import Target, target_of
from nas.tasks.task import Baseline, Task

STEPS, LEAST_EPOCHS, MOST_EPOCHS = 1200, 8, 60
BATCHES = ((2_000, 32), (20_000, 64), (float("inf"), 256))
"""The size of a batch by the most training rows that it is for."""
LEARNING_RATE = 3e-3
FORGOTTEN = 0.01
"""The share of categories that a training batch calls unknown, so that this value learns something."""


@dataclass(frozen=True, eq=False, repr=False)
class Tabular(Task):
    """A task of predicting one column of a table. ``Tabular.from_frame`` makes it of a DataFrame.

    Attributes:
        name: its name, for people.
        train: the rows to train on.
        validation: the rows that compare candidates.
        test: the rows that score winners.
        columns: the columns that models see, and how they are prepared.
        target: the name of the column that is predicted.
        classes: the names of the classes; empty for regression.
        offset: the mean of the target over the training rows, in its units; 0 for classes.
        scale: the standard deviation of the target over the training rows; 1 for classes.
        notes: what a user should know about the data.
        split_by: how rows were split where that is not at random, such as "time, of day"; else empty.
        is_ordered: rows were split by time: those of training are the earliest.
        readings: how the data were read where that was guessed, and the options that change it.
        overview: a line for each column.
    """

    name: str
    train: TableRows
    validation: TableRows
    test: TableRows
    columns: TabularPreparation
    target: str
    classes: tuple[str, ...] = ()
    offset: float = 0.0
    scale: float = 1.0
    notes: tuple[str, ...] = ()
    split_by: str = ""
    is_ordered: bool = False
    readings: tuple[str, ...] = ()
    overview: tuple[str, ...] = ()

    noun: ClassVar[str] = "rows"
    default_space: ClassVar[str | None] = "mlp"

    def __repr__(self) -> str:
        counts = f"{len(self.train)} training, {len(self.validation)} validation and {len(self.test)} test rows"
        return f"Tabular {self.name}: {counts}, {self.in_words}"

    @classmethod
    def from_frame(
        cls,
        frame: Frame,
        *,
        target: str,
        test: Frame | None = None,
        drop: Sequence[str] = (),
        group: str | None = None,
        order: str | None = None,
        kind: Kind = "auto",
        categories: Sequence[str] = (),
        scaling: Scaling = "standard",
        validation_share: float | None = None,
        test_share: float = TEST_SHARE,
        seed: int = 0,
        name: str = "custom",
        recognised: Recognised | None = None,
    ) -> Tabular:
        """Return the task of predicting the column ``target`` of a DataFrame from the other columns.

        Args:
            frame: the rows. Numbers are numbers, and text, booleans and pandas' categories are categories. Of dates,
                models get the year, month, day, weekday, hour and days since 1970.
            target: the column to predict: text, booleans and few whole numbers are classes, other numbers are values.
            test: another DataFrame, whose rows score winners; by default ``test_share`` of each class, always the same.
            drop: columns that models must not see.
            group: a column whose equal values mark rows that stay together in one split. Models do not see it. By
                default it is found by looking, and so are repeated rows; "none" keeps all rows apart.
            order: a column of times: models train on the earliest rows, and the latest score winners. Models do not
                see it. "rows" is the order in which rows are given.
            kind: "classification" or "regression", where it should not be told from the target.
            categories: columns of numbers that are categories.
            scaling: "standard" for mean 0 and deviation 1, or "quantile" for a normal distribution.
            validation_share: of the other rows; by default a tenth, or up to a fifth, as far as a thousand need it.
            seed: picks the validation rows.
            recognised: how the text of a file became these columns.

        Raises:
            DataError: the table cannot be learned from; the message says why, and which column or row.
            ValueError: a share, the kind or the scaling is none.
        """
        check_options(kind, scaling, validation_share, test_share)
        frame = checked_frame(frame, f"the table {name}")
        tested = None if test is None else checked_frame(test, f"the test table of {name}")
        check_columns(frame, name, target, drop, categories, group)
        read = recognised or Recognised()
        is_free, group = group is None and order is None, None if group == NONE else group
        moments = moments_in(frame, order, group, name, read)
        table = _Table.of(frame, tested, target, kind, group, order, moments, drop, categories, name, read)
        told: list[str] = []
        if is_free:
            table = replace(table, **groups_of_rows(table.frame, table.columns, table.target, table.unused, told))
        share = validation_share or usual_validation_share(len(frame))
        splits = table.split(test_share, share, seed)
        wanted = {"validation": share, **({"test": test_share} if test is None else {})}
        far = share_warnings(table.groups, moments, splits, wanted)
        told += order_warnings(frame, table.target, table.split_by or None, order)
        return table.task(splits, scaling, name, [*told, *far])

    # What the engine asks

    @property
    def signature(self) -> Signature:
        """Numbers and categories, as far as there are any, to logits or to one value."""
        inputs = []
        if self.columns.numbers:
            inputs.append(TensorType("numbers", (self.columns.number_inputs,)))
        if columns := self.columns.categories:
            counts = tuple(len(column.values) + 2 for column in columns)
            inputs.append(TensorType("categories", (len(columns),), "int64", counts))
        return Signature(tuple(inputs), (max(1, len(self.classes)),))

    @property
    def criterion(self) -> Criterion:
        """Classes or values."""
        return Classification(len(self.classes)) if self.classes else Regression((self.scale,))

    @property
    def simple_spaces(self) -> tuple[str, ...]:
        """Linear models and boosted trees."""
        return ("boosted",)

    @property
    def preparation(self) -> TabularPreparation:
        """The way from a row to a model's inputs."""
        return self.columns

    @property
    def answers(self) -> dict[str, Any]:
        """The names of the classes, or the target with what brings values back to its units."""
        if self.classes:
            return {"kind": self.criterion.kind, "names": list(self.classes)}
        return {"kind": self.criterion.kind, "names": [self.target], "offset": [self.offset], "scale": [self.scale]}

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Noise on numbers, if there are any, and missing cells."""
        return (NOISE, MISSING) if self.columns.numbers else (MISSING,)

    def corrupted(self, raw: Tensors, name: str, strength: float, generator: torch.Generator) -> Tensors:
        """Return raw rows under a corruption."""
        return corrupted_rows(raw, [column.std for column in self.columns.numbers], name, strength, generator)

    def augmented(self, raw: Tensors, generator: torch.Generator) -> Tensors:
        """Call a few categories unknown."""
        if not self.columns.categories:
            return raw
        categories = raw[-1]
        forgotten = torch.rand(categories.shape, generator=generator) < FORGOTTEN
        return (*raw[:-1], torch.where(forgotten, UNKNOWN, categories))

    @property
    def why_closed(self) -> str:
        """Categories are numbered, and targets standardised, by the table's own rows."""
        return "the columns of a table are coded by its own rows"

    def inputs_of(self, raw: Tensors) -> Tensors:
        """Return raw rows as the model's inputs, on their device, by the code that bundles carry."""
        prepared = self.columns.prepared(tuple(each.cpu().numpy() for each in raw))
        return tuple(torch.from_numpy(each).to(raw[0].device) for each in prepared)

    @property
    def in_words(self) -> str:
        """What is predicted from how many columns."""
        what = f"{len(self.classes)} classes of {self.target}" if self.classes else f"values of {self.target}"
        counts = (self._number_columns, "numbers"), (len(self.columns.categories), "categories")
        columns = [f"{count} column{'s' * (count > 1)} of {kind}" for count, kind in counts if count]
        return f"{what} from {' and '.join(columns)}"

    @property
    def _number_columns(self) -> int:
        """How many columns give numbers; one of dates gives several."""
        return len({each.column for each in self.columns.numbers})

    @property
    def facts(self) -> dict[str, Any]:
        """The target, and the number of columns of each kind."""
        target = (
            {"classes": len(self.classes)} if self.classes else {"target mean": self.offset, "target std": self.scale}
        )
        numbers, categories = self._number_columns, len(self.columns.categories)
        split_by = {"split by": self.split_by} if self.split_by else {}
        columns = {"columns of numbers": numbers, "columns of categories": categories}
        return {"target": self.target, **target, **columns, **split_by}

    @property
    def why_one_fold(self) -> str:
        """Rows that were split by time are in no folds."""
        return "rows are split by time, and a fold would be tested on what came before" if self.is_ordered else ""

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """Scikit-learn's HistGradientBoosting, which is hard to beat on tables."""
        return (Baseline(boosting.NAME, boosting.IN_WORDS, self._boosting),)

    def _boosting(self, batch: int) -> bytes:
        rows = self.to_fit(1.0, with_validation=True)
        items = items_at(rows, slice(0, len(rows)))
        return boosting.fitted_boosting(self.prepared(items.raw), items.targets.numpy(), self.signature, batch)

    @property
    def training_defaults(self) -> dict[str, dict[str, Any]]:
        """Small batches and enough epochs for about ``STEPS`` steps: tables are small, and their steps are quick."""
        rows = len(self.train)
        batch = next(size for most, size in BATCHES if rows <= most)
        epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, round(STEPS * batch / rows)))
        training = {"epochs": epochs, "batch_size": batch, "learning_rate": LEARNING_RATE}
        return {"training": training, "retraining": {"epochs": epochs}}

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what makes results doubtful."""
        return self.notes

    @property
    def memory_bytes(self) -> int:
        """The memory that the rows take."""
        splits = (self.train, self.validation, self.test)
        return sum(each.nbytes for split in splits for each in (*split.raw, split.targets))

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that depend on all rows, and on the names of columns and classes."""
        digest = hashlib.sha256(json.dumps([self.columns.to_json(), self.answers]).encode())
        for split in (self.train, self.validation, self.test):
            for each in (*split.raw, split.targets):
                digest.update(f"{each.shape}".encode())
                digest.update(np.ascontiguousarray(each).data)
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class _Table:
    """All rows, with those of a test table last; ``fixed_test`` is the number of these, or None without one."""

    columns: RawColumns
    target: Target
    groups: IntArray | None
    fixed_test: int | None
    unused: tuple[str, ...]
    frame: Frame
    group: str | None
    order: str | None
    recognised: Recognised
    moments: IntArray | None = None
    split_by: str = ""

    @classmethod
    def of(
        cls,
        frame: Frame,
        test: Frame | None,
        target: str,
        kind: Kind,
        group: str | None,
        order: str | None,
        moments: IntArray | None,
        drop: Sequence[str],
        categories: Sequence[str],
        name: str,
        recognised: Recognised,
    ) -> _Table:
        hidden = [each for each in (group, order) if each is not None and each in frame.columns]
        unused = tuple(dict.fromkeys((target, *drop, *hidden)))
        found = target_of(frame[target], kind, name)
        if found.is_classes and target in recognised.cells:  # classes are called what the file calls them
            frame = recognised.with_text(target, frame, 0)
            test = None if test is None else recognised.with_text(target, test, 1)
            found = replace(target_of(frame[target], "classification", name), told=found.told)
        if test is not None:
            title = f"the test table of {name}"
            for column in (each for each in frame.columns if each not in (*drop, order)):
                check_has(test, column, f"the column {column} of {name}", title)
            if group is not None:
                group_numbers(test[group], title)
            kind = "classification" if found.is_classes else "regression"
            tested = target_of(test[target], kind, title, found.classes)
            found = replace(found, values=np.concatenate([found.values, tested.values]))
            frame = with_test(frame, test, (*unused, *categories), title)
        columns = raw_columns(frame.drop(columns=list(unused)), categories, name, recognised.forms)
        split_by = f"time, of {order}" if order is not None else "" if group is None else f"groups, of {group}"
        groups = None if group is None else group_numbers(frame[group], name)
        fixed = None if test is None else len(test)
        return cls(columns, found, groups, fixed, unused, frame, group, order, recognised, moments, split_by)

    def split(self, test_share: float, validation_share: float, seed: int) -> tuple[IntArray, IntArray, IntArray]:
        """Return the training, validation and test rows."""
        rows = np.arange(len(self.target.values))
        if self.fixed_test is None:
            rest, test = split_rows(self.target, rows, test_share, TEST_SEED, "test", self.groups, self.moments)
        else:
            rest, test = rows[: -self.fixed_test], rows[-self.fixed_test :]
        together = self.groups, self.moments
        return (*split_rows(self.target, rest, validation_share, seed, "validation", *together), test)

    def task(
        self, splits: tuple[IntArray, IntArray, IntArray], scaling: Scaling, name: str, suspected: Sequence[str]
    ) -> Tabular:
        """Return the task with these splits. The preparation is learned from the training rows alone."""
        target, (train, *_) = self.target, splits
        if target.is_classes and len(np.unique(target.values[train])) < len(target.classes):
            missing = sorted(set(range(len(target.classes))) - set(target.values[train].tolist()))
            raise DataError(
                f"each class must have a training row, but {target.classes[missing[0]]!r} of {target.name} has none. "
                "Bring more rows of it, or leave it out. Where groups or an order split rows, name others."
            )
        learned = learned_preparation(self.columns.rows(train), scaling, self.unused, self.recognised.wished)
        preparation, notes = learned
        raw = raw_arrays(self.columns, preparation)
        offset, scale = 0.0, 1.0
        targets: Array = target.values
        if not target.is_classes:
            offset, scale = float(targets[train].mean()), float(targets[train].std()) or 1.0
            targets = ((targets - offset) / scale).astype(np.float32)[:, None]
        rows, validation, test = (
            TableRows(
                tuple(np.ascontiguousarray(each[split]) for each in raw),
                targets[split],
                None if self.groups is None else self.groups[split],
            )
            for split in splits
        )
        groups = {"train": rows.groups, "validation": validation.groups, "test": test.groups}
        told = (
            *self.recognised.doubts,
            *self.columns.notes,
            *notes,
            *leak_warnings(raw, target, train, preparation),
            *id_warnings(raw, train, preparation),
            *unknown_warnings(self.columns, preparation, splits[2]),
            *class_warnings(target, splits),
            *(group_warnings(groups, "rows") or copy_warnings(keys_of_rows(self.columns, splits), "rows")),
            *few_groups_warnings(test.groups),
            *suspected,
        )
        roles = roles_of(self.frame, target, preparation, self.unused, self.group, self.order)
        overview = overview_of(self.frame, roles, self.recognised)
        found = (name, rows, validation, test, preparation, target.name, target.classes, offset, scale, told)
        return Tabular(*found, self.split_by, self.moments is not None, (*self.recognised.told, *target.told), overview)
